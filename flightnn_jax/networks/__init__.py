"""Networks as tables of records: the paper's eight, or a user's own. No JAX."""

from flightnn_jax.networks.architectures import alexnet, mobilenet, perceptron
from flightnn_jax.networks.layers import (
    AveragePool,
    Conv,
    Dense,
    Flatten,
    GlobalAverage,
    Layer,
    MaxPool,
    Residual,
    Shape,
)
from flightnn_jax.networks.paper import NAMES, network
from flightnn_jax.networks.records import (
    Network,
    Step,
    from_dict,
    to_dict,
    walk,
    walk_weights,
    weight_count,
    weight_storage_bits,
)

__all__ = [
    "NAMES",
    "AveragePool",
    "Conv",
    "Dense",
    "Flatten",
    "GlobalAverage",
    "Layer",
    "MaxPool",
    "Network",
    "Residual",
    "Shape",
    "Step",
    "alexnet",
    "from_dict",
    "mobilenet",
    "network",
    "perceptron",
    "to_dict",
    "walk",
    "walk_weights",
    "weight_count",
    "weight_storage_bits",
]
