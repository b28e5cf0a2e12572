"""Trains the members of a plan, one after the other in this process.

Members that differ in arguments of the training step alone share one compiled program, and those
follow each other. Several processes may train one plan: who holds a member's lock trains it.
"""

import contextlib
import errno
import itertools
import statistics
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from flightnn_jax import schemes
from flightnn_jax.integer import files
from flightnn_jax.training import chain, export, lock, loop, plan, population, runlog, runs, step
from flightnn_jax.training.plan import Member, Plan, Shard

INTEGERS = "integers.safetensors"  # in a member's directory, beside result.json
_FULL = (errno.ENOSPC, errno.EDQUOT)  # then the next member would fail, too


class Ended(NamedTuple):
    """How a process ended with its part of a sweep.

    Attributes:
      trained: the names of members that it trained to their ends.
      failed: of those that ended with an error.
      elsewhere: of those that other processes train.
      stopped: whether SIGTERM ended it before its part was done.
    """

    trained: tuple[str, ...]
    failed: tuple[str, ...]
    elsewhere: tuple[str, ...]
    stopped: bool


def ordered(members: Sequence[Member]) -> list[Member]:
    """The same, but so that members with the same compiled step follow each other."""
    programs = [step.compiled_in(member.config) for member in members]
    places = sorted(range(len(members)), key=lambda i: programs.index(programs[i]))
    return [members[i] for i in places]


def alike(members: Sequence[Member]) -> list[Member]:
    """The first members, as many as have the same compiled step."""
    program = step.compiled_in(members[0].config)
    return list(itertools.takewhile(lambda m: step.compiled_in(m.config) == program, members))


def train(
    planned: Plan,
    workdir: str | Path,
    shard: Shard = plan.WHOLE,
    mesh: jax.sharding.Mesh | None = None,
    say: Callable[[str], None] = print,
    at_once: int = 1,
) -> Ended:
    """Trains and lowers every member of a shard that is not done.

    A member that fails is told in its directory and does not stop the others; the next call tries
    it again.

    Args:
      planned: what to train.
      workdir: of the sweep; each member has a directory in it.
      shard: which members.
      mesh: the devices; all by default.
      say: gets lines about the progress.
      at_once: how many members with the same compiled step are trained as one, see `population`.
        1 trains them one after the other, with the bits of their runs alone.

    Raises:
      OSError: if the disk is full.
    """
    workdir = Path(workdir)
    members = ordered(shard.of(planned.members))
    work = _Work(planned.data_dir, workdir, mesh)
    clock = _Clock(len(members), say)
    ends: dict[str, list[str]] = {name: [] for name in Ended._fields}
    together: set[str] = set()
    with loop.termination() as stop:
        for place, member in enumerate(members):
            if at_once > 1 and member.name not in together:
                group = alike(members[place : place + at_once])
                together.update(each.name for each in group)
                work.train_together(group, say, stop)
            if stop.received or ends["stopped"]:
                break
            end = "done"
            if plan.state_of(member, workdir).name != "done":
                clock.begin(member)
                end = work.train(member, say, stop)
                ends[end].append(member.name)
            if end in ("done", "trained"):
                work.lower(member, say)
            clock.end(end)
    stopped = stop.received or bool(ends["stopped"])
    return Ended(tuple(ends["trained"]), tuple(ends["failed"]), tuple(ends["elsewhere"]), stopped)


class _Work(NamedTuple):
    """What is done with a member."""

    data_dir: str | None
    workdir: Path
    mesh: jax.sharding.Mesh | None

    def prepared(self, member: Member) -> loop.Run:
        """Its run, whose stages are those of other members that begin alike."""
        directory, stages = self.workdir / member.name, self.workdir / chain.DIRECTORY
        return runs.prepare(member.config, directory, self.data_dir, self.mesh, stages)

    def train(self, member: Member, say: Callable[[str], None], stop: loop.Termination) -> str:
        """How it ended: "trained", "stopped", "failed" or "elsewhere"."""
        directory = self.workdir / member.name
        failure = directory / plan.FAILURE
        with contextlib.suppress(FileNotFoundError):
            failure.unlink()  # of an earlier try
        try:
            run = self.prepared(member)
            record = None if stop.received else runs.train(run)
        except lock.LockedError:
            return "elsewhere"
        except Exception as error:  # whatever it is, the other members have to be trained
            if isinstance(error, OSError) and error.errno in _FULL:
                raise
            told = _told(error)
            say(f"  failed: {told}")
            directory.mkdir(parents=True, exist_ok=True)
            trace = traceback.format_exc()
            runlog.write_json(failure, {"error": told, "traceback": trace})
            return "failed"
        return "stopped" if record is None else "trained"

    def train_together(
        self, members: Sequence[Member], say: Callable[[str], None], stop: loop.Termination
    ) -> None:
        """Takes those that are not done to their last step, from where `train` ends them.

        Whatever is in the way of that is told, and met again by the member that it concerns.
        """
        waiting = [
            m for m in members if plan.state_of(m, self.workdir).name in ("waiting", "failed")
        ]
        if len(waiting) < 2 or stop.received:
            return
        say(f"at once: {', '.join(member.name for member in waiting)}")
        try:
            made = [self.prepared(m) for m in waiting]
            done = population.fit(made, stop)
        except Exception as error:  # each is tried by itself next
            if isinstance(error, OSError) and error.errno in _FULL:
                raise
            done, why = False, _told(error)
        else:
            why = "they stand at different steps, or begin with stages"
        if not done:
            say(f"  one after the other: {why}")

    def lower(self, member: Member, say: Callable[[str], None]) -> None:
        """Writes the integers of a member that is done, if it has some that are not written."""
        directory = self.workdir / member.name
        file = directory / INTEGERS
        if schemes.find(member.config.scheme).activation_bits is None or file.exists():
            return
        try:
            lowered = export.lower_run(directory, data_dir=self.data_dir, mesh=self.mesh)
        except ValueError as error:  # no form in integers, or a damaged checkpoint
            say(f"  {member.name} has no integers: {error}")
        else:
            files.save(lowered.network, file)


def _told(error: Exception) -> str:
    """An error in a line. Those that the library raises tell enough without their names."""
    text = "; ".join(str(error).splitlines())
    known = isinstance(error, ValueError | OSError | FloatingPointError)
    return text if known and text else f"{type(error).__name__}: {text}"


class _Clock:
    """Tells which member is trained, and how long the others will take."""

    def __init__(self, members: int, say: Callable[[str], None]) -> None:
        self._left, self._members, self._say = members, members, say
        self._seconds: list[float] = []
        self._began = time.monotonic()

    def begin(self, member: Member) -> None:
        self._began = time.monotonic()
        number = self._members - self._left + 1
        left = "time left unknown"
        if self._seconds:
            left = f"{runlog.clock(statistics.median(self._seconds) * self._left)} left"
        self._say(f"[{number}/{self._members}] {member.name}, {left}")

    def end(self, how: str) -> None:
        if how == "trained":
            self._seconds.append(time.monotonic() - self._began)
        self._left -= 1
