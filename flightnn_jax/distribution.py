"""The distribution loss of binarized networks: batch norm shall give signs that say much.

R. Ding et al., "Regularizing Activation Distribution for Training Binarized Deep Networks", CVPR
2019. A channel whose values all have one sign says nothing (degeneration), one far beyond [-1, 1]
gets no gradient (saturation), and one well within it is not what its signs are (mismatch).
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from flightnn_jax.formats import binary

PyTree = Any
Form = Literal["released", "paper"]


def of_moments(mean: jax.Array, deviation: jax.Array, form: Form = "released") -> jax.Array:
    r"""The loss of a layer whose channels have these moments over batch and space.

    .. math:: [2 - |\mu| - \sigma]_+^2 + [\sigma - 4]_+^2 + [\mu^2 - \sigma^2]_+

    on average over channels, as the authors' program has it; `form="paper"` is what they print:

    .. math:: [1 - |\mu| - \sigma/4]_+^2 + [\sigma/4 - 1]_+^2 + [|\mu| - \sigma]_+^2

    Args:
      mean: [channels].
      deviation: [channels].
      form: of the two.

    Example:
      >>> print(of_moments(jnp.array([0.0, 3.0]), jnp.array([1.0, 1.0])))  # (1 + 0) and (0 + 8)
      4.5
    """
    size = jnp.abs(mean)
    if form == "released":
        parts = (
            _above(2 - size - deviation) ** 2,
            _above(deviation - 4) ** 2,
            _above(mean**2 - deviation**2),
        )
    elif form == "paper":
        parts = (
            _above(1 - size - deviation / 4) ** 2,
            _above(deviation / 4 - 1) ** 2,
            _above(size - deviation) ** 2,
        )
    else:
        raise ValueError(f"form={form!r} is unknown: choose 'released' or 'paper'")
    return sum((jnp.mean(part) for part in parts), jnp.zeros(()))


def of_activations(y: jax.Array, form: Form = "released") -> jax.Array:
    """The loss of batch norm's output, [batch, height, width, channels]."""
    axes = tuple(range(y.ndim - 1))
    return of_moments(jnp.mean(y, axes), jnp.sqrt(jnp.var(y, axes) + 1e-10), form)


def of_batch_norm(scale: jax.Array, bias: jax.Array, form: Form = "released") -> jax.Array:
    """The same in closed form: batch norm with a batch's own statistics gives these moments.

    Its output has the mean beta and the deviation |gamma| v / sqrt(v^2 + epsilon), and v, of sums
    of many products, is so much larger than epsilon that the quotient is 1.

    Args:
      scale: [channels] gamma.
      bias: [channels] beta.
      form: as in `of_moments`.
    """
    return of_moments(bias, jnp.sqrt(scale**2 + 1e-10), form)


def distribution_loss(params: PyTree, spec: PyTree, form: Form = "released") -> jax.Array:
    """The mean over the layers with weights of one bit.

    Args:
      params: {layer: {"kernel", "scale", "bias"}}, the last two of the batch norm behind it.
      spec: a spec tree for them.
      form: as in `of_moments`.

    Raises:
      ValueError: if such a layer has no batch norm: nothing else keeps the sums of its weights in
        the range to which the loss would draw them. Or if there is no such layer.

    Example:
      >>> layer = {"kernel": jnp.ones((2, 2)), "scale": jnp.ones(2), "bias": jnp.zeros(2)}
      >>> spec = {"kernel": binary.Binary(), "scale": None, "bias": None}
      >>> print(distribution_loss({"conv1": layer}, {"conv1": spec}))
      1.0
    """
    names = _binary(params, spec)
    without = [name for name in names if "scale" not in params[name]]
    if without or not names:
        raise ValueError(
            f"distribution loss of layers {names} with weights of one bit, of which {without} have "
            "no batch norm: it is defined on the output of batch norm, so put it behind such "
            "layers, and give the others another format"
        )
    losses = [of_batch_norm(params[name]["scale"], params[name]["bias"], form) for name in names]
    return sum(losses, jnp.zeros(())) / len(losses)


def with_fixed_norms(params: PyTree, spec: PyTree) -> PyTree:
    """Batch norm as the released loss would have it: gamma is 2, and beta is clipped to [-2, 2].

    Where it is so, that loss is 0. It is a control: what is gained by the loss, and not by this?

    Args:
      params: as in `distribution_loss`.
      spec: a spec tree for them.

    Example:
      >>> layer = {"kernel": jnp.ones((2, 1)), "scale": jnp.ones(1), "bias": jnp.full(1, 3.0)}
      >>> spec = {"kernel": binary.Binary(), "scale": None, "bias": None}
      >>> fixed = with_fixed_norms({"conv1": layer}, {"conv1": spec})["conv1"]
      >>> fixed["scale"].tolist(), fixed["bias"].tolist()
      ([2.0], [2.0])
    """
    changed = {
        name: {
            **params[name],
            "scale": jnp.full_like(params[name]["scale"], 2),
            "bias": jnp.clip(params[name]["bias"], -2, 2),
        }
        for name in _binary(params, spec)
        if "scale" in params[name]
    }
    return {**params, **changed}


def _binary(params: PyTree, spec: PyTree) -> list[str]:
    """The names of the layers with weights of one bit."""
    return [name for name in params if isinstance(spec[name].get("kernel"), binary.Binary)]


def _above(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0)
