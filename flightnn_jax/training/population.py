"""Several runs at once as one vmapped step: small networks together fill a device.

    states, batches, arguments --stacked--> vmap of the step --> each run's own loop

At the end of an epoch each run is validated, corrected and saved by its own loop, one after the
other. Weights are those of the runs alone up to the order in which floats are summed, so not bit
for bit. On a CPU the loop over one compiled step is faster.
"""

import collections
import contextlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from flightnn_jax import data
from flightnn_jax.training import loop, step
from flightnn_jax.training.step import StepMetrics

PyTree = Any


def fit(runs: Sequence[loop.Run], stop: loop.Termination) -> bool:
    """Trains runs to their ends, where the loop of each alone would go on from.

    Args:
      runs: two or more that share a compiled step and the length of training.
      stop: of the process. All are saved when it is received.

    Returns:
      Whether they were trained, or stopped; False if they stand at different steps or learn from
      teachers of different models, or some begin with stages, so that each has to be trained by
      its own loop first.

    Raises:
      DivergedError, CheckpointError, LockedError: see `loop.fit`.
    """
    if any(run.before is not None for run in runs):
        return False
    with contextlib.ExitStack() as stack:
        loops = [stack.enter_context(loop.opened(run, stop)) for run in runs]
        members = [each for each in loops if each is not None]
        kinds = {(member.step, jax.tree.structure(member.hyper)) for member in members}
        if len(kinds) != 1:
            return False
        _Population(members).go(stop)
        return True


class _Population:
    """Loops in step with each other."""

    def __init__(self, members: Sequence[loop.Loop]) -> None:
        self.members = members
        first = members[0].run
        self.program = step.make_steps(
            first.config, first.model, first.train_split.dataset, first.steps, first.mesh
        )
        self.structure = jax.tree.structure(members[0].state)
        self.waiting: collections.deque[tuple[int, StepMetrics]] = collections.deque()

    def go(self, stop: loop.Termination) -> None:
        first, number = self.members[0], self.members[0].step
        leaves, hypers = self.stacked()
        for batches in zip(*(member.batches() for member in self.members), strict=True):
            batch: data.Batch = _stack(batches)
            leaves, metrics = self.program(leaves, batch, hypers, number < first.tracked)
            number += 1
            self.waiting.append((number, metrics))
            self.read(all_but=loop.STEPS_IN_FLIGHT)
            stops = stop.stops(number) and number < first.run.steps
            if stops or any(member.is_due(number) for member in self.members):
                self.read()
                self.unstack(leaves, number)
                for member in self.members:
                    if member.is_due(number):
                        member.write_down()
                    if stops:
                        member.leave()
                leaves, hypers = self.stacked()
            if stops:
                return
        for member in self.members:
            member.checkpoints.wait()

    def stacked(self) -> tuple[list[jax.Array], Any]:
        """The leaves of all states, and the arguments of the step."""
        leaves = [jax.tree.leaves(member.state) for member in self.members]
        return _stack(leaves), _stack([member.hyper for member in self.members])

    def unstack(self, leaves: list[jax.Array], number: int) -> None:
        """Gives each loop its state."""
        for i, member in enumerate(self.members):
            member.state = jax.tree.unflatten(self.structure, [leaf[i] for leaf in leaves])
            member.step = number

    def read(self, all_but: int = 0) -> None:
        """Hands metrics of steps that are done to the loops."""
        while len(self.waiting) > all_but:
            number, metrics = self.waiting.popleft()
            values = jax.device_get(metrics)
            for i, member in enumerate(self.members):
                member.waiting.append((number, StepMetrics(*(value[i] for value in values))))
                member.read()


def _stack(trees: Sequence[PyTree]) -> PyTree:
    """One tree, whose leaves have a first axis more."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
