"""Times of a layer whose weights are wires: pixels come in, windows are complete, sums leave.

As in an engine (`engine_timing`) there are two clocks: cycles, and those of them in which all
between the two buffers moves. A window is complete a fixed number of moves behind its last pixel,
and behind an image so many moves follow that its last windows are.
"""

import itertools

from flightnn_jax.rtl import links
from flightnn_jax.rtl.architecture import Wired
from flightnn_jax.rtl.engine_timing import Passes
from flightnn_jax.rtl.links import BUFFER, Actor, Link, Process


def actor(stage: Wired, source: Link, output: Link) -> Actor:
    """The buffer before the windows, the windows, and what leaves."""
    taken: list[int] = []  # the cycle in which each pixel leaves the buffer
    passes = Passes(stage.delay, stage.results.tolist(), output)
    parts = [
        _pixels_come(source, taken),
        _windows(stage, source, taken, passes),
        passes.leave(),
        links.buffered(passes.pushes, output),
    ]
    return Actor(parts, [source, output], [taken, *passes.lists])


def _pixels_come(source: Link, taken: list[int]) -> Process:
    """A pixel may come where fewer than two are held."""
    for number in itertools.count():
        yield from source.until(number)
        while len(taken) <= number - BUFFER:
            yield
        room = source.passed[-1] + 1 if number else 0
        source.take(max(room, taken[number - BUFFER] + 1) if number >= BUFFER else room)


def _windows(stage: Wired, source: Link, taken: list[int], passes: Passes) -> Process:
    """Move by move: each takes a pixel, or pushes the last windows of an image out."""
    height, width, _ = stage.source.shape
    pixels, cycle = height * width, 0
    while True:
        for move in range(pixels + stage.lag):
            if move < pixels:
                yield from source.until(len(taken) + 1)
                cycle = max(cycle, source.passed[len(taken)] + 1)
            cycle = yield from passes.moves(cycle)
            if move < pixels:
                taken.append(cycle)
            y, x = divmod(move - stage.lag, width)
            if y >= 0 and not y % stage.stride and not x % stage.stride:
                passes.last_steps.append(cycle - passes.still)
            cycle += 1
