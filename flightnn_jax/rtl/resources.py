"""What a module of the library takes, by its parameters: tables, flip-flops, blocks, multipliers.

A function for each module, with the parts of which its Verilog is made. Flip-flops are counted:
every register, without the columns of a table that are constant or another one's. Blocks and
multipliers are what the generator chose. Tables (look-up tables of 6 inputs, xc7) are counted where
the Verilog says how many bits are added, chosen or kept, and have one of `Constants` where it does
not. benchmarks/rtl_modules.py measures modules alone, benchmarks/rtl_resources.py the errors on
stages that no constant saw (docs/measurements/rtl.md). NumPy alone.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from flightnn_jax.fpga import Resources, Shapes
from flightnn_jax.rtl import engine_resources, row_resources, verilog, wired_resources
from flightnn_jax.rtl.architecture import Convolve, Stage, WindowPool, Wired
from flightnn_jax.rtl.engine_resources import codes as codes
from flightnn_jax.rtl.parts import CONSTANTS, Constants, Parameters, left, total, width_of
from flightnn_jax.rtl.verilog import Instance


class Errors(NamedTuple):
    """Factors within which nine of ten stages are that the constants never saw.

    Attributes:
      lut: of Yosys 0.23's; a vendor's tool has others.
      ff: of the same.
      bram: and the blocks that the generator chose.
      dsp: and multipliers.
    """

    lut: float
    ff: float
    bram: float = 1.0
    dsp: float = 1.0


ENGINE, INTEGER_ENGINE, WIRES, OTHER = "engine", "engine of 4-bit integers", "wires", "other"
SIGN_ENGINE, COUNTED_WIRES = "engine of signs", "wires of counted signs"
LEVEL_ENGINE = "engine of levels"
GROUPS = "groups, other padding and other pools"
ERRORS: Mapping[str, Errors] = {
    ENGINE: Errors(lut=1.06, ff=1.03),
    INTEGER_ENGINE: Errors(lut=1.10, ff=1.03),
    SIGN_ENGINE: Errors(lut=1.10, ff=1.03),
    LEVEL_ENGINE: Errors(lut=1.12, ff=1.05),
    WIRES: Errors(lut=1.05, ff=1.07),
    COUNTED_WIRES: Errors(lut=1.07, ff=1.07),
    OTHER: Errors(lut=1.10, ff=1.03),
    GROUPS: Errors(lut=1.10, ff=1.06),
}
"""By the kind of a stage, as held-out ones show (docs/measurements/rtl.md); of the few engines of
4-bit integers among these and those that constants were chosen by; of groups six stages."""


def kind(stage: Stage) -> str:
    """Which of `ERRORS` holds for a stage."""
    if isinstance(stage, WindowPool) or (isinstance(stage, Convolve) and not stage.is_plain):
        return GROUPS
    if isinstance(stage, Convolve):
        if stage.lookup:
            return LEVEL_ENGINE
        return SIGN_ENGINE if stage.bits == 1 else INTEGER_ENGINE if stage.integer else ENGINE
    if isinstance(stage, Wired):
        return COUNTED_WIRES if stage.graph.looked else WIRES
    return OTHER


def of(stage: Stage, constants: Constants = CONSTANTS) -> Resources:
    """What a stage takes."""
    if isinstance(stage, Wired):
        return wired_resources.of(stage, constants)
    return of_instance(verilog.instance(stage), constants)


def of_instance(
    made: Instance, constants: Constants = CONSTANTS, shapes: Shapes | None = None
) -> Resources:
    """What an instance of a module of the library takes; tables that it lacks are taken as full."""
    return _FORMULAS[made.module](Parameters(made, constants, shapes))


def _requantize(p: Parameters) -> Resources:
    """fl_requantize: a pipeline that closes up, tables of constants, the arithmetic of values."""
    values, beats, v, clip = p["VALUES"], p["BEATS"], p["V"], p["CLIP"]
    terms, more, activate = p["TERMS"], p["MORE"], p["ACTIVATE"]
    factors = (0, 1, terms)[p["FACTOR"]]
    affine = 1 + clip + factors + p["BIAS"]
    steps = affine + 3 * activate
    beat = p.wrapping(width_of(beats) * (beats > 1))
    parts = [Resources(lut=steps, ff=steps), beat, *_factors(p)]
    reads = [0, *range(clip, clip + factors)]
    if clip:
        width = values * 2 * p["CLIPPED"]
        parts.append(p.rom(beats, width, p.table("LIMITS_FILE", width)))
    if p["BIAS"]:
        reads.append(affine - 2)
        parts.append(p.rom(beats, values * v, p.table("BIAS_FILE", values * v)))
    if activate and more:
        reads.append(affine)
        parts.append(p.rom(beats, values * more, p.table("SHIFT_FILE", values * more)))
    parts.append(Resources(ff=max(reads) * (width_of(beats) if beats > 1 else 0)))
    parts += [_affine(p, i) for i in range(values)] + [_activate(p)] * values * activate
    return total([*parts, p.buffer(values * (8 if activate else v))])


def _factors(p: Parameters) -> list[Resources]:
    """Tables of multipliers, or one for each term."""
    if not p["FACTOR"]:
        return []
    values, terms, bits = p["VALUES"], p["TERMS"], p["BITS"] + 1
    columns = p.table("FACTOR_FILE", values * terms * bits)
    parts = []
    for t in range(terms):
        mine = None
        if columns is not None:
            of_terms = columns.reshape(len(columns), values, terms, bits)
            mine = of_terms[:, :, t].reshape(len(columns), -1)
        parts.append(p.rom(p["BEATS"], values * bits, mine))
    return parts


def _affine(p: Parameters, value: int) -> Resources:
    """fl_affine of a value of a beat.

    A multiplier block has its operand's, its product's and the sum's register.
    """
    wide, clipped, v, clip, bias = p["IN"], p["CLIPPED"], p["V"], p["CLIP"], p["BIAS"]
    parts = [Resources(lut=p.c.clip * clipped, ff=wide + clipped) if clip else Resources(ff=wide)]
    if p["FACTOR"] == 1:
        dsp = math.ceil((clipped - 1) / 24) * math.ceil((p["BITS"] - 1) / 17)
        return total([*parts, Resources(ff=-clipped, dsp=dsp)])
    if p["FACTOR"] == 2:
        parts += [_term(p, value, t) for t in range(p["TERMS"])]
        parts += [Resources(ff=clipped)] * (p["TERMS"] - 1)
    if bias:
        parts.append(Resources(lut=v, ff=v))
    return total(parts)


def _term(p: Parameters, value: int, t: int) -> Resources:
    """A shifted value, added to the terms before it: a choice of its shifts, and an adder."""
    values, terms, bits, v = p["VALUES"], p["TERMS"], p["BITS"], p["V"]
    columns = p.table("FACTOR_FILE", values * terms * (bits + 1))
    shifts, selects, signed = 1 << (bits - 1), bits - 1, True
    if columns is not None:
        mine = columns.reshape(-1, values, terms, bits + 1)[:, value, t]
        shifts, signed = len(np.unique(mine[:, : bits - 1], axis=0)), bool(mine[:, bits - 1].any())
        selects = np.unique(mine[:, : bits - 1], axis=1).shape[1]
    # A table has six inputs, values and what chooses. An adder takes the last choice in, but two.
    choice = 1.0 if shifts + selects <= 6 else 2.0
    if shifts > 8:
        choice = p.c.shifts * shifts / 16
    choice = choice if shifts > 1 else 0.0
    adds = t > 0 or signed
    if adds:
        choice = max(choice, 2.0 if shifts > 1 else 1.0)
    return Resources(lut=max(0.0, choice * v - p.c.edges), ff=v)


def _activate(p: Parameters) -> Resources:
    """fl_activate: what is left of v behind the shift that all channels have is kept."""
    v, least, more = p["V"], p["LEAST"], p["MORE"]
    kept = max(2, v + 1 - least)
    choice = kept - 2 if p["SLOPE"] else 0
    lost = math.ceil(min(least, v) / 5)
    bits = p.c.more * more if more < 3 else p.c.shifts * (more - 2)
    return Resources(lut=p.c.rounding + choice + lost + kept * bits, ff=2 * kept + 2 + 8)


def _reduce(p: Parameters, out: int, depth: int, bit: float) -> Resources:
    """fl_reduce: a memory, what comes in, what was brought together, and a buffer."""
    values, address = p["VALUES"], width_of(depth)
    parts = [
        p.memory(values * out, depth, p["BLOCK"]),
        Resources(lut=bit * values * out + p.c.reduce, ff=4 + values * (8 + out) + address),
        p.buffer(values * out),
    ]
    return total(parts)


def _pool(p: Parameters) -> Resources:
    """fl_pool."""
    depth = p["WIDTH"] // 2 * p["BEATS"]
    position = p.wrapping(2 * width_of(depth) + 2)
    around = Resources(lut=p.c.squares)
    beat = p.wrapping(width_of(p["BEATS"]) * (p["BEATS"] > 1))
    return total([beat, position, around, _reduce(p, 8, depth, p.c.largest)])


def _group_pool(p: Parameters) -> Resources:
    """fl_group_pool: rows, the largest so far of each value, and results of a single beat."""
    values = p["VALUES"]
    largest = Resources(lut=p.c.largest * 8 * values / 2, ff=8 * values + 1)
    results = Resources(lut=2 + 1.5, ff=8 * values + 1)
    return total([row_resources.of(p), largest, results, p.buffer(8 * values)])


def _average(p: Parameters) -> Resources:
    """fl_average."""
    bits = sum(width_of(n) for n in (p["BEATS"], p["POSITIONS"]) if n > 1)
    return total([p.wrapping(bits), _reduce(p, p["OUT"], p["BEATS"], 2)])


def _add(p: Parameters) -> Resources:
    """fl_add, with a lift for each stream."""
    values, out = p["VALUES"], p["OUT"]
    parts = [
        Resources(lut=3 + values * out, ff=3 + values * out),
        p.buffer(values * out),
    ]
    for i in (0, 1):
        bits, narrow = p[f"LIFT{i}"], p[f"IN{i}"]
        table = p.table(f"FILE{i}", values * bits) if bits else None
        parts.append(Resources(ff=values * narrow))
        parts += [_lifted(p, bits, narrow, table, value) for value in range(values)]
        if bits:
            parts += [p.count(p["BEATS"]), p.rom(p["BEATS"], values * bits, table)]
    return total(parts)


def _lifted(
    p: Parameters, bits: int, narrow: int, table: np.ndarray | None, value: int
) -> Resources:
    """fl_lift of a value: a bit of what any distance gives that Yosys takes for possible."""
    least, most, selects = 0, (1 << bits) - 1, bits
    if table is not None:
        mine = table.reshape(len(table), -1, bits)[:, value].astype(int)
        least, most = (int(ends @ (1 << np.arange(bits))) for ends in (mine.min(0), mine.max(0)))
        selects = np.unique(mine[:, mine.min(0) < mine.max(0)], axis=1).shape[1]
    # A table chooses from four; without a choice there is none.
    each = min(selects, 1) if selects <= 2 else p.c.lifted * selects
    kept = max(0, min(p["OUT"], narrow + most) - least)
    return Resources(lut=each * kept, ff=kept)


def _fifo(p: Parameters) -> Resources:
    """fl_fifo."""
    depth = p["DEPTH"]
    counters = p.states(2 * width_of(depth) + 2 * width_of(depth + 1) + 1)
    return total([counters, Resources(lut=p.c.queue), p.memory(p["WIDTH"], depth, p["BLOCK"])])


def _narrow(p: Parameters) -> Resources:
    """fl_narrow: a bit is a word's that comes in or the one above; what is left, and which word."""
    width, into, out = p["WIDTH"], p["IN"], p["OUT"]
    words = -(-p["CHANNELS"] // into)
    rest = -(-(p["CHANNELS"] - (words - 1) * into) // out)
    bits = left(into // out) + (width_of(words) if rest < into // out else 0)
    return Resources(lut=(into - out) * width + p.c.left * bits, ff=into * width + bits)


def _widen(p: Parameters) -> Resources:
    """fl_widen: a word that is filled, its first part aside by what comes in or by zeros."""
    width, into, out, beats = p["WIDTH"], p["IN"], p["OUT"], p["BEATS"]
    counted = width_of(out // into) + (width_of(beats) if beats > 1 else 0)
    return Resources(
        lut=(out - into) * width + counted + out // into + 4, ff=out * width + counted + 1
    )


def _reorder(p: Parameters) -> Resources:
    """fl_reorder: a memory that is read without a register, and a table of places.

    Yosys gives the place its own registers beside the number's. Where both have four bits, it puts
    what moves them into each bit: of eight inputs, which are four tables.
    """
    length, width = p["LENGTH"], p["WIDTH"]
    memory = p.memory(width, length, 0)._replace(ff=0)
    bits = width_of(length)
    moved = 4 * 2 * bits if bits == 4 else p.c.state * bits
    return total([Resources(lut=moved + p.c.reordered, ff=3 * bits + 1), memory])


def _fork(p: Parameters) -> Resources:
    """fl_fork: a valid for each branch, and a ready."""
    return Resources(lut=p["BRANCHES"] + 1)


_FORMULAS: Mapping[str, Callable[[Parameters], Resources]] = {
    "fl_conv": engine_resources.conv,
    "fl_group_conv": engine_resources.conv,
    "fl_requantize": _requantize,
    "fl_pool": _pool,
    "fl_group_pool": _group_pool,
    "fl_average": _average,
    "fl_add": _add,
    "fl_fifo": _fifo,
    "fl_narrow": _narrow,
    "fl_widen": _widen,
    "fl_reorder": _reorder,
    "fl_fork": _fork,
}
