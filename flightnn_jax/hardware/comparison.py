"""One layer in all schemes and styles, beside each other, and where a shift loses.

The paper compares schemes in one style on one board. The same layer is costed here in all of them:
what is a gain in an array bounded by multipliers is none where weights are wires.
"""

import math
from typing import NamedTuple

from flightnn_jax.hardware import asic, estimate
from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.records import Number
from flightnn_jax.hardware.styles import array as array_style
from flightnn_jax.hardware.workload import SCHEMES, from_network


class Row(NamedTuple):
    """A scheme's costs for one image of one layer.

    Attributes:
      scheme: of `workload.SCHEMES`.
      mean_k: of its filters.
      array: images a second of the paper's array.
      engine: images a second of the fastest engine.
      engine_lut: its tables.
      wired_lut: tables if weights are wires; None for floats, which were not measured.
      asic_nj: energy at 65 nm.
    """

    scheme: str
    mean_k: float
    array: Number
    engine: Number
    engine_lut: Number
    wired_lut: Number | None
    asic_nj: Number


def rows(network: str, mean_k: float, device: Device) -> list[Row]:
    """The largest layer of a network in the five schemes, the cheapest last.

    Hard-wired tables are given whether or not the device has as many.

    Example:
      >>> from flightnn_jax.hardware.device import find
      >>> [row.scheme for row in rows("net1", 1.3, find("XC7Z045"))]
      ['full', 'fp4', 'lightnn2', 'flightnn', 'lightnn1']
    """
    boundless = Device("any", 10**9, 10**9, 10**9, 10**9, device.clock_mhz, device.lut_inputs)
    found = []
    for scheme in ("full", "fp4", "lightnn2", "flightnn", "lightnn1"):
        work = from_network(network, scheme, mean_k=mean_k if scheme == "flightnn" else None)
        work = work.largest()
        engine = estimate.estimate(work, device, "engine")
        wired = None
        if SCHEMES[scheme][0] != "full":
            wired = estimate.estimate(work, boundless, "hardwired").resources["LUT"]
        array = estimate.estimate(work, device).images_per_s
        energy = asic.energy(work)
        lut = engine.resources["LUT"]
        found.append(Row(scheme, work.mean_k, array, engine.images_per_s, lut, wired, energy))
    return found


class Verdict(NamedTuple):
    """How one scheme does against 4-bit fixed point.

    Attributes:
      scheme: of the shifts.
      what: a column of `Row`.
      gain: how many times better it is; below 1 it loses.
      settled: whether the gain is beyond the error of the ratio, `_RATIO_ERROR`.
    """

    scheme: str
    what: str
    gain: float
    settled: bool


_RATIO_ERROR = {"array": 1.34, "engine": math.inf, "wired_lut": 1.35, "asic_nj": asic.RATIO_ERROR}
"""Of arrays: given L-1 (fit.py). No engine was compared. Hard-wired, L-1 gains 1.32x by the weight
and loses 0.97x as a graph of adders that share sums, so between styles that much is open."""


def verdicts(found: list[Row]) -> list[Verdict]:
    """Each scheme of shifts against "fp4", column by column.

    Example:
      >>> from flightnn_jax.hardware.device import find
      >>> lost = [v for v in verdicts(rows("net1", 1.3, find("XC7Z045"))) if v.gain < 1]
      >>> sorted({(v.scheme, v.what) for v in lost if v.settled})
      [('lightnn2', 'asic_nj'), ('lightnn2', 'wired_lut')]
    """
    against = next(row for row in found if row.scheme == "fp4")
    told = []
    for row in found:
        if SCHEMES[row.scheme][0] != "shift":
            continue
        for what, error in _RATIO_ERROR.items():
            ours, theirs = getattr(row, what).value, getattr(against, what).value
            gain = ours / theirs if what == "engine" else theirs / ours
            if what == "array":  # ratios within networks are known better than each throughput
                gain = array_style.RELATIVE["fp4"] / row.mean_k
            told.append(Verdict(row.scheme, what, gain, not 1 / error <= gain <= error))
    return told
