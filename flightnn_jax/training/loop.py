"""The training loop: steps, validations, checkpoints; it can be interrupted at any moment."""

import collections
import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from flightnn_jax import data
from flightnn_jax.training import (
    checkpoint,
    costs,
    distillation,
    evaluation,
    lock,
    optimizer,
    runlog,
    scaling,
    statistics,
    step,
    summary,
)
from flightnn_jax.training.config import Config
from flightnn_jax.training.progress import Epoch, Progress
from flightnn_jax.training.state import TrainState, carry_over, with_scales
from flightnn_jax.training.step import StepMetrics
from flightnn_jax.training.termination import Termination, termination

DATA_RECORD = "data.json"  # in a workdir, beside config.json: where the data was, absolute
_PATIENCE = 5.0  # seconds between two looks at a stage that another process trains
STEPS_IN_FLIGHT = 2  # metrics are read this many steps late: the devices do not wait for the host


class DivergedError(FloatingPointError):
    """A loss that is not a number."""


def _no_origin() -> "Run":
    raise ValueError("start_from: a run that was prepared without its origin cannot begin")


@dataclasses.dataclass(frozen=True)
class Run:
    """What a training run is made of.

    Attributes:
      config: what decides it.
      model: a Flax module such as `models.Model`, made for the config.
      train_split: what it learns from.
      validation_split: what every `config.evaluate_every` epochs are judged by.
      mesh: the devices.
      workdir: where metrics and checkpoints go; shared by all processes.
      origin: opens the run in `config.start_from`, with whose last weights this one begins; only
        called where there are no checkpoints.
      teacher: opens what it learns from besides labels; None for nothing.
      before: the stage that is trained before it, with whose last weights it begins then; see
        `Config.stages`.
      bounds: its budgets in units of hardware; None without any, and where it is only read.
    """

    config: Config
    model: step.Model
    train_split: data.Split
    validation_split: data.Split
    mesh: jax.sharding.Mesh
    workdir: Path
    origin: "Callable[[], Run]" = _no_origin
    before: "Run | None" = None
    teacher: Callable[[], distillation.Teacher] | None = None
    bounds: costs.Bounds | None = None

    @property
    def order(self) -> data.TrainOrder:
        """Which examples a step takes."""
        return data.TrainOrder(len(self.train_split), self.config.batch_size, self.config.seed)

    @property
    def steps(self) -> int:
        """The number of steps of the training, without its stages."""
        return self.order.steps_per_epoch * self.config.own_epochs

    def initial_state(self) -> TrainState:
        """The state before the first step."""
        return step.init_state(self.config, self.model, self.mesh)

    def checkpoints(self, write: bool = True) -> checkpoint.Checkpoints:
        """The checkpoints in its workdir; to be read only, unless `write`."""
        return checkpoint.Checkpoints(self.workdir / "checkpoints", self.config, write)

    def state_at(self, which: str) -> tuple[int, TrainState]:
        """The step and the state of a checkpoint, to be evaluated: without the optimizer's state.

        Args:
          which: "last", "best" by validation, or the number of a step.

        Raises:
          CheckpointError: if there is no such checkpoint, or it is damaged.
        """
        with self.checkpoints(write=False) as checkpoints:
            number = checkpoints.find(which)
            state, _ = checkpoints.restore_step(number, self.initial_state(), keep="opt_state")
        return number, state

    def last_state(self) -> TrainState:
        """The state of the latest checkpoint; otherwise as `state_at`."""
        return self.state_at("last")[1]

    def count(self, state: TrainState) -> dict[str, Any]:
        """What the state costs: see `summary.count`."""
        fold = scaling.folded(self.model, state)
        return summary.count(fold.params, state.spec)

    def evaluate(self, state: TrainState, split: data.Split) -> evaluation.Evaluation:
        """Loss, top-1 and top-5 on a whole split."""
        sharding = step.by_batch(self.mesh)
        batches = data.evaluation_batches(split, self.config.batch_size, sharding=sharding)
        return evaluation.evaluate(self.model, self.mesh, state, batches)


def fit(run: Run) -> TrainState | None:
    """Trains to the end, from the latest checkpoint if there is one.

    The state at the end is the same, bit for bit, however often the run was interrupted, if it has
    the same devices and threads.

    Args:
      run: what to train.

    Returns:
      The state after the last step; None if SIGTERM stopped the run, whose state was saved.

    Raises:
      DivergedError: if a loss is not finite. It says at which step and what helps.
      CheckpointError: if the workdir has checkpoints of another config.
      LockedError: if another run trains in the workdir.
    """
    with termination() as stop, opened(run, stop) as loop:
        return None if loop is None else loop.go(stop)


def _fit_stage(stage: Run, stop: Termination) -> TrainState | None:
    """As `fit`, but if another process trains the stage, for a run that shares it, this waits."""
    while not stop.received:
        try:
            ended = fit(stage)
        except lock.LockedError:
            time.sleep(_PATIENCE)
            continue
        return None if stop.received else ended
    return None


@contextlib.contextmanager
def opened(run: Run, stop: Termination) -> Iterator["Loop | None"]:
    """A run at its latest checkpoint, with its directory locked; None if a stage was stopped.

    Args:
      run: what to train.
      stop: of the process.

    Raises:
      CheckpointError, LockedError: see `fit`.
    """
    with contextlib.ExitStack() as stack:
        if jax.process_index() == 0:
            run.workdir.mkdir(parents=True, exist_ok=True)  # of a stage, it is not there yet
            stack.enter_context(lock.held(run.workdir))
        checkpoints = stack.enter_context(run.checkpoints())
        state, progress = run.initial_state(), Progress(Epoch(), 0.0)
        if (latest := checkpoints.restore(state, Progress.parse)) is not None:
            state, progress = latest
        elif run.before is not None:
            ended = _fit_stage(run.before, stop)
            if ended is None:
                yield None
                return
            state = carry_over(ended, state)
        elif run.config.start_from is not None:
            state = carry_over(run.origin().last_state(), state)
        else:
            state = with_scales(state)
        log = None
        if jax.process_index() == 0:
            runlog.write_json(run.workdir / "config.json", run.config.to_dict())
            data_dir = run.train_split.dataset.source.home
            runlog.write_json(run.workdir / DATA_RECORD, {"data_dir": data_dir})
            log = stack.enter_context(runlog.RunLog(run.workdir, int(state.step)))
        yield Loop(run, checkpoints, log, state, progress)


class Loop:
    """The loop's variables, so that each of its parts is a method.

    Attributes:
      run: what is trained.
      state: after `step` steps.
      room: of its budgets, in this epoch.
      hyper: the arguments of the step, in this epoch.
      waiting: metrics of steps that were not read yet.
    """

    def __init__(
        self,
        run: Run,
        checkpoints: checkpoint.Checkpoints,
        log: runlog.RunLog | None,
        state: TrainState,
        progress: Progress,
    ) -> None:
        self.run, self.checkpoints, self.log, self.state = run, checkpoints, log, state
        self.epoch, self.room = progress.epoch, progress.room
        self.began = time.monotonic() - progress.seconds
        self.start = self.step = int(state.step)
        self.per_epoch = run.order.steps_per_epoch
        self.waiting: collections.deque[tuple[int, StepMetrics]] = collections.deque()
        self.teacher: distillation.Teacher | None = None
        self.display = runlog.Progress(self.start, run.steps, run.config.batch_size)
        if run.teacher is not None and self.start < run.steps:
            self.teacher = jax.device_put(run.teacher(), step.replicated(run.mesh))
        self.hyper = self.numbers(self.room)
        if self.start:
            self.say(f"going on from step {self.start} of {run.steps}")

    @property
    def tracked(self) -> int:
        """The first step that measures no ranges."""
        run = self.run  # where there are none, all steps are one program
        return math.ceil(run.config.track * run.steps) if self.state.ranges else 0

    def batches(self) -> Iterator[data.Batch]:
        """Those that are left."""
        run = self.run
        return data.train_batches(
            run.train_split,
            run.order,
            start=self.start,
            stop=run.steps,
            sharding=step.by_batch(run.mesh),
        )

    def go(self, stop: Termination) -> TrainState | None:
        """Trains to the end; see `fit`."""
        run, tracked = self.run, self.tracked
        train_step = step.make_train_step(
            run.config, run.model, run.train_split.dataset, run.steps, run.mesh
        )
        programs: dict[bool, Any] = {}
        for batch in self.batches():
            if not programs:  # both before the first step, so that no later step waits for one
                kinds = {self.step < tracked, run.steps - 1 < tracked}
                programs = {
                    kind: train_step.lower(self.state, batch, self.hyper, kind).compile()
                    for kind in kinds
                }
            self.state, metrics = programs[self.step < tracked](self.state, batch, self.hyper)
            self.step += 1
            self.waiting.append((self.step, metrics))
            self.read(all_but=STEPS_IN_FLIGHT)
            if self.is_due(self.step):
                self.write_down()
            if stop.stops(self.step) and self.step < run.steps:
                self.leave()
                return None
        self.checkpoints.wait()
        return self.state

    def is_due(self, number: int) -> bool:
        """Whether something is done after a step: an epoch ends, or a checkpoint is written."""
        every = self.run.config.checkpoint_every
        return number % self.per_epoch == 0 or (every is not None and number % every == 0)

    def write_down(self) -> None:
        """Ends the epoch, or writes a checkpoint within it."""
        if self.step % self.per_epoch == 0:
            self.end_epoch()
        else:
            self.save()

    def leave(self) -> None:
        """Saves what the same command goes on from."""
        self.save()
        self.checkpoints.wait()
        self.say(f"saved at step {self.step}; the same command goes on from there")

    def numbers(self, room: costs.Room) -> optimizer.Hyperparameters:
        """The arguments of the step, with the room of an epoch."""
        bounds, limits = self.run.bounds, None
        if bounds is not None:
            limits = costs.limits_of(bounds, room, self.state.params)
        numbers = optimizer.hyperparameters(self.run.config, limits, self.teacher)
        return jax.device_put(numbers, step.replicated(self.run.mesh))

    def correct(self, bounds: costs.Bounds) -> costs.Costed:
        """Takes what the network costs as it is for the next epoch's room; keeps bounds at last."""
        run = self.run
        found = costs.costed(bounds, run.model, self.state)
        self.room = costs.corrected(bounds, self.room, found)
        self.hyper = self.numbers(self.room)
        if self.step == run.steps:
            gates = step.make_gates(run.config, run.model, run.steps, run.mesh)
            self.state, found = costs.settled(
                bounds, run.model, self.state, found, lambda s, room: gates(s, self.numbers(room))
            )
        return found

    def measure(self, batches: int) -> None:
        """Takes batch norm's statistics anew from the first batches of the training."""
        run = self.run
        state, sharding = self.state, step.by_batch(run.mesh)
        first = data.train_batches(run.train_split, run.order, stop=batches, sharding=sharding)
        self.state = statistics.measured(run.model, run.mesh, state, first)

    def read(self, all_but: int = 0) -> None:
        """Reads metrics of steps that are done; every loss must be a number."""
        while len(self.waiting) > all_but:
            number, metrics = self.waiting.popleft()
            metrics = jax.device_get(metrics)
            if not math.isfinite(metrics.loss):
                raise DivergedError(
                    f"the loss of step {number} is {metrics.loss}: lower learning_rate (now "
                    f"{self.run.config.learning_rate}) or lambda1 ({self.run.config.lambda1}), "
                    "and start in a new workdir"
                )
            self.epoch.add(metrics)
            if self.log is not None:
                self.display.step(number, metrics.loss)

    def end_epoch(self) -> None:
        """Writes what the epoch measured; validates and saves if it is time."""
        self.read()
        config, number = self.run.config, self.step // self.per_epoch
        row: dict[str, Any] = {"step": self.step, "epoch": number, "train": self.epoch.means()}
        if self.step == self.run.steps and config.reestimate is not None:
            self.measure(config.reestimate)
        if self.run.bounds is not None:
            row["budgets"] = self.correct(self.run.bounds).as_json()
        self.epoch = Epoch()
        if number % config.evaluate_every and number < config.own_epochs:
            return self.write(row)
        validation = self.run.evaluate(self.state, self.run.validation_split)
        counts = self.run.count(self.state)
        self.write({**row, "validation": validation._asdict(), **counts})
        mean_k = "" if counts["mean_k"] is None else f"  mean k {counts['mean_k']:.3f}"
        self.say(
            f"epoch {number}/{config.own_epochs}  loss {row['train']['loss']:.3f}  validation "
            f"{100 * validation.top1:.2f} %{mean_k}"
        )
        if validation.float_reason is not None and self.run.model.activation_bits is not None:
            self.say(f"  not on integers but on floats: {validation.float_reason}")
        return self.save(validation.top1)

    def save(self, score: float | None = None) -> None:
        """Starts to write a checkpoint."""
        self.read()
        progress = {
            "epoch": dataclasses.asdict(self.epoch),
            **self.room._asdict(),
            "seconds": time.monotonic() - self.began,
        }
        self.checkpoints.save(self.step, self.state, progress, score)

    def write(self, row: dict[str, Any]) -> None:
        """Appends a row to the metrics."""
        if self.log is not None:
            self.log.write(row)

    def say(self, text: str) -> None:
        """Tells a line."""
        if self.log is not None:
            self.display.line(text)
