"""What changes in training, what of it is deployed, and what the next run begins with."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from flightnn_jax.training import quantization, scaling

PyTree = Any


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "params",
        "spec",
        "batch_stats",
        "ranges",
        "opt_state",
        "step",
        "average",
        "scales",
    ],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that changes in training, and all that a checkpoint holds.

    Invariant: `spec` belongs to `params`; quantize_params(params, spec) is the network, but see
    `scaling` and `deployed`.

    Attributes:
      params: latent float weights, biases and batch norm's scales.
      spec: a spec tree for them; its arrays are thresholds, and the levels of codebooks.
      batch_stats: running means and variances of batch norm.
      ranges: running largest magnitudes of activations; {} for full precision.
      opt_state: of the optimizer, over {"weights": params, "thresholds": spec}.
      step: [] int32, the number of steps taken.
      average: like params, their running average; {} where `config.ema` is None.
      scales: of filters, see `scaling`; {} without `config.filter_scales`.
    """

    params: PyTree
    spec: PyTree
    batch_stats: PyTree
    ranges: PyTree
    opt_state: PyTree
    step: jax.Array
    average: PyTree = dataclasses.field(default_factory=dict)
    scales: scaling.Scales = dataclasses.field(default_factory=dict)

    def deployed(self) -> "TrainState":
        """The state whose weights are evaluated and lowered: the average's, if there is one."""
        if not self.average:
            return self
        return dataclasses.replace(self, params=self.average, average={})


def carry_over(origin: TrainState, state: TrainState) -> TrainState:
    """`state` with the weights, statistics and, if both have them, ranges of another run.

    Raises:
      ValueError: if the runs are not of one network.
    """
    origin = origin.deployed()
    here, there = (jax.tree.map(jnp.shape, s.params) for s in (state, origin))
    if here != there:
        raise ValueError(
            f"the run in start_from has weights of the shapes {there}, and this one {here}: start "
            "from a run of the same network, width and classes"
        )
    state = dataclasses.replace(
        state,
        params=origin.params,
        spec=quantization.started(origin.params, state.spec),
        batch_stats=origin.batch_stats,
        ranges=origin.ranges if state.ranges and origin.ranges else state.ranges,
    )
    return with_scales(state)


def with_scales(state: TrainState) -> TrainState:
    """With the scales that suit the weights as they are, if the state has scales."""
    if not state.scales:
        return state
    chosen = scaling.best_scales(state.params, state.spec, tuple(state.scales))
    return dataclasses.replace(state, scales=chosen)


def averaged(decay: float | None, state: TrainState, params: PyTree) -> PyTree:
    """The running average with these weights.

    Of the first ones it is nearly the mean, so that it does not stay where training began: the
    decay of step s is at most s / (10 + s).
    """
    if decay is None:
        return {}
    kept = jnp.minimum(decay, state.step / (10 + state.step))
    return jax.tree.map(lambda old, new: old + (1 - kept) * (new - old), state.average, params)
