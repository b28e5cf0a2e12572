"""Both sides of the document meet: files of one are read, certified and run by the other."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax import integer
from flightnn_jax.checker import checker, container, interpreter, reader
from flightnn_jax.training import export
from tests.integer import test_files_fuzz
from tests.support import brute_force, integer_files
from tests.support.mutations import mutated_parts
from tests.support.networks_at_random import (
    random_chain,
    random_images,
    random_network,
    random_networks,
)

# Without coverage, which these lines have from other tests: it costs more than half of the time.
pytestmark = pytest.mark.slow

NETWORKS = dict(random_networks())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_checker_gives_the_same_integers(name):
    network = NETWORKS[name]
    read = reader.read(integer.to_bytes(network))
    assert checker.check(read) == []
    images = random_images(network, 4, seed=1)
    actual, wanted = interpreter.run(read, images), brute_force.layer_outputs(network, images)
    assert actual.keys() == wanted.keys()
    for layer, output in wanted.items():
        assert_array_equal(actual[layer], output, err_msg=layer)


def test_golden_outputs_are_confirmed():
    network = random_network(kind="resnet")
    network = export.with_golden(network, random_images(network, 2))
    data = integer.to_bytes(network)
    assert checker.check(reader.read(data)) == []
    manifest, tensors = integer_files.parts(data)
    tensors["golden.block1"][0, 0, 0, 0] ^= 1
    assert checker.check(reader.read(integer_files.sealed(manifest, tensors)))


def accepted(data):
    """Whether each of the two readers takes a file."""
    try:
        integer.from_bytes(data)
        ours = True
    except integer.IntegerNetworkError:
        ours = False
    try:
        theirs = not checker.check(reader.read(data))
    except container.FileError:
        theirs = False
    return ours, theirs


def test_both_refuse_the_same_bits():
    """Of changed tensors under a digest that fits; golden images apart, which only one runs."""
    rng = np.random.default_rng(0)
    data = integer.to_bytes(random_network(width=2, size=4))
    names = [name for name in integer_files.parts(data)[1] if not name.startswith("golden")]
    refused = 0
    for _ in range(250):
        manifest, tensors = integer_files.parts(data)
        array = tensors[names[rng.integers(len(names))]].reshape(-1).view(np.uint8)
        array[rng.integers(array.size)] ^= 1 << rng.integers(8)
        ours, theirs = accepted(integer_files.sealed(manifest, tensors))
        assert ours == theirs
        refused += not ours
    assert 125 < refused < 250  # a bias or a shift may be another one


FILES = [
    *test_files_fuzz.FILES,
    *(integer.to_bytes(random_chain(seed, (12,))) for seed in (0, 1)),
    integer.to_bytes(random_chain(3, (5, 3, 1))),
]


@pytest.mark.whole(2)
@pytest.mark.parametrize("file", range(len(FILES)))
def test_both_refuse_the_same_manifests_and_tensors(file):
    """Entries and tensors removed, added and replaced, under a digest that fits them."""
    rng = np.random.default_rng(file)
    taken = 0
    for _ in range(200):
        data = mutated_parts(rng, FILES[file])
        ours, theirs = accepted(data)
        assert ours == theirs, integer_files.parts(data)[0]
        taken += ours
    assert 3 < taken < 170  # labels, exponents and golden tensors of no images


def test_golden_tensors_may_be_left_out_where_there_are_none():
    network = random_network(width=2, size=4)
    manifest, tensors = integer_files.parts(integer.to_bytes(network))
    for names in (["golden.image"], [name for name in tensors if name.startswith("golden.")]):
        kept = {name: array for name, array in tensors.items() if name not in names}
        data = integer_files.sealed(manifest, kept)
        assert accepted(data) == (True, True)
        integer_files.assert_same(integer.from_bytes(data), network)
        assert accepted(integer_files.sealed(manifest | {"golden": 1}, kept)) == (False, False)
