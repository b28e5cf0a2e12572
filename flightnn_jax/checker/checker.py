"""The independent checker: every rule, limit and bound of the document, derived from the file.

`check` looks at a network that was read, so its form is right; what `read` refuses is wrong
already. Reasons say what the file has and what it must have.
"""

import math
import operator
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from flightnn_jax.checker import certificate, digests
from flightnn_jax.checker.certificate import ADD_COLUMNS, FILTER_COLUMNS, Bounds, Certified, width
from flightnn_jax.checker.interpreter import run
from flightnn_jax.checker.manifest import Add, Average, Conv, Dense, Flatten, Layer, MaxPool
from flightnn_jax.checker.reader import Network
from flightnn_jax.checker.weights import unused_bits

MAX_SHIFT = 30
MAX_LIFT = 24
MAX_WIDTH = 32


def check(network: Network) -> list[str]:
    """Everything that is wrong with a network.

    Args:
      network: as read.

    Returns:
      Reasons, layer by layer, and of each rule the first channel that breaks it; none for a valid
      network. The golden images and those of the digests are run where nothing else is wrong:
      the other rules are what makes sure that 64 bits suffice.
    """
    reasons: list[str] = []
    channels = network.manifest.input_shape[-1]
    known: dict[str, list[Bounds]] = {"image": [certificate.ANY_ACTIVATION] * channels}
    for layer in network.manifest.layers:
        reasons += _limits(network, layer)
        if isinstance(layer, Average) and layer.shift is None:
            output = network.manifest.output_exponent
            reasons += _equal(f"{layer.name}: exponent", layer.exponent, output)
        if isinstance(layer, MaxPool):
            known[layer.name] = known[layer.input]
        elif isinstance(layer, Flatten):
            pixels = math.prod(network.values[layer.input].shape[:2])
            known[layer.name] = known[layer.input] * pixels
        else:
            certified = _certify(network, layer, known)
            known[layer.name] = certificate.reachable(network, layer, certified.v)
            reasons += _compare(network, layer, certified)
            reasons += _widths(network, layer, certified)
    return reasons or [*_golden(network), *_digests(network)]


def _limits(network: Network, layer: Layer) -> Iterator[str]:
    """Limits of a layer's own numbers."""
    name, slope, terms = layer.name, network.manifest.slope, network.manifest.affine_terms
    for suffix, limit in ("shift", MAX_SHIFT - slope), ("lift0", MAX_LIFT), ("lift1", MAX_LIFT):
        for o, n in _first(_numbers(network, layer, suffix), partial(operator.lt, limit)):
            yield f"{name}.{suffix}: channel {o} has {n}, and {limit} is the most (slope {slope})"
    if isinstance(layer, Conv | Dense) and unused_bits(network, layer):
        yield f"{name}.codes: the bits behind the last code must be 0"
    lows, highs = _numbers(network, layer, "low"), _numbers(network, layer, "high")
    for o, (low, high) in _first(zip(lows, highs, strict=True), lambda pair: pair[0] > pair[1]):
        yield f"{name}: filter {o} has low {low} and high {high}: low must not be larger"
    if terms is not None:
        multipliers = _numbers(network, layer, "multiplier")
        for o, m in _first(multipliers, lambda m: certificate.signed_powers(m) > terms):
            yield (
                f"{name}.multiplier: filter {o} has {m}, the sum of no fewer than "
                f"{certificate.signed_powers(m)} signed powers of two: affine_terms is {terms}"
            )


def _certify(
    network: Network, layer: Conv | Dense | Add | Average, known: dict[str, list[Bounds]]
) -> Certified:
    if isinstance(layer, Conv):
        return certificate.certify_conv(network, layer, known[layer.input])
    if isinstance(layer, Dense):
        return certificate.certify_dense(network, layer, known[layer.input])
    if isinstance(layer, Add):
        return certificate.certify_add(network, layer, [known[name] for name in layer.inputs])
    return certificate.certify_average(network, layer, known[layer.input])


def _compare(network: Network, layer: Layer, certified: Certified) -> Iterator[str]:
    """The certificate in the file against the derived one, column by column."""
    name = f"{layer.name}.certificate"
    columns = ADD_COLUMNS if isinstance(layer, Add) else FILTER_COLUMNS
    given = zip(*_numbers(network, layer, "certificate"), strict=True)
    needed = zip(*certified.rows, strict=True)
    for column, numbers in zip(columns, zip(given, needed, strict=False), strict=False):
        for o, (has, needs) in _first(zip(*numbers, strict=True), lambda pair: pair[0] != pair[1]):
            yield from _equal(f"{name}: channel {o}: {column}", has, needs)


def _widths(network: Network, layer: Layer, certified: Certified) -> Iterator[str]:
    """That everything which is computed fits into 32 bits, and into 31 where it is rounded."""
    v_width = MAX_WIDTH if network.values[layer.name].sums else MAX_WIDTH - 1
    sums = [(-row[2], row[2]) for row in certified.rows if isinstance(layer, Conv | Dense)]
    for what, bounds, limit in (
        ("partial sums", sums, MAX_WIDTH),
        ("multiplier * clip(acc)", certified.product, MAX_WIDTH),
        ("sums" if isinstance(layer, Average) else "v", certified.v, v_width),
    ):
        for o, (low, high) in _first(bounds, partial(_is_wider, limit)):
            yield (
                f"{layer.name}: channel {o}: {what} of {low} to {high} take {width(low, high)} "
                f"bits: {limit} are the most"
            )


def _is_wider(limit: int, bounds: Bounds) -> bool:
    return width(*bounds) > limit


def _golden(network: Network) -> Iterator[str]:
    """The golden images through the interpreter, all layers compared; one image at a time."""
    wrong: set[str] = set()
    for i, image in enumerate(network.tensors["golden.image"]):
        for name, outputs in run(network, image[None]).items():
            given = network.tensors[f"golden.{name}"][i]
            places = np.argwhere(given != outputs[0])
            if len(places) and name not in wrong:
                wrong.add(name)
                at = tuple(places[0].tolist())
                yield (
                    f"golden.{name}: image {i} at {list(at)} has {given[at]}, and the interpreter "
                    f"computes {outputs[0][at]}"
                )


def _digests(network: Network) -> Iterator[str]:
    """The digests, of images that are made anew."""
    if network.manifest.digests is not None:
        yield from digests.wrong(network, network.manifest.digests)


def _numbers(network: Network, layer: Layer, suffix: str) -> list[Any]:
    """A tensor of a layer as Python's integers; nothing if the layer has none such."""
    tensor = network.tensors.get(f"{layer.name}.{suffix}")
    return [] if tensor is None else tensor.tolist()


def _first(values: Iterable[Any], is_wrong: Callable[[Any], bool]) -> Iterator[tuple[int, Any]]:
    """The first wrong one of the channels' values with its index, or nothing."""
    for o, value in enumerate(values):
        if is_wrong(value):
            yield o, value
            return


def _equal(what: str, has: int, needs: int) -> Iterator[str]:
    if has != needs:
        yield f"{what} is {has}, and must be {needs}"
