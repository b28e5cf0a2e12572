"""From trained parameters to integers and back, and figure 3's split into one-term filters."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flightnn_jax import spec as specs
from flightnn_jax.formats import base, shift_codes

PyTree = Any


def encode_params(params: PyTree, spec: PyTree) -> PyTree:
    """The parameters with integers in place of every array that has a format.

    Args:
      params: parameters; concrete arrays, so not inside jit.
      spec: a spec tree for them.

    Returns:
      A tree like `params`, with `ShiftCodes`, `FixedPointCodes` or another format's codes where
      the spec has a format; whatever stays float is returned as it is.

    Example:
      >>> import jax.numpy as jnp
      >>> from flightnn_jax import Shift, decode_params
      >>> w = jnp.array([[0.75, 0.5], [0.3, -0.25]])
      >>> codes = encode_params(w, Shift(k=2))
      >>> codes.k.tolist(), codes.sign[:, 0, 0].tolist(), codes.exponent[:, 0, 0].tolist()
      ([2, 1], [1, -1], [0, -2])
      >>> decode_params(codes).tolist()
      [[0.75, 0.5], [0.3125, -0.25]]
    """
    matched = specs.with_numbers(params, spec, "encode_params")
    specs.raise_if_traced(matched, "encode_params")
    with jax.ensure_compile_time_eval():  # arrays that a jitted function closes over, too
        leaves = [
            w.leaf if w.format is None else w.format.encode(jnp.asarray(w.leaf)) for w in matched
        ]
    return jax.tree.unflatten(jax.tree.structure(params), leaves)


def decode_params(encoded: PyTree) -> PyTree:
    """The parameters that `encode_params` was given, quantized: equal bit for bit.

    Works under jit, too: codes are trees of integer arrays.

    Example:
      >>> import jax.numpy as jnp
      >>> from flightnn_jax import FixedPoint
      >>> codes = encode_params({"w": jnp.array([[0.7], [0.1]])}, {"w": FixedPoint(scale="unit")})
      >>> codes["w"].value.tolist(), decode_params(codes)["w"].tolist()
      ([[6], [1]], [[0.75], [0.125]])
    """
    return jax.tree.map(
        lambda node: node.decode() if _is_codes(node) else node, encoded, is_leaf=_is_codes
    )


def _is_codes(node: Any) -> bool:
    return isinstance(node, base.Codes)


def split_filters(codes: shift_codes.ShiftCodes) -> tuple[shift_codes.ShiftCodes, ...]:
    """Splits filters of several terms into one-term filters, as in figure 3 of the paper.

    Convolutions with the parts, summed, equal the convolution with the whole: hardware that does
    one shift a weight runs every filter, one with k = 2 in two passes.

    Args:
      codes: codes of one array.

    Returns:
      As many codes as the largest k, each of the full shape and with one term; a filter whose k
      is smaller is empty (k = 0) in the later ones. Their decoded values sum to those of `codes`.

    Example:
      >>> import jax.numpy as jnp
      >>> from flightnn_jax import Shift
      >>> first, second = split_filters(Shift(k=2).encode(jnp.array([[0.75, 0.625]])))
      >>> first.decode().tolist(), second.decode().tolist()
      ([[1.0, 0.5]], [[-0.25, 0.125]])
    """
    if not isinstance(codes, shift_codes.ShiftCodes):
        raise TypeError(
            f"only ShiftCodes have terms to split, not {type(codes).__name__}: pass one array's "
            "codes of what encode_params returns"
        )
    k = np.asarray(codes.k)
    return tuple(
        dataclasses.replace(
            codes,
            sign=codes.sign[j : j + 1],
            exponent=codes.exponent[j : j + 1],
            k=(k > j).astype(np.int32),
        )
        for j in range(codes.sign.shape[0])
    )
