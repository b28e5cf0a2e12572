"""Batch norm's statistics measured anew, for the weights that training ends with.

Running ones are those of the last ten steps or so, whose weights were others: those of a running
average or of frozen gates were never trained as they are.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from flightnn_jax.data import Batch
from flightnn_jax.training import models, scaling
from flightnn_jax.training.state import TrainState
from flightnn_jax.training.step import by_batch, replicated

PyTree = Any


def measured(
    model: models.Model, mesh: jax.sharding.Mesh, state: TrainState, batches: Iterable[Batch]
) -> TrainState:
    """With the statistics of its deployed weights over some batches, which count alike.

    Each batch is normalized by its own statistics, as in training. Images are not augmented: the
    statistics are for what is evaluated, which is not. Ranges stay.

    Args:
      model: whose state it is.
      mesh: the devices, over which batches are spread.
      state: to be measured.
      batches: whole ones, one or more.
    """
    step = _step(dataclasses.replace(model, momentum=0.0), mesh)
    found = [jax.device_get(step(state, batch)) for batch in batches]

    def of_layer(*of_batches: PyTree) -> PyTree:
        means, variances = (
            np.array([of_batch[name] for of_batch in of_batches], np.float64)
            for name in ("mean", "variance")
        )
        mean = np.mean(means, axis=0)
        variance = np.mean(variances + means**2, axis=0) - mean**2
        return {"mean": np.float32(mean), "variance": np.float32(variance)}

    stats = {name: of_layer(*(of_batch[name] for of_batch in found)) for name in found[0]}
    return dataclasses.replace(state, batch_stats=jax.device_put(stats, replicated(mesh)))


@functools.lru_cache(maxsize=4)
def _step(model: models.Model, mesh: jax.sharding.Mesh) -> Callable[[TrainState, Batch], PyTree]:
    def step(state: TrainState, batch: Batch) -> PyTree:
        variables = scaling.deployed_variables(model, state)
        _, updates = model.apply(
            variables, batch.images, train=True, track=False, mutable=["batch_stats"]
        )
        return updates["batch_stats"]

    shardings = (replicated(mesh), by_batch(mesh))
    return jax.jit(step, in_shardings=shardings, out_shardings=replicated(mesh))
