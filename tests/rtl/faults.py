"""Faults in the library's modules, which no proof may pass."""

from flightnn_jax.rtl import prove
from flightnn_jax.rtl.modules import library

# Harness, what is right in the module's text, and what is wrong.
FAULTS = [
    ("affine", "value < least ? least", "value < least ? most"),
    ("affine", "clipped[CLIPPED-1]}", "1'b0}"),
    ("affine", "<= product + bias", "<= product - bias"),
    ("product", "{7{x[7]}}", "{7{1'b0}}"),
    ("product", "mask && code[0]", "code[0]"),
    ("product4", "wide << 3", "wide << 2"),
    ("tree", "(LEVELS - l) % 2 == 0", "(LEVELS - l) % 2 == 1"),
    ("tree", "{a[BITS-2], a} + {b", "{a[BITS-2], a} - {b"),
    ("lane", "first ? {WIDTH{1'b0}} : acc", "acc"),
    ("lookup", "number = number - (1 << BITS)", "number = number"),
    ("lookup", "{24{level[7]}}", "{24{1'b0}}"),
    ("popcount", "(carry & (high | high_2))", "carry"),
    ("popcount", "padded[7*i+6]", "1'b0"),
    ("count", "(carry & (high | high_2))", "carry"),
    ("count", "^padded[5:3]", "^padded[4:3]"),
    ("offset", "place*BITS+:BITS", "place*BITS+1+:BITS"),
    ("signs", "x[2*i] && x", "x"),
    ("signs", "!rest}", "rest}"),
    ("activate", "sticky_2 || wide[1]", "sticky_2"),
    ("activate", "wide[8:1] != 8'h7f", "wide[8:1] != 8'h7e"),
    ("activate", "value_1 & lost", "value_1 & 0"),
    ("fork", "out_ready | SELF", "out_ready"),
    ("buffer", "full ? tail : in_data", "in_data"),
    ("buffer", "full <= held && !pop && (full || push)", "full <= held && (full || push)"),
    ("elastic", "out_ready || !(&valid[STEPS-1:i])", "out_ready || !(&valid[STEPS-1:0])"),
    ("fifo", "count != MOST", "count < MOST - 1"),
    ("fifo", "head == LAST ?", "head == 3 ?"),
    ("fifo", "held <= load || (held && !pop)", "held <= load || held"),
    ("reduce", "wide > old ? wide : old", "wide > old ? old : wide"),
    ("reduce", "forward <= leaves && address == address_1", "forward <= leaves"),
    ("results", "pass == LAST ? SOME : ALL", "SOME"),
    ("results", "(one && out_ready)", "one"),
    ("narrow", "number == LAST_WORD ? SOME : ALL", "ALL"),
    ("narrow", "few ? in_data : next", "next"),
    ("widen", "beat == LAST_BEAT;", "1'b0;"),
    ("widen", "complete && !out_ready", "complete"),
]

# Those that take longer to see.
LONGER = [
    ("rows", "have >= need", "have + 1 >= need"),
    ("rows", "zero_3   <= zero", "zero_3 <= 1'b0"),
    ("rows", "level < MOST", "level <= MOST"),
    ("rows", "write_address == LAST_WORD ?", "write_address == LAST_WORD - 1 ?"),
    ("rows", "|| empty[turn_now]", ""),
    ("rows", "enable || !reads", "1'b1"),
    ("rows", "row >= END ||", ""),
    ("rows", "offset >= ROW_END", "offset > ROW_END"),
    ("rows", "left + RIGHT", "left + RIGHT + 1"),
    ("rows", "next_is_last ? FIRST_ROW", "next_is_last ? LAST_ROW"),
    ("rows", "? END : after_kept) - kept", "? END : after_kept)"),
    ("rows", "address_2 <= address_now", "address_2 <= address_now + 1"),
    ("windows", "rows[r] && columns[c]", "rows[r]"),
    ("windows", "if (middle) begin", "if (1'b1) begin"),
    ("windows", "index + 1'b1 > BEHIND", "index + 1'b1 >= BEHIND"),
    ("windows", ".write(advance)", ".write(move)"),
    ("windows", ".read(move)", ".read(1'b1)"),
    ("windows", "moved && middle &&", "middle &&"),
    ("windows", "enable && !push", "enable"),
    ("windows", "row_ends || skip_x == LAST_OF_STRIDE", "skip_x == LAST_OF_STRIDE"),
    ("windows", "at_y == LAST_ROW ?", "at_y == LAST_ROW - 1 ?"),
]

ALL = FAULTS + LONGER

# The claim of a harness that shows a fault, by its place.
_CLAIM = dict.fromkeys(("tree", "lookup", "popcount", "signs", "activate", "windows", "rows"), 1)
_CLAIM["count"] = 5


def verdict(harness: str, right: str, wrong: str) -> prove.Verdict:
    """On a module with a fault."""
    name, modules = f"fl_{harness}.v", library()
    text = modules[name].decode()
    assert right in text
    broken = {**modules, name: text.replace(right, wrong).encode()}
    claims = [claim for claim in prove.CLAIMS if claim.harness == harness]
    return prove.prove(claims[_CLAIM.get(harness, 0)], broken)
