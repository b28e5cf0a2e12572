"""Trained networks as integers that stand alone; docs/integers.md defines them.

The records, their files, certificates and invariants are here, and need NumPy alone. Modules that
need JAX or other packages are imported when they are used: `lower`, `inference`, `verify`,
`switching` and `export`.
"""

from typing import TYPE_CHECKING

from flightnn_jax.integer.certificate import certified
from flightnn_jax.integer.codebook import CodebookWeights
from flightnn_jax.integer.files import from_bytes, load, save, to_bytes
from flightnn_jax.integer.invariants import check
from flightnn_jax.integer.limits import IMAGE, IntegerNetworkError, Shape
from flightnn_jax.integer.network import (
    Add,
    Affine,
    Average,
    Convolution,
    Dense,
    Digests,
    Flatten,
    Golden,
    IntegerNetwork,
    Layer,
    MaxPool,
)
from flightnn_jax.integer.shapes import Output, outputs
from flightnn_jax.integer.weights import (
    BinaryWeights,
    IntegerWeights,
    LoweringError,
    ShiftWeights,
    Weights,
)
from flightnn_jax.lazy import getter

if not TYPE_CHECKING:
    __getattr__ = getter(
        __name__,
        {name: name for name in ("export", "inference", "lower", "switching", "verify")},
    )

__all__ = [
    "IMAGE",
    "Add",
    "Affine",
    "Average",
    "BinaryWeights",
    "CodebookWeights",
    "Convolution",
    "Dense",
    "Digests",
    "Flatten",
    "Golden",
    "IntegerNetwork",
    "IntegerNetworkError",
    "IntegerWeights",
    "Layer",
    "LoweringError",
    "MaxPool",
    "Output",
    "Shape",
    "ShiftWeights",
    "Weights",
    "certified",
    "check",
    "from_bytes",
    "load",
    "outputs",
    "save",
    "to_bytes",
]
