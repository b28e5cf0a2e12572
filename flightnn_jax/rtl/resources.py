"""What a module of the library takes, by its parameters: tables, flip-flops, blocks, multipliers.

A function for each module, with the parts of which its Verilog is made. Flip-flops are counted:
every register, without the columns of a table that are constant or another one's. Blocks and
multipliers are what the generator chose. Tables (look-up tables of 6 inputs, xc7) are counted where
the Verilog says how many bits are added, chosen or kept, and have one of `Constants` where it does
not. benchmarks/rtl_resources.py fits these to one set of stages and measures the errors on another
(docs/measurements/rtl.md). NumPy alone.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from flightnn_jax.fpga import XILINX_18K, Resources, Shapes
from flightnn_jax.rtl import verilog, wired_resources
from flightnn_jax.rtl.architecture import Stage, Wired
from flightnn_jax.rtl.parts import CONSTANTS, Constants, Parameters, total, width_of
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
    bram: float
    dsp: float


ERRORS = Errors(lut=1.15, ff=1.03, bram=1.0, dsp=1.0)
"""Of engines and what stands between them: docs/measurements/rtl.md."""

WIRED_ERRORS = Errors(lut=1.05, ff=1.03, bram=1.0, dsp=1.0)
"""Of layers whose weights are wires: the same page."""


def of(stage: Stage, constants: Constants = CONSTANTS) -> Resources:
    """What a stage takes."""
    if isinstance(stage, Wired):
        return wired_resources.of(stage, constants)
    return of_instance(verilog.instance(stage), constants)


def of_instance(
    made: Instance, constants: Constants = CONSTANTS, shapes: Shapes = XILINX_18K
) -> Resources:
    """What an instance of a module of the library takes; tables that it lacks are taken as full."""
    return _FORMULAS[made.module](Parameters(made, constants, shapes))


def codes(p: Parameters) -> Resources:
    """Of fl_conv the two tables that say what is computed: weights, and turns."""
    at_once = p["LANES"] * p["TERMS"]
    weights, about = 4 * at_once * p["VALUES"], at_once + 2
    parts = [
        p.rom(p["TURNS"], about, p.table("TURN_FILE", about)),
        p.rom(p["STEPS"], weights, p.table("CODES", weights), p["CODES_BLOCK"]),
    ]
    return total(parts)


def _conv(p: Parameters) -> Resources:
    """fl_conv, with rows, codes, lanes and results."""
    lanes, width = p["LANES"], p["SUM"]
    delay = 1 + (p["LEVELS"] + 1) // 2
    flags = Resources(lut=delay >= 3, ff=delay + 1 + (0 if delay >= 3 else delay))
    parts = [
        _rows(p),
        codes(p),
        flags,
        *[_lane(p)] * lanes,
        Resources(lut=p.c.result * (lanes - p["OUT"]) * width, ff=lanes * width),
        p.count(p["BEATS"] + 1),
        p.count(p["PASSES"]),
        p.buffer(p["OUT"] * width),
    ]
    return total(parts)


def _rows(p: Parameters) -> Resources:
    """fl_rows: the counters that its header names, and a memory of rows."""
    words, height, width, size = p["WORDS"], p["HEIGHT"], p["WIDTH"], p["SIZE"]
    stride, rows, turns, steps = p["STRIDE"], p["ROWS"], p["TURNS"], p["STEPS"]
    pitch, values = width * words, p["VALUES"]
    depth = rows * pitch
    signed_rows = width_of(rows) + 2
    map_rows = width_of(height + stride + 2 * size) + 2
    offsets = width_of(pitch + size * words + stride * words) + 2
    address = width_of(steps) if steps > 1 else 0
    turn = width_of(turns) if turns > 1 else 0
    counters = [
        2 * width_of(depth) + width_of(pitch),
        4 * signed_rows + 3 * map_rows + 2 * width_of(rows) + 2 * offsets,
        width_of(size * words) * (size * words > 1) + width_of(size) * (size > 1),
        2 * turn + 2 * address + width_of(p["OUT_WIDTH"]) * (p["OUT_WIDTH"] > 1),
    ]
    flags = 9
    control = p.states(sum(counters) + flags)
    outside = Resources(lut=p.c.control + p.c.zero * 8 * values)
    return total([control, outside, p.memory(8 * values, depth, p["ROWS_BLOCK"])])


def _lane(p: Parameters) -> Resources:
    """fl_lane: products, a tree of adders with a register behind every second level, the sum."""
    n, levels, width, integer = p["VALUES"] * p["TERMS"], p["LEVELS"], p["SUM"], p["INTEGER"]
    bits = 12 if integer else 15
    product = Resources(lut=p.c.integer if integer else p.c.shifted, ff=bits + (not integer))
    if integer and p.parameters.get("DSP"):
        product = Resources(lut=bits, ff=bits, dsp=1)  # the mask
    parts = [product] * n
    below = n
    for level in range(1, levels + 1):
        count = -(-below // 2)
        kept = min(bits + level, width)
        registers = count * (kept + (not integer)) if (levels - level) % 2 == 0 else 0
        parts.append(Resources(lut=below // 2 * kept, ff=registers))
        below = count
    parts.append(Resources(lut=p.c.added * width, ff=width))
    return total(parts)


def _requantize(p: Parameters) -> Resources:
    """fl_requantize: a pipeline that closes up, tables of constants, the arithmetic of values."""
    values, beats, v, clip = p["VALUES"], p["BEATS"], p["V"], p["CLIP"]
    terms, more, activate = p["TERMS"], p["MORE"], p["ACTIVATE"]
    factors = (0, 1, terms)[p["FACTOR"]]
    affine = 1 + clip + factors + p["BIAS"]
    steps = affine + 3 * activate
    parts = [Resources(lut=p.c.step * steps, ff=steps), p.count(beats), *_factors(p)]
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
    parts += [_affine(p), *([_activate(p)] if activate else [])] * values
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


def _affine(p: Parameters) -> Resources:
    """fl_affine. A multiplier block has its operand's, its product's and the sum's register."""
    wide, clipped, v, clip, bias = p["IN"], p["CLIPPED"], p["V"], p["CLIP"], p["BIAS"]
    parts = [Resources(lut=p.c.clip * clipped, ff=wide + clipped) if clip else Resources(ff=wide)]
    if p["FACTOR"] == 1:
        dsp = math.ceil((clipped - 1) / 24) * math.ceil((p["BITS"] - 1) / 17)
        return total([*parts, Resources(ff=-clipped, dsp=dsp)])
    if p["FACTOR"] == 2:
        distance = p["BITS"] - 1
        term = Resources(lut=v * (p.c.signed + p.c.distance * distance), ff=v)
        parts += [term] * p["TERMS"]
        parts += [Resources(lut=v, ff=clipped)] * (p["TERMS"] - 1)
    if bias:
        parts.append(Resources(lut=v, ff=v))
    return total(parts)


def _activate(p: Parameters) -> Resources:
    """fl_activate: what is left of v behind the shift that all channels have is kept."""
    kept = max(2, p["V"] + 1 - p["LEAST"])
    choice = p.c.slope * kept if p["SLOPE"] else 0
    more = kept * p.c.distance * p["MORE"]
    lost = p.c.sticky * min(p["LEAST"], p["V"])
    return Resources(lut=choice + more + lost + p.c.rounding, ff=2 * kept + 2 + 8)


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
    position = p.states(2 * width_of(depth) + 2)
    return total([p.count(p["BEATS"]), position, _reduce(p, 8, depth, p.c.largest)])


def _average(p: Parameters) -> Resources:
    """fl_average."""
    counters = [p.count(p["BEATS"]), p.count(p["POSITIONS"])]
    return total([*counters, _reduce(p, p["OUT"], p["BEATS"], p.c.summed)])


def _add(p: Parameters) -> Resources:
    """fl_add, with a lift for each stream."""
    values, out = p["VALUES"], p["OUT"]
    parts = [
        Resources(lut=3 * p.c.step + values * out, ff=3 + values * out),
        p.buffer(values * out),
    ]
    for i in (0, 1):
        bits, narrow = p[f"LIFT{i}"], p[f"IN{i}"]
        kept = min(out, narrow + (1 << bits) - 1)
        parts.append(
            Resources(lut=p.c.distance * values * kept * bits, ff=values * (narrow + kept))
        )
        if bits:
            parts.append(p.count(p["BEATS"]))
            table = p.table(f"FILE{i}", values * bits)
            parts.append(p.rom(p["BEATS"], values * bits, table))
    return total(parts)


def _fifo(p: Parameters) -> Resources:
    """fl_fifo."""
    depth = p["DEPTH"]
    counters = p.states(2 * width_of(depth) + 2 * width_of(depth + 1) + 1)
    return total([counters, Resources(lut=p.c.queue), p.memory(p["WIDTH"], depth, p["BLOCK"])])


def _narrow(p: Parameters) -> Resources:
    """fl_narrow: a word that is shifted out."""
    width, into, out = p["WIDTH"], p["IN"], p["OUT"]
    counters = [p.count(into // out + 1), p.count(-(-p["CHANNELS"] // into))]
    return total([*counters, Resources(lut=(into - out) * width + p.c.buffer, ff=into * width)])


def _widen(p: Parameters) -> Resources:
    """fl_widen: a word that is filled."""
    word = p["OUT"] * p["WIDTH"]
    counters = [p.count(p["OUT"] // p["IN"]), p.count(p["BEATS"])]
    return total([*counters, Resources(lut=p.c.widened * word + p.c.buffer, ff=word + 1)])


def _reorder(p: Parameters) -> Resources:
    """fl_reorder: a memory that is read without a register, and a table of places."""
    length, width = p["LENGTH"], p["WIDTH"]
    memory = p.memory(width, length, 0)._replace(ff=0)
    places = Resources(lut=width_of(length))
    return total([p.count(length), Resources(lut=p.c.buffer, ff=1), memory, places])


def _fork(p: Parameters) -> Resources:
    """fl_fork: a valid for each branch, and a ready."""
    return Resources(lut=p["BRANCHES"] + 1)


_FORMULAS: Mapping[str, Callable[[Parameters], Resources]] = {
    "fl_conv": _conv,
    "fl_requantize": _requantize,
    "fl_pool": _pool,
    "fl_average": _average,
    "fl_add": _add,
    "fl_fifo": _fifo,
    "fl_narrow": _narrow,
    "fl_widen": _widen,
    "fl_reorder": _reorder,
    "fl_fork": _fork,
}
