"""SIGTERM recorded instead of dying of it, so that the step in progress is finished and saved."""

import contextlib
import signal
import types
from collections.abc import Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils


class Termination:
    """Whether this process, or one of several, has received SIGTERM.

    The handler that was there before hears of it, too: a sweep's, around those of its members.
    """

    def __init__(self, before: Any) -> None:
        self.received, self.before = False, before

    def handle(self, number: int, frame: types.FrameType | None) -> None:
        """What the signal calls."""
        self.received = True
        if callable(self.before):
            self.before(number, frame)

    def stops(self, after: int) -> bool:
        """Whether training stops after this step; the same step in every process."""
        if jax.process_count() > 1:  # jax.distributed has the handler and agrees on a step
            return multihost_utils.reached_preemption_sync_point(after)
        return self.received


@contextlib.contextmanager
def termination() -> Iterator[Termination]:
    """Records SIGTERM instead of dying of it, so that the step in progress is finished."""
    received = Termination(signal.getsignal(signal.SIGTERM))
    if jax.process_count() > 1:
        yield received
        return
    signal.signal(signal.SIGTERM, received.handle)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, received.before)
