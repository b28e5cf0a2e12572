r"""A scale for each filter, which batch norm takes up: weights that are c Q(w / c).

    a (c Q x) + b = (a c) (Q x) + b

So the integers have the weights Q(w / c) and the slope a c, and nothing is rounded that was not.
Gates, thresholds, penalties and counts are those of w / c. There are two kinds of c.

Chosen ones, `TrainState.scales`: from 1 to 2, the best for the filter's weights when training (or
one of its stages) begins, and then fixed. They are data; a c of 1 changes nothing.

Those for slopes that are powers of two, with `Model.affine_terms`: c brings the slope of batch
norm, with running statistics, up to the next sum of so few powers of two:

    a = |gamma| / sqrt(variance + epsilon),   c = r / a,   r >= a,   a (c Q x) = r (Q x)

While activation ranges are measured, c follows the running statistics, and batch norm makes up for
it. Then batch norm is frozen, too: it is the affine map that the integers have, a and c stay as
they are, and only the offset is trained.

Without either, scales are {}, and every function here gives back what it is given.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from flightnn_jax import filters, numerics, quantize
from flightnn_jax.formats import base, shift
from flightnn_jax.training.quantization import Penalty

PyTree = Any
Model = Any  # with the attributes of `models.Model`
TrainState = Any  # of `step`
Scales = dict[str, jax.Array]  # c, [filters], by the names of layers with batch norm
_CANDIDATES = 64  # for a chosen c


class Folded(NamedTuple):
    """The same network with scales in its batch norm.

    Attributes:
      params: kernels are w / c, not quantized yet; batch norm's scales have c in them, or are r
        with their signs.
      batch_stats: means are divided by c; with r, variances are 1.
      epsilon: of batch norm; with r, 0.
    """

    params: PyTree
    batch_stats: PyTree
    epsilon: float


def scales_of(model: Model, state: TrainState) -> Scales:
    """The c of every filter, not differentiable; {} without any."""
    if model.affine_terms is None:
        return state.scales
    params, batch_stats = state.params, state.batch_stats
    slopes = {name: _slope(model, params[name], stats) for name, stats in batch_stats.items()}
    raised = {name: raised_to_powers(a, model.affine_terms) for name, a in slopes.items()}
    return {n: jax.lax.stop_gradient(jnp.where(a > 0, raised[n] / a, 1)) for n, a in slopes.items()}


def ones(batch_stats: PyTree, spec: PyTree) -> Scales:
    """Scales that change nothing, for the layers that have batch norm and a format."""
    named = {n: stats["mean"] for n, stats in batch_stats.items() if spec[n]["kernel"] is not None}
    return jax.tree.map(jnp.ones_like, named)


def best_scales(params: PyTree, spec: PyTree, names: tuple[str, ...]) -> Scales:
    """The c of each filter, from 1 to 2, with the least squared error of c Q(w / c).

    Where filters differ in their number of terms, Q is that of a single one: it leaves most. A
    grid that a layer shares is that of all its filters with this c.

    Args:
      params: of the model.
      spec: a spec tree for them.
      names: of the layers whose filters get scales.
    """
    kernels = {name: params[name]["kernel"] for name in names}
    formats = {name: _without_gates(spec[name]["kernel"]) for name in names}
    return _best_scales(kernels, formats)


@jax.jit
def _best_scales(kernels: PyTree, formats: PyTree) -> Scales:
    candidates = 2.0 ** (jnp.arange(_CANDIDATES) / _CANDIDATES)

    def of_layer(w: jax.Array, fmt: base.Format) -> jax.Array:
        def errors(c: jax.Array) -> jax.Array:
            return jnp.sum((w - c * fmt.quantize(w / c)) ** 2, axis=range(w.ndim - 1))

        return candidates[jnp.argmin(jax.lax.map(errors, candidates), axis=0)]

    return {name: of_layer(w, formats[name]) for name, w in kernels.items()}


def _without_gates(fmt: base.Format) -> base.Format:
    if isinstance(fmt, shift.Shift) and fmt.thresholds is not None:
        return dataclasses.replace(fmt, k=1, thresholds=None)
    return fmt


def is_frozen(model: Model, track: bool) -> bool:
    """Whether a training step takes batch norm for a map of running statistics, which stay."""
    return model.affine_terms is not None and not track


def with_slopes_of(before: PyTree, params: PyTree) -> PyTree:
    """The parameters with batch norm's scales as they were `before`."""
    return {
        name: {**arrays, **({"scale": before[name]["scale"]} if "scale" in arrays else {})}
        for name, arrays in params.items()
    }


def _slope(model: Model, of_layer: PyTree, stats: PyTree) -> jax.Array:
    return jnp.abs(of_layer["scale"]) * jax.lax.rsqrt(stats["variance"] + model.epsilon)


def raised_to_powers(a: jax.Array, terms: int) -> jax.Array:
    """The next number from `a` on in a grid of sums of at most `terms` signed powers of two.

    The grid has 4**(terms - 1) steps from one power of two to the next.

    Example:
      >>> [raised_to_powers(jnp.array([1.0, 1.1, 1.3, 3.9]), n).tolist() for n in (1, 2)]
      [[1.0, 2.0, 2.0, 4.0], [1.0, 1.25, 1.5, 4.0]]
    """
    power = numerics.power_of_two(numerics.exponent_of(a))
    steps = 4.0 ** (terms - 1)
    return jnp.ceil(a / power * steps) / steps * power


def multiplied(params: PyTree, scales: Scales, power: int = 1) -> PyTree:
    """With every kernel times c**power."""

    def of_layer(name: str, arrays: PyTree) -> PyTree:
        if name not in scales:
            return arrays
        kernel = arrays["kernel"]
        factor = filters.per_filter(scales[name], kernel.ndim, -1) ** power
        return {**arrays, "kernel": kernel * factor}

    return {name: of_layer(name, arrays) for name, arrays in params.items()}


def divided(params: PyTree, scales: Scales) -> PyTree:
    """With w / c in place of every kernel: what is quantized."""
    return multiplied(params, scales, -1)


def quantized(params: PyTree, spec: PyTree, scales: Scales) -> PyTree:
    """The network's weights: c Q(w / c)."""
    return multiplied(quantize.quantize_params(divided(params, scales), spec), scales)


def penalties_on(penalties: tuple[Penalty, ...], scales: Scales) -> tuple[Penalty, ...]:
    """The penalties as functions of the weights before they are divided."""

    def on_divided(each: Penalty) -> Penalty:
        return lambda params, spec, hyper: each(divided(params, scales), spec, hyper)

    return tuple(on_divided(each) for each in penalties)


def deployed_variables(model: Model, state: TrainState) -> dict[str, PyTree]:
    """What `model.apply` takes of a state: its deployed weights, quantized, statistics, ranges."""
    state = state.deployed()
    weights = quantized(state.params, state.spec, scales_of(model, state))
    variables = {"params": weights, "batch_stats": state.batch_stats}
    return variables | ({"ranges": state.ranges} if state.ranges else {})


def folded(model: Model, state: TrainState) -> Folded:
    """What is lowered, encoded and counted, on the host: of the deployed state."""
    state = jax.device_get(state.deployed())
    params, batch_stats = state.params, state.batch_stats
    scales = scales_of(model, state)
    if not scales:
        return Folded(params, batch_stats, model.epsilon)
    params, stats = divided(params, scales), dict(batch_stats)
    if model.affine_terms is None:
        for name, c in scales.items():
            params[name] = {**params[name], "scale": params[name]["scale"] * c}
            stats[name] = {**batch_stats[name], "mean": batch_stats[name]["mean"] / c}
        params, stats = jax.device_get((params, stats))
        return Folded(params, stats, model.epsilon)
    for name, c in scales.items():
        slope = _slope(model, params[name], batch_stats[name])
        raised = jnp.where(slope > 0, raised_to_powers(slope, model.affine_terms), 0)
        params[name] = {**params[name], "scale": jnp.sign(params[name]["scale"]) * raised}
        stats[name] = {"mean": batch_stats[name]["mean"] / c, "variance": jnp.ones_like(c)}
    params, stats = jax.device_get((params, stats))
    return Folded(params, stats, 0.0)
