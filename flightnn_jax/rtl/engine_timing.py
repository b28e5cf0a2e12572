"""Times of an engine: rows come in, windows are read step by step, passes are complete and leave.

A pool of any windows is one, too: a pass is the values of a beat.

The pipeline from addresses to sums stands still while a pass is complete and the one before it has
not left. So there are two clocks: cycles, and those of them in which the pipeline moves. Between
the last step of a pass and its complete sums lies a fixed number of the latter; rows come in and
leave in the former.
"""

import itertools
from collections.abc import Generator
from typing import Any

import numpy as np

from flightnn_jax.rtl import links
from flightnn_jax.rtl.architecture import Convolve, WindowPool
from flightnn_jax.rtl.links import Actor, Link, Process
from flightnn_jax.rtl.queues import kept_from, needs


def actor(stage: Convolve | WindowPool, source: Link, output: Link) -> Actor:
    """The engine's parts: rows, steps, results and the buffer behind them."""
    engine = _Engine(stage, source, output)
    parts = [
        engine.rows_come(),
        engine.windows_are_read(),
        engine.passes.leave(),
        links.buffered(engine.passes.pushes, output),
    ]
    lists: list[list[Any]] = [engine.releases, *engine.passes.lists]
    return Actor(parts, [source, output], lists)


class _Engine:
    """What the parts know of each other.

    Attributes:
      releases: [rows of windows] from which cycle on the rows before its first one may be written
        over, and how many these are.
      passes: what leaves.
    """

    def __init__(self, stage: Convolve | WindowPool, source: Link, output: Link) -> None:
        self.stage, self.source = stage, source
        self.releases: list[tuple[int, int]] = []
        self.passes = Passes(stage.delay, stage.results.tolist(), output)

    def rows_come(self) -> Process:
        """A row may come where an old one has been released."""
        row = self.stage.source.shape[1] * self.stage.source.beats
        release = 0
        for number in itertools.count():
            yield from self.source.until(number)
            room = self.source.passed[-1] + 1 if number else 0
            which, within = divmod(number, row)
            if not within and which >= self.stage.rows:
                while True:
                    while len(self.releases) <= release:
                        yield
                    cycle, rows = self.releases[release]
                    if rows > which - self.stage.rows:
                        break
                    release += 1
                room = max(room, cycle)
            self.source.take(room)

    def windows_are_read(self) -> Process:
        """A row of windows begins when its rows are there, and goes on step by step."""
        stage = self.stage
        per_row = np.cumsum(np.tile(stage.passes, stage.output.shape[1]))
        needed = needs(stage)
        in_a_row = stage.output.shape[1] * stage.output.beats
        last = 0  # the clock's reading at the last step of the row before
        for number in itertools.count():
            need = int(needed(np.array(number * in_a_row)))
            yield from self.source.until(need)
            there = self.source.passed[need - 1] + 1
            switch, read = there, -1
            if number:
                step = yield from self.passes.cycle_of(last)
                switch = max(step, there)
                read = yield from self.passes.moves(step + 1)
            # The last word of the rows before is read a move behind its step, and then they go.
            rows = int(kept_from(stage, np.array(number)))
            self.releases.append((max(read, switch + 1) + 1, rows))
            begins = read if read > switch else (yield from self.passes.moves(switch + 1))
            clock = begins - self.passes.still
            self.passes.last_steps += (clock + per_row - 1).tolist()
            last = self.passes.last_steps[-1]


class Passes:
    """A pipeline that stands still while a pass is complete and the one before it has not left.

    Attributes:
      delay: moves from a pass's last step to its complete sums.
      beats: [passes] that each pass of a pixel gives.
      output: where they go.
      last_steps: [passes] when the last step of each is read, in cycles in which something moves.
      loads: [passes] the cycle in which its sums go into the results.
      pushes: [beats] the cycle in which each goes into the buffer.
      still: cycles in which the pipeline stood still, as far as they were asked for.
    """

    def __init__(self, delay: int, beats: list[int], output: Link) -> None:
        self.delay, self.beats, self.output = delay, beats, output
        self.last_steps: list[int] = []
        self.loads: list[int] = []
        self.pushes: list[int] = []
        self.still = 0
        self._resumed = 0  # passes whose standstill is counted in `still`

    @property
    def lists(self) -> list[list[int]]:
        """The times that others read."""
        return [self.last_steps, self.loads, self.pushes]

    def moves(self, cycle: int) -> Generator[None, None, int]:
        """The first cycle from this one on in which the pipeline moves."""
        while self._resumed < len(self.last_steps):
            complete = yield from self._complete(self._resumed)
            if complete > cycle:
                break
            while len(self.loads) <= self._resumed:
                yield
            self.still += self.loads[self._resumed] - complete
            cycle = max(cycle, self.loads[self._resumed])
            self._resumed += 1
        return cycle

    def cycle_of(self, clock: int) -> Generator[None, None, int]:
        """The cycle in which the clock shows this."""
        while (
            self._resumed < len(self.last_steps)
            and self.last_steps[self._resumed] + self.delay <= clock
        ):
            complete = yield from self._complete(self._resumed)
            while len(self.loads) <= self._resumed:
                yield
            self.still += self.loads[self._resumed] - complete
            self._resumed += 1
        return clock + self.still

    def _complete(self, number: int) -> Generator[None, None, int]:
        """The cycle in which a pass's sums are complete."""
        if not number:
            return self.last_steps[0] + self.delay
        while len(self.loads) < number:
            yield
        return self.loads[number - 1] + self.last_steps[number] - self.last_steps[number - 1]

    def leave(self) -> Process:
        """A pass goes into the results when the last beat of the one before leaves."""
        beats = self.beats
        for number in itertools.count():
            while len(self.last_steps) <= number:
                yield
            load = yield from self._complete(number)
            if number:
                load = max(load, self.pushes[-1])
            self.loads.append(load)
            for beat in range(beats[number % len(beats)]):
                yield from links.push(load + 1 + beat, self.pushes, self.output)
