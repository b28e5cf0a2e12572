"""An integer network as a program elsewhere; what needs JAX or ONNX is imported on use."""

from typing import TYPE_CHECKING

from flightnn_jax.lazy import getter

if TYPE_CHECKING:
    from flightnn_jax.integer.export.c import to_c
    from flightnn_jax.integer.export.onnx import run_onnx, to_onnx
    from flightnn_jax.integer.export.qonnx import run_qonnx, to_qonnx
    from flightnn_jax.integer.export.stablehlo import from_stablehlo, to_stablehlo
else:
    __getattr__ = getter(
        __name__,
        {
            "c": "c",
            "from_stablehlo": "stablehlo",
            "onnx": "onnx",
            "qonnx": "qonnx",
            "run_onnx": "onnx",
            "run_qonnx": "qonnx",
            "stablehlo": "stablehlo",
            "to_c": "c",
            "to_onnx": "onnx",
            "to_qonnx": "qonnx",
            "to_stablehlo": "stablehlo",
        },
    )

__all__ = [
    "from_stablehlo",
    "run_onnx",
    "run_qonnx",
    "to_c",
    "to_onnx",
    "to_qonnx",
    "to_stablehlo",
]
