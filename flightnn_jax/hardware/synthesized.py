"""Measured synthesis of arithmetic units, and lines through the measurements.

All with Yosys, `synth_xilinx -family xc7`, for 8-bit signed activations and one
multiply-accumulate a cycle (docs/measurements/synthesis.md). Two versions of Yosys were used,
"0.23" and "0.70", which differ by up to 35 % on multipliers. Against a vendor's tool Yosys was 14 %
above to 13 % below after routing, with DSPs exact. To add a measurement, add a row: the lines are
fitted to the rows.
"""

import functools
from typing import NamedTuple

import numpy as np

VERSIONS = ("0.23", "0.70")

VENDOR = 1.14
"""The factor between Yosys's LUTs and a vendor's tool's (docs/measurements/synthesis.md)."""


class Parts(NamedTuple):
    """What a circuit takes.

    Attributes:
      lut: tables of 6 inputs.
      ff: flip-flops.
      dsp: multiplier blocks.
    """

    lut: float
    ff: float
    dsp: int


class Point(NamedTuple):
    """A synthesized unit.

    Attributes:
      unit: what it computes.
      accumulator: bits of its sum.
      lut: tables, one number for each of `VERSIONS`.
      ff: flip-flops.
      dsp: multiplier blocks.
    """

    unit: str
    accumulator: int
    lut: tuple[int, int]
    ff: int
    dsp: int


POINTS = (
    Point("shift", 20, (52, 54), 33, 0),
    Point("shift", 24, (56, 58), 37, 0),
    Point("shift", 32, (64, 66), 45, 0),
    Point("two shifts", 24, (103, 88), 41, 0),
    Point("two shifts", 32, (111, 96), 49, 0),
    Point("4x8 in LUTs", 24, (141, 97), 37, 0),
    Point("4x8 in LUTs", 32, (173, 114), 45, 0),
    Point("8x8 in LUTs", 24, (265, 240), 41, 0),
    Point("8x8 in LUTs", 32, (329, 293), 49, 0),
    Point("4x8 in a DSP", 24, (0, 0), 1, 1),
    Point("4x8 in a DSP", 32, (0, 0), 1, 1),
    Point("8x8 in a DSP", 24, (0, 0), 1, 1),
    Point("8x8 in a DSP", 32, (0, 0), 1, 1),
    Point("float32", 32, (697, 540), 113, 2),
    Point("float32 in LUTs", 32, (1823, 1811), 130, 0),
)

UNITS = tuple(dict.fromkeys(point.unit for point in POINTS))


def unit(name: str, accumulator_bits: int, version: str = "0.23") -> Parts:
    """One multiply-accumulate unit with an accumulator of any width.

    LUT and FF are lines in the accumulator's bits, least squares through `POINTS`. The measured
    rows lie on the lines within a table; only 20 to 32 bits were measured, so others are
    extrapolated, and a unit with one measured width is taken to be the same at all of them.

    Args:
      name: of `UNITS`.
      accumulator_bits: at least 1.
      version: of Yosys.

    Raises:
      ValueError: if one of them is wrong.

    Example:
      >>> unit("shift", 28)
      Parts(lut=60.0, ff=41.0, dsp=0)
    """
    if accumulator_bits < 1:
        raise ValueError(f"accumulator_bits={accumulator_bits} must be at least 1")
    (lut_slope, lut), (ff_slope, ff), dsp = _lines(name, version)
    # The lines would give narrow sums less than nothing.
    return Parts(
        round(max(lut + lut_slope * accumulator_bits, 0.0), 6),
        round(max(ff + ff_slope * accumulator_bits, 0.0), 6),
        dsp,
    )


@functools.cache
def _lines(name: str, version: str) -> tuple[tuple[float, float], tuple[float, float], int]:
    """(slope, value at 0 bits) of LUT and of FF, and the DSPs."""
    if version not in VERSIONS:
        raise ValueError(f"Yosys {version!r} was not measured: choose one of {', '.join(VERSIONS)}")
    points = [point for point in POINTS if point.unit == name]
    if not points:
        raise ValueError(f"unit {name!r} was not measured: choose one of {', '.join(UNITS)}")
    bits = [point.accumulator for point in points]
    lut = [point.lut[VERSIONS.index(version)] for point in points]
    return _line(bits, lut), _line(bits, [point.ff for point in points]), points[0].dsp


def _line(x: list[int], y: list[int]) -> tuple[float, float]:
    """A line by least squares; level for a single point, or where its slope would be negative."""
    if len(set(x)) == 1:
        return 0.0, float(np.mean(y))
    slope, start = np.polyfit(x, y, 1)
    return float(max(slope, 0.0)), float(start)


DOT_TAPS = 16
DOT_DOUBLING = 2.02
"""32 taps cost 2.02 times as much as 16."""

DOTS = {
    "L-1": (923, 875),
    "L-1, one flat sum": (1456, None),
    "L-2": (1866, 1770),
    "FP 4-bit": (1171, 1055),
    "FP 8-bit": (2838, 2393),
    "FP 4-bit in DSPs": (0, 0),
}
"""LUTs of a dot product of 16 taps with weights at run time and a registered tree of adders."""


def dot_product(name: str, taps: int, version: str = "0.23") -> Parts:
    """A dot product that takes all its taps in one cycle.

    LUT(taps) = LUT(16) 2.02**log2(taps / 16), by the two measured sizes. The sum's style matters
    more than the scheme: the same L-1 unit as one flat expression costs half as much again.
    Flip-flops were not recorded and are given as NaN.

    Example:
      >>> dot_product("L-1", 16).lut, round(dot_product("L-1", 32).lut)
      (923.0, 1864)
    """
    if name not in DOTS:
        raise ValueError(f"dot product {name!r} was not measured: choose one of {', '.join(DOTS)}")
    if taps < 1 or version not in VERSIONS:
        raise ValueError(
            f"taps={taps} must be at least 1, and version={version!r} of {', '.join(VERSIONS)}"
        )
    base = DOTS[name][VERSIONS.index(version)]
    if base is None:
        raise ValueError(f"dot product {name!r} was not measured with Yosys {version}")
    lut = base * DOT_DOUBLING ** float(np.log2(taps / DOT_TAPS))
    return Parts(float(lut), float("nan"), taps if name == "FP 4-bit in DSPs" else 0)
