"""The penalty that drives filters towards fewer terms: a group lasso over their residuals."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flightnn_jax import spec as specs
from flightnn_jax.formats import base, shift

PyTree = Any


def residual_group_lasso(
    params: PyTree, spec: PyTree, lambdas: float | Sequence[float] | jax.Array
) -> jax.Array:
    r"""The regularization loss of a tree of parameters.

    .. math:: L = \sum_j \lambda_j \sum_i \|r_{i,j}\|_2, \qquad
       \frac{\partial \|r_{i,j}\|}{\partial w_i} = \frac{r_{i,j}}{\|r_{i,j}\|}

    over all filters i of all arrays in a shift format. The gradient holds the quantized weights
    locally constant, and is zero where a residual is; there is none for thresholds.

    Args:
      params: parameters.
      spec: a spec tree for them.
      lambdas: the weight of each residual, [k]; or one number, lambda_1, for all residuals but
        the first, which gets a third of it (1e-5 and 3e-5 are the paper's example). Not negative.

    Returns:
      A float32 scalar (float64 for float64 parameters).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flightnn_jax import Shift
      >>> w = jnp.array([[3.0], [4.0]])  # one filter; its first term is (4, 4)
      >>> print(residual_group_lasso(w, Shift(k=2), [0.1, 1.0]))
      1.5
      >>> print(jax.grad(residual_group_lasso)(w, Shift(k=2), [0.1, 1.0]).T)
      [[-0.94  0.08]]
    """
    given, lambdas = lambdas, jnp.asarray(lambdas)
    known = not isinstance(lambdas, jax.core.Tracer)
    if known and not np.all(np.isfinite(lambdas) & (np.asarray(lambdas) >= 0)):
        raise ValueError(
            f"lambdas={given}: a penalty's weights must be finite and not negative, or it would "
            "reward large residuals"
        )
    matched = specs.match(params, spec)
    specs.raise_problems(matched)
    for w in matched:
        if isinstance(w.format, shift.Shift) and lambdas.ndim and lambdas.shape != (w.format.k,):
            raise ValueError(
                f"lambdas of shape {lambdas.shape} for the {w.format.k} residuals of {w.path}: "
                f"give {w.format.k} numbers, or one for all"
            )
    weights = [(w.format, w.leaf) for w in matched if w.format is not None]
    return _penalty(weights, lambdas)


@jax.jit
def _penalty(weights: list[tuple[base.Format, jax.Array]], lambdas: jax.Array) -> jax.Array:
    total = jnp.zeros((), jnp.float32)
    for fmt, w in weights:
        norms = fmt.residual_norms(jnp.asarray(w))
        if norms is not None:
            per_residual = _per_residual(lambdas, norms.shape[0]).astype(norms.dtype)
            total = total + jnp.sum(per_residual * norms.sum(axis=1))
    return total


def _per_residual(lambdas: jax.Array, k: int) -> jax.Array:
    if lambdas.ndim == 0:
        return jnp.full(k, lambdas).at[:1].divide(3)
    return lambdas
