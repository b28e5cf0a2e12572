"""Energy from activity: how many bits change in each cycle decides what a unit takes.

    E = c0 + c1 HD(activation) + c2 HD(weight) + c3 HD(product) + c4 HD(accumulator)    [pJ]

HD is the mean number of bits that change from one cycle to the next: of the 8-bit activation, the
weight's code, the 16-bit product and the 24-bit accumulator. The coefficients are fits to
gate-level simulations of 29 traces (docs/measurements/energy.md). The data matters more than the
library: the ratio of 4x8 to shift runs from 1.0 to 1.9 with the signs of the activations.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flightnn_jax.hardware import asic
from flightnn_jax.hardware.asic import between
from flightnn_jax.hardware.records import Number
from flightnn_jax.hardware.workload import LayerWork, Workload

ACTIVATION_BITS, CODE_BITS, PRODUCT_BITS, ACCUMULATOR_BITS = 8, 4, 16, 24
"""Widths in the simulated units."""


class Distances(NamedTuple):
    """Mean Hamming distances from one cycle to the next.

    Attributes:
      activation: of 8 bits.
      weight: of the code.
      product: of 16 bits.
      accumulator: of 24 bits.
    """

    activation: float
    weight: float
    product: float
    accumulator: float


class Coefficients(NamedTuple):
    """pJ: a constant, and for each bit that changes; `error` covers all traces seen in the fit.

    `unseen` is the worst of five traces of other kinds, left out of the fit; weight-stationary
    ones are the worst.
    """

    constant: float
    activation: float
    weight: float
    product: float
    accumulator: float
    error: float
    unseen: float

    def energy(self, distances: Distances) -> float:
        """Of one operation, in pJ."""
        return self.constant + sum(x * y for x, y in zip(self[1:5], distances, strict=True))


N45 = {
    "shift": Coefficients(0.439, 0.055, 0.127, 0.032, 0.044, 1.03, 1.18),
    "two shifts": Coefficients(0.605, 0.088, 0.218, 0.015, 0.059, 1.04, 1.06),
    "4x8": Coefficients(0.0, 0.055, 0.0, 0.157, 0.169, 1.16, 1.26),
    "8x8": Coefficients(0.0, 0.129, 0.0, 0.0, 0.514, 1.33, 1.44),
}
"""Nangate 45 nm, 1.1 V."""

SKY130 = {
    "shift": Coefficients(2.437, 0.167, 0.652, 0.091, 0.209, 1.03, 1.19),
    "two shifts": Coefficients(3.192, 0.320, 0.920, 0.178, 0.135, 1.02, 1.45),
    "4x8": Coefficients(0.0, 0.239, 0.045, 0.712, 0.358, 1.11, 1.13),
}
"""sky130, 1.8 V."""


def operation(unit: str, distances: Distances, *, node: float = 65, voltage: float = 1.2) -> Number:
    """Energy of one operation of a whole unit, with flip-flops and clock, in pJ.

    Args:
      unit: of `N45`; "8x8" was fitted at 45 nm only.
      distances: of the trace.
      node: in nm; 45 and 130 were simulated, others are scaled (asic.py).
      voltage: in V.

    Returns:
      The energy. At 45 nm (1.1 V) and 130 nm (1.8 V) its error is that of traces unlike those
      fitted, which are reproduced to 2 to 4 % by shifts; elsewhere scaling adds 40 %.

    Raises:
      ValueError: if the unit is unknown or not known at the node, or a distance is impossible.

    Example:
      >>> one = operation("shift", Distances(3.0, 1.5, 5.0, 6.0), node=45, voltage=1.1)
      >>> round(one.value, 3), one.bar
      (1.219, '±18 %')
    """
    if unit not in N45:
        raise ValueError(f"unit {unit!r} was not simulated: choose one of {', '.join(N45)}")
    for name, value in zip(Distances._fields, distances, strict=True):
        if not 0 <= value <= 64:
            raise ValueError(
                f"{name}={value} bits change in a cycle; a mean Hamming distance is between 0 and "
                "the width"
            )
    if (node, voltage) == (45, 1.1):
        return Number(N45[unit].energy(distances), N45[unit].unseen, "activity model, Nangate 45")
    if unit not in SKY130:
        raise ValueError(f"unit {unit!r} was fitted at 45 nm and 1.1 V only; choose these")
    n45, sky130 = N45[unit].energy(distances), SKY130[unit].energy(distances)
    if (node, voltage) == (130, 1.8):
        return Number(sky130, SKY130[unit].unseen, "activity model, sky130")
    value = between((n45, sky130), node, voltage)
    return Number(value, 1.4, "activity model, Nangate 45 and sky130, scaled")


def layer_energy(
    layer: LayerWork, distances: Distances, *, node: float = 65, voltage: float = 1.2
) -> Number:
    """Energy of a layer's arithmetic for one image, in nJ, from the distances in its own trace.

    A unit that is known beside a shift alone takes the part of it that `asic.BESIDE` says.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> layer = from_network("net1", "lightnn1").layers[0]
      >>> round(layer_energy(layer, Distances(3.0, 1.5, 5.0, 6.0)).value)
      716

    Raises:
      ValueError: for floats, whose activity was not modelled.
    """
    return _operation_of(layer, distances, node, voltage).times(layer.operations / 1e3)


def _operation_of(layer: LayerWork, distances: Distances, node: float, voltage: float) -> Number:
    unit = layer.arithmetic.activity
    if unit is None:
        raise ValueError(
            f"{layer.name}: the activity of weights of the format {layer.format!r} was not "
            "modelled; use asic.layer_energy"
        )
    one = operation(unit, distances, node=node, voltage=voltage)
    ours = asic.unit_of(layer)
    if ours not in asic.BESIDE:
        return one
    error = one.factor and one.factor * asic.BESIDE_ERROR
    return one.times(asic.BESIDE[ours].whole)._replace(factor=error)


class LayerEnergy(NamedTuple):
    """Energy of a layer's arithmetic by activity and without, in whole units of one kind.

    Attributes:
      operation: by activity, in pJ.
      layer: by activity, in nJ for an image.
      constant: with the same energy for each operation of any layer, in nJ for an image.
    """

    operation: Number
    layer: Number
    constant: Number


def energies(
    workload: Workload, traces: Mapping[str, Distances], *, node: float = 65, voltage: float = 1.2
) -> dict[str, LayerEnergy]:
    """Energies of all layers from their own traces, such as `integer.switching` collects.

    The simulated units have 24-bit accumulators, and so has the constant here.

    Args:
      workload: what was traced, or layers of it.
      traces: by the layers' names.
      node: in nm.
      voltage: in V.

    Raises:
      ValueError: if a layer has no trace, or is one of floats.
    """
    missing = [x.name for x in workload.layers if x.name not in traces]
    if missing:
        raise ValueError(
            f"{workload.name}: no traces of {', '.join(missing)}; collect them of this network"
        )
    by_layer = {}
    for layer in workload.layers:
        one = _operation_of(layer, traces[layer.name], node, voltage)
        simulated = dataclasses.replace(layer, accumulator_bits=ACCUMULATOR_BITS)
        constant = asic.layer_energy(simulated, whole=True, node=node, voltage=voltage)
        by_layer[layer.name] = LayerEnergy(one, one.times(layer.operations / 1e3), constant)
    return by_layer


def mean_distance(values: npt.ArrayLike, bits: int) -> float:
    """The mean number of bits that change between neighbours along the last axis.

    Args:
      values: integers, (..., cycles); negative ones in two's complement.
      bits: how many of the lowest bits there are.

    Returns:
      The mean over all pairs; 0 if there are none.

    Raises:
      ValueError: if they are no integers.

    Example:
      >>> mean_distance([0b0000, 0b0011, 0b0010], 4)
      1.5
    """
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"a trace has integers, not {array.dtype}; give codes, not their values")
    if not 1 <= bits <= 63:
        raise ValueError(f"bits={bits} must be between 1 and 63")
    if array.ndim == 0 or array.shape[-1] < 2 or not array.size:
        return 0.0
    wide = array.astype(np.int64)
    changed = (wide[..., 1:] ^ wide[..., :-1]) & ((1 << bits) - 1)
    return float(np.mean(np.bitwise_count(changed)))


def distances(
    activations: npt.ArrayLike,
    codes: npt.ArrayLike,
    products: npt.ArrayLike,
    accumulators: npt.ArrayLike,
    code_bits: int = CODE_BITS,
) -> Distances:
    """The distances of a trace, each array with the cycles on its last axis.

    Args:
      activations: of 8 bits.
      codes: of weights, as they are stored.
      products: of 16 bits.
      accumulators: of 24 bits, after each cycle.
      code_bits: of a code.
    """
    return Distances(
        mean_distance(activations, ACTIVATION_BITS),
        mean_distance(codes, code_bits),
        mean_distance(products, PRODUCT_BITS),
        mean_distance(accumulators, ACCUMULATOR_BITS),
    )


def shift_trace(
    windows: npt.ArrayLike, negative: npt.ArrayLike, exponents: npt.ArrayLike
) -> Distances:
    """The distances of a whole layer of one-term filters, one unit taking tap after tap.

    The accumulator is cleared before each output, as in the simulated units; changes from one
    output to the next are not counted. Memory is 20 bytes for each product.

    Args:
      windows: int8 activations, (positions, taps).
      negative: whether a term is subtracted, (taps, filters).
      exponents: how far it is shifted, 0 to 7, (taps, filters).

    Raises:
      ValueError: if shapes or ranges do not fit.

    Example:
      >>> shift_trace([[1, 3]], [[False], [False]], [[0], [1]])  # 1, then 6; in all 7
      Distances(activation=1.0, weight=1.0, product=3.0, accumulator=2.0)
    """
    a, n, e = np.asarray(windows), np.asarray(negative, bool), np.asarray(exponents)
    if a.ndim != 2 or n.shape != e.shape or n.ndim != 2 or a.shape[1] != n.shape[0]:
        raise ValueError(
            f"windows {a.shape}, negative {n.shape} and exponents {e.shape} must be (positions, "
            "taps) and twice (taps, filters)"
        )
    if a.size and (a.min() < -128 or a.max() > 127):
        raise ValueError(
            f"activations of {a.min()} to {a.max()} are outside the 8 bits -128 to 127"
        )
    if e.size and (e.min() < 0 or e.max() > 7):
        raise ValueError(f"exponents of {e.min()} to {e.max()} are outside 0 to 7: they are codes")
    shifted = a.astype(np.int32)[:, None, :] << e.T.astype(np.int32)[None]
    products = np.where(n.T[None], -shifted, shifted)
    codes = (n.T.astype(np.int32) << 3) | e.T.astype(np.int32)
    return distances(a, codes, products, np.cumsum(products, axis=-1, dtype=np.int32))
