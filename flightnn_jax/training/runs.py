"""From a config to a trained network and its record: opens the data, builds the model, runs."""

import dataclasses
import functools
import importlib.metadata
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import jax

from flightnn_jax import data, schemes
from flightnn_jax.training import chain, costs, distillation, loop, models, quantization, runlog
from flightnn_jax.training.config import FIRST, Config, network_of
from flightnn_jax.training.machine import ONE_CPU, Machine
from flightnn_jax.training.step import by_batch, data_mesh

_MAX_STEPS = 2**31 - 1  # they are counted in int32
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def prepare(
    config: Config,
    workdir: str | Path,
    data_dir: str | None = None,
    mesh: jax.sharding.Mesh | None = None,
    stages: Path | None = None,
) -> loop.Run:
    """Opens everything that a run needs, so that what is wrong is known before it starts.

    Args:
      config: what to train.
      workdir: the run's directory; it is made if need be.
      data_dir: where the data is, see `data.find`; None for where it was when the run began.
      mesh: the devices; all by default.
      stages: a directory of stages that several runs share; None for one in the workdir.

    Raises:
      DataError: if the data is missing or damaged, or there is no run in `config.start_from`.
      ValueError: if the batch does not divide by the devices, sizes do not fit, or no k keeps a
        budget.
      OSError: if the workdir cannot be written.
    """
    mesh = data_mesh() if mesh is None else mesh
    data.check_batch_size(config.batch_size, by_batch(mesh))
    workdir = _resolved(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    if jax.process_index() == 0:
        _check_writable(workdir)
    run = _opened(config, workdir, data_dir, mesh)
    if run.steps > _MAX_STEPS:
        raise ValueError(
            f"epochs={config.epochs} are {run.steps} steps, more than {_MAX_STEPS}: choose fewer "
            "epochs or a larger batch_size"
        )
    before = first = None
    configs = chain.stages_of(config)
    for number, each in enumerate(configs, 1):
        model = build_model(each, run.train_split.dataset, machine=run.model.machine)
        name = f"{number}-{each.scheme}"
        if stages is None:
            directory = workdir / chain.DIRECTORY / name
        else:
            directory = stages / f"{name}-{chain.digest(configs[:number])}"
        stage = dataclasses.replace(run, config=each, model=model, workdir=directory)
        before = dataclasses.replace(_complete(stage, first), before=before)
        first = first or before
    return dataclasses.replace(_complete(run, first), before=before)


def _complete(run: loop.Run, first: loop.Run | None) -> loop.Run:
    """With its bounds, its teacher, and the run it begins with where no stage is before.

    Args:
      run: as `_opened` gives it.
      first: its first stage, if it has stages and is not that itself.
    """
    config = run.config
    run = dataclasses.replace(run, bounds=costs.bounds_of(config, run.model.network))
    others = []
    if config.teacher is not None:
        teaching = functools.partial(_teaching, run, first)
        others.append(teaching)
        run = dataclasses.replace(run, teacher=lambda: _teacher(teaching()))
    if config.start_from is not None:
        origin = functools.partial(_other, run, config.start_from)
        others.append(origin)
        run = dataclasses.replace(run, origin=origin)
    if not (run.workdir / "checkpoints").exists():
        for other in others:
            other()  # what is wrong with it is known before anything is compiled
    return run


def _teaching(run: loop.Run, first: loop.Run | None) -> loop.Run:
    """The run that `run.config.teacher` names, which may be the first stage."""
    assert run.config.teacher is not None
    if run.config.teacher == FIRST:
        if first is None:
            raise ValueError(f"teacher={FIRST} without stages: give stages, or a run's directory")
        return first
    other = _other(run, run.config.teacher)
    network, own = other.model.network, run.model.network
    if (network.input_shape, network.classes) != (own.input_shape, own.classes):
        raise ValueError(
            f"the teacher in {run.config.teacher} takes images of shape {network.input_shape} and "
            f"tells {network.classes} classes apart, and this network {own.input_shape} and "
            f"{own.classes}: choose a run on the same data"
        )
    return other


def _teacher(other: loop.Run) -> distillation.Teacher:
    return distillation.teacher_of(other.model, other.last_state())


def reopen(
    workdir: str | Path, data_dir: str | None = None, mesh: jax.sharding.Mesh | None = None
) -> loop.Run:
    """Opens a run to be evaluated: its directory is only read.

    Args:
      workdir: of the run.
      data_dir: as in `prepare`.
      mesh: likewise.

    Raises:
      DataError: if there is no run, or its data is missing or damaged.
    """
    workdir = _resolved(workdir)
    config = _config_in(workdir)
    mesh = data_mesh() if mesh is None else mesh
    data.check_batch_size(config.batch_size, by_batch(mesh))
    return _opened(config, workdir, data_dir, mesh)


def _opened(
    config: Config, workdir: Path, data_dir: str | None, mesh: jax.sharding.Mesh
) -> loop.Run:
    dataset = data.find(
        config.dataset, data_dir=_data_dir(workdir, data_dir), image_size=config.image_size
    )
    model = build_model(config, dataset, machine=Machine.of(mesh))
    return loop.Run(config, model, dataset.open("train"), dataset.open("validation"), mesh, workdir)


def _other(run: loop.Run, directory: str) -> loop.Run:
    """The run in another directory, for the devices of `run`."""
    workdir = _resolved(directory)
    config = _config_in(workdir)
    model = build_model(config, data_dir=_data_dir(workdir), machine=run.model.machine)
    return dataclasses.replace(run, config=config, model=model, workdir=workdir)


def _config_in(workdir: Path) -> Config:
    path = workdir / "config.json"
    record = runlog.read_json(path)
    try:
        return Config.from_dict(record)
    except ValueError as error:
        raise data.DataError(f"{path}: {error}") from error


def _resolved(workdir: str | Path) -> Path:
    """The absolute path; TensorStore and TensorBoard take UTF-8 only."""
    path = Path(workdir).resolve()
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"workdir {str(path)!a} is not UTF-8: choose a directory whose name is"
        ) from None
    return path


def _check_writable(workdir: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(workdir)) from error


def _data_dir(workdir: Path, given: str | None = None) -> str | None:
    """Where a run's data is: where it was when the run began, unless another place is given."""
    record = workdir / loop.DATA_RECORD
    if given is not None or not record.exists():
        return given
    kept = runlog.read_json(record).get("data_dir")
    if kept is not None and type(kept) is not str:
        raise data.DataError(
            f"{record} is damaged: data_dir is {kept!r:.80}: say where the data is with "
            "--data_dir=DIR"
        )
    if kept is not None and not Path(kept).is_dir():
        raise data.DataError(
            f"{kept}, where the data of the run in {workdir} was, does not exist: say where it is "
            "now with --data_dir=DIR"
        )
    return kept


def build_model(
    config: Config,
    dataset: data.Dataset | None = None,
    data_dir: str | None = None,
    machine: Machine = ONE_CPU,
) -> models.Model:
    """The model of a config, for a machine; the other arguments are those of `network_of`."""
    network = network_of(config, dataset, data_dir)
    scheme = schemes.find(config.scheme)
    scaled = config.affine_terms is not None or config.filter_scales  # by any number
    return models.Model(
        network,
        activation_bits=scheme.activation_bits,
        signs=scheme.signs,
        levels=scheme.levels,
        affine_terms=config.affine_terms,
        weight_bits=None if scaled else quantization.significant_bits(scheme),
        machine=machine,
    )


def train(run: loop.Run) -> dict[str, Any] | None:
    """Trains to the end and evaluates on the test split, once.

    Returns:
      The record, which is also `result.json` in the workdir: what was trained, by what, and what
      came out. None if SIGTERM stopped the run before its end.
    """
    config, workdir = run.config, run.workdir
    started = time.monotonic()
    state = loop.fit(run)
    if state is None:
        return None
    test = run.train_split.dataset.open("test")
    splits = {"validation": run.validation_split, "test": test}
    accuracies = {name: run.evaluate(state, s)._asdict() for name, s in splits.items()}
    rows = runlog.read_rows(workdir / "metrics.jsonl")
    last: dict[str, Any] = next((row for row in rows if row["step"] == run.steps), {})  # if lost
    record = {
        "config": config.to_dict(),
        "scheme": schemes.find(config.scheme).label,
        "steps": run.steps,
        **accuracies,
        **run.count(state),
        **_kept(run, state, last),
        "train": last.get("train"),
        "seconds": round(time.monotonic() - started, 1),
        **surroundings(),
    }
    if jax.process_index() == 0:
        runlog.write_json(workdir / "result.json", record)
    return record


def _kept(run: loop.Run, state: Any, last: dict[str, Any]) -> dict[str, Any]:
    """Of a run with budgets in units of hardware, whether it keeps them, as its last row says."""
    if run.bounds is None:
        return {}
    told = last.get("budgets")
    if told is None:  # the row is lost
        told = costs.costed(run.bounds, run.model, state).as_json()
    return {"budgets": told}


def surroundings() -> dict[str, Any]:
    """What a run ran with: git revision, versions, devices."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    devices = jax.devices()
    return {
        "git": _revision(),
        "versions": {"python": platform.python_version(), **versions},
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "threads": _threads(),
        "processes": jax.process_count(),
    }


def _threads() -> int | None:
    """Those that XLA uses on a CPU: the last bits of a training depend on their number."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _revision() -> str | None:
    """The commit of this library, with a plus sign if files were changed; None without git."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head, changed = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.strip() + "+" * bool(changed)


def evaluate(
    workdir: str | Path,
    split: str = "test",
    which: str = "last",
    data_dir: str | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> dict[str, Any]:
    """Evaluates a checkpoint of a run.

    Args:
      workdir: of the run.
      split: "train", "validation" or "test".
      which: "last", "best" by validation, or the number of a step.
      data_dir: as in `prepare`.
      mesh: the devices; all by default.

    Returns:
      step, loss, top1, top5, and what `summary.count` counts.
    """
    run = reopen(workdir, data_dir, mesh)
    chosen = run.train_split.dataset.open(split)
    step, state = run.state_at(which)
    evaluation = run.evaluate(state, chosen)
    return {"step": step, **evaluation._asdict(), **run.count(state)}
