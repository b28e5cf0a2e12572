"""What an engine takes, fl_conv: rows, tables of codes, lanes, and results. NumPy alone."""

import numpy as np

from flightnn_jax.fpga import Resources
from flightnn_jax.rtl import lookups, row_resources
from flightnn_jax.rtl.architecture import GROUP
from flightnn_jax.rtl.lookups import INPUTS, Lookup
from flightnn_jax.rtl.parts import Parameters, left, total, width_of


def codes(p: Parameters) -> Resources:
    """Of fl_conv the two tables that say what is computed: weights, and turns."""
    at_once, bits = p["LANES"] * p["TERMS"], p.code_bits
    weights, about = bits * at_once * p["VALUES"], at_once + 2
    read = bits * p["VALUES"] * int((_computed(p) > 0).sum())
    block = p["CODES_BLOCK"]
    turns = p.table("TURN_FILE", about)
    if bits == 1 or p.lookup:  # nothing masks signs and levels
        about, turns = 2, None if turns is None else turns[:, -2:]
    parts = [
        p.rom(p["TURNS"], about, turns),
        p.rom(p["STEPS"], read if block else weights, p.table("CODES", weights), block),
    ]
    return total(parts)


def _computed(p: Parameters) -> np.ndarray:
    """[lanes, terms] in what share of turns a term is computed; Yosys leaves out what never is."""
    lanes, terms = p["LANES"], p["TERMS"]
    turns = p.table("TURN_FILE", lanes * terms)
    if turns is None or p.code_bits == 1 or p.lookup:
        return np.ones((lanes, terms))
    return turns.mean(axis=0).reshape(lanes, terms)


def conv(p: Parameters) -> Resources:
    """fl_conv or fl_group_conv, with rows, codes, lanes and results."""
    delay = 1 + (p["LEVELS"] + 1) // 2
    flags = Resources(lut=delay >= 3, ff=delay + 1 + (0 if delay >= 3 else delay))
    parts = [
        row_resources.of(p),
        codes(p),
        flags,
        *_lanes(p),
        _results(p),
        p.buffer(p["OUT"] * p["SUM"]),
    ]
    return total(parts)


def _lanes(p: Parameters) -> list[Resources]:
    """All of them."""
    if p.signs:
        return _counting(p)
    if p.lookup:
        return [_looked_up(p, p.lookup)] * p["LANES"]
    return [_lane(p, terms) for terms in _computed(p)]


def _results(p: Parameters) -> Resources:
    """fl_results: a bit is a sum's or one of the lane above; what leaves, and how many are left."""
    lanes, width = p["LANES"], p["SUM"]
    beats, passes = left(p["BEATS"]), width_of(p["PASSES"])
    if p["PASSES"] == 1 or p["REST"] == p["BEATS"]:
        passes = 0  # all passes are alike
    shifted = (lanes - p["OUT"]) * width
    return Resources(lut=shifted + 2 + 1.5 * (beats + passes), ff=lanes * width + beats + passes)


def _lane(p: Parameters, terms: np.ndarray) -> Resources:
    """fl_lane: products, a tree of adders with a register behind every second level, the sum.

    A bit of the sum takes two tables, one to begin again and one to add: Yosys does not fold the
    first into the second.

    Args:
      p: of fl_conv.
      terms: [terms] in what share of turns each is computed.
    """
    levels, width, integer = p["LEVELS"], p["SUM"], p["INTEGER"]
    sign = p.code_bits == 1
    bits = 8 if sign else 12 if integer else 15
    tables = p.c.negated if sign else p.c.integer if integer else p.c.shifted
    product = Resources(lut=tables, ff=bits + (not integer))
    if integer and p.parameters.get("DSP"):
        product = Resources(lut=bits, ff=bits, dsp=1)  # the mask
    wide = np.tile(np.where(terms > 0, bits, 0), p["VALUES"])  # 0 for what is not there
    parts = [product] * int((wide > 0).sum())
    if integer and not product.dsp:
        # A register that is reset and waits has a table for each bit's reset.
        parts += [Resources(lut=bits)] * int(((terms > 0) & (terms < 1)).sum()) * p["VALUES"]
    for level in range(1, levels + 1):
        kept = min(bits + level, width)
        pairs = np.pad(wide, (0, len(wide) % 2)).reshape(-1, 2)
        both = pairs.all(axis=1)
        wide = np.where(both, kept, pairs.max(axis=1))
        registers = (
            wide.sum() + (wide > 0).sum() * (not integer) if (levels - level) % 2 == 0 else 0
        )
        # The lowest bits of integers' sums are a wire; of terms some of two sums' tops are one.
        each = kept - 2 if integer else kept - 1 if sign else kept - 1.5 * (level > 1)
        parts.append(
            Resources(lut=int(both.sum()) * each, ff=int(registers) * ((levels - level) % 2 == 0))
        )
    return total([*parts, _summed(p)])


def _summed(p: Parameters) -> Resources:
    """The sum of a lane, one table a bit where each pass has one step."""
    width = p["SUM"]
    once = p["SIZE"] ** 2 * row_resources.part(p) == 1 and p["TURNS"] == p["PASSES"]
    return Resources(lut=width if once else 2 * width, ff=width)


def _looked_up(p: Parameters, lookup: Lookup) -> Resources:
    """fl_lane with tables of products: a table for each bit of a part's, and the tree behind them.

    Of a sum the bits below the higher of two numbers are wires, those above both are one.
    """
    ends: list[tuple[int, int]] = []  # of each number the lowest and the highest bit
    lut, start = 0, 0
    levels, width = p["LEVELS"], lookup.kept + 8
    for bits in lookups.parts(lookup.kept, lookup.parts):
        below = lookup.signed and start + bits == lookup.kept
        least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if below else (0, (1 << bits) - 1)
        products = [level * x for level in lookup.levels for x in (least, most)]
        wide = max(1, *(max(x, ~x).bit_length() + 1 for x in products))
        ends.append((start, start + wide - 1))
        lut += wide * (1 << max(0, lookup.code + bits - INPUTS))
        start += bits
    numbers = ends * p["VALUES"]
    lut *= p["VALUES"]
    ff = sum(high - low + 1 for low, high in numbers)
    for level in range(1, levels + 1):
        pairs = [numbers[i : i + 2] for i in range(0, len(numbers), 2)]
        both = [two for two in pairs if len(two) > 1]
        lut += sum(max(a[1], b[1]) - max(a[0], b[0]) + 1 for a, b in both)
        numbers = [
            (min(low for low, _ in two), width + level - 1) if len(two) > 1 else two[0]
            for two in pairs
        ]
        if (levels - level) % 2 == 0:
            ff += sum(high - low + 1 for low, high in numbers)
    return total([Resources(lut=lut, ff=ff), _summed(p)])


def _counting(p: Parameters) -> list[Resources]:
    """The lanes of signs, fl_signs, and the count of activations that are not 0."""
    counter = _popcount(p["VALUES"])
    total_bits = 4 + p["LEVELS"]
    lane = [counter, Resources(lut=p.c.differ * p["VALUES"] + total_bits), _summed(p)]
    return [counter, Resources(lut=total_bits), *lane * p["LANES"]]


def _popcount(bits: int) -> Resources:
    """fl_popcount: groups of seven, and a tree with a register behind every second level."""
    sizes = [min(GROUP, bits - start) for start in range(0, bits, GROUP)]
    # What each number can be, and whether it has a bit that is still to be added.
    nodes = [(min(n, GROUP - 1), n == GROUP) for n in sizes]
    lut = float(sum((0, 2, 2, 3, 3, 3)[most - 1] for most, _ in nodes))
    ff = sum(most.bit_length() + one for most, one in nodes)
    levels = (len(nodes) - 1).bit_length()
    for level in range(1, levels + 1):
        pairs = [nodes[i : i + 2] for i in range(0, len(nodes), 2)]
        nodes = [
            (sum(m for m, _ in two) + (len(two) > 1 and two[0][1]), two[-1][1]) for two in pairs
        ]
        lut += sum(
            most.bit_length() + (0.5 if level > 1 else -1)
            for (most, _), two in zip(nodes, pairs, strict=True)
            if len(two) > 1
        )
        if (levels - level) % 2 == 0:
            ff += sum(most.bit_length() + one for most, one in nodes)
    return Resources(lut=lut, ff=ff)
