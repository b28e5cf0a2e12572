"""A network that another library trained, as a run of no steps: what others start from."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from flightnn_jax.networks.from_onnx import Imported
from flightnn_jax.training import evaluation, loop, runlog, runs
from flightnn_jax.training.config import Config


def write(
    imported: Imported, dataset: str, workdir: str | Path, data_dir: str | None = None
) -> evaluation.Evaluation:
    """Writes a workdir for `config.start_from`, in full precision.

    Args:
      imported: the network and its weights.
      dataset: as in `Config`, whose images the network takes.
      workdir: an empty directory; it is made if need be.
      data_dir: as in `runs.prepare`.

    Returns:
      How good the network is on the test split, as floats.

    Raises:
      DataError: if the data is missing or damaged.
      ValueError: if images and network do not fit, or there is a run in the workdir already.
    """
    if any(Path(workdir).glob("*")):
        raise ValueError(f"workdir {workdir} is not empty: name a new one")
    config = Config(network=imported.network, dataset=dataset, scheme="full")
    run = runs.prepare(config, workdir, data_dir)
    state = run.initial_state()
    state = dataclasses.replace(
        state,
        params=_like(state.params, imported.params),
        batch_stats=_like(state.batch_stats, imported.batch_stats),
    )
    home = run.train_split.dataset.source.home
    result = run.evaluate(state, run.train_split.dataset.open("test"))
    with run.checkpoints() as checkpoints:
        checkpoints.save(0, state, {"imported": imported.network.name})
        checkpoints.wait()
    runlog.write_json(run.workdir / loop.DATA_RECORD, {"data_dir": home})
    runlog.write_json(run.workdir / "config.json", config.to_dict())
    return result


def _like(tree: Any, arrays: Any) -> Any:
    """Arrays as those of a tree, which has the same structure and shapes."""
    return jax.tree.map(lambda x, new: jnp.asarray(new, x.dtype).reshape(x.shape), tree, arrays)
