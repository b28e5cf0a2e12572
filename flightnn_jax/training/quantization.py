"""What a scheme is in training: the format of its weights, a model's spec tree, penalties."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax

from flightnn_jax import distribution, penalty, schemes, thresholds
from flightnn_jax import spec as specs
from flightnn_jax.formats import base, binary, fixed_point, shift
from flightnn_jax.formats.codebook import Codebook

PyTree = Any
Penalty = Callable[[PyTree, PyTree, Any], jax.Array]  # of params, spec, Hyperparameters


def format_of(
    scheme: schemes.Scheme, rounding: str = "log", codebook: str = "kmeans"
) -> base.Format | None:
    """The format of a scheme's kernels, without thresholds; None leaves them float.

    Args:
      scheme: of the weights.
      rounding: to powers of two, where weights are sums of them.
      codebook: the kind of levels, where weights are of few of them.

    Raises:
      ValueError: if no format stores weights of that kind.
    """
    return _format(scheme, scheme.weights, rounding, codebook)


def _format(
    scheme: schemes.Scheme, weights: schemes.Weights | None, rounding: str, codebook: str
) -> base.Format | None:
    if weights is None:
        return None
    if weights.kind == "shift":
        return shift.Shift(k=weights.k, rounding=rounding)  # type: ignore[arg-type]  # it checks
    if weights.kind == "fixed":
        return fixed_point.FixedPoint(bits=weights.bits)
    if weights.kind == "binary":
        return binary.Binary()
    if weights.kind == "codebook":
        return Codebook(weights.levels, codebook)  # type: ignore[arg-type]  # it checks
    raise ValueError(
        f"scheme {scheme.name!r} has weights of kind {weights.kind!r}, which no format stores: "
        "add the format to training/quantization.py"
    )


def significant_bits(scheme: schemes.Scheme) -> int | None:
    """The most that a weight of a scheme takes; None where one is float or of unknown size."""
    weights = {scheme.weights, scheme.first or scheme.weights, scheme.last or scheme.weights}
    formats = [_format(scheme, each, "log", "kmeans") for each in weights]
    bits = [None if each is None else each.significant_bits for each in formats]
    return None if None in bits else max(b for b in bits if b is not None)


def spec_of(
    scheme: schemes.Scheme,
    params: PyTree,
    per: str = "layer",
    rounding: str = "log",
    layers: Sequence[str] = (),
    codebook: str = "kmeans",
) -> PyTree:
    """The spec tree of a scheme for a model's parameters.

    Args:
      scheme: of the weights.
      params: of the model; `jax.ShapeDtypeStruct` will do.
      per: what shares a vector of thresholds, if the scheme has them: "layer", "network" or
        "filter". They start at 0.
      rounding: as in `format_of`.
      layers: the names of those with weights in their order, for a scheme that has a first or a
        last layer of its own.
      codebook: as in `format_of`.

    Example:
      >>> import jax.numpy as jnp
      >>> params = {"kernel": jnp.ones((3, 3, 8, 16)), "bias": jnp.ones(16)}
      >>> spec_of(schemes.find("flightnn"), params)["kernel"].thresholds.tolist()
      [0.0, 0.0]
      >>> spec_of(schemes.find("full"), params)
      {'bias': None, 'kernel': None}
    """
    if scheme.first or scheme.last:
        if set(layers) != set(params):
            raise ValueError(
                f"layers {list(layers)} of parameters {list(params)}: the scheme {scheme.name} has "
                "ends of its own, so name the layers with weights in their order"
            )
        return {
            name: _spec(
                _format(scheme, scheme.weights_of(i, len(layers)), rounding, codebook), params[name]
            )
            for i, name in enumerate(layers)
        }
    spec = _spec(format_of(scheme, rounding, codebook), params)
    if not scheme.flexible:
        return spec
    return thresholds.init_thresholds(params, spec, per)  # type: ignore[arg-type]  # it checks


def _spec(fmt: base.Format | None, params: PyTree) -> PyTree:
    return specs.make_spec(params, (lambda path, leaf: None) if fmt is None else fmt)


def started(params: PyTree, spec: PyTree) -> PyTree:
    """The spec with formats as they are before the first step with these parameters."""
    return _of_formats(lambda fmt, w: fmt.start(w), params, spec)


def followed(params: PyTree, spec: PyTree) -> PyTree:
    """The spec with formats as they are behind a step that led to these parameters."""
    return _of_formats(lambda fmt, w: fmt.follow(w), params, spec)


def _of_formats(
    change: Callable[[base.Format, jax.Array], base.Format], params: PyTree, spec: PyTree
) -> PyTree:
    def changed(node: Any, part: Any) -> Any:
        return change(node, part) if isinstance(node, base.Format) else node

    return jax.tree.map(changed, spec, params, is_leaf=specs.is_spec_leaf)


def residual_lasso(params: PyTree, spec: PyTree, hyper: Any) -> jax.Array:
    """The residual group lasso with the weights of `hyper.lambdas`."""
    return penalty.residual_group_lasso(params, spec, hyper.lambdas)


def distribution_loss(
    params: PyTree, spec: PyTree, hyper: Any, form: distribution.Form = "released"
) -> jax.Array:
    """Twice the distribution loss, the weight that its authors give it."""
    del hyper
    return 2 * distribution.distribution_loss(params, spec, form)


def penalties_of(scheme: schemes.Scheme, form: str = "released") -> tuple[Penalty, ...]:
    """The penalties of a scheme, often none.

    Args:
      scheme: of the training.
      form: of a distribution loss, as `Config.distribution` has it.
    """
    lasso = (residual_lasso,) if scheme.flexible else ()
    if not scheme.distribution_loss or form == "fixed":
        return lasso
    known: distribution.Form = "paper" if form == "paper" else "released"
    return (*lasso, functools.partial(distribution_loss, form=known))


def with_fixed_norms(scheme: schemes.Scheme, form: str, params: PyTree, spec: PyTree) -> PyTree:
    """Parameters with the norms of the control of a distribution loss, where it is asked for.

    Args:
      scheme: of the training.
      form: as in `penalties_of`; only "fixed" changes anything.
      params: behind a step, or at the beginning.
      spec: for them.
    """
    if scheme.distribution_loss and form == "fixed":
        return distribution.with_fixed_norms(params, spec)
    return params
