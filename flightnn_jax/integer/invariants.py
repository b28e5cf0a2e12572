"""What must hold of an integer network before anything runs it. No JAX.

Every error names the layer, the value, the rule and what to do.
"""

import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from flightnn_jax.integer import certificate, shapes
from flightnn_jax.integer.network import (
    IMAGE,
    Add,
    Average,
    Convolution,
    Dense,
    IntegerNetwork,
    IntegerNetworkError,
    IntegerWeights,
    Layer,
    MaxPool,
    Shape,
    ShiftWeights,
    Weights,
)

MOST_LAYERS = 4096
LONGEST_AXIS = 1 << 16
MOST_WEIGHTS = 1 << 26  # of all layers
MOST_VALUES = 1 << 28  # of one tensor of one image
MOST_TERMS = 3
MOST_SHIFT = 30  # of an activation, its slope included
MOST_LIFT = 24
LEAST_AVERAGE_SHIFT = -16
MOST_SLOPE = 7
MOST_EXPONENT = 1000
ACCUMULATOR_BITS = 32
ACTIVATION_BITS = 31  # of what `activate` rounds, so that half a step more is no overflow
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
RESERVED = (IMAGE, "golden")


def check(network: IntegerNetwork) -> None:
    """Checks every invariant of a network and its certificates.

    Raises:
      IntegerNetworkError: naming the first invariant that does not hold.

    Example:
      >>> from flightnn_jax.integer.network import MaxPool
      >>> check(IntegerNetwork("net1", (4, 4, 3), (), 9, None, 0, (), {}, None))
      Traceback (most recent call last):
      flightnn_jax.integer.network.IntegerNetworkError: network: slope=9: the leaky
        ReLU's shift is 1 to 7
    """
    _check_network(network)
    for layer in network.layers:
        _CHECKS[type(layer)](layer, network)
    outputs = shapes.outputs(network)
    _check_graph(network, outputs)
    _check_bounds(network, outputs)
    _check_golden(network, outputs)


def _require(holds: Any, where: str, what: str, rule: str) -> None:
    if not holds:
        raise IntegerNetworkError(f"{where:.80}: {what:.200}: {rule}")


def whole(value: Any, low: int, high: int) -> bool:
    """Whether a value is a Python integer within these ends; a boolean is none."""
    return type(value) is int and low <= value <= high


def _check_network(network: IntegerNetwork) -> None:
    where = "network"
    slope = network.slope
    _require(
        whole(slope, 1, MOST_SLOPE), where, f"slope={slope}", "the leaky ReLU's shift is 1 to 7"
    )
    _check_axes(where, network.input_shape, 3)
    count = len(network.layers)
    _require(1 <= count <= MOST_LAYERS, where, f"{count} layers", "1 to 4,096")
    terms = network.affine_terms
    _require(
        terms is None or whole(terms, 1, 32),
        where,
        f"affine_terms={terms}",
        "a multiplier has 1 to 32 signed powers of two, or None for any integer",
    )
    _check_exponent(where, "output_exponent", network.output_exponent)
    for name, text in [("name", network.name), *(("label", text) for text in network.labels)]:
        _require(type(text) is str, where, f"{name}={text!r}", "it is a text")
    try:
        texts = [network.name, network.labels, network.provenance]
        json.dumps(texts, allow_nan=False, ensure_ascii=False).encode()
        notes = network.provenance.items()
        plain = all(type(key) is str and type(note) in (str, int, float) for key, note in notes)
    except (TypeError, ValueError, RecursionError):
        plain = False
    _require(plain, where, "provenance", "it is texts and finite numbers by name")


def _check_axes(where: str, shape: Shape, rank: int) -> None:
    good = len(shape) == rank and all(whole(axis, 1, LONGEST_AXIS) for axis in shape)
    _require(
        good, where, f"shape {tuple(shape)}", f"it has {rank} axes of 1 to 65,536, whole numbers"
    )
    _require(
        math.prod(shape) <= MOST_VALUES,
        where,
        f"shape {shape}",
        "it is too large",
    )


def _check_exponent(where: str, name: str, value: Any) -> None:
    good = whole(value, -MOST_EXPONENT, MOST_EXPONENT)
    _require(good, where, f"{name}={value}", "an exponent is a whole number from -1000 to 1000")


def _check_array(where: str, name: str, array: Any, dtype: Any, shape: Shape) -> None:
    found = (
        f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else repr(array)
    )
    good = isinstance(array, np.ndarray) and array.dtype == dtype and array.shape == tuple(shape)
    wanted = f"it is an array of {np.dtype(dtype).name} of shape {tuple(shape)}"
    _require(good, where, f"{name} is {found}", wanted)


def _check_within(where: str, name: str, array: np.ndarray, low: int, high: int) -> None:
    least, most = array.min(initial=low), array.max(initial=low)
    _require(
        low <= least and most <= high,
        where,
        f"{name} from {least} to {most}",
        f"each is from {low} to {high}",
    )


def _check_weights(where: str, weights: Weights, rank: int) -> None:
    if isinstance(weights, IntegerWeights):
        _check_axes(where, np.shape(weights.value), rank)
        _check_array(where, "weights", weights.value, np.int8, weights.shape)
        _check_within(where, "weights", weights.value, -8, 7)
        return
    _require(isinstance(weights, ShiftWeights), where, f"weights {type(weights)}", "no such kind")
    terms, shape = np.shape(weights.sign)[0], np.shape(weights.sign)[1:]
    _check_axes(where, shape, rank)
    _check_array(where, "sign", weights.sign, np.int8, (terms, *shape))
    _check_array(where, "shift", weights.shift, np.uint8, (terms, *shape))
    _check_array(where, "k", weights.k, np.uint8, shape[-1:])
    _check_within(where, "k", weights.k, 0, MOST_TERMS)
    _require(
        weights.k.max(initial=0) == terms,
        where,
        f"{terms} terms and k up to {weights.k.max(initial=0)}",
        "there are as many terms as the largest k: leave out what no filter has",
    )
    for j in range(terms):
        there = weights.k > j
        _require(
            np.all(np.abs(weights.sign[j]) == there),
            where,
            f"term {j} has signs {np.unique(weights.sign[j])}",
            "a sign is -1 or 1 in the first k terms of a filter and 0 behind them",
        )
        _require(
            np.all((weights.shift[j] == 0) | there),
            where,
            f"term {j} has shifts",
            "a shift is 0 where the sign is 0",
        )
    _check_within(where, "shift", weights.shift, 0, 7)


def _check_shift(where: str, shift: Any, channels: int, slope: int) -> None:
    _check_array(where, "shift", shift, np.uint8, (channels,))
    _check_within(where, "shift", shift, 0, MOST_SHIFT - slope)


def _check_convolution(layer: Convolution, network: IntegerNetwork) -> None:
    name = layer.name
    _check_weights(name, layer.weights, 4)
    size, width, _, filters = layer.weights.shape
    _require(
        size == width and size % 2 == 1, name, f"a window of {size}x{width}", "it is square and odd"
    )
    _require(
        whole(layer.stride, 1, LONGEST_AXIS), name, f"stride={layer.stride}", "it is 1 to 65,536"
    )
    _check_exponent(name, "weight_exponent", layer.weight_exponent)
    _check_exponent(name, "exponent", layer.exponent)
    affine = layer.affine
    for part in ("multiplier", "bias", "low", "high"):
        _check_array(name, part, getattr(affine, part), np.int32, (filters,))
    _require(
        np.all(affine.low <= affine.high), name, "low above high", "low <= high in each filter"
    )
    if network.affine_terms is not None:
        terms = powers_needed(affine.multiplier).max(initial=0)
        _require(
            terms <= network.affine_terms,
            name,
            f"a multiplier of {terms} signed powers of two",
            f"affine_terms={network.affine_terms} is the most",
        )
    if layer.shift is not None:
        _check_shift(name, layer.shift, filters, network.slope)
    _check_array(name, "certificate", layer.certificate, np.int32, (filters, 10))


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
    _require(len(layer.inputs) == len(layer.lift) == 2, layer.name, "inputs", "there are two")
    _check_shift(layer.name, layer.shift, channels, network.slope)
    for i, lift in enumerate(layer.lift):
        if lift is not None:
            _check_array(layer.name, f"lift{i}", lift, np.uint8, (channels,))
            _check_within(layer.name, f"lift{i}", lift, 0, MOST_LIFT)
    _check_exponent(layer.name, "exponent", layer.exponent)
    _check_array(layer.name, "certificate", layer.certificate, np.int32, (channels, 3))


def _check_average(layer: Average, network: IntegerNetwork) -> None:
    del network
    _check_exponent(layer.name, "exponent", layer.exponent)
    _require(
        layer.shift is None or whole(layer.shift, LEAST_AVERAGE_SHIFT, MOST_SHIFT),
        layer.name,
        f"shift={layer.shift}",
        f"it is from {LEAST_AVERAGE_SHIFT} to {MOST_SHIFT}",
    )


def _check_dense(layer: Dense, network: IntegerNetwork) -> None:
    del network
    _check_weights(layer.name, layer.weights, 2)
    units = layer.weights.shape[-1]
    _check_exponent(layer.name, "weight_exponent", layer.weight_exponent)
    _check_array(layer.name, "bias", layer.bias, np.int32, (units,))
    _check_array(layer.name, "certificate", layer.certificate, np.int32, (units, 10))


def _check_max_pool(layer: MaxPool, network: IntegerNetwork) -> None:
    """A pool has nothing but its input, which `shapes` looks at."""


_CHECKS: dict[type, Callable[[Any, IntegerNetwork], None]] = {
    Convolution: _check_convolution,
    Add: _check_add,
    Average: _check_average,
    Dense: _check_dense,
    MaxPool: _check_max_pool,
}


def _check_graph(network: IntegerNetwork, outputs: dict[str, shapes.Output]) -> None:
    """Names, what reads what, and the logits at the end."""
    *before, last = network.layers
    used = {name for layer in network.layers for name in shapes.inputs_of(layer)}
    weights = 0
    for layer in network.layers:
        name, output = layer.name, outputs[layer.name]
        good = type(name) is str and NAME.fullmatch(name) and name not in RESERVED
        _require(good, repr(name), "a layer's name", "a letter, then letters, digits, underscores")
        _require(
            math.prod(output.shape) <= MOST_VALUES,
            name,
            f"output {output.shape}",
            "it is too large",
        )
        if isinstance(layer, Convolution | Dense):
            weights += math.prod(layer.weights.shape)
        if isinstance(layer, Add):
            _check_branches(layer, outputs)
    _require(weights <= MOST_WEIGHTS, "network", f"{weights} weights", f"at most {MOST_WEIGHTS}")
    for layer in before:
        _require(layer.name in used, layer.name, "nothing reads it", "leave it out")
        _require(
            not _gives_logits(layer), layer.name, "it gives logits", "only the last layer does"
        )
    _require(_gives_logits(last), last.name, "the last layer", "a dense one, or an average of sums")
    if isinstance(last, Average):
        _require(
            last.exponent == network.output_exponent,
            last.name,
            f"exponent={last.exponent}",
            f"it is output_exponent={network.output_exponent}, for its sums are the logits",
        )
    classes = outputs[last.name].shape[0]
    _require(
        len(network.labels) == classes,
        "network",
        f"{len(network.labels)} labels for {classes} classes",
        "a text for each class",
    )


def _gives_logits(layer: Layer) -> bool:
    return isinstance(layer, Dense) or (isinstance(layer, Average) and layer.shift is None)


def _check_branches(layer: Add, outputs: dict[str, shapes.Output]) -> None:
    channels = outputs[layer.name].shape[-1]
    _check_array(layer.name, "shift", layer.shift, np.uint8, (channels,))
    for name, lift in zip(layer.inputs, layer.lift, strict=True):
        sums = outputs[name].sums
        _require(
            sums == (lift is None),
            layer.name,
            f"input {name} is {'sums' if sums else 'activations'}",
            "activations have a lift, and sums have none",
        )


def _check_bounds(network: IntegerNetwork, outputs: dict[str, shapes.Output]) -> None:
    """Certificates are what the records prove, and no int32 overflows."""
    tables = certificate.tables(network)
    for layer in network.layers:
        name = layer.name
        if isinstance(layer, Average):
            height, width, _ = outputs[layer.input].shape
            lift = max(0, -(layer.shift or 0))
            bits = ACCUMULATOR_BITS if layer.shift is None else ACTIVATION_BITS
            sums = certificate.LEAST * height * width << lift
            _require(
                sums >= -(1 << (bits - 1)), name, f"sums down to {sums}", f"{bits} bits hold them"
            )
        if name not in tables:
            continue
        table = tables[name]
        # What an activation rounds has a bit to spare; sums on their way to an add are its part.
        v_bits = ACCUMULATOR_BITS if outputs[name].sums else ACTIVATION_BITS
        if isinstance(layer, Convolution | Dense):
            _check_widths(name, "acc_width", table[:, 3], ACCUMULATOR_BITS)
            _check_widths(name, "v_width", table[:, 6], v_bits)
        else:
            _check_widths(name, "v_width", table[:, 2], v_bits)
        if isinstance(layer, Convolution):
            found = certificate.products(certificate.accumulators(layer.weights), layer.affine)
            _check_widths(name, "width of products", certificate.width(found), ACCUMULATOR_BITS)
        differ = np.argwhere(table != layer.certificate)  # type: ignore[union-attr]
        if differ.size:
            row, column = (int(i) for i in differ[0])
            of = certificate.ADD_COLUMNS if isinstance(layer, Add) else certificate.COLUMNS
            stored = layer.certificate[row, column]  # type: ignore[union-attr]
            raise IntegerNetworkError(
                f"{name}: the certificate says {of[column]}={stored} of filter {row}, where "
                f"{table[row, column]} follows from the weights: make it anew with `certified`"
            )


def _check_widths(where: str, name: str, widths: np.ndarray, most: int) -> None:
    if widths.size and widths.max() > most:
        filter_ = int(np.argmax(widths))
        raise IntegerNetworkError(
            f"{where}: {name}={widths[filter_]} in filter {filter_}: {most} bits are the most, or "
            "integers would overflow: use smaller multipliers and shifts, or fewer inputs"
        )


def _check_golden(network: IntegerNetwork, outputs: dict[str, shapes.Output]) -> None:
    golden = network.golden
    if golden is None:
        return
    count = np.shape(golden.images)[0]
    _require(
        1 <= count <= LONGEST_AXIS, "golden", f"{count} images", "1 to 65,536, or None for none"
    )
    _check_array("golden", "image", golden.images, np.uint8, (count, *network.input_shape))
    names = {layer.name for layer in network.layers}
    _require(
        set(golden.outputs) == names,
        "golden",
        f"outputs of {sorted(set(golden.outputs) ^ names)[:5]}",
        "there is one of each layer",
    )
    for name, array in golden.outputs.items():
        dtype = np.int32 if outputs[name].sums else np.int8
        _check_array("golden", name, array, dtype, (count, *outputs[name].shape))
