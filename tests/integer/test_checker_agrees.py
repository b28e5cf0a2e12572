"""Both sides of the document meet: files of one are read, certified and run by the other."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.checker import checker, container, interpreter, reader
from flightnn_jax.integer import IntegerNetworkError, files
from flightnn_jax.integer.inference import float32
from flightnn_jax.training import export
from tests.support import integer_files
from tests.support.networks_at_random import random_images, random_network, random_networks

pytestmark = pytest.mark.slow

NETWORKS = dict(random_networks())


@pytest.mark.parametrize("name", NETWORKS)
def test_both_give_the_same_integers(name):
    network = NETWORKS[name]
    read = reader.read(files.to_bytes(network))
    assert checker.check(read) == []
    images = random_images(network, 4, seed=1)
    found, wanted = float32.function_of(network)(images), interpreter.run(read, images)
    assert found.keys() == wanted.keys()
    for layer, output in wanted.items():
        assert_array_equal(found[layer], output, err_msg=layer)


def test_golden_outputs_are_confirmed():
    network = random_network(kind="resnet")
    network = export.with_golden(network, random_images(network, 2))
    data = files.to_bytes(network)
    assert checker.check(reader.read(data)) == []
    manifest, tensors = integer_files.parts(data)
    tensors["golden.block1"][0, 0, 0, 0] ^= 1
    assert checker.check(reader.read(integer_files.sealed(manifest, tensors)))


def test_both_refuse_the_same_files():
    """Of mutated files under a digest that fits them; golden images apart, which only one runs."""
    rng = np.random.default_rng(0)
    data = files.to_bytes(random_network(width=2, size=4))
    names = [name for name in integer_files.parts(data)[1] if not name.startswith("golden")]
    refused = 0
    for _ in range(2000):
        manifest, tensors = integer_files.parts(data)
        array = tensors[names[rng.integers(len(names))]].reshape(-1).view(np.uint8)
        array[rng.integers(array.size)] ^= 1 << rng.integers(8)
        mutated = integer_files.sealed(manifest, tensors)
        try:
            files.from_bytes(mutated)
            ours = True
        except IntegerNetworkError:
            ours = False
        try:
            theirs = not checker.check(reader.read(mutated))
        except container.FileError:
            theirs = False
        assert ours == theirs
        refused += not ours
    assert 1000 < refused < 2000  # a bias or a shift may be another one
