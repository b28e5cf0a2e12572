"""Invariants of integer networks: each is broken once, and the error says what and where."""

import dataclasses

import numpy as np
import pytest

from flightnn_jax.integer import (
    Affine,
    Average,
    Convolution,
    Golden,
    IntegerNetworkError,
    IntegerWeights,
    MaxPool,
    ShiftWeights,
    certificate,
    invariants,
    shapes,
)
from tests.support.networks_at_random import (
    KINDS,
    WEIGHTS,
    random_images,
    random_network,
    with_layer,
)

VGG = random_network()
RESNET = random_network(kind="resnet", weights="shift1")
INTEGER = random_network(weights="integer", affine_terms=2)


def layer_of(network, name):
    return next(layer for layer in network.layers if layer.name == name)


def affine_with(network, name, **parts):
    affine = layer_of(network, name).affine
    changed = {part: getattr(affine, part).copy() for part in ("multiplier", "bias", "low", "high")}
    for part, value in parts.items():
        changed[part][-1] = value
    return with_layer(network, name, affine=Affine(**changed))


def weights_with(network, name, change, **changes):
    """With copies of a layer's weights, which `change` writes on."""
    weights = layer_of(network, name).weights
    arrays = {k: v.copy() for k, v in vars(weights).items()}
    if change is not None:
        change(arrays)
    return with_layer(network, name, weights=type(weights)(**arrays | changes))


def put(part, index, value):
    def change(arrays):
        arrays[part][index] = value

    return change


def first_empty(network, name):
    """The filter of the fewest terms."""
    return int(np.argmin(layer_of(network, name).weights.k))


def filled(network, name, part):
    """A value where no term is."""
    return put(part, (-1, 0, 0, 0, first_empty(network, name)), 1)


def renamed(network, old, new):
    return with_layer(network, old, name=new)


def replaced(network, **fields):
    return dataclasses.replace(network, **fields)


def golden(**outputs):
    good = {
        layer.name: np.zeros(
            (1, *shapes.outputs(VGG)[layer.name].shape),
            np.int32 if shapes.outputs(VGG)[layer.name].sums else np.int8,
        )
        for layer in VGG.layers
    }
    return replaced(VGG, golden=Golden(random_images(VGG, 1), good | outputs))


def shifted(network, name, value):
    shift = layer_of(network, name).shift.copy()
    shift[0] = value
    return with_layer(network, name, shift=shift)


WINDOW = (3, 105, 105, 4, 8)  # 3 terms of 2**7: 128 * 3 * 105 * 105 * 4 * 2**7 > 2**31
WIDE = ShiftWeights(np.ones(WINDOW, np.int8), np.full(WINDOW, 7, np.uint8), np.full(8, 3, np.uint8))
# The product alone passes 32 bits, and the bias brings it back.
CANCELLED = {"low": 65537, "high": 65537, "multiplier": -(1 << 15), "bias": 1 << 20}
BROKEN = {
    "slope": (replaced(VGG, slope=8), "network: slope=8: the leaky ReLU's shift is 1 to 7"),
    "slope is a float": (replaced(VGG, slope=3.0), "slope=3.0"),
    "image": (replaced(VGG, input_shape=(8, 8)), r"network: shape \(8, 8\): it has 1 or 3 axes"),
    "huge image": (replaced(VGG, input_shape=(65536,) * 3), "too large"),
    "no layers": (replaced(VGG, layers=()), "0 layers: 1 to 4,096"),
    "terms": (replaced(VGG, affine_terms=33), "affine_terms=33: a multiplier has 1 to 32"),
    "output exponent": (replaced(VGG, output_exponent=-5000), "output_exponent=-5000"),
    "name": (replaced(VGG, name=None), "name=None: it is a text"),
    "label": (replaced(VGG, labels=(1, 2, 3, 4, 5)), "label=1: it is a text"),
    "labels": (replaced(VGG, labels=("a",)), "1 labels for 5 classes: a text for each"),
    "provenance": (replaced(VGG, provenance={"a": object()}), "provenance: it is texts and"),
    "layer name": (renamed(VGG, "conv3", "conv 3"), "'conv3', which is no layer|'conv 3'"),
    "reads itself": (with_layer(VGG, "pool1", input="pool1"), "pool1: it reads 'pool1', which"),
    "unread": (with_layer(VGG, "conv2", input="image"), "nothing reads it|channels"),
    "name twice": (renamed(VGG, "pool1", "conv1"), "conv1: an earlier layer has this name"),
    "pool of odd": (replaced(VGG, input_shape=(7, 8, 3)), "pool1: a 2x2 pool on 7x8"),
    "channels": (replaced(VGG, input_shape=(8, 8, 1)), "conv1: weights of shape .* on 1 channels"),
    "two logits": (with_layer(VGG, "average", shift=4), "average: the last layer"),
    "pool of numbers": (
        replaced(VGG, layers=(*VGG.layers[:-1], Average("a", "conv3", 4, 0), MaxPool("p", "a"))),
        r"p: its input has the shape \(5,\), and must have 3 axes",
    ),
    "sums read": (with_layer(VGG, "conv1", shift=None), "pool1: it reads sums: only an add does"),
    "average exponent": (with_layer(VGG, "average", exponent=None), "average: exponent=None"),
    "average shift": (
        with_layer(RESNET, "average", shift=31),
        "average: shift=31: it is -16 to 30",
    ),
    "stride": (with_layer(VGG, "conv2", stride=0), "conv2: stride=0: it is 1 to 65,536"),
    "weight exponent": (with_layer(VGG, "conv1", weight_exponent=2000), "weight_exponent=2000"),
    "multiplier type": (
        with_layer(VGG, "conv1", affine=Affine(*[np.zeros(4, np.int64)] * 4)),
        "conv1: multiplier is int64 of shape",
    ),
    "low above high": (affine_with(VGG, "conv1", low=1, high=0), "low above high"),
    "terms of a multiplier": (
        affine_with(INTEGER, "conv1", multiplier=11),
        "conv1: a multiplier of 3 signed powers of two: affine_terms=2",
    ),
    "v": (affine_with(VGG, "conv1", bias=(1 << 31) - 1), "conv1: v_width=32 in filter 3: 31 bits"),
    "v of a sum": (
        affine_with(RESNET, "block1_second", bias=-(1 << 31), multiplier=1, low=-1, high=-1),
        "block1_second: v_width=33 in filter 3: 32 bits",
    ),
    "products": (
        affine_with(RESNET, "block1_second", **CANCELLED),
        "block1_second: width of products=33",
    ),
    "shift": (shifted(VGG, "conv1", 28), "conv1: shift from .* to 28: each is from 0 to 27"),
    "shift of an add": (shifted(RESNET, "block1", 28), "block1: shift from .* to 28"),
    "shift type": (
        with_layer(VGG, "conv1", shift=np.zeros(4, np.int32)),
        r"conv1: shift is int32 of shape \(4,\): it is an array of uint8",
    ),
    "lift": (
        with_layer(RESNET, "block1", lift=(None, np.full(4, 25, np.uint8))),
        "block1: lift1 from .* to 25: each is from 0 to 24",
    ),
    "lift of sums": (
        with_layer(RESNET, "block1", lift=(np.zeros(4, np.uint8), np.zeros(4, np.uint8))),
        "block1: input block1_second is sums: activations have a lift, and sums have none",
    ),
    "no lift": (
        with_layer(RESNET, "block1", lift=(None, None)),
        "block1: input pool1 is activations",
    ),
    "added shapes": (
        with_layer(RESNET, "block1", inputs=("block1_second", "conv1")),
        "block1: its inputs have the shapes",
    ),
    "sign": (weights_with(VGG, "conv1", put("sign", (0, 0, 0, 0, 0), 0)), "term 0 has signs"),
    "sign beyond k": (weights_with(VGG, "conv1", filled(VGG, "conv1", "sign")), "term 1 has signs"),
    "shift beyond k": (
        weights_with(VGG, "conv1", filled(VGG, "conv1", "shift")),
        "term 1 has shifts: a shift is 0 where the sign is 0",
    ),
    "shift of a term": (
        weights_with(VGG, "conv1", put("shift", (0, 0, 0, 0, 0), 8)),
        "conv1: shift from 0 to 8: each is from 0 to 7",
    ),
    "k": (weights_with(VGG, "conv1", put("k", 0, 4)), "conv1: k from .* to 4"),
    "terms without k": (
        weights_with(VGG, "conv1", None, k=np.ones(4, np.uint8)),
        "conv1: 2 terms and k up to 1: there are as many terms as the largest k",
    ),
    "even window": (
        with_layer(INTEGER, "conv1", weights=IntegerWeights(np.ones((2, 2, 3, 4), np.int8))),
        "conv1: a window of 2x2: it is square and odd",
    ),
    "five bits": (
        with_layer(INTEGER, "conv1", weights=IntegerWeights(np.full((3, 3, 3, 4), 8, np.int8))),
        "conv1: weights from -8 to 8",
    ),
    "accumulators": (
        with_layer(INTEGER, "conv2", weights=WIDE),
        "conv2: acc_width=33 in filter 0: 32 bits are the most",
    ),
    "certificate": (
        with_layer(VGG, "conv2", certificate=layer_of(VGG, "conv2").certificate + 1),
        "conv2: the certificate says acc_min=.* of filter 0, where .* follows from the weights",
    ),
    "certificate of an add": (
        with_layer(RESNET, "block1", certificate=layer_of(RESNET, "block1").certificate + 1),
        "block1: the certificate says v_min=",
    ),
    "exponent of the logits": (
        with_layer(VGG, "average", exponent=3),
        "average: exponent=3: it is output_exponent=-9",
    ),
    "no golden images": (
        replaced(VGG, golden=Golden(random_images(VGG, 0), {})),
        "golden: 0 images: 1 to 65,536, or None",
    ),
    "golden output": (golden(conv1=np.zeros((1, 8, 8, 4), np.int32)), "golden: conv1 is int32"),
    "golden name": (golden(conv9=np.zeros(1, np.int8)), r"golden: outputs of \['conv9'\]"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_invariant_is_named(name):
    network, message = BROKEN[name]
    with pytest.raises(IntegerNetworkError, match=message):
        invariants.check(network)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_networks_at_random_have_what_tests_need(kind, weights):
    network = random_network(3, kind, weights, extreme=True)
    filters = [layer for layer in network.layers if isinstance(layer, Convolution)]
    if weights != "integer":
        assert any((layer.weights.k == 0).any() for layer in filters)
        assert {isinstance(layer.weights, ShiftWeights) for layer in filters} == {True}
    acc = [certificate.accumulators(layer.weights) for layer in filters]
    clips = [
        (layer.affine.low > a.low) | (layer.affine.high < a.high)
        for layer, a in zip(filters, acc, strict=True)
    ]
    assert {False, True} <= set(np.concatenate(clips).tolist())
    signs = np.concatenate([np.sign(layer.affine.multiplier) for layer in filters])
    assert set(signs.tolist()) == {-1, 0, 1}


def test_shapes_of_a_resnet():
    outputs = shapes.outputs(RESNET)
    assert {name: output.shape for name, output in outputs.items()} == {
        "image": (8, 8, 3),
        "conv1": (4, 4, 4),
        "pool1": (2, 2, 4),
        "block1_first": (2, 2, 4),
        "block1_second": (2, 2, 4),
        "block1": (2, 2, 4),
        "block2_first": (1, 1, 8),
        "block2_second": (1, 1, 8),
        "block2_shortcut": (1, 1, 8),
        "block2": (1, 1, 8),
        "both": (1, 1, 8),
        "average": (8,),
        "dense": (5,),
    }
    sums = {"block1_second", "block2_second", "block2_shortcut", "dense"}
    assert {name for name, output in outputs.items() if output.sums} == sums


def test_powers_needed_is_the_least():
    """Against all sums of at most three signed powers."""
    powers = [sign << e for e in range(8) for sign in (-1, 1)]
    reached = {0: 0}
    for count in (1, 2, 3):
        for value in list(reached):
            for power in powers:
                reached.setdefault(value + power, count)
    values = np.arange(-100, 101)
    counts = invariants.powers_needed(values)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        assert count == reached.get(value, 4)
