r"""The quantizer Q_k(w | t) on one array: forward, derivatives, and the residuals' norms.

For each filter, with R the rounding to a power of two inside the exponent window,

    r_0 = w;  R_l = R(r_l);  g_l = 1(||r_l|| > t_l);  r_{l+1} = r_l - g_l R_l;  Q = sum_l g_l R_l

A closed gate leaves the residual as it is, so the residual depends only on how many gates were
open before it. All that can occur are therefore the *greedy* residuals and terms

    e_0 = w;  T_n = R(e_n);  e_{n+1} = w - (T_0 + ... + T_n)

with r_l = e_n and R_l = T_n for n open gates before gate l, and Q the sum of the first k_i terms.
Their norms are computed together, in one pass; what depends on the gates is a few numbers a
filter.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from flightnn_jax import filters, numerics
from flightnn_jax.formats import greedy, shards


class _Gates(NamedTuple):
    """The state of the gates of each filter.

    Attributes:
      opened: [k, filters] whether gate l is open.
      before: [k, filters] how many gates before gate l are open: which greedy residual it sees.
      k: [filters] how many are open in all.
    """

    opened: jax.Array
    before: jax.Array
    k: jax.Array


def _pick(values: jax.Array, index: jax.Array) -> jax.Array:
    """values[index[i], i] for each filter i: [k, filters], [filters] -> [filters]."""
    picked = values[0]
    for n in range(1, values.shape[0]):
        picked = jnp.where(index == n, values[n], picked)
    return picked


def _gates_of(rule: greedy.ShiftRule, norms: jax.Array, t: jax.Array | None) -> _Gates:
    """Opens the gates one after the other; without thresholds, all of them."""
    n = jnp.zeros_like(norms[0], jnp.int32)  # as norms are sharded, so is what comes of them
    opened, before = [], []
    alive = everything = jnp.ones_like(norms[0], bool)
    for level in range(norms.shape[0]):
        is_open = everything if t is None else _pick(norms, n) > t[level]
        if rule.gates == "nested":
            is_open = alive = alive & is_open
        opened.append(is_open)
        before.append(n)
        n = n + is_open
    return _Gates(jnp.stack(opened), jnp.stack(before), n)


def _columns(t: jax.Array, dtype: DTypeLike) -> jax.Array:
    """Thresholds as [k, filters] or [k, 1], in the computing type."""
    return jnp.asarray(t, dtype).reshape(t.shape[0], -1)


class Quantized(NamedTuple):
    """The terms of one array, and the gates' decision.

    Attributes:
      terms: k arrays like the weights, in the computing type; the ungated T_n.
      k: [filters] int32, how many of them each filter takes.
      valid: [filters] whether the layer's weights and the filter's thresholds are numbers.
      low: [] exponent of the smallest power that a term may have, int32.
      high: [] exponent of the largest one.
    """

    terms: list[jax.Array]
    k: jax.Array
    valid: jax.Array
    low: jax.Array
    high: jax.Array


def gated_terms(rule: greedy.ShiftRule, w: jax.Array, t: jax.Array | None) -> Quantized:
    """The greedy terms of `w` and how many of them each filter takes. Not differentiable."""
    return _forward(rule, w, t)[0]


def _forward(
    rule: greedy.ShiftRule, w: jax.Array, t: jax.Array | None
) -> tuple[Quantized, jax.Array | None]:
    """The terms, and the scaled norms where the gates needed them."""
    layer = greedy.layer_of(rule, w)
    residuals, terms = greedy.residuals_and_terms(rule, layer)
    count = w.shape[rule.filter_axis]
    norms = None
    if t is None or not terms:
        k = jnp.full(count, rule.k, jnp.int32)
        # A maximum may pass over NaN (XLA's does on a CPU); a sum cannot.
        valid = jnp.broadcast_to(jnp.sum(layer.x * 0) == 0, (count,))
    else:
        norms = greedy.scaled_norms(rule, layer, residuals)
        columns = _columns(t, layer.layout.compute)
        k = _gates_of(rule, greedy.unscaled(layer, norms), columns).k
        valid = ~jnp.isnan(norms[0]) & ~jnp.any(jnp.isnan(columns), axis=0)
    low, high = (
        numerics.exponent_of(jax.lax.bitcast_convert_type(bits, layer.layout.compute))
        for bits in (layer.low, layer.high)
    )
    return Quantized(terms, k, valid, low, high), norms


def _sum_of_terms(rule: greedy.ShiftRule, quantized: Quantized, w: jax.Array) -> jax.Array:
    def column(values: jax.Array) -> jax.Array:
        return filters.per_filter(values, w.ndim, rule.filter_axis)

    total = jnp.zeros(w.shape, numerics.layout_of(w.dtype).compute)
    for n, term in enumerate(quantized.terms):
        total = total + jnp.where(column(quantized.k) > n, term, 0)
    return jnp.where(column(quantized.valid), total, jnp.nan).astype(w.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _quantize(rule: greedy.ShiftRule, w: jax.Array, t: jax.Array | None) -> jax.Array:
    return _sum_of_terms(rule, gated_terms(rule, w, t), w)


def _quantize_forward(
    rule: greedy.ShiftRule, w: jax.Array, t: jax.Array | None
) -> tuple[jax.Array, tuple[jax.Array, jax.Array | None, jax.Array | None]]:
    quantized, norms = _forward(rule, w, t)
    return _sum_of_terms(rule, quantized, w), (w, t, norms)


def _quantize_backward(
    rule: greedy.ShiftRule,
    kept: tuple[jax.Array, jax.Array | None, jax.Array | None],
    cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array | None]:
    w, t, norms = kept
    if t is None or norms is None:
        return cotangent, None if t is None else jnp.zeros_like(t)
    return cotangent, _threshold_gradient(rule, w, t, norms, cotangent)


_quantize.defvjp(_quantize_forward, _quantize_backward)


def _threshold_gradient(
    rule: greedy.ShiftRule, w: jax.Array, t: jax.Array, norms: jax.Array, cotangent: jax.Array
) -> jax.Array:
    """dL/dt by the recursion over the gates, from the last to the first.

        c = G;  a_l = <c, R_l>;  tbar_l = -m_l s'_l a_l;  c <- c - m_l (s_l c + s'_l a_l u_l)

    c is at all times a combination alpha G + sum_l beta_l e_l of arrays that are known
    beforehand, so only their inner products with the terms are needed: a few numbers a filter.
    """
    layer = greedy.layer_of(rule, w)
    residuals, terms = greedy.residuals_and_terms(rule, layer)
    columns = _columns(t, layer.layout.compute)
    true_norms = greedy.unscaled(layer, norms)
    gates = _gates_of(rule, true_norms, columns)
    everywhere = rule.gradient == "all"

    # <G, T_n>, and <e_m, T_n> for every pair that the recursion can meet: gate m sees a later
    # residual than gate n, or the same one where closed gates take part too.
    pairs = [(m, n) for m in range(rule.k) for n in range(m + everywhere)]
    g = cotangent.astype(layer.layout.compute)
    products = [g * term for term in terms]
    products += [
        greedy.scaled(layer, residuals[m]) * greedy.scaled(layer, terms[n]) for m, n in pairs
    ]
    # Few neighbours: G may come with computing of its own.
    sums = filters.sums_over_filters(products, rule.filter_axis, group=4, at_once=3)
    with_g = sums[: rule.k]
    zero = jnp.zeros_like(with_g[0])
    # <e_m / ||e_m||, T_n>: zero for a residual of zero.
    with_e = dict.fromkeys(((m, n) for m in range(rule.k) for n in range(rule.k)), zero)
    for (m, n), product in zip(pairs, sums[rule.k :], strict=True):
        safe = jnp.where(norms[m] > 0, norms[m], 1)
        along = jnp.where(norms[m] > 0, product / safe, 0)
        with_e[m, n] = greedy.unscaled(layer, along)

    alpha = jnp.ones_like(zero)
    beta = [zero] * rule.k  # coefficient of e_l / ||e_l||, by gate
    gradient = [zero] * rule.k
    for level in reversed(range(rule.k)):
        seen = gates.before[level]
        margin = (_pick(true_norms, seen) - columns[level]) / rule.temperature
        active = jnp.ones_like(zero) if everywhere else gates.opened[level].astype(zero.dtype)
        slope = jax.nn.sigmoid(margin) * jax.nn.sigmoid(-margin) / rule.temperature
        inner = alpha * _pick(with_g, seen)
        for later in range(level + 1, rule.k):
            table = jnp.stack(
                [
                    _pick(jnp.stack([with_e[m, n] for m in range(rule.k)]), gates.before[later])
                    for n in range(rule.k)
                ]
            )
            inner = inner + beta[later] * _pick(table, seen)
        gradient[level] = -active * slope * inner
        keep = jnp.where(active > 0, jax.nn.sigmoid(-margin), 1)  # 1 - m s, without cancellation
        alpha, beta = alpha * keep, [b * keep for b in beta]
        beta[level] = gradient[level]
    stacked = jnp.stack(gradient)
    return (stacked if t.ndim == 2 else stacked.sum(axis=1)).astype(t.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _residual_norms(rule: greedy.ShiftRule, w: jax.Array, t: jax.Array | None) -> jax.Array:
    return _residual_norms_forward(rule, w, t)[0]


def _residual_norms_forward(
    rule: greedy.ShiftRule, w: jax.Array, t: jax.Array | None
) -> tuple[jax.Array, tuple[jax.Array, jax.Array | None, jax.Array, jax.Array]]:
    layer = greedy.layer_of(rule, w)
    norms = greedy.scaled_norms(rule, layer, greedy.residuals_and_terms(rule, layer)[0])
    columns = None if t is None else _columns(t, layer.layout.compute)
    true_norms = greedy.unscaled(layer, norms)
    gates = _gates_of(rule, true_norms, columns)
    seen = jnp.stack([_pick(true_norms, n) for n in gates.before])
    return seen, (w, t, norms, gates.before)


def _residual_norms_backward(
    rule: greedy.ShiftRule,
    kept: tuple[jax.Array, jax.Array | None, jax.Array, jax.Array],
    cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array | None]:
    """R / ||r|| with Q held constant, and zero where r is; nothing for the thresholds."""
    w, t, norms, before = kept
    layer = greedy.layer_of(rule, w)
    residuals, _ = greedy.residuals_and_terms(rule, layer)
    total = jnp.zeros_like(layer.x)
    for n, residual in enumerate(residuals):
        weight = jnp.sum(jnp.where(before == n, cotangent, 0), axis=0)
        weight = jnp.where(norms[n] > 0, weight / jnp.where(norms[n] > 0, norms[n], 1), 0)
        column = filters.per_filter(weight, w.ndim, rule.filter_axis)
        total = total + greedy.scaled(layer, residual) * column
    return total.astype(w.dtype), None if t is None else jnp.zeros_like(t)


_residual_norms.defvjp(_residual_norms_forward, _residual_norms_backward)


def quantize(rule: greedy.ShiftRule, w: jax.Array, t: jax.Array | None) -> jax.Array:
    """Q_k(w | t) in the type of `w`; straight through to w, relaxed gates to t.

    Args:
      rule: what is fixed.
      w: weights of one layer, finite; any shape with a filter axis.
      t: thresholds [k] for the layer or [k, filters]; None keeps every gate open.

    Returns:
      An array like `w`. A weight that is not finite makes its whole layer NaN, a threshold of
      NaN its filters. To the gates, what lies more than 2**100 below the layer's largest
      weight, or below a fixed window that clamps, is zero.
    """
    return _quantize(rule, *_alike_over_devices(w, t))


def residual_norms(rule: greedy.ShiftRule, w: jax.Array, t: jax.Array | None) -> jax.Array:
    """[k, filters] norms ||r_l||, differentiable in w with Q held locally constant."""
    if not rule.k:
        return jnp.zeros((0, w.shape[rule.filter_axis]), numerics.layout_of(w.dtype).compute)
    return _residual_norms(rule, *_alike_over_devices(w, t))


def _alike_over_devices(w: jax.Array, t: jax.Array | None) -> tuple[jax.Array, jax.Array | None]:
    """Inside shard_map, marks both arrays as varying over the same mesh axes.

    The transpose of that mark is a sum over these axes: the gradient of a threshold that all
    devices share is then the sum of what each of them computes.
    """
    if t is None:
        return w, t
    axes = shards.varying_axes(w) | shards.varying_axes(t)
    w, t = (jax.lax.pcast(x, tuple(axes - shards.varying_axes(x)), to="varying") for x in (w, t))
    return w, t
