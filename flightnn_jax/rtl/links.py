"""A stream in the model of times: when each beat is offered, has room, and passes."""

from collections.abc import Generator
from typing import Any, NamedTuple

BUFFER = 2  # words of fl_buffer
Process = Generator[None, None, None]  # goes on as far as it can each time, and waits at a yield


class Link:
    """Times of a stream's beats, as far as they are known.

    Attributes:
      offered: from which cycle on the writer has each beat.
      room: from which cycle on the reader has room for it.
      passed: the cycle in which it passes.
    """

    def __init__(self) -> None:
        self.offered: list[int] = []
        self.room: list[int] = []
        self.passed: list[int] = []

    @property
    def known(self) -> int:
        """How many times are known, of both ends."""
        return len(self.offered) + len(self.room)

    def offer(self, cycle: int) -> None:
        """From this cycle on the writer has the next beat."""
        self.offered.append(cycle)
        self._pass()

    def take(self, cycle: int) -> None:
        """From this cycle on the reader has room for the next beat."""
        self.room.append(cycle)
        self._pass()

    def _pass(self) -> None:
        number = len(self.passed)
        if number < len(self.offered) and number < len(self.room):
            self.passed.append(max(self.offered[number], self.room[number]))

    def until(self, count: int) -> Process:
        """Waits until so many beats have passed."""
        while len(self.passed) < count:
            yield


class Actor(NamedTuple):
    """A stage: what it does goes on together.

    Attributes:
      processes: that it consists of.
      links: at its ends.
      lists: times that its processes tell each other.
    """

    processes: list[Process]
    links: list[Link]
    lists: list[list[Any]]

    def go_on(self) -> None:
        """As far as it can with what is known."""
        before = -1
        while before != (before := self._known()):
            for process in self.processes:
                next(process, None)

    def _known(self) -> int:
        return sum(link.known for link in self.links) + sum(map(len, self.lists))


def push(cycle: int, pushes: list[int], output: Link) -> Process:
    """A word goes into a buffer of two words, from this cycle on and behind the one before it."""
    number = len(pushes)
    yield from output.until(number + 1 - BUFFER)
    if number:
        cycle = max(cycle, pushes[-1] + 1)
    if number >= BUFFER:
        cycle = max(cycle, output.passed[number - BUFFER] + 1)
    pushes.append(cycle)


def buffered(pushes: list[int], output: Link) -> Process:
    """The buffer offers a word once it is in and the one before it has left."""
    while True:
        number = len(output.offered)
        while len(pushes) <= number:
            yield
        yield from output.until(number)
        output.offer(max(pushes[number] + 1, output.passed[number - 1] + 1 if number else 0))
