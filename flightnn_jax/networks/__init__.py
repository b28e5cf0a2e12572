"""Networks as tables of records, and the paper's eight. No JAX."""

from flightnn_jax.networks.paper import NAMES, network
from flightnn_jax.networks.records import (
    Conv,
    Dense,
    GlobalAverage,
    Layer,
    MaxPool,
    Network,
    Residual,
    Shape,
    Step,
    walk,
    walk_weights,
    weight_count,
    weight_storage_bits,
)

__all__ = [
    "NAMES",
    "Conv",
    "Dense",
    "GlobalAverage",
    "Layer",
    "MaxPool",
    "Network",
    "Residual",
    "Shape",
    "Step",
    "network",
    "walk",
    "walk_weights",
    "weight_count",
    "weight_storage_bits",
]
