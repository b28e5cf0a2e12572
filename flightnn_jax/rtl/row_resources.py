"""What keeps the rows of a map and reads its windows takes: fl_rows and fl_group_rows.

NumPy alone.
"""

from flightnn_jax.fpga import Resources
from flightnn_jax.rtl.parts import Parameters, total, width_of


def of(p: Parameters) -> Resources:
    """The counters that their headers name, and a memory of rows.

    Args:
      p: of fl_conv, fl_group_conv or fl_group_pool.
    """
    words, height, width, size = p["WORDS"], p["HEIGHT"], p["WIDTH"], p["SIZE"]
    stride, rows = p["STRIDE"], p["ROWS"]
    pitch, values = width * words, read(p)
    depth, kept = rows * pitch, p.kept_bits * values
    signed_rows = width_of(rows) + 2
    map_rows = width_of(height + stride + 2 * size) + 2
    offset = width_of(pitch + size * words + stride * words) + 2
    across = _counter(p["OUT_WIDTH"])
    window = _window(p)
    # What is chosen by a step; a pool has nothing to choose, but counts its turns.
    chosen = "STEPS" in p.parameters
    turn = _counter(p["TURNS"] if chosen else words)
    address = _counter(p["STEPS"]) if chosen else 0
    offsets = 2 if plain(p) else 3
    counters = [
        2 * width_of(depth) + width_of(pitch),
        4 * signed_rows + 3 * map_rows + 2 * width_of(rows) + offsets * offset,
        window,
        (1 + chosen) * turn + 2 * address + across,
    ]
    flags = 9
    steps_and_words = width_of(pitch) + window + across + address + turn
    tables = p.c.control + p.c.zero * kept + p.c.counted * steps_and_words
    tables += p.c.place * width_of(rows) + p.c.offset * offset
    if not plain(p):
        tables += p.c.part * offset
    control = Resources(lut=tables, ff=sum(counters) + flags)
    return total([control, p.memory(kept, depth, p["ROWS_BLOCK"])])


def plain(p: Parameters) -> bool:
    """Whether it is fl_rows: half of a window around the map, and all words of a pixel."""
    return "PADDING" not in p.parameters


def read(p: Parameters) -> int:
    """Activations of a word."""
    own = not plain(p) and "OWN" in p.parameters and p["OWN"]
    return p["VALUES"] * (p["LANES"] if own else 1)


def part(p: Parameters) -> int:
    """Words of a pixel that a sweep reads."""
    if plain(p):
        return p["WORDS"]
    return p["PART"] if "PART" in p.parameters else 1


def _window(p: Parameters) -> int:
    """Bits of the counters of a window's words: of its rows, and of what a row has."""
    size = p["SIZE"]
    if plain(p):
        return _counter(size * p["WORDS"]) + _counter(size)
    return _counter(part(p)) + 2 * _counter(size)


def _counter(states: int) -> int:
    return width_of(states) if states > 1 else 0
