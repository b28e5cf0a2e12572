"""From a config to a trained network and its record: opens the data, builds the model, runs."""

import dataclasses
import importlib.metadata
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import jax

from flightnn_jax import atomic, data, schemes
from flightnn_jax.training import loop, models, runlog, summary
from flightnn_jax.training.config import Config, network_of
from flightnn_jax.training.step import by_batch, data_mesh

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def prepare(
    config: Config,
    workdir: str | Path,
    data_dir: str | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> loop.Run:
    """Opens everything that a run needs, so that what is wrong is known before it starts.

    Args:
      config: what to train.
      workdir: the run's directory; it is made if need be.
      data_dir: where the data is, see `data.find`; None for where it was when the run began.
      mesh: the devices; all by default.

    Raises:
      DataError: if the data is missing or damaged, or there is no run in `config.start_from`.
      ValueError: if the batch does not divide by the devices, or sizes do not fit.
      OSError: if the workdir cannot be written.
    """
    mesh = data_mesh() if mesh is None else mesh
    data.check_batch_size(config.batch_size, by_batch(mesh))
    workdir = Path(workdir).resolve()
    workdir.mkdir(parents=True, exist_ok=True)
    if jax.process_index() == 0:
        atomic.write(workdir / "writable", "")
        (workdir / "writable").unlink()
    dataset = data.find(
        config.dataset, data_dir=_data_dir(workdir, data_dir), image_size=config.image_size
    )
    model = build_model(config, dataset)
    run = loop.Run(config, model, dataset.open("train"), dataset.open("validation"), mesh, workdir)
    if config.start_from is None:
        return run
    origin = Path(config.start_from).resolve()
    there = Config.from_dict(runlog.read_json(origin / "config.json"))
    model = build_model(there, data_dir=_data_dir(origin))
    origin_run = dataclasses.replace(run, config=there, model=model, workdir=origin)
    return dataclasses.replace(run, origin=origin_run)


def _data_dir(workdir: Path, given: str | None = None) -> str | None:
    """Where a run's data is: where it was when the run began, unless another place is given."""
    record = workdir / loop.DATA_RECORD
    if given is not None or not record.exists():
        return given
    kept = runlog.read_json(record)["data_dir"]
    if kept is not None and not Path(kept).is_dir():
        raise data.DataError(
            f"{kept}, where the data of the run in {workdir} was, does not exist: say where it is "
            "now with --data_dir=DIR"
        )
    return kept


def build_model(
    config: Config, dataset: data.Dataset | None = None, data_dir: str | None = None
) -> models.Model:
    """The model of a config; the arguments are those of `network_of`."""
    network = network_of(config, dataset, data_dir)
    return models.Model(network, activation_bits=schemes.find(config.scheme).activation_bits)


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
    record = {
        "config": config.to_dict(),
        "scheme": schemes.find(config.scheme).label,
        "steps": run.steps,
        **accuracies,
        **summary.count(state.params, state.spec),
        "train": runlog.read_rows(workdir / "metrics.jsonl")[-1]["train"],
        "seconds": round(time.monotonic() - started, 1),
        **surroundings(),
    }
    if jax.process_index() == 0:
        runlog.write_json(workdir / "result.json", record)
    return record


def surroundings() -> dict[str, Any]:
    """What a run ran with: git revision, versions, devices."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    devices = jax.devices()
    return {
        "git": _revision(),
        "versions": {"python": platform.python_version(), **versions},
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "processes": jax.process_count(),
    }


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
    config = Config.from_dict(runlog.read_json(Path(workdir) / "config.json"))
    run = prepare(config, workdir, data_dir, mesh)
    chosen = run.train_split.dataset.open(split)
    with run.checkpoints() as checkpoints:
        step = checkpoints.find(which)
        state, _ = checkpoints.restore_step(step, run.initial_state())
    evaluation = run.evaluate(state, chosen)
    return {"step": step, **evaluation._asdict(), **summary.count(state.params, state.spec)}
