"""The independent interpreter against loops over Python's integers."""

import random
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.checker.interpreter import activate, classify, even, run
from flightnn_jax.checker.reader import read
from tests.support import integers_oracle as oracle
from tests.support.integers_writer import NETS, Builder, random_image, write


def extremes(shape):
    """All 0, all 255, both checkerboards, and single bright and dark places."""
    shape = tuple(shape)
    board = np.indices(shape).sum(axis=0) % 2 * 255
    images = [np.zeros(shape, int), np.full(shape, 255), board, 255 - board]
    for place in (0, np.prod(shape) // 2, np.prod(shape) - 1):
        one_hot = np.zeros(shape, int)
        one_hot.flat[place] = 255
        images += [one_hot, 255 - one_hot]
    return [image.tolist() for image in images]


def assert_same(net, images):
    outputs = run(read(write(net)), np.array(images, np.uint8))
    assert list(outputs) == [layer["name"] for layer in net.manifest["layers"]]
    for i, image in enumerate(images):
        for name, expected in oracle.run(net, image).items():
            assert outputs[name].dtype == np.int64
            assert_array_equal(outputs[name][i], np.array(expected), err_msg=f"{name}, image {i}")


@pytest.mark.whole(7)
@pytest.mark.parametrize("options", [{}, {"slope": 1}, {"slope": 7, "affine_terms": 2}], ids=str)
@pytest.mark.parametrize("name", NETS)
@pytest.mark.quick(5)
def test_every_layer_is_the_loops(name, options):
    for seed in range(4):
        net = NETS[name](seed, **options)
        shape = net.manifest["input_shape"]
        draw = random.Random(seed)
        assert_same(net, [*extremes(shape), *(random_image(shape, draw) for _ in range(3))])


@pytest.mark.parametrize("size", [1, 3, 5, 9])
@pytest.mark.parametrize("stride", [1, 2, 3, 7])
def test_windows_at_every_border(size, stride):
    draw = random.Random(size + 10 * stride)
    for height, width in (1, 1), (1, 6), (2, 5), (4, 3), (7, 8):
        b = Builder(stride, [height, width, 1])
        b.conv("conv", "image", 3, size=size, stride=stride, weights="integer")
        b.average("average", "conv", None)
        assert_same(b.net(), [random_image([height, width, 1], draw) for _ in range(3)])


def test_an_average_shifts_either_way():
    for shift in (-16, -3, 0, 1, 5, 30):
        b = Builder(1, [3, 4, 2])
        b.average("average", "image", shift)
        b.dense("dense", "average", 2)
        assert_same(b.net(), extremes([3, 4, 2]))


def test_ties_of_an_average():
    b = Builder(1, [2, 2, 1])
    b.average("average", "image", 2)
    b.dense("dense", "average", 2)
    sums = {126: 0, 130: 0, 134: 2, 138: 2, 122: -2, 118: -2}  # of +-2, +-6 and +-10, by four
    for byte, rounded in sums.items():
        image = np.array([128, 128, 128, byte], np.uint8).reshape(1, 2, 2, 1)
        assert run(read(write(b.net())), image)["average"].tolist() == [[rounded]]


def test_even_is_the_fractions():
    values = [*range(-130, 131), *(s * 2**31 + d for s in (-1, 1) for d in range(-3, 4))]
    values += [s * (2 * m + 1) * 2**28 for s in (-1, 1) for m in range(4)]
    for n in (0, 1, 2, 3, 7, 29, 30):
        expected = [round(Fraction(v, 2**n)) for v in values]
        assert even(np.array(values), n).tolist() == expected


def test_activate_on_both_sides():
    # 6 / 4 = 1.5 and 10 / 4 = 2.5 are ties; -48 / 32 = -1.5 and -80 / 32 = -2.5 likewise
    v = np.array([[6, 10, -48, -80, 0, -1, 507, 508, 510, -4096, -4112, -4113]])
    expected = [[2, 2, -2, -2, 0, 0, 127, 127, 127, -128, -128, -128]]
    assert activate(v, np.full(12, 2, np.uint8), 3).tolist() == expected


def test_a_filter_without_terms_gives_its_bias():
    b = Builder(3, [2, 2, 1])
    b.conv("conv", "image", 2)
    b.average("average", "conv", None)
    net = b.net()
    net.numbers |= {"conv.terms": [[], []], "conv.bias": [-4096, 4096], "conv.shift": [4, 9]}
    net.numbers |= {"conv.low": [-5, 2], "conv.high": [5, 3], "conv.multiplier": [7, 1024]}
    outputs = run(read(write(net)), np.full((1, 2, 2, 1), 200, np.uint8))
    # -4096 / 2^7; and low = 2 lifts acc = 0: (2 1024 + 4096) / 2^9
    assert outputs["conv"][0, 0, 0].tolist() == [-32, 12]
    assert_same(net, extremes([2, 2, 1]))


def test_the_largest_numbers():
    b = Builder(5, [1, 1, 1])
    b.conv("conv", "image", 2, size=1, weights="integer")
    b.average("average", "conv", None)
    net = b.net()
    net.numbers |= {"conv.integers": [[-8], [7]], "conv.multiplier": [-(2**21) + 1, 2**21 - 1]}
    net.numbers |= {"conv.low": [-1023, -1023], "conv.high": [1023, 1023], "conv.shift": [0, 24]}
    net.numbers |= {"conv.bias": [0, -(2**21)]}
    assert_same(net, [[[[byte]]] for byte in (0, 1, 127, 128, 129, 255)])


def test_classify_takes_the_first_of_equal_logits():
    b = Builder(1, [2, 2, 3])
    b.average("average", "image", None)
    network = read(write(b.net()))
    images = np.zeros((5, 2, 2, 3), np.uint8)
    images[1, ..., 1] = images[2, ..., 2] = images[3, ..., 1:] = 9
    for batch in (1, 2, 3, 7):
        assert classify(network, images, batch).tolist() == [0, 1, 2, 1, 0]
    assert classify(network, images[:0]).tolist() == []


@pytest.mark.parametrize(
    "images", [np.zeros((1, 5), int), np.zeros(5, np.uint8), np.zeros((1, 4), np.uint8)]
)
def test_only_bytes_of_the_right_shape(images):
    with pytest.raises(ValueError, match=r"the network takes uint8 \[batch, 5\]"):
        run(read(write(NETS["matrix"]())), images)
