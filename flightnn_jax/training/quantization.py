"""What a scheme is in training: the format of its weights, a model's spec tree, penalties."""

from collections.abc import Callable
from typing import Any

import jax

from flightnn_jax import penalty, schemes, thresholds
from flightnn_jax import spec as specs
from flightnn_jax.formats import base, binary, fixed_point, shift

PyTree = Any
Penalty = Callable[[PyTree, PyTree, Any], jax.Array]  # of params, spec, Hyperparameters


def format_of(scheme: schemes.Scheme, rounding: str = "log") -> base.Format | None:
    """The format of a scheme's kernels, without thresholds; None leaves them float.

    Args:
      scheme: of the weights.
      rounding: to powers of two, where weights are sums of them.

    Raises:
      ValueError: if no format stores weights of that kind.
    """
    weights = scheme.weights
    if weights is None:
        return None
    if weights.kind == "shift":
        return shift.Shift(k=weights.k, rounding=rounding)  # type: ignore[arg-type]  # it checks
    if weights.kind == "fixed":
        return fixed_point.FixedPoint(bits=weights.bits)
    if weights.kind == "binary":
        return binary.Binary()
    raise ValueError(
        f"scheme {scheme.name!r} has weights of kind {weights.kind!r}, which no format stores: "
        "add the format to training/quantization.py"
    )


def spec_of(
    scheme: schemes.Scheme,
    params: PyTree,
    per: str = "layer",
    rounding: str = "log",
) -> PyTree:
    """The spec tree of a scheme for a model's parameters.

    Args:
      scheme: of the weights.
      params: of the model; `jax.ShapeDtypeStruct` will do.
      per: what shares a vector of thresholds, if the scheme has them: "layer", "network" or
        "filter". They start at 0.
      rounding: as in `format_of`.

    Example:
      >>> import jax.numpy as jnp
      >>> params = {"kernel": jnp.ones((3, 3, 8, 16)), "bias": jnp.ones(16)}
      >>> spec_of(schemes.find("flightnn"), params)["kernel"].thresholds.tolist()
      [0.0, 0.0]
      >>> spec_of(schemes.find("full"), params)
      {'bias': None, 'kernel': None}
    """
    fmt = format_of(scheme, rounding)
    spec = specs.make_spec(params, (lambda path, leaf: None) if fmt is None else fmt)
    if not scheme.flexible:
        return spec
    return thresholds.init_thresholds(params, spec, per)  # type: ignore[arg-type]  # it checks


def residual_lasso(params: PyTree, spec: PyTree, hyper: Any) -> jax.Array:
    """The residual group lasso with the weights of `hyper.lambdas`."""
    return penalty.residual_group_lasso(params, spec, hyper.lambdas)


def penalties_of(scheme: schemes.Scheme) -> tuple[Penalty, ...]:
    """The penalties of a scheme; none where thresholds don't choose the number of terms."""
    return (residual_lasso,) if scheme.flexible else ()
