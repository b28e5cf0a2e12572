"""Running an integer network on a processor: paths that all give the same integers.

They are imported when they are used: the columns of int8, which exports share, need no JAX.
"""

from typing import TYPE_CHECKING

from flightnn_jax.lazy import getter

if TYPE_CHECKING:
    from flightnn_jax.integer.inference.paths import make_inference, make_layer_outputs
else:
    __getattr__ = getter(__name__, {"make_inference": "paths", "make_layer_outputs": "paths"})

__all__ = ["make_inference", "make_layer_outputs"]
