"""The independent checker: valid files pass, and every rule is caught by name when it is broken."""

import json
import re

import numpy as np
import pytest

from flightnn_jax.checker import certificate
from flightnn_jax.checker.checker import check
from flightnn_jax.checker.reader import read
from launch.check import main
from tests.support import integers_oracle as oracle
from tests.support.integers_writer import (
    NETS,
    Builder,
    assemble,
    lifted,
    of_version_1,
    plain,
    residual,
    tensors_of,
    write,
)


def image(net, byte=77):
    return np.full(net.manifest["input_shape"], byte).tolist()


@pytest.mark.whole(8)
@pytest.mark.parametrize("options", [{}, {"slope": 1, "affine_terms": 2}], ids=str)
@pytest.mark.parametrize("name", NETS)
def test_valid_networks(name, options):
    for seed in range(10):
        net = NETS[name](seed, **options)
        assert oracle.limits(net) == oracle.certify(net)[1] == []
        assert check(read(write(net, [image(net), image(net, 255)]))) == []


def reasons(net, **options):
    return check(read(write(net, **options)))


def test_the_certificate_of_a_filter():
    # 3 x 1 weights 8 - 1, -2, 1 - 1: what a pencil gives
    b = Builder(0, [3])
    b.dense("dense", "image", 2)
    net = b.net()
    net.numbers["dense.terms"] = [[[(1, 3), (-1, 1), (1, 0)], [(-1, 0), (-1, 0), (-1, 0)]], []]
    net.numbers["dense.bias"] = [1000, -128]
    network = read(write(net))
    # W is 7, -3, 0: from -128 7 - 127 3 to 127 7 + 128 3; 128 (8 + 1) + 127 (2 + 1 + 1 + 1) = 1787
    given = [certificate.ANY_ACTIVATION] * 3
    rows = certificate.certify_dense(network, network.layer("dense"), given).rows
    assert rows[0] == (-1277, 1273, 1787, 12, -277, 2273, 13, 1, 0, 3)
    assert rows[1] == (0, 0, 0, 1, -128, -128, 8, 1, 0, 0)
    assert check(network) == []
    # inputs of -1 to 9, 5 and 0: from -7 - 15 to 63 - 15; up 9 8 + 1, down 8 + 9 + 5 (2 + 1)
    rows = certificate.certify_dense(
        network, network.layer("dense"), [(-1, 9), (5, 5), (0, 0)]
    ).rows
    assert rows[0] == (-22, 48, 73, 8, 978, 1048, 12, 1, 0, 3)
    old = read(write(of_version_1(net)))  # 128 (8 + 1 + 2 + 1 + 1 + 1)
    assert certificate.certify_dense(old, old.layer("dense"), given).rows[0][2] == 1792
    assert check(old) == []


def set_number(suffix, channel, value):
    def change(net):
        net.numbers[suffix][channel] = value

    return change


def set_layer(index, **entries):
    def change(net):
        net.manifest["layers"][index] |= entries

    return change


def set_manifest(**entries):
    return lambda net: net.manifest.update(entries)


RULES = {
    "low above high": (plain, set_number("conv1.low", 2, 2**30), "conv1: filter 2 has low 10737"),
    "shift": (plain, set_number("conv2.shift", 1, 28), "conv2.shift: channel 1 has 28, and 27 is"),
    "add's shift": (residual, set_number("block1.shift", 0, 31), "block1.shift: channel 0 has 31"),
    "lift": (lifted, set_number("both.lift1", 1, 25), "both.lift1: channel 1 has 25, and 24 is"),
    "absurd lift": (lifted, set_number("both.lift0", 0, 255), "both.lift0: channel 0 has 255"),
    "slope": (plain, set_manifest(slope=7), None),
    "product": (plain, set_number("conv2.multiplier", 0, 2**30), r"multiplier \* clip\(acc\) of"),
    "v": (
        plain,
        set_number("conv3.bias", 1, 2**31 - 1),
        "conv3: channel 1: v of .* 33 bits: 31 are",
    ),
    "logits": (residual, set_number("dense.bias", 1, 2**31 - 1), "dense: channel 1: v of"),
    "sum of sums": (residual, set_number("shortcut.bias", 2, 2**31 - 2**22), "block2: channel 2"),
    "exponent of sums": (plain, set_layer(4, exponent=-3), "average: exponent is -3, and must be"),
    "output_exponent": (
        plain,
        set_manifest(output_exponent=-20),
        "exponent is .*, and must be -20",
    ),
    "other exponents": (residual, set_layer(2, exponent=-9), None),
}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule(rule):
    make, change, pattern = RULES[rule]
    net = make(1)
    change(net)
    found = reasons(net)  # with certificates that fit the changed numbers
    if pattern is None:  # a change that is allowed
        assert found == []
    else:
        assert any(re.search(pattern, reason) for reason in found), found


def test_the_widest_that_is_allowed():
    for height, found in (8, 0), (9, 1):
        b = Builder(1, [16, height, 1])
        b.average("average", "image", -16)  # -128 x 16 x 8 << 16 is -2^30
        b.dense("dense", "average", 2)
        assert len(reasons(b.net())) == found
    for output, bias, found in (None, 2**30 - 1, 0), (None, 2**30, 1), (-3, 2**31 - 1, 0):
        b = Builder(1, [1, 1, 1])
        b.conv("conv", "image", 1, size=1, output=output)
        b.add("add", ["conv", "image"], -3)
        b.average("average", "add", None)
        net = b.net()
        net.numbers |= {"conv.terms": [[]], "conv.bias": [bias]}
        assert len([reason for reason in reasons(net) if reason.startswith("conv: ")]) == found


def test_low_may_be_high():
    net = plain(1)
    net.numbers["conv1.low"][2] = net.numbers["conv1.high"][2] = -7
    assert reasons(net) == []


def dense_of_equal_filters(inputs, terms):
    b = Builder(1, [inputs])
    b.dense("dense", "image", 1)
    net = b.net()
    net.numbers |= {"dense.terms": [[[term] * inputs for term in terms]], "dense.bias": [0]}
    return net


def test_where_float32_ends():
    net = dense_of_equal_filters(1024, [(1, 7)])
    assert oracle.certify(net)[0]["dense"][0][2:8:5] == [2**24, 0]
    assert reasons(net) == []
    net.numbers["dense.terms"][0][0][5] = (-1, 6)
    assert oracle.certify(net)[0]["dense"][0][2:8:5] == [2**24 - 128 * 128 + 127 * 64, 1]
    assert reasons(net) == []


@pytest.mark.quick(0)
def test_partial_sums_count_terms_that_cancel():
    net = dense_of_equal_filters(65536, [(1, 7), (-1, 7), (1, 6)])  # 64 each, of 192 and -128
    found = reasons(net)
    assert "dense: channel 0: partial sums of -2675965952 to 2675965952 take 33 bits" in found[-1]


def test_multipliers_of_too_many_powers():
    net = plain(2, affine_terms=2)
    for multiplier, powers in (7, 2), (-24, 2), (11, 3), (-77, 4):
        net.numbers["conv2.multiplier"][3] = multiplier
        found = reasons(net)
        assert bool(found) == (powers > 2)
        assert all(
            f"filter 3 has {multiplier}, the sum of no fewer than {powers}" in f for f in found
        )


@pytest.mark.exhaustive
@pytest.mark.slow
def test_signed_powers_and_widths_are_the_loops():
    for n in (*range(-600, 600), 2**31 - 1, -(2**31), 0x55555555, 0x2AAAAAAB):
        assert certificate.signed_powers(n) == oracle.signed_powers(n)
        assert certificate.width(-abs(n), n) == oracle.bits(-abs(n), n)


def test_the_unused_half_byte():
    net = NETS["matrix"](1)
    net.numbers["dense.terms"] = [[[(1, 0)] * 5], [], []]
    tensors = tensors_of(net, [], oracle.certify(net)[0])
    assert check(read(assemble(json.dumps(net.manifest), tensors))) == []
    dtype, shape, data = tensors["dense.codes"]
    tensors["dense.codes"] = (dtype, shape, data[:-1] + bytes([data[-1] | 16]))
    found = check(read(assemble(json.dumps(net.manifest), tensors)))
    assert found == ["dense.codes: the bits behind the last code must be 0"]


def test_every_column_of_a_certificate():
    net = residual(3)
    right, _ = oracle.certify(net)
    for name, columns in ("first", certificate.FILTER_COLUMNS), ("block2", certificate.ADD_COLUMNS):
        for i, column in enumerate(columns):
            for change in (-1, 1):
                rows = {key: [row.copy() for row in value] for key, value in right.items()}
                rows[name][2][i] += change
                (reason,) = reasons(net, certificates=rows)
                has, needs = rows[name][2][i], right[name][2][i]
                expected = f"{name}.certificate: channel 2: {column} is {has}, and must be {needs}"
                assert reason == expected


@pytest.mark.parametrize("name", NETS)
def test_golden_outputs_are_compared(name):
    net = NETS[name](4)
    images = [image(net, 3), image(net, 200)]
    tensors = tensors_of(net, images, oracle.certify(net)[0])
    manifest = json.dumps(net.manifest | {"golden": 2})
    for layer in net.manifest["layers"]:
        key = f"golden.{layer['name']}"
        dtype, shape, data = tensors[key]
        wrong = data[:-1] + bytes([data[-1] ^ 1])
        found = check(read(assemble(manifest, tensors | {key: (dtype, shape, wrong)})))
        assert len(found) == 1
        last = [axis - 1 for axis in shape[1:]]
        assert found[0].startswith(f"{key}: image 1 at {last} has ")


def test_a_changed_weight_shows_in_the_golden_outputs():
    net = residual(5)
    tensors = tensors_of(net, [image(net, 240)], oracle.certify(net)[0])
    net.numbers["first.bias"] = [bias + 2**13 for bias in net.numbers["first.bias"]]
    changed = tensors_of(net, [], oracle.certify(net)[0])
    golden = {name: tensor for name, tensor in tensors.items() if name.startswith("golden.")}
    found = check(read(assemble(json.dumps(net.manifest | {"golden": 1}), changed | golden)))
    assert found
    assert found[0].startswith("golden.first: image 0 at [0, 0, ")
    assert "and the interpreter computes" in found[0]


def test_the_command(tmp_path, capsys):
    net = plain(1)
    path = tmp_path / "net.safetensors"
    path.write_bytes(write(net, [image(net)]))
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == "valid: small, 5 layers, 1 golden images\n"
    rows, _ = oracle.certify(net)
    rows["conv1"][0][2] += 1
    rows["conv2"][1][0] += 1
    path.write_bytes(write(net, certificates=rows))
    assert main([str(path)]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed] == ["conv1.certificate", "conv2.certificate"]
    path.write_bytes(path.read_bytes()[:-1])
    assert main([str(path)]) == 2
    assert main([str(tmp_path / "none")]) == 2
    assert "cannot be read: cannot read" in capsys.readouterr().err
