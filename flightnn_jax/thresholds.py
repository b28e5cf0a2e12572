"""Thresholds of FLightNN: one vector a layer, a network (or any part of it), or a filter."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from flightnn_jax import numerics
from flightnn_jax import spec as specs
from flightnn_jax.formats import base, shift

PyTree = Any


@base.register("thresholds", "spec", exported_as="flightnn_jax.SharedThresholds")
@dataclasses.dataclass(frozen=True)
class SharedThresholds(base.SharedPart):
    """One vector of thresholds for all shift formats in a spec tree, or in a part of one.

    Attributes:
      thresholds: [k].
      spec: the spec tree below; its shift formats have no thresholds of their own.
    """

    thresholds: Any
    spec: PyTree

    def expand(self) -> PyTree:
        """The spec with the thresholds in every shift format that has none."""

        def fill(node: Any) -> Any:
            if isinstance(node, shift.Shift) and node.thresholds is None:
                return dataclasses.replace(node, thresholds=self.thresholds)
            return node

        return jax.tree.map(fill, self.spec, is_leaf=specs.is_spec_leaf)


def init_thresholds(
    params: PyTree,
    spec: PyTree,
    per: Literal["layer", "network", "filter"] = "layer",
    value: ArrayLike | Sequence[float] = 0.0,
) -> PyTree:
    """Gives every shift format of a spec thresholds to train: LightNN-k becomes FLightNN.

    Args:
      params: parameters; only their shapes matter.
      spec: a spec tree for them.
      per: whether each layer has a vector of its own (the paper's choice), the whole tree shares
        one, or each filter has its own.
      value: what they start from, a number or [k] numbers. At 0, the paper's choice, every filter
        whose residual is not exactly zero takes all k terms.

    Returns:
      The spec with float32 thresholds.

    Example:
      >>> import jax.numpy as jnp
      >>> from flightnn_jax import Shift, make_spec
      >>> params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}
      >>> init_thresholds(params, make_spec(params, Shift(k=2)))["kernel"].thresholds.tolist()
      [0.0, 0.0]
    """
    matched = specs.match(params, spec)
    specs.raise_problems(matched)
    shifts = [w.format for w in matched if isinstance(w.format, shift.Shift)]
    if not shifts:
        raise ValueError(
            "the spec has no shift format, so there is nothing that takes thresholds: make it "
            "with make_spec(params, Shift(k=2))"
        )
    if per == "network":
        terms = {fmt.k for fmt in shifts}
        if len(terms) > 1:
            raise ValueError(
                f"formats with k of {sorted(terms)} cannot share one vector of thresholds: use "
                "the same k everywhere, or per='layer'"
            )
        bare = _map_shifts(params, spec, lambda fmt, leaf: None)
        return SharedThresholds(_vector(value, terms.pop()), bare)
    if per not in ("layer", "filter"):
        raise ValueError(f"per={per!r} is unknown: choose 'layer', 'network' or 'filter'")

    def start(fmt: shift.Shift, leaf: Any) -> jax.Array:
        vector = _vector(value, fmt.k)
        filters = leaf.shape[fmt.filter_axis]
        return vector if per == "layer" else jnp.tile(vector[:, None], (1, filters))

    return _map_shifts(params, spec, start)


def _vector(value: ArrayLike | Sequence[float], k: int) -> jax.Array:
    value = numerics.numbers_of(value, "a value of thresholds")
    known = not isinstance(value, jax.core.Tracer)
    if jnp.iscomplexobj(value) or (known and not np.all(np.isfinite(value))):
        raise ValueError(
            f"a value of thresholds {numerics.shortened(value)}: norms are compared with them, so "
            "they must be real and finite; 0 opens all gates"
        )
    value = value.astype(jnp.float32)
    if value.shape not in ((), (k,)):
        raise ValueError(
            f"a value of shape {value.shape} for the thresholds of k={k} gates: give one number, "
            f"or {k}"
        )
    return jnp.broadcast_to(value, (k,))


def _map_shifts(
    params: PyTree, spec: PyTree, thresholds: Callable[[shift.Shift, Any], jax.Array | None]
) -> PyTree:
    """The spec, as deep as `params`, with new thresholds in its shift formats."""
    leaves = [
        dataclasses.replace(w.format, thresholds=thresholds(w.format, w.leaf))
        if isinstance(w.format, shift.Shift)
        else w.format
        for w in specs.match(params, spec)
    ]
    return jax.tree.unflatten(jax.tree.structure(params), leaves)
