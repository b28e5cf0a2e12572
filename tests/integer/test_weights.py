"""A kind of weights is one class: what is asked of it."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax import integer
from flightnn_jax.checker import reader
from flightnn_jax.checker.container import FileError
from flightnn_jax.checker.kinds import unpack_codes
from flightnn_jax.integer import certificate, codes, tables, verify
from tests.support import brute_force, integer_files
from tests.support.networks_at_random import WEIGHTS, random_images, random_network


def test_one_bit_is_a_weight():
    weights = random_network(weights="binary").layers[0].weights
    (data,) = weights.tensors().values()
    assert data.size == -(-weights.negative.size // 8)
    assert sum(int(byte).bit_count() for byte in data) == weights.negative.sum()
    wrong = integer.BinaryWeights(weights.negative * 2)
    with pytest.raises(integer.IntegerNetworkError, match="conv1: weights from 0 to 2: each is"):
        wrong.check("conv1", 4)


def test_files_with_binary_weights_are_of_version_3():
    network = random_network(weights="binary")
    manifest, tensors = integer_files.parts(integer.to_bytes(network))
    assert manifest["version"] == 3
    integer_files.assert_same(integer.from_bytes(integer.to_bytes(network)), network)
    others, _ = integer_files.parts(integer.to_bytes(random_network()))
    assert others["version"] == 2
    with pytest.raises(integer.IntegerNetworkError, match="version 2 with weights that ask for 3"):
        integer.from_bytes(integer_files.sealed(manifest | {"version": 2}, tensors))
    old, tensors = integer_files.parts(integer.to_bytes(random_network()))
    with pytest.raises(integer.IntegerNetworkError, match="version 3 with weights that ask for 1"):
        integer.from_bytes(integer_files.sealed(old | {"version": 3}, tensors))


def test_a_level_is_a_weight():
    network = random_network(weights="codebook")
    data = integer.to_bytes(network)
    manifest, tensors = integer_files.parts(data)
    assert manifest["version"] == 4
    integer_files.assert_same(integer.from_bytes(data), network)
    weights = network.layers[0].weights
    assert weights.bits == 3
    assert weights.tensors()["codes"].size == -(-weights.index.size * 3 // 8)
    levels, codes = tensors["conv1.levels"], tensors["conv1.codes"]
    wrong = {
        "levels .* larger than the one before": {"conv1.levels": levels[::-1].copy()},
        "of shape .0,.: there are 1 to 256": {"conv1.levels": levels[:0]},
        "codes from 0 to [567]: each is from 0 to 4": {"conv1.codes": codes | 7},
        "codes is uint8 of shape": {"conv1.codes": codes[1:]},
    }
    for message, changes in wrong.items():
        sealed = integer_files.sealed(manifest, tensors | changes)
        with pytest.raises(integer.IntegerNetworkError, match=message):
            integer.from_bytes(sealed)
        with pytest.raises(FileError):
            reader.read(sealed)


@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_of_any_bits_lie_without_gaps(bits):
    for count in (1, 7, 8, 21):
        numbers = np.random.default_rng(count).integers(0, 1 << bits, count, np.uint8)
        packed = codes.pack(numbers, bits)
        whole = sum(int(n) << bits * i for i, n in enumerate(numbers))
        assert packed.tobytes() == whole.to_bytes(codes.packed_bytes(count, bits), "little")
        assert_array_equal(codes.unpack("x", packed, count, bits), numbers)
        assert_array_equal(unpack_codes(packed, bits)[:count], numbers)


@pytest.mark.whole(1)
@pytest.mark.slow
@pytest.mark.parametrize("weights", ["binary", "codebook"])
def test_every_path_adds_what_these_weights_give(weights):
    network = random_network(2, "resnet", weights, width=2)
    images = random_images(network, 3)
    runners = {
        name: path.runner(network)
        for name, path in verify.PATHS.items()
        if name not in verify.unavailable()
    }
    right = {"brute force": lambda x: brute_force.layer_outputs(network, x)}
    shifts = {"shifts": integer.inference.make_layer_outputs(network, "shifts")}
    runners |= {"tables": integer.inference.make_layer_outputs(network, "tables")}
    assert verify.compare(network, right | shifts | runners, [(images, None)]).mismatches == 0


def test_tables_are_products_of_levels_and_possible_activations():
    network = random_network(weights="codebook")
    census = tables.census(network)
    ranges = {name: (r.low.min(), r.high.max()) for name, r in certificate.reaches(network).items()}
    for layer, table in zip(network.weighted, tables.tables(network), strict=True):
        low, high = ranges[layer.input]
        if layer.weights.shape[0] > 1:
            low, high = min(low, 0), max(high, 0)
        used = sorted(set(layer.weights.levels[layer.weights.index.reshape(-1)].tolist()))
        assert table.products.tolist() == [[a * w for w in used] for a in range(low, high + 1)]
        assert_array_equal(table.levels[table.which], layer.weights.integers())
        assert census.entries[layer.name] == len(used) * (high - low + 1)
    everywhere = [layer.weights.integers().reshape(-1) for layer in network.weighted]
    assert census.values == len(set(np.concatenate(everywhere).tolist()))


@pytest.mark.parametrize("kind", [*WEIGHTS, "binary", "codebook"])
def test_what_a_kind_says_of_itself_fits_together(kind):
    layer = random_network(1, "vgg", kind).layers[2]
    own, taps = layer.weights, int(np.prod(layer.weights.shape[:-1]))
    x = np.arange(-3, taps - 3, dtype=np.int32)[:, None]
    total = np.zeros(own.shape[-1], np.int64)
    for summand in own.summands():
        assert np.unique(summand.filters).size == summand.filters.size
        total[summand.filters] += own.product(x, *summand.operands).sum(axis=0)
    matrix = brute_force.integers(own).reshape(taps, -1)
    assert_array_equal(total, (x * matrix).sum(axis=0))
    assert_array_equal(own.integers().reshape(taps, -1), matrix)
    assert own.codes().shape == (own.passes.sum(), taps)
    if kind.startswith("shift"):
        sizes = (np.abs(own.sign.astype(int)) << own.shift).sum(axis=0)
        least = [min(own.shift[:k, ..., o].flat, default=0) for o, k in enumerate(own.k)]
        assert_array_equal(own.shift_range()[0], least)
    else:
        sizes = np.abs(matrix).reshape(own.shape)
    assert_array_equal(own.sizes(), sizes)
