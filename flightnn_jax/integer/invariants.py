"""What must hold of an integer network before anything runs it. No JAX.

Every error names the layer, the value, the rule and what to do.
"""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flightnn_jax.integer import certificate, limits, shapes
from flightnn_jax.integer.limits import IMAGE, IntegerNetworkError, require
from flightnn_jax.integer.network import (
    Add,
    Average,
    Convolution,
    Dense,
    Flatten,
    IntegerNetwork,
    Layer,
    MaxPool,
)
from flightnn_jax.integer.weights import Weights


def check(network: IntegerNetwork, version: int = 2) -> None:
    """Checks every invariant of a network and its certificates; runs no image.

    Args:
      network: what to check.
      version: of the file format by whose rules the certificates are.

    Raises:
      IntegerNetworkError: naming the first invariant that does not hold.

    Example:
      >>> from flightnn_jax.integer import MaxPool
      >>> check(IntegerNetwork("net1", (4, 4, 3), (), 9, None, 0, (), {}, None))
      Traceback (most recent call last):
      flightnn_jax.integer.limits.IntegerNetworkError: network: slope=9: the leaky
        ReLU's shift is 1 to 7
    """
    _check_network(network)
    for layer in network.layers:
        _CHECKS[type(layer)](layer, network)
    outputs = shapes.outputs(network)
    _check_graph(network, outputs)
    _check_bounds(network, outputs, version)
    _check_golden(network)
    check_digests(network)


def _check_network(network: IntegerNetwork) -> None:
    where, slope, terms = "network", network.slope, network.affine_terms
    good = limits.whole(slope, 1, limits.MAX_SLOPE)
    require(good, where, f"slope={slope}", f"the leaky ReLU's shift is 1 to {limits.MAX_SLOPE}")
    limits.check_axes(where, network.input_shape, 1, 3)
    count = len(network.layers)
    require(
        1 <= count <= limits.MAX_LAYERS, where, f"{count} layers", f"1 to {limits.MAX_LAYERS:,}"
    )
    require(
        terms is None or limits.whole(terms, 1, limits.MAX_AFFINE_TERMS),
        where,
        f"affine_terms={terms}",
        f"a multiplier has 1 to {limits.MAX_AFFINE_TERMS} signed powers of two, or None for any "
        "integer",
    )
    limits.check_exponent(where, "output_exponent", network.output_exponent)
    for name, text in [("name", network.name), *(("label", text) for text in network.labels)]:
        require(type(text) is str, where, f"{name}={text!r}", "it is a text")
    try:
        texts = [network.name, network.labels, network.provenance]
        json.dumps(texts, allow_nan=False, ensure_ascii=False).encode()
        notes = network.provenance.items()
        plain = all(type(key) is str and type(note) in (str, int, float) for key, note in notes)
    except (TypeError, ValueError, RecursionError):
        plain = False
    require(plain, where, "provenance", "it is texts and finite numbers by name")


def _check_weights(layer: Convolution | Dense, rank: int) -> None:
    known = isinstance(layer.weights, Weights)
    require(known, layer.name, f"weights {type(layer.weights)}", "they are of a kind in weights.py")
    layer.weights.check(layer.name, rank)
    limits.check_exponent(layer.name, "weight_exponent", layer.weight_exponent)


def _check_shift(where: str, shift: Any, channels: int, slope: int) -> None:
    limits.check_array(where, "shift", shift, np.uint8, (channels,))
    limits.check_within(where, "shift", shift, 0, limits.MAX_SHIFT - slope)


def _check_convolution(layer: Convolution, network: IntegerNetwork) -> None:
    name = layer.name
    _check_weights(layer, 4)
    size, width, _, filters = layer.weights.shape
    require(
        size == width and size % 2 == 1, name, f"a window of {size}x{width}", "it is square and odd"
    )
    limits.check_whole(name, "stride", layer.stride, 1, limits.MAX_AXIS)
    limits.check_whole(name, "groups", layer.groups, 1, filters)
    require(
        filters % layer.groups == 0,
        name,
        f"{filters} filters in {layer.groups} groups",
        "each group has as many filters as the others",
    )
    if layer.padding is not None:
        limits.check_whole(name, "padding", layer.padding, 0, size - 1)
        usual = layer.padding == size // 2
        require(not usual, name, f"padding={layer.padding}", "None says that: half of the window")
    limits.check_exponent(name, "exponent", layer.exponent)
    affine = layer.affine
    for part in ("multiplier", "bias", "low", "high"):
        limits.check_array(name, part, getattr(affine, part), np.int32, (filters,))
    require(np.all(affine.low <= affine.high), name, "low above high", "low <= high in each filter")
    if network.affine_terms is not None:
        terms = powers_needed(affine.multiplier).max(initial=0)
        require(
            terms <= network.affine_terms,
            name,
            f"a multiplier of {terms} signed powers of two",
            f"affine_terms={network.affine_terms} is the most",
        )
    linear = layer.linear
    good = type(linear) is bool and not (linear and layer.shift is None)
    require(good, name, f"linear={linear}", "True or False, and sums are not said to be linear")
    if layer.shift is not None:
        _check_shift(name, layer.shift, filters, network.slope)
    limits.check_array(name, "certificate", layer.certificate, np.int32, (filters, 10))


def powers_needed(values: np.ndarray) -> np.ndarray:
    """The least number of signed powers of two that sum to each integer.

    That is the number of digits of its non-adjacent form, the bits in which x and 3x differ.

    Example:
      >>> powers_needed(np.array([0, 8, 7, -6, 11])).tolist()
      [0, 1, 2, 2, 3]
    """
    x = np.abs(values.astype(np.int64))
    return np.bitwise_count(x ^ (3 * x)).astype(np.int64)


def _check_add(layer: Add, network: IntegerNetwork) -> None:
    channels = np.size(layer.shift)
    require(len(layer.inputs) == len(layer.lift) == 2, layer.name, "inputs", "there are two")
    _check_shift(layer.name, layer.shift, channels, network.slope)
    for i, lift in enumerate(layer.lift):
        if lift is not None:
            limits.check_array(layer.name, f"lift{i}", lift, np.uint8, (channels,))
            limits.check_within(layer.name, f"lift{i}", lift, 0, limits.MAX_LIFT)
    limits.check_exponent(layer.name, "exponent", layer.exponent)
    limits.check_array(layer.name, "certificate", layer.certificate, np.int32, (channels, 3))


def _check_average(layer: Average, network: IntegerNetwork) -> None:
    del network
    limits.check_exponent(layer.name, "exponent", layer.exponent)
    if layer.shift is not None:
        ends = limits.MIN_AVERAGE_SHIFT, limits.MAX_SHIFT
        limits.check_whole(layer.name, "shift", layer.shift, *ends)


def _check_dense(layer: Dense, network: IntegerNetwork) -> None:
    del network
    _check_weights(layer, 2)
    units = layer.weights.shape[-1]
    limits.check_array(layer.name, "bias", layer.bias, np.int32, (units,))
    limits.check_array(layer.name, "certificate", layer.certificate, np.int32, (units, 10))


def _check_max_pool(layer: MaxPool, network: IntegerNetwork) -> None:
    del network
    limits.check_whole(layer.name, "size", layer.size, 1, limits.MAX_AXIS)
    limits.check_whole(layer.name, "stride", layer.stride, 1, limits.MAX_AXIS)
    limits.check_whole(layer.name, "padding", layer.padding, 0, layer.size - 1)


def _check_flatten(layer: Flatten, network: IntegerNetwork) -> None:
    del network
    require(layer.axes in (1, 3), layer.name, f"axes={layer.axes}", "its output has 1 or 3")


_CHECKS: dict[type, Callable[[Any, IntegerNetwork], None]] = {
    Convolution: _check_convolution,
    Add: _check_add,
    Average: _check_average,
    Dense: _check_dense,
    MaxPool: _check_max_pool,
    Flatten: _check_flatten,
}


def _check_graph(network: IntegerNetwork, outputs: dict[str, shapes.Output]) -> None:
    """Names, what reads what, and the logits at the end."""
    *before, last = network.layers
    read = {name for layer in network.layers for name in layer.inputs}
    for layer in network.layers:
        name, output = layer.name, outputs[layer.name]
        good = type(name) is str and limits.NAME.fullmatch(name) and name not in limits.RESERVED
        require(
            good,
            repr(name),
            "a layer's name",
            "a letter, then letters, digits, underscores, 64 at most, and not 'image' or 'golden'",
        )
        limits.check_axes(name, output.shape, 1, 3)
        if isinstance(layer, Add):
            _check_branches(layer, outputs)
    count = sum(math.prod(layer.weights.shape) for layer in network.weighted)
    require(
        count <= limits.MAX_WEIGHTS, "network", f"{count} weights", f"at most {limits.MAX_WEIGHTS}"
    )
    for layer in before:
        require(layer.name in read, layer.name, "nothing reads it", "leave it out")
        good = not _gives_logits(layer)
        require(good, layer.name, "it gives logits", "only the last layer does")
    require(_gives_logits(last), last.name, "the last layer", "a dense one, or an average of sums")
    if isinstance(last, Average):
        require(
            last.exponent == network.output_exponent,
            last.name,
            f"exponent={last.exponent}",
            f"it is output_exponent={network.output_exponent}, for its sums are the logits",
        )
    classes = outputs[last.name].shape[0]
    require(
        len(network.labels) == classes,
        "network",
        f"{len(network.labels)} labels for {classes} classes",
        "a text for each class",
    )


def _gives_logits(layer: Layer) -> bool:
    return isinstance(layer, Dense) or (isinstance(layer, Average) and layer.shift is None)


def _check_branches(layer: Add, outputs: dict[str, shapes.Output]) -> None:
    channels = outputs[layer.name].shape[-1]
    limits.check_array(layer.name, "shift", layer.shift, np.uint8, (channels,))
    for name, lift in zip(layer.inputs, layer.lift, strict=True):
        sums = outputs[name].sums
        require(
            sums == (lift is None),
            layer.name,
            f"input {name} is {'sums' if sums else 'activations'}",
            "activations have a lift, and sums have none",
        )


def _check_bounds(network: IntegerNetwork, outputs: dict[str, shapes.Output], version: int) -> None:
    """Certificates are what the records prove, and no int32 overflows."""
    proven = certificate.bounds(network, version)
    for layer in network.layers:
        name, derived = layer.name, proven[layer.name].table
        # What an activation rounds has a bit to spare; sums on their way to an add are its part.
        v_bits = limits.ACCUMULATOR_BITS if outputs[name].sums else limits.ACTIVATION_BITS
        ten = isinstance(layer, Convolution | Dense)
        table = dict(
            zip(certificate.COLUMNS if ten else certificate.ADD_COLUMNS, derived.T, strict=True)
        )
        if ten:
            _check_widths(name, "acc_width", table["acc_width"])
        _check_widths(name, "v_width", table["v_width"], v_bits)
        if isinstance(layer, Convolution):
            acc = certificate.Range(table["acc_min"], table["acc_max"])
            products = certificate.width(certificate.products(acc, layer.affine))
            _check_widths(name, "width of products", products)
        if isinstance(layer, Convolution | Dense | Add):
            for (column, needed), stored in zip(table.items(), layer.certificate.T, strict=True):
                _check_column(name, column, needed, stored)


def _check_widths(
    where: str, name: str, widths: np.ndarray, most: int = limits.ACCUMULATOR_BITS
) -> None:
    if widths.size and widths.max() > most:
        filter_ = int(np.argmax(widths))
        raise IntegerNetworkError(
            f"{where}: {name}={widths[filter_]} in filter {filter_}: {most} bits are the most, or "
            "integers would overflow: use smaller multipliers and shifts, or fewer inputs"
        )


def _check_column(where: str, name: str, derived: np.ndarray, stored: np.ndarray) -> None:
    wrong = np.flatnonzero(derived != stored)
    if wrong.size:
        filter_ = int(wrong[0])
        raise IntegerNetworkError(
            f"{where}: the certificate says {name}={stored[filter_]} of filter {filter_}, where "
            f"{derived[filter_]} follows from the weights: make it anew with `certified`"
        )


def _check_golden(network: IntegerNetwork) -> None:
    golden = network.golden
    if golden is None:
        return
    count = (np.shape(golden.images) or (0,))[0]
    good = 1 <= count <= limits.MAX_AXIS
    require(good, "golden", f"{count} images", "1 to 65,536, or None for none")
    arrays = {IMAGE: golden.images, **golden.outputs}
    expected = shapes.golden(network, count)
    other = sorted(arrays.keys() ^ expected.keys())[:5]
    require(not other, "golden", f"outputs of {other}", "there is one of each layer")
    for name, array in arrays.items():
        limits.check_array("golden", name, array, *expected[name])


def check_digests(network: IntegerNetwork) -> None:
    """That there is a digest of each layer, and golden images that they follow from."""
    digests = network.digests
    if digests is None:
        return
    require(network.golden is not None, "digests", "no golden images", "they are made from them")
    limits.check_whole("digests", "images", digests.images, 1, limits.MAX_DIGEST_IMAGES)
    limits.check_whole("digests", "seed", digests.seed, 0, limits.MAX_SEED)
    for name, given, layers in (
        ("outputs", digests.outputs, network.layers),
        ("sums", digests.sums, network.rounded),
    ):
        other = sorted(given.keys() ^ {layer.name for layer in layers})[:5]
        require(not other, "digests", f"{name} of {other!s:.200}", "one of each of their layers")
        for layer, text in given.items():
            good = type(text) is str and limits.DIGEST.fullmatch(text)
            require(good, "digests", f"{name} of {layer}: {text!r}", "64 digits of 0 to 9, a to f")
