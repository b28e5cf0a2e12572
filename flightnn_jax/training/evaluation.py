"""How a trained network is evaluated: as integers, so that what was trained is what runs.

    state --lower, on the host--> integer network --float32 form--> sums over a split

The form's convolutions take the weights that training used; behind them are the integer maps that
`integer.lower` makes. Its compiled program does not depend on the state: one serves a whole run.
A network without integers, such as one of full precision, is evaluated by the model on floats.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]  # it has no stubs

from flightnn_jax import networks, quantize
from flightnn_jax.data import Batch
from flightnn_jax.integer import IntegerNetwork, IntegerNetworkError, LoweringError, lower
from flightnn_jax.integer.inference import float32
from flightnn_jax.training import models, scaling
from flightnn_jax.training.state import TrainState
from flightnn_jax.training.step import by_batch, replicated

_MAX_KEPT = 16  # compiled functions that later runs in this process use again


class Evaluation(NamedTuple):
    """Means over a whole split.

    Attributes:
      loss: cross entropy.
      top1: the share of images whose largest logit is the label's, the first of equal ones.
      top5: the share whose label is among the five largest logits.
      float_reason: None if integers were evaluated; why floats were, elsewhere.
    """

    loss: float
    top1: float
    top5: float
    float_reason: str | None = None


def lowered(model: models.Model, state: TrainState, **options: Any) -> IntegerNetwork:
    """The integer network of a state.

    Args:
      model: whose state it is.
      state: replicated, or on the host.
      options: further ones of `lower.lower`.

    Raises:
      LoweringError, IntegerNetworkError: if the state has no form in integers.
    """
    fold, state = scaling.folded(model, state), jax.device_get(state)
    return lower.lower(
        model.network,
        fold.params,
        state.spec,
        fold.batch_stats,
        state.ranges,
        activation_bits=model.activation_bits,
        signs=model.signed,
        levels=model.leveled,
        epsilon=fold.epsilon,
        **{"affine_terms": model.affine_terms, **options},
    )


def trained_kernels(model: models.Model, state: TrainState) -> dict[str, np.ndarray]:
    """The weights that training used, quantized but float32, by the layers' names.

    They are what batch norm's map is for: with `Model.affine_terms`, Q(w / c) of `scaling`.
    """
    fold = scaling.folded(model, state)
    quantized = jax.device_get(quantize.quantize_params(fold.params, jax.device_get(state.spec)))
    return {s.name: quantized[s.name]["kernel"] for s in networks.walk_weights(model.network)}


def layer_outputs(
    model: models.Model, state: TrainState, **options: Any
) -> Callable[[Any], dict[str, jax.Array]]:
    """The trained network's own activations: every layer's output, as `evaluate` computes it.

    Args:
      model: whose state it is.
      state: replicated, or on the host.
      options: further ones of `lower.lower`.

    Returns:
      A function of [batch, *input_shape] uint8 that gives by the layers' names [batch, *shape]
      int8 activations or int32 sums.
    """
    return float32.function_of(lowered(model, state, **options), trained_kernels(model, state))


def evaluate(
    model: models.Model, mesh: jax.sharding.Mesh, state: TrainState, batches: Iterable[Batch]
) -> Evaluation:
    """Means over all examples of `batches`, filled-up places apart.

    Args:
      model: whose state it is.
      mesh: the devices, over which batches are spread.
      state: what to evaluate; running statistics and ranges are used.
      batches: of `data.evaluation_batches`.
    """
    reason = None
    try:
        step, arguments = _on_integers(model, mesh, state)
    except (LoweringError, IntegerNetworkError) as error:
        step, arguments, reason = _on_floats(model, mesh), state, str(error)
    sums = np.sum([np.asarray(step(arguments, batch), np.float64) for batch in batches], axis=0)
    loss, top1, top5 = (sums[:3] / sums[3]).tolist()
    return Evaluation(loss, top1, top5, reason)


_Step = Callable[[Any, Batch], jax.Array]


def _on_integers(
    model: models.Model, mesh: jax.sharding.Mesh, state: TrainState
) -> tuple[_Step, Any]:
    """The compiled function and what it takes besides batches."""
    network, kernels = lowered(model, state), trained_kernels(model, state)
    for layer in (x for x in network.weighted if x.name in kernels):  # an average pool has none
        real = np.ldexp(layer.weights.integers().astype(np.float32), layer.weight_exponent)
        if not np.array_equal(real, kernels[layer.name]):
            raise LoweringError(f"{layer.name}: its integers are not its quantized weights")
    program, numbers = float32.form_of(network, kernels, model.machine.platform)
    unit = np.float32(2.0**network.output_exponent)
    return _integer_step(program, mesh), jax.device_put((numbers, unit), replicated(mesh))


@functools.lru_cache(maxsize=_MAX_KEPT)
def _integer_step(program: float32.Program, mesh: jax.sharding.Mesh) -> _Step:
    last = program.layers[-1].name

    def step(arguments: tuple[float32.Numbers, jax.Array], batch: Batch) -> jax.Array:
        numbers, unit = arguments
        integers = float32.layer_outputs(program, numbers, batch.images)[last]
        return _sums(integers.astype(jnp.float32) * unit, integers, batch)

    return _jitted(step, mesh)


@functools.lru_cache(maxsize=_MAX_KEPT)
def _on_floats(model: models.Model, mesh: jax.sharding.Mesh) -> _Step:
    def step(state: TrainState, batch: Batch) -> jax.Array:
        variables = scaling.deployed_variables(model, state)
        logits = jnp.asarray(model.apply(variables, batch.images, floats=True))
        return _sums(logits, logits, batch)

    return _jitted(step, mesh)


def _jitted(step: _Step, mesh: jax.sharding.Mesh) -> _Step:
    shardings = (replicated(mesh), by_batch(mesh))
    return jax.jit(step, in_shardings=shardings, out_shardings=replicated(mesh))


def _sums(logits: jax.Array, ranked: jax.Array, batch: Batch) -> jax.Array:
    """[4] sums of loss, top-1 hits, top-5 hits, images; `ranked` orders the classes."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
    ranks = rank_of_label(ranked, batch.labels)
    columns = jnp.stack([losses, ranks < 1, ranks < 5, jnp.ones_like(losses)])
    return jnp.sum(jnp.where(batch.mask[None], columns, 0), axis=1)


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
