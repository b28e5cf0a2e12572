"""Images of any shape and networks of any length: every path, the file and the checker agree."""

import pytest

from flightnn_jax import integer
from flightnn_jax.checker import checker, reader
from flightnn_jax.integer import verify
from flightnn_jax.integer.export import stablehlo
from tests.support import brute_force, integer_files
from tests.support.networks_at_random import random_chain, random_images

# One channel, one pixel, a row, squares of odd and of even size, neither, and channels alone.
SHAPES = [(1, 1, 1), (1, 9, 2), (5, 5, 1), (6, 6, 1), (4, 10, 3), (7, 5, 3), (11, 6, 2), (12,)]
WITHOUT_JAX = ("independent", "onnx")


def check_network(network, runners):
    """Each of these runners against brute force; the file, certificate and checker besides."""
    data = integer.to_bytes(network)
    integer_files.assert_same(integer.from_bytes(data), network)
    assert checker.check(reader.read(data)) == []
    images = random_images(network, 4)
    outputs = brute_force.layer_outputs(network, images)
    for layer in network.layers:
        if integer.outputs(network)[layer.name].sums and hasattr(layer, "certificate"):
            v_min, v_max = layer.certificate[:, [4, 5]].T
            assert (v_min <= outputs[layer.name]).all()
            assert (outputs[layer.name] <= v_max).all()
    right = {"brute force": lambda x: brute_force.layer_outputs(network, x)}
    report = verify.compare(network, right | runners, [(images[:3], None), (images[3:], None)])
    assert report.mismatches == 0, str(report)


def test_chains_have_every_kind_of_layer_and_length():
    networks = [random_chain(seed) for seed in range(40)]
    kinds = {type(layer).__name__ for network in networks for layer in network.layers}
    assert kinds == {"Convolution", "Add", "MaxPool", "Average", "Dense"}
    assert {len(network.layers) for network in networks} >= {1, 2, 3, 5, 8}
    kernels = [layer.weights.shape for network in networks for layer in network.weighted]
    assert {shape[0] for shape in kernels if len(shape) == 4} == {1, 3, 5, 7}


@pytest.mark.quick(0)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_images_of_every_shape(shape):
    paths = [name for name in WITHOUT_JAX if name not in verify.unavailable()]
    for seed in range(4):
        network = random_chain(seed, shape)
        check_network(network, {name: verify.PATHS[name].runner(network) for name in paths})


@pytest.mark.whole(2)
@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES[:4], ids=str)
def test_every_path_takes_images_of_every_shape(shape):
    window = (3, 5, 7, 1)[SHAPES.index(shape)]
    network = random_chain(window + sum(shape), shape, [window])
    runners = verify.runners(network)
    last, infer = network.layers[-1].name, stablehlo.from_stablehlo(stablehlo.to_stablehlo(network))
    runners["stablehlo"] = lambda images: {last: infer(images)}
    check_network(network, runners)
