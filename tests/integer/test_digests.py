"""Digests and their images, by the loops of integers_oracle.py, and faults that they find."""

import dataclasses
import functools
import random

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax import integer
from flightnn_jax.checker import checker, reader
from flightnn_jax.checker import digests as checker_digests
from flightnn_jax.integer import Golden, IntegerNetworkError, certificate, digests, inference, proof
from tests.support import brute_force, integer_files, integers_oracle
from tests.support.integers_writer import NETS, of_version_1, random_image, write
from tests.support.networks_at_random import random_images, random_network, with_layer


def with_examples(network, images=12, seed=3):
    """Two golden images and digests, by the loops of brute_force.py."""
    golden = random_images(network, 2, seed=5)
    outputs = brute_force.layer_outputs(network, golden)
    kinds = {name: np.int32 if o.sums else np.int8 for name, o in integer.outputs(network).items()}
    arrays = {name: output.astype(kinds[name]) for name, output in outputs.items()}
    network = dataclasses.replace(network, golden=Golden(golden, arrays))
    return dataclasses.replace(network, digests=digests.of(network, loops(network), images, seed))


def loops(network):
    """A function that runs `with_sums` of a network."""
    whole = digests.with_sums(network)
    sums = {name for name, output in integer.outputs(whole).items() if output.sums}

    def run(images):
        outputs = brute_force.layer_outputs(whole, images)
        return {
            name: x.astype(np.int32 if name in sums else np.int8) for name, x in outputs.items()
        }

    return run


RESNET = with_examples(random_network(1, "resnet", "shift2"))


@pytest.mark.parametrize("shape", [(5, 3, 2), (1, 9, 1), (8, 8, 3), (7,)], ids=str)
def test_images_are_those_of_the_document(shape):
    draw = random.Random(str(shape))
    golden = [random_image(list(shape), draw) for _ in range(3)]
    array = np.array(golden, np.uint8)
    for j in range(24):
        wanted = integers_oracle.digest_image(golden, 7, j)
        assert_array_equal(digests.image(array, 7, j), wanted)
        assert_array_equal(checker_digests.image(array, 7, j), wanted)


def test_images_are_many_kinds():
    """Dark and bright ones, with and without extremes; every byte comes up."""
    golden = random_images(RESNET, 1)
    images = np.stack([digests.image(golden, 0, j) for j in range(64)])
    assert len(np.unique(images)) == 256
    assert len(np.unique(images.reshape(64, -1), axis=0)) == 64
    means = images.reshape(64, -1).mean(axis=1)
    assert means.min() < 80 < 170 < means.max()


@pytest.mark.quick(0)
@pytest.mark.parametrize("name", NETS)
def test_files_with_digests_are_taken_by_both(name):
    net, draw = NETS[name](2), random.Random(name)
    images = [random_image(net.manifest["input_shape"], draw) for _ in range(2)]
    data = write(net, images, digests=6, seed=2**32 - 1)
    assert checker.check(reader.read(data)) == []
    network = integer.from_bytes(data)
    assert network.digests == digests.of(network, loops(network), 6, 2**32 - 1)
    assert len(network.digests.sums) == len(network.rounded)
    if net.manifest["version"] > 2:  # no older version has its kind of weights
        return
    old = integer.from_bytes(write(of_version_1(net), images))
    assert old.digests is None
    integer_files.assert_same(old, dataclasses.replace(network, digests=None))


@pytest.mark.slow
def test_the_network_of_the_digests():
    """What the fast path gives, and the reference: v of every layer, too."""
    assert proof.differences(RESNET) == []
    shifts = functools.partial(inference.make_layer_outputs, path="shifts")
    assert proof.differences(RESNET, shifts) == []
    assert proof.differences(dataclasses.replace(RESNET, golden=None, digests=None)) == []


def changed(name, part, index, step):
    """RESNET with one number of a layer changed, and a certificate that fits."""
    (layer,) = (layer for layer in RESNET.layers if layer.name == name)
    holder = layer if hasattr(layer, part) else layer.affine
    array = getattr(holder, part).copy()
    array[index] += array.dtype.type(step)
    holder = dataclasses.replace(holder, **{part: array})
    changes = {part: array} if hasattr(layer, part) else {"affine": holder}
    return certificate.certified(with_layer(RESNET, name, **changes))


FAULTS = [
    ("conv1", "bias", 1, 1),
    ("block2_shortcut", "multiplier", 3, -1),
    ("block2", "shift", 0, 1),
    ("dense", "bias", 4, 1),
]


@pytest.mark.whole(1)
@pytest.mark.parametrize(("name", "part", "index", "step"), FAULTS)
@pytest.mark.quick(0)
def test_the_smallest_faults_are_found(name, part, index, step):
    network = changed(name, part, index, step)
    data = integer.to_bytes(network)
    integer.from_bytes(data)  # its certificates are right
    ours, theirs = proof.differences(network), checker.check(reader.read(data))
    assert ours[0].startswith(f"{name}: ")
    assert theirs
    assert any(f".{name} " in reason or f".{name}:" in reason for reason in theirs)


@pytest.mark.quick(0)
def test_wrong_examples_are_named():
    golden = {name: array.copy() for name, array in RESNET.golden.outputs.items()}
    golden["block1"][1, 0, 1, 2] ^= 1
    network = dataclasses.replace(RESNET, golden=Golden(RESNET.golden.images, golden))
    (line,) = proof.differences(network)
    assert line.startswith("block1: golden image 1 at (0, 1, 2) has ")
    other = dataclasses.replace(RESNET.digests, sums={**RESNET.digests.sums, "conv1": "0" * 64})
    (line,) = proof.differences(dataclasses.replace(RESNET, digests=other))
    assert line.startswith("conv1: the digest of its sums over 12 images")
    (reason,) = checker.check(
        reader.read(integer.to_bytes(dataclasses.replace(RESNET, digests=other)))
    )
    assert reason.startswith("digests.sums.conv1 is 0000")


def test_what_two_networks_differ_in():
    assert (
        proof.unlike(RESNET, dataclasses.replace(RESNET, name="other", golden=None, digests=None))
        == []
    )
    (line, *_) = proof.unlike(changed("dense", "bias", 4, 1), RESNET)
    assert line.startswith("dense.bias: ")
    shorter = dataclasses.replace(RESNET, layers=RESNET.layers[:-1])
    assert any(line.startswith("dense.k: shape (5,)") for line in proof.unlike(RESNET, shorter))


WRONG = {
    "no images": {"images": 0},
    "many images": {"images": 1025},
    "true": {"images": True},
    "a seed of 33 bits": {"seed": 1 << 32},
    "a negative seed": {"seed": -1},
    "a layer too few": {"outputs": {"conv1": "0" * 64}},
    "sums of a pool": {"sums": {**RESNET.digests.sums, "pool1": "0" * 64}},
    "upper case": {"outputs": dict.fromkeys(RESNET.digests.outputs, "A" * 64)},
    "a line more": {"outputs": dict.fromkeys(RESNET.digests.outputs, "a" * 64 + "\n")},
    "numbers": {"outputs": dict.fromkeys(RESNET.digests.outputs, 0)},
    "a list": {"sums": []},
    "more": {"more": 1},
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_digests_are_refused_by_both(case):
    manifest, tensors = integer_files.parts(integer.to_bytes(RESNET))
    manifest["digests"] |= WRONG[case]
    data = integer_files.sealed(manifest, tensors)
    with pytest.raises(IntegerNetworkError, match="digests"):
        integer.from_bytes(data)
    with pytest.raises(reader.FileError, match="digests"):
        reader.read(data)


def test_digests_need_golden_images():
    network = dataclasses.replace(RESNET, golden=None)
    with pytest.raises(IntegerNetworkError, match="no golden images"):
        integer.check(network)
    manifest, tensors = integer_files.parts(
        integer.to_bytes(dataclasses.replace(network, digests=None))
    )
    data = integer_files.sealed(manifest | {"digests": vars(RESNET.digests)}, tensors)
    with pytest.raises(IntegerNetworkError, match="no golden images"):
        integer.from_bytes(data)
    with pytest.raises(reader.FileError, match="digests with 0 golden images"):
        reader.read(data)
