"""The integer network as C99 without dependencies; docs/c.md says how it is used. NumPy alone."""

from flightnn_jax.integer.export.c.program import make_runner, unavailable
from flightnn_jax.integer.export.c.source import CExportError, Program, Size, to_c
from flightnn_jax.integer.export.c.text import name_of

__all__ = ["CExportError", "Program", "Size", "make_runner", "name_of", "to_c", "unavailable"]
