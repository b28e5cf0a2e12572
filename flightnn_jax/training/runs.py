"""From a config to a trained network and its record: opens the data, builds the model, runs."""

import dataclasses
import importlib.metadata
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import jax

from flightnn_jax import atomic, data, networks, schemes
from flightnn_jax.training import loop, models, runlog
from flightnn_jax.training import step as ts
from flightnn_jax.training.config import Config
from flightnn_jax.training.summary import census

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
      data_dir: where TFDS has prepared data sets.
      mesh: the devices; all by default.

    Raises:
      DataError: if the data is missing or damaged, or there is no run in `config.start_from`.
      ValueError: if the batch does not divide by the devices, or sizes do not fit.
      OSError: if the workdir cannot be written.
    """
    mesh = ts.data_mesh() if mesh is None else mesh
    data.check_batch_size(config.batch_size, ts.by_batch(mesh))
    workdir = Path(workdir).resolve()
    workdir.mkdir(parents=True, exist_ok=True)
    if jax.process_index() == 0:
        atomic.write(workdir / "writable", "")
        (workdir / "writable").unlink()
    train_split = data.load(
        config.dataset, "train", data_dir=data_dir, image_size=config.image_size
    )
    validation_split = data.load(
        config.dataset, "validation", data_dir=data_dir, image_size=config.image_size
    )
    run = loop.Run(config, build_model(config), train_split, validation_split, mesh, workdir)
    if config.start_from is None:
        return run
    origin = Path(config.start_from).resolve()
    there = Config.from_dict(runlog.read_json(origin / "config.json"))
    origin_run = dataclasses.replace(run, config=there, model=build_model(there), workdir=origin)
    return dataclasses.replace(run, origin=origin_run)


def build_model(config: Config) -> models.Model:
    """The model of a config, for the images and classes of its data set."""
    dataset = data.find(config.dataset)
    size = dataset.image_size if config.image_size is None else config.image_size
    network = networks.network(
        config.network, width=config.width, classes=dataset.classes, input_shape=(size, size, 3)
    )
    return models.Model(network, activation_bits=schemes.find(config.scheme).activation_bits)


def run(prepared: loop.Run, data_dir: str | None = None) -> dict[str, Any] | None:
    """Trains to the end and evaluates on the test split, once.

    Returns:
      The record, which is also `result.json` in the workdir: what was trained, by what, and what
      came out. None if SIGTERM ended the run before.
    """
    config, workdir = prepared.config, prepared.workdir
    started = time.monotonic()
    state = loop.fit(prepared)
    if state is None:
        return None
    test = data.load(config.dataset, "test", data_dir=data_dir, image_size=config.image_size)
    splits = {"validation": prepared.validation_split, "test": test}
    found = {name: prepared.evaluate(state, split)._asdict() for name, split in splits.items()}
    record = {
        "config": config.to_dict(),
        "scheme": schemes.find(config.scheme).label,
        "steps": prepared.steps,
        **found,
        **census(state.params, state.spec),
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


def summary(record: dict[str, Any]) -> str:
    """A record as a few lines for people."""
    lines = [
        f"{record['scheme']}: test accuracy {100 * record['test']['top1']:.2f} %, top 5 "
        f"{100 * record['test']['top5']:.2f} %; weights {record['storage_bits'] / 8e3:.1f} kB"
    ]
    if record["mean_k"] is not None:
        lines.append(f"mean k {record['mean_k']:.3f}; filters at 0, 1, 2, ... terms by layer:")
        for name, layer in record["layers"].items():
            share = "  ".join(f"{100 * part:5.1f} %" for part in layer["share"])
            lines.append(f"  {name:24}{layer['filters']:6} filters  {share}")
    return "\n".join(lines)


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
      data_dir: where TFDS has prepared data sets.
      mesh: the devices; all by default.

    Returns:
      step, loss, top1, top5, and what `census` counts.
    """
    config = Config.from_dict(runlog.read_json(Path(workdir) / "config.json"))
    prepared = prepare(config, workdir, data_dir, mesh)
    chosen = data.load(config.dataset, split, data_dir=data_dir, image_size=config.image_size)
    with prepared.checkpoints() as checkpoints:
        step = checkpoints.find(which)
        state, _ = checkpoints.restore_step(step, prepared.initial_state())
    found = prepared.evaluate(state, chosen)
    return {"step": step, **found._asdict(), **census(state.params, state.spec)}
