"""Verilog of integer networks: what computes them bit for bit, proven and simulated. No JAX."""

from flightnn_jax.rtl.architecture import Fold, Machine, Stream
from flightnn_jax.rtl.generate import machine_of, write
from flightnn_jax.rtl.plan import FoldError
from flightnn_jax.rtl.simulate import Ends, SimulationError, StoppedError

__all__ = [
    "Ends",
    "Fold",
    "FoldError",
    "Machine",
    "SimulationError",
    "StoppedError",
    "Stream",
    "machine_of",
    "write",
]
