"""Running an integer network on a processor: paths that all give the same integers."""

from flightnn_jax.integer.inference.paths import make_inference, make_layer_outputs

__all__ = ["make_inference", "make_layer_outputs"]
