"""The penalty that drives filters towards fewer terms: a group lasso over their residuals.

It is added to the loss, or its gradient to an optimizer's updates; both give the same steps.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from flightnn_jax import numerics
from flightnn_jax import spec as specs
from flightnn_jax.formats import base, shift

if TYPE_CHECKING:
    import optax  # type: ignore[import-untyped]  # it has no stubs

PyTree = Any
Parts = Callable[[PyTree], tuple[PyTree, PyTree]]


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
    given, lambdas = lambdas, numerics.numbers_of(lambdas, "lambdas")
    if lambdas.dtype == bool or jnp.iscomplexobj(lambdas):
        raise TypeError(f"lambdas of type {lambdas.dtype}: a penalty's weights are real numbers")
    known = not isinstance(lambdas, jax.core.Tracer)
    if known and not np.all(np.isfinite(lambdas) & (np.asarray(lambdas) >= 0)):
        raise ValueError(
            f"lambdas={given}: a penalty's weights must be finite and not negative, or it would "
            "reward large residuals"
        )
    matched = specs.with_numbers(params, spec, "residual_group_lasso")
    for w in matched:
        if isinstance(w.format, shift.Shift) and lambdas.ndim and lambdas.shape != (w.format.k,):
            raise ValueError(
                f"lambdas of shape {lambdas.shape} for the {w.format.k} residuals of {w.path}: "
                f"give {w.format.k} numbers, or one for all"
            )
    weights = [(w.format, w.leaf) for w in matched if w.format is not None]
    return _penalty(weights, lambdas)


def _weights_and_thresholds(trained: PyTree) -> tuple[PyTree, PyTree]:
    if not isinstance(trained, Mapping) or not {"weights", "thresholds"} <= set(trained):
        raise TypeError(
            "a penalty in an optimizer looks for 'weights' and 'thresholds' in what is trained, "
            f"and was given {numerics.shortened(jax.tree.structure(trained))}: name other parts by "
            "`parts`, as in parts=lambda params: (params, spec)"
        )
    return trained["weights"], trained["thresholds"]


def add_residual_group_lasso(
    lambdas: float | Sequence[float] | jax.Array, parts: Parts = _weights_and_thresholds
) -> "optax.GradientTransformation":
    """An Optax transformation that adds the gradient of `residual_group_lasso` to the updates.

    In the manner of `optax.add_decayed_weights`: it stands before the optimizer in a chain, has no
    state, and its `update` needs the parameters. The steps are those of a loss that contains the
    penalty. Thresholds get no gradient from it.

    Args:
      lambdas: as in `residual_group_lasso`; may be traced.
      parts: of the tree that is trained, the parameters and their spec. By default it is
        {"weights": params, "thresholds": spec}. For a pair (params, spec) give `tuple`; for
        parameters alone, whose spec stays as it is, `lambda params: (params, spec)`.

    Raises:
      ModuleNotFoundError: if Optax is not installed.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from flightnn_jax import Shift
      >>> trained = (jnp.array([[3.0], [4.0]]), Shift(k=2, thresholds=jnp.zeros(2)))
      >>> optimizer = optax.chain(
      ...     add_residual_group_lasso([0.1, 1.0], parts=tuple),
      ...     optax.sgd(1.0),
      ... )
      >>> of_loss = jax.tree.map(jnp.zeros_like, trained)
      >>> updates, _ = optimizer.update(of_loss, optimizer.init(trained), trained)
      >>> print(updates[0].T, (updates[1].thresholds == 0).tolist())
      [[ 0.94 -0.08]] [True, True]
    """
    return add_penalty(lambda params, spec: residual_group_lasso(params, spec, lambdas), parts)


def add_penalty(
    penalty: Callable[[PyTree, PyTree], jax.Array], parts: Parts = _weights_and_thresholds
) -> "optax.GradientTransformation":
    """The same for any penalty.

    Args:
      penalty: a differentiable function of (params, spec).
      parts: as in `add_residual_group_lasso`.
    """
    try:
        import optax
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "a penalty in an optimizer needs Optax: pip install optax, or add "
            "residual_group_lasso(params, spec, lambdas) to the loss"
        ) from None

    def add(updates: PyTree, trained: PyTree) -> PyTree:
        if trained is None:
            raise ValueError(
                "a penalty needs the parameters: call update(updates, state, params) with them"
            )
        gradient = jax.grad(lambda trained: penalty(*parts(trained)))(trained)
        return jax.tree.map(jnp.add, updates, gradient)

    return optax.stateless(add)


@jax.jit
def _penalty(weights: list[tuple[base.Format, jax.Array]], lambdas: jax.Array) -> jax.Array:
    total = jnp.zeros((), jnp.float32)
    for fmt, w in weights:
        norms = fmt.residual_norms(jnp.asarray(w))
        if norms is not None:
            one = lambdas.ndim == 0
            each = jnp.full(len(norms), lambdas).at[:1].divide(3) if one else lambdas
            total = total + jnp.sum(each.astype(norms.dtype) * norms.sum(axis=1))
    return total
