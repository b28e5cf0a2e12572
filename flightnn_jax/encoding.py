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
    matched = specs.match(params, spec)
    specs.raise_problems(matched)
    leaves = []
    for weights in matched:
        if weights.format is None:
            leaves.append(weights.leaf)
        elif isinstance(weights.leaf, jax.core.Tracer):
            raise TypeError(
                f"{weights.path} is traced by jit: codes are made from concrete arrays; call "
                "encode_params outside jit"
            )
        else:
            leaves.append(weights.format.encode(jnp.asarray(weights.leaf)))
    return jax.tree.unflatten(jax.tree.structure(params), leaves)


def decode_params(encoded: PyTree) -> PyTree:
    """The parameters that `encode_params` was given, quantized: equal bit for bit.

    Works under jit, too: codes are trees of integer arrays.
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
