"""One step of Algorithm 1 and one pass over a split, jitted, on one device or many.

    quantize -> forward -> cross entropy + penalty -> backward -> Adam

The state is replicated, the batch is spread over the mesh. Sums over the batch are plain sums in
the jitted step, so batch statistics, loss and gradients are those of the global batch.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]  # it has no stubs

from flightnn_jax import budget, penalty, quantize, schemes
from flightnn_jax.data import Batch, Dataset, augment
from flightnn_jax.training import quantization
from flightnn_jax.training.config import Config

PyTree = Any
Model = Any  # a Flax module such as `models.Model`; this module does not import it


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params", "spec", "batch_stats", "ranges", "opt_state", "step"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that changes in training, and all that a checkpoint holds.

    Invariant: `spec` belongs to `params`; quantize_params(params, spec) is the network.

    Attributes:
      params: latent float weights, biases and batch norm's scales.
      spec: a spec tree for them; its arrays are the thresholds.
      batch_stats: running means and variances of batch norm.
      ranges: running largest magnitudes of activations; {} for full precision.
      opt_state: of the optimizer, over {"weights": params, "thresholds": spec}.
      step: [] int32, the number of steps taken.
    """

    params: PyTree
    spec: PyTree
    batch_stats: PyTree
    ranges: PyTree
    opt_state: PyTree
    step: jax.Array


class StepMetrics(NamedTuple):
    """What a training step measured on its batch, before its update.

    Attributes:
      loss: [] cross entropy + penalty.
      penalty: [] the residual group lasso.
      accuracy: [] top-1, with quantized weights and the batch's own statistics.
    """

    loss: jax.Array
    penalty: jax.Array
    accuracy: jax.Array


class Evaluation(NamedTuple):
    """Means over a whole split.

    Attributes:
      loss: cross entropy.
      top1: the share of images whose largest logit is the label's.
      top5: the share whose label is among the five largest logits.
    """

    loss: float
    top1: float
    top5: float


def data_mesh(devices: Iterable[jax.Device] | None = None) -> jax.sharding.Mesh:
    """All devices of all processes, or those given, in one row named "data"."""
    chosen = jax.devices() if devices is None else list(devices)
    return jax.sharding.Mesh(np.array(chosen), ("data",))


def replicated(mesh: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
    """A copy on every device."""
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def by_batch(mesh: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
    """The first axis spread over the devices."""
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))


def learning_rate(config: Config, initial: float, steps: int) -> Callable[[Any], Any]:
    """The rate of each step of a training of `steps` steps.

    Example:
      >>> rate = learning_rate(Config(schedule="step"), initial=1.0, steps=100)
      >>> [round(float(rate(step)), 4) for step in (0, 50, 75)]
      [1.0, 0.1, 0.01]
    """
    if config.schedule == "cosine":
        return optax.cosine_decay_schedule(initial, steps)
    if config.schedule == "step":
        bounds = {round(part * steps): config.decay_by for part in config.decay_at}
        return optax.piecewise_constant_schedule(initial, bounds)
    return optax.constant_schedule(initial)


def make_optimizer(config: Config, steps: int) -> optax.GradientTransformation:
    """Adam over {"weights": params, "thresholds": spec}, each with a rate of its own."""
    rates = {"weights": config.learning_rate, "thresholds": config.threshold_rate}
    parts = {name: optax.adam(learning_rate(config, r, steps)) for name, r in rates.items()}
    if config.has_budget:
        parts["thresholds"] = optax.set_to_zero()
    return optax.partition(parts, {name: name for name in rates})


def init_state(
    config: Config, model: Model, optimizer: optax.GradientTransformation, mesh: jax.sharding.Mesh
) -> TrainState:
    """The state before the first step, the same on every device and for every scheme."""

    def initial(key: jax.Array) -> TrainState:
        images = jnp.zeros((1, *model.network.input_shape), jnp.uint8)
        variables = model.init(key, images)
        params = variables["params"]
        per = "filter" if config.has_budget else config.thresholds_per
        spec = quantization.spec_of(schemes.find(config.scheme), params, per)
        return TrainState(
            params=params,
            spec=spec,
            batch_stats=variables["batch_stats"],
            ranges=variables.get("ranges", {}),
            opt_state=optimizer.init({"weights": params, "thresholds": spec}),
            step=jnp.zeros((), jnp.int32),
        )

    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    # Random numbers take LLVM 1.5 seconds a layer to optimize, and this runs once.
    cpu = mesh.devices.flat[0].platform == "cpu"
    options = {"xla_backend_optimization_level": 0} if cpu else {}
    return jax.jit(initial, out_shardings=replicated(mesh), compiler_options=options)(key)


def carry_over(origin: TrainState, state: TrainState) -> TrainState:
    """`state` with the weights, statistics and, if both have them, ranges of another run.

    Raises:
      ValueError: if the runs are not of one network.
    """
    here, there = (jax.tree.map(jnp.shape, s.params) for s in (state, origin))
    if here != there:
        raise ValueError(
            f"the run in start_from has weights of the shapes {there}, and this one {here}: start "
            "from a run of the same network, width and classes"
        )
    return dataclasses.replace(
        state,
        params=origin.params,
        batch_stats=origin.batch_stats,
        ranges=origin.ranges if state.ranges and origin.ranges else state.ranges,
    )


TrainStep = jax.stages.Wrapped  # of (TrainState, Batch, bool), gives (TrainState, StepMetrics)


def make_train_step(
    config: Config,
    model: Model,
    optimizer: optax.GradientTransformation,
    dataset: Dataset,
    steps: int,
    mesh: jax.sharding.Mesh,
) -> TrainStep:
    """One iteration of Algorithm 1.

    Args:
      config: the run.
      model: a function of images whose weights are quantized outside of it.
      optimizer: of `make_optimizer`.
      dataset: says how images are augmented.
      steps: of the whole training.
      mesh: the devices.

    Returns:
      A jitted function of (state, batch, track) that gives the next state, for which the memory
      of the old one is used, and metrics. `track` is static: whether activation ranges are
      measured, or stay as they are.
    """

    def loss(
        trained: PyTree, state: TrainState, images: jax.Array, labels: jax.Array, track: bool
    ) -> tuple[jax.Array, Any]:
        params, spec = trained["weights"], trained["thresholds"]
        if config.has_budget:
            spec = jax.lax.stop_gradient(spec)
        variables = {"batch_stats": state.batch_stats}
        if state.ranges:
            variables["ranges"] = state.ranges
        logits, updates = model.apply(
            {"params": quantize.quantize_params(params, spec), **variables},
            images,
            train=True,
            track=track,
            mutable=["batch_stats", *(["ranges"] if track else [])],
        )
        entropy = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
        lasso = _penalty(config, params, spec)
        accuracy = jnp.mean(jnp.argmax(logits, -1) == labels, dtype=jnp.float32)
        total = entropy + lasso
        return total, (updates, StepMetrics(total, lasso, accuracy))

    def step(state: TrainState, batch: Batch, track: bool) -> tuple[TrainState, StepMetrics]:
        key = jax.random.fold_in(jax.random.key(config.seed), 1)
        key = jax.random.fold_in(key, state.step)
        images = augment(key, batch.images, pad=dataset.pad, flip=dataset.flip)
        trained = {"weights": state.params, "thresholds": state.spec}
        gradient, (updates, metrics) = jax.grad(loss, has_aux=True)(
            trained, state, images, batch.labels, track
        )
        changes, opt_state = optimizer.update(gradient, state.opt_state, trained)
        trained = optax.apply_updates(trained, changes)
        params = _clamped(trained["weights"]) if config.clamp else trained["weights"]
        spec = trained["thresholds"]
        if config.has_budget:  # for the next step, so that the state is always a whole network
            mean_k = budget.budget_at(state.step + 1, steps, config.budget)
            # Adam's running mean of squared gradients says what an error of each weight does.
            errors = optax.tree_utils.tree_get(opt_state, "nu")["weights"]
            spec = budget.gates_for(params, spec, mean_k, config.budget_cost, importance=errors)
        done = TrainState(
            params=params,
            spec=spec,
            batch_stats=updates["batch_stats"],
            ranges=updates.get("ranges", state.ranges),
            opt_state=opt_state,
            step=state.step + 1,
        )
        return done, metrics

    everywhere = replicated(mesh)
    return jax.jit(
        step,
        static_argnums=2,
        in_shardings=(everywhere, by_batch(mesh)),
        out_shardings=everywhere,
        donate_argnums=0,
    )


def _penalty(config: Config, params: PyTree, spec: PyTree) -> jax.Array:
    """The lasso of a flexible scheme: in the others there is nothing that it could choose."""
    if not schemes.find(config.scheme).flexible:
        return jnp.zeros(())
    return penalty.residual_group_lasso(params, spec, jnp.array(config.lambdas))


def _clamped(params: PyTree) -> PyTree:
    """With all kernels in [-1, 1]."""
    return jax.tree.map(lambda w: jnp.clip(w, -1, 1) if w.ndim > 1 else w, params)


EvaluationStep = Callable[[TrainState, Batch], jax.Array]


def make_evaluation_step(model: Model, mesh: jax.sharding.Mesh) -> EvaluationStep:
    """A jitted function of (state, batch): [4] sums of loss, top-1 hits, top-5 hits, images."""

    def step(state: TrainState, batch: Batch) -> jax.Array:
        variables = {"params": quantize.quantize_params(state.params, state.spec)}
        variables["batch_stats"] = state.batch_stats
        if state.ranges:
            variables["ranges"] = state.ranges
        logits = model.apply(variables, batch.images)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
        ranks = rank_of_label(logits, batch.labels)
        columns = jnp.stack([losses, ranks < 1, ranks < 5, jnp.ones_like(losses)])
        return jnp.sum(jnp.where(batch.mask[None], columns, 0), axis=1)

    return jax.jit(
        step,
        in_shardings=(replicated(mesh), by_batch(mesh)),
        out_shardings=replicated(mesh),
    )


def rank_of_label(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """How many classes stand before the label: [batch] int32.

    Of equal logits, which quantized networks do have, the first class stands first, as in argmax.
    With a NaN, all classes stand before it.

    Example:
      >>> logits = jnp.array([[1.0, 3.0, 3.0], [jnp.nan, 0.0, 0.0]])
      >>> rank_of_label(logits, jnp.array([2, 0])).tolist()
      [1, 3]
    """
    own = jnp.take_along_axis(logits, labels[:, None], axis=1)
    later = jnp.arange(logits.shape[1])[None] >= labels[:, None]
    beaten = (logits < own) | ((logits == own) & later)
    return jnp.sum(~beaten, axis=1, dtype=jnp.int32)


def evaluate(step: EvaluationStep, state: TrainState, batches: Iterable[Batch]) -> Evaluation:
    """Means over all examples of `batches`, filled-up places apart.

    Args:
      step: of `make_evaluation_step`.
      state: what to evaluate; running statistics and frozen ranges are used.
      batches: of `data.evaluation_batches`.
    """
    sums = np.sum([np.asarray(step(state, batch), np.float64) for batch in batches], axis=0)
    loss, top1, top5, count = sums
    return Evaluation(loss / count, top1 / count, top5 / count)
