"""A thousand and more wrong files: each is refused with a reason, and what is right still passes.

Whether a mutation breaks a bound is decided by the loops of integers_oracle.py, which know
nothing of the checker. Mutated files have no golden images, so only bounds and rules can tell.
"""

import collections
import functools
import itertools
import json
import random

import numpy as np
import pytest

from flightnn_jax.checker.checker import check
from flightnn_jax.checker.container import FileError
from flightnn_jax.checker.reader import read
from tests.support import integers_oracle as oracle
from tests.support.integers_writer import NETS, assemble, tensors_of, write

# Without coverage, which these lines have from other tests: it costs more than half of the time.
pytestmark = pytest.mark.no_cover

COLUMNS = ("multiplier", "low", "high", "bias", "shift", "lift0", "lift1")


def reasons(data):
    """What is wrong with a file, whoever finds it."""
    try:
        return check(read(data))
    except FileError as error:
        return [str(error)]


@functools.cache
def original(name, seed):
    net = NETS[name](seed, affine_terms=2) if seed % 3 == 0 else NETS[name](seed)
    return net, oracle.certify(net)[0]


def pick(net, suffixes, draw):
    """One of the network's tables that has anything in it."""
    tables = [
        key for key in sorted(net.numbers) if key.split(".")[1] in suffixes and net.numbers[key]
    ]
    return draw.choice(tables) if tables else None


def change_term(net, draw, change):
    """Changes a term somewhere; False where there is none."""
    key = pick(net, ("terms",), draw)
    rows = [row for filter_rows in net.numbers.get(key, []) for row in filter_rows]
    if not rows:
        return False
    row = draw.choice(rows)
    at = draw.randrange(len(row))
    row[at] = change(*row[at])
    return True


def flip_sign(net, draw):
    return change_term(net, draw, lambda sign, shift: (-sign, shift))


def other_exponent(net, draw):
    return change_term(net, draw, lambda sign, shift: (sign, shift ^ 1 << draw.randrange(3)))


def fewer_terms(net, draw):
    """Takes the last term of a filter away, so that k changes with its codes."""
    key = pick(net, ("terms",), draw)
    filters = [rows for rows in net.numbers.get(key, []) if rows]
    if filters:
        draw.choice(filters).pop()
    return bool(filters)


def other_integer(net, draw):
    key = pick(net, ("integers",), draw)
    if key is None:
        return False
    row = draw.choice(net.numbers[key])
    at = draw.randrange(len(row))
    layer = next(x for x in net.manifest["layers"] if x["name"] == key.split(".")[0])
    if layer["weights"] == "codebook":  # another level of those that there are
        levels = net.numbers[f"{layer['name']}.levels"]
        row[at] = draw.choice([level for level in levels if level != row[at]])
        return True
    binary = layer["weights"] == "binary"
    row[at] = -row[at] if binary else (row[at] + 8 ^ 1 << draw.randrange(4)) - 8
    return True


def other_number(net, draw):
    """One bit of a multiplier, low, high, bias, shift or lift."""
    key = pick(net, COLUMNS, draw)
    if key is None:
        return False
    at = draw.randrange(len(net.numbers[key]))
    bits = 8 if key.split(".")[1] in ("shift", "lift0", "lift1") else 31
    net.numbers[key][at] ^= 1 << draw.randrange(bits)
    return True


def other_slope(net, draw):
    net.manifest["slope"] = draw.choice([n for n in range(1, 8) if n != net.manifest["slope"]])
    return True


def other_layer_exponent(net, draw):
    found = [
        (layer, key)
        for layer, key in itertools.product(net.manifest["layers"], ("exponent", "weight_exponent"))
        if key in layer
    ]
    layer, key = draw.choice(found)
    layer[key] += draw.choice((-2, -1, 1, 3))
    return True


NUMBERS = [
    flip_sign,
    other_exponent,
    fewer_terms,
    other_integer,
    other_number,
    other_slope,
    other_layer_exponent,
]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_numbers_under_a_new_digest(name):
    """The digest fits the changed file: the bounds alone have to see the change."""
    draw, seen = random.Random(name), collections.Counter()
    for i, mutate in itertools.product(range(24), NUMBERS):
        net, certificates = original(name, i % 5)
        net = net.copy()
        if not mutate(net, draw):
            continue
        rows, too_wide = oracle.certify(net)
        outside = too_wide + oracle.limits(net)
        broken = rows != certificates or bool(outside)
        found = reasons(write(net, certificates=certificates))
        assert bool(found) == broken, (found, i, mutate.__name__)
        if broken and not outside:
            assert all(".certificate: channel" in reason for reason in found)
            assert reasons(write(net)) == []  # a new certificate makes it valid
        seen["broken" if broken else "fine"] += 1
    assert seen["broken"] >= 80
    assert seen["fine"] >= 20


@pytest.mark.whole(4)
@pytest.mark.parametrize("name", NETS)
@pytest.mark.quick(1)
def test_certificate_columns_under_a_new_digest(name):
    draw = random.Random(name)
    for i in range(100):
        net, certificates = original(name, i % 5)
        rows = {key: [row.copy() for row in value] for key, value in certificates.items()}
        row = draw.choice(draw.choice(list(rows.values())))
        row[draw.randrange(len(row))] ^= 1 << draw.randrange(31)
        (reason,) = reasons(write(net, certificates=rows))
        assert ".certificate: channel" in reason


def shapes_in(manifest):
    """Every list of axes in a manifest."""
    return [manifest["input_shape"], *(e["shape"] for e in manifest["layers"] if "shape" in e)]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.quick(1)
def test_shapes_under_a_new_digest(name):
    """Axes of the image, of weights and of tensors; the data stays as it was."""
    draw = random.Random(name)
    for i in range(100):
        net, certificates = original(name, i % 5)
        net, tensors = net.copy(), tensors_of(net, [], certificates)
        if i % 2:
            shape = draw.choice(shapes_in(net.manifest))
            at = draw.randrange(len(shape))
            old = list(shape)
            shape[at] = draw.choice([0, -1, shape[at] + 1, shape[at] * 2, 10**9, 65536, 1.0, None])
            if shape == old:
                continue
        else:
            key = draw.choice([key for key in tensors if len(tensors[key][2]) > 1])
            dtype, shape, data = tensors[key]
            shape = draw.choice([[*shape, 1], [1, *shape], [len(data)], [2, *shape[1:]], []])
            if shape == tensors[key][1]:
                continue
            tensors[key] = (dtype, shape, data)
        found = reasons(assemble(json.dumps(net.manifest), tensors))
        assert found, (i, shape)


@pytest.mark.quick(0)
@pytest.mark.parametrize("name", NETS)
def test_one_bit_under_the_old_digest(name):
    """Any bit of the file: it is refused, or what is read is the same network."""
    draw, refused = random.Random(name), 0
    net, certificates = original(name, 1)
    data = write(net, [np.full(net.manifest["input_shape"], 9).tolist()], certificates)
    same = read(data)
    for _ in range(400):
        at = draw.randrange(len(data))
        changed = bytearray(data)
        changed[at] ^= 1 << draw.randrange(8)
        found = reasons(bytes(changed))
        refused += bool(found)
        if not found:
            again = read(bytes(changed))
            assert again.manifest == same.manifest
            assert all((again.tensors[key] == same.tensors[key]).all() for key in same.tensors)
    assert refused >= 390
