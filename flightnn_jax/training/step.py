"""One step of Algorithm 1, jitted, on one device or many.

    quantize -> forward -> loss -> backward -> + penalty's gradient -> Adam

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

from flightnn_jax import budget, limits, networks, schemes
from flightnn_jax.data import Batch, Dataset, augment
from flightnn_jax.training import distillation, optimizer, quantization, scaling
from flightnn_jax.training.config import FIRST, Config
from flightnn_jax.training.optimizer import Hyperparameters
from flightnn_jax.training.state import TrainState, averaged

PyTree = Any
Model = Any  # a Flax module such as `models.Model`; this module does not import it

_MAX_KEPT = 16  # compiled functions that later runs in this process use again
# Fields on which no compiled function depends: arguments of the step, and what it does not read.
_NOT_COMPILED_IN = (
    *("lambda1", "lambda0", "learning_rate", "threshold_rate", "seed"),
    *(
        "budget",
        "style",
        "device",
        "prune",
        "start_from",
        "stages",
        "reestimate",
        "evaluate_every",
        "checkpoint_every",
        "keep",
    ),
)


class StepMetrics(NamedTuple):
    """What a training step measured on its batch, before its update.

    Attributes:
      loss: [] cross entropy + penalty, and what a teacher adds.
      penalty: [] the sum of the scheme's penalties, such as the residual group lasso.
      accuracy: [] top-1, with quantized weights and the batch's own statistics, unless batch norm
        is frozen, see `scaling`.
    """

    loss: jax.Array
    penalty: jax.Array
    accuracy: jax.Array


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


def init_state(config: Config, model: Model, mesh: jax.sharding.Mesh) -> TrainState:
    """The state before the first step, the same on every device and for every scheme."""
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    return _initial(compiled_in(config), model, mesh)(key)


@functools.lru_cache(maxsize=_MAX_KEPT)
def _initial(
    config: Config, model: Model, mesh: jax.sharding.Mesh
) -> Callable[[jax.Array], TrainState]:
    per = "filter" if config.has_budget else config.thresholds_per
    penalties = quantization.penalties_of(schemes.find(config.scheme), config.distribution)
    hyper = optimizer.hyperparameters(config)
    adam = optimizer.make_optimizer(config, 1, hyper, penalties)
    names = [layer.name for layer in networks.walk_weights(model.network)]

    def initial(key: jax.Array) -> TrainState:
        images = jnp.zeros((1, *model.network.input_shape), jnp.uint8)
        variables = model.init(key, images)
        params = variables["params"]
        scheme = schemes.find(config.scheme)
        spec = quantization.spec_of(scheme, params, per, config.rounding, names, config.codebook)
        params = quantization.with_fixed_norms(scheme, config.distribution, params, spec)
        spec = quantization.started(params, spec)
        scales: scaling.Scales = {}
        if config.filter_scales:
            scales = scaling.ones(variables["batch_stats"], spec)
        return TrainState(
            params=params,
            spec=spec,
            batch_stats=variables["batch_stats"],
            ranges=variables.get("ranges", {}),
            opt_state=adam.init({"weights": params, "thresholds": spec}),
            step=jnp.zeros((), jnp.int32),
            average={} if config.ema is None else jax.tree.map(jnp.zeros_like, params),
            scales=scales,
        )

    # Random numbers take LLVM 1.5 seconds a layer to optimize, and this runs once.
    cpu = mesh.devices.flat[0].platform == "cpu"
    options = {"xla_backend_optimization_level": 0} if cpu else {}
    return jax.jit(initial, out_shardings=replicated(mesh), compiler_options=options)


def compiled_in(config: Config) -> Config:
    """What a compiled step depends on: all other fields have their defaults."""
    defaults = {name: getattr(Config, name) for name in _NOT_COMPILED_IN}
    teacher = None if config.teacher is None else FIRST  # whether there is one
    return dataclasses.replace(config, decay_at=tuple(config.decay_at), teacher=teacher, **defaults)


# Of (TrainState, Batch, Hyperparameters, bool), gives (TrainState, StepMetrics).
TrainStep = jax.stages.Wrapped


def make_train_step(
    config: Config, model: Model, dataset: Dataset, steps: int, mesh: jax.sharding.Mesh
) -> TrainStep:
    """One iteration of Algorithm 1.

    Args:
      config: the run. All configs that differ in `Hyperparameters` alone get the same function,
        which is compiled once for them.
      model: a function of images whose weights are quantized outside of it.
      dataset: says how images are augmented.
      steps: of the whole training.
      mesh: the devices.

    Returns:
      A jitted function of (state, batch, hyper, track) that gives the next state, for which the
      memory of the old one is used, and metrics. `hyper` is `hyperparameters(config)`. `track` is
      static: whether activation ranges are measured, or stay as they are.
    """
    return _jitted_step(compiled_in(config), model, dataset.pad, dataset.flip, steps, mesh)


@functools.lru_cache(maxsize=_MAX_KEPT)
def _jitted_step(
    config: Config, model: Model, pad: int, flip: bool, steps: int, mesh: jax.sharding.Mesh
) -> TrainStep:
    everywhere = replicated(mesh)
    return jax.jit(
        _step_of(config, model, pad, flip, steps),
        static_argnums=3,
        in_shardings=(everywhere, by_batch(mesh), everywhere),
        out_shardings=everywhere,
        donate_argnums=0,
    )


def make_steps(
    config: Config, model: Model, dataset: Dataset, steps: int, mesh: jax.sharding.Mesh
) -> TrainStep:
    """As `make_train_step`, for several runs at once, by `jax.vmap`.

    All arrays have a first axis more, that of the runs. States are given and returned as the lists
    of their leaves, whose shapes the records of formats would not take. Results are those of
    `make_train_step` up to the order in which floats are summed.
    """
    return _jitted_steps(compiled_in(config), model, dataset.pad, dataset.flip, steps, mesh)


@functools.lru_cache(maxsize=_MAX_KEPT)
def _jitted_steps(
    config: Config, model: Model, pad: int, flip: bool, steps: int, mesh: jax.sharding.Mesh
) -> TrainStep:
    one = _step_of(config, model, pad, flip, steps)
    structure = jax.tree.structure(jax.eval_shape(_initial(config, model, mesh), jax.random.key(0)))

    def several(
        leaves: list[jax.Array], batches: Batch, hypers: Hyperparameters, track: bool
    ) -> tuple[list[jax.Array], StepMetrics]:
        def of_one(
            leaves: list[jax.Array], batch: Batch, hyper: Hyperparameters
        ) -> tuple[list[jax.Array], StepMetrics]:
            state, metrics = one(jax.tree.unflatten(structure, leaves), batch, hyper, track)
            return jax.tree.leaves(state), metrics

        return jax.vmap(of_one)(leaves, batches, hypers)

    everywhere = replicated(mesh)
    by_second = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "data"))
    return jax.jit(
        several,
        static_argnums=3,
        in_shardings=(everywhere, by_second, everywhere),
        out_shardings=everywhere,
        donate_argnums=0,
    )


def _step_of(
    config: Config, model: Model, pad: int, flip: bool, steps: int
) -> Callable[[TrainState, Batch, Hyperparameters, bool], tuple[TrainState, StepMetrics]]:
    scheme = schemes.find(config.scheme)
    penalties_of_w = quantization.penalties_of(scheme, config.distribution)
    loss = functools.partial(_loss, model, config)

    def step(
        state: TrainState, batch: Batch, hyper: Hyperparameters, track: bool
    ) -> tuple[TrainState, StepMetrics]:
        key = jax.random.fold_in(jax.random.key(hyper.seed), 1)
        key = jax.random.fold_in(key, state.step)
        images = augment(key, batch.images, pad=pad, flip=flip)
        trained = {"weights": state.params, "thresholds": state.spec}
        taught = None if hyper.teacher is None else hyper.teacher.logits(images)
        seen = _Seen(images, batch.labels, taught)
        gradient, (entropy, accuracy, updates) = jax.grad(loss, has_aux=True)(
            trained, state, seen, track
        )
        scales = scaling.scales_of(model, state)
        penalties = scaling.penalties_on(penalties_of_w, scales)
        adam = optimizer.make_optimizer(config, steps, hyper, penalties)
        changes, opt_state = adam.update(gradient, state.opt_state, trained)
        penalty = sum((p(state.params, state.spec, hyper) for p in penalties), jnp.zeros(()))
        trained = optax.apply_updates(trained, changes)
        params = _clamped(trained["weights"]) if config.clamp else trained["weights"]
        params = quantization.with_fixed_norms(scheme, config.distribution, params, state.spec)
        if scaling.is_frozen(model, track):
            params = scaling.with_slopes_of(state.params, params)
        done = TrainState(
            params=params,
            spec=trained["thresholds"],
            batch_stats=updates["batch_stats"],
            ranges=updates.get("ranges", state.ranges),
            opt_state=opt_state,
            step=state.step + 1,
            average=averaged(config.ema, state, params),
            scales=state.scales,
        )
        kernels = scaling.divided(params, scaling.scales_of(model, done))
        done = dataclasses.replace(done, spec=quantization.followed(kernels, done.spec))
        if config.has_budget:  # for the next step, so that the state is always a whole network
            spec = _gates(config.budget_cost, model, steps, done, hyper)
            done = dataclasses.replace(done, spec=spec)
        return done, StepMetrics(entropy + penalty, penalty, accuracy)

    return step


def _gates(
    cost: str, model: Model, steps: int, state: TrainState, hyper: Hyperparameters
) -> PyTree:
    """The spec of a state with the gates that its budget pays for."""
    # Adam's running mean of squared gradients says what an error of each weight does.
    errors = optax.tree_utils.tree_get(state.opt_state, "nu")["weights"]
    scales = scaling.scales_of(model, state)
    params = scaling.divided(state.params, scales)
    importance = scaling.multiplied(errors, scales, 2)
    if isinstance(hyper.budget, limits.Limits):
        left = budget.ramp(state.step, steps)
        return limits.gates_within(params, state.spec, hyper.budget, left, importance=importance)
    mean_k = budget.budget_at(state.step, steps, hyper.budget)
    return budget.gates_for(params, state.spec, mean_k, cost, importance=importance)


def make_gates(
    config: Config, model: Model, steps: int, mesh: jax.sharding.Mesh
) -> Callable[[TrainState, Hyperparameters], TrainState]:
    """A jitted function that sets the gates of a state anew, as the training step does."""
    return _jitted_gates(compiled_in(config), model, steps, mesh)


@functools.lru_cache(maxsize=_MAX_KEPT)
def _jitted_gates(
    config: Config, model: Model, steps: int, mesh: jax.sharding.Mesh
) -> Callable[[TrainState, Hyperparameters], TrainState]:
    def again(state: TrainState, hyper: Hyperparameters) -> TrainState:
        spec = _gates(config.budget_cost, model, steps, state, hyper)
        return dataclasses.replace(state, spec=spec)

    return jax.jit(again, out_shardings=replicated(mesh))


class _Seen(NamedTuple):
    """A batch as the network sees it, and the teacher's logits of it, or None."""

    images: jax.Array
    labels: jax.Array
    taught: jax.Array | None


def _loss(
    model: Model,
    config: Config,
    trained: PyTree,
    state: TrainState,
    seen: _Seen,
    track: bool,
) -> tuple[jax.Array, Any]:
    """The loss; with it itself, accuracy, and the model's new statistics and ranges."""
    params, spec = trained["weights"], trained["thresholds"]
    if config.has_budget:
        spec = jax.lax.stop_gradient(spec)
    scales = scaling.scales_of(model, state)
    variables = {
        "params": scaling.quantized(params, spec, scales),
        "batch_stats": state.batch_stats,
    }
    if state.ranges:
        variables["ranges"] = state.ranges
    if scaling.is_frozen(model, track):
        logits = model.apply(variables, seen.images, floats=True)
        updates = {"batch_stats": state.batch_stats}
    else:
        mutable = ["batch_stats", *(["ranges"] if track else [])]
        logits, updates = model.apply(
            variables, seen.images, train=True, track=track, mutable=mutable
        )
    value = _entropy(logits, seen.labels, config.label_smoothing)
    if seen.taught is not None:
        apart = distillation.divergence(logits, seen.taught, config.temperature)
        value = value + config.teacher_weight * apart
    accuracy = jnp.mean(jnp.argmax(logits, -1) == seen.labels, dtype=jnp.float32)
    return value, (value, accuracy, updates)


def _entropy(logits: jax.Array, labels: jax.Array, smoothing: float) -> jax.Array:
    """The mean cross entropy with labels of which a part is spread over all classes."""
    if not smoothing:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
    spread = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
    return jnp.mean(optax.softmax_cross_entropy(logits, spread))


def _clamped(params: PyTree) -> PyTree:
    """With all kernels in [-1, 1]."""
    return jax.tree.map(lambda w: jnp.clip(w, -1, 1) if w.ndim > 1 else w, params)
