"""The public names of the library, gathered; `flightnn_jax` passes them on."""

from flightnn_jax.activations import activation_exponent, quantize_activations
from flightnn_jax.encoding import decode_params, encode_params, split_filters
from flightnn_jax.formats.base import Codes, Format, ShiftCounts
from flightnn_jax.formats.fixed_point import FixedPoint, FixedPointCodes
from flightnn_jax.formats.shift import Shift
from flightnn_jax.formats.shift_codes import ShiftCodes
from flightnn_jax.formats.window import Window
from flightnn_jax.numerics import exponent_of, power_of_two, round_to_power_of_two
from flightnn_jax.penalty import residual_group_lasso
from flightnn_jax.quantize import Storage, count_shifts, quantize_params, storage_bits
from flightnn_jax.spec import make_spec
from flightnn_jax.thresholds import SharedThresholds, init_thresholds

__all__ = [
    "Codes",
    "FixedPoint",
    "FixedPointCodes",
    "Format",
    "SharedThresholds",
    "Shift",
    "ShiftCodes",
    "ShiftCounts",
    "Storage",
    "Window",
    "activation_exponent",
    "count_shifts",
    "decode_params",
    "encode_params",
    "exponent_of",
    "init_thresholds",
    "make_spec",
    "power_of_two",
    "quantize_activations",
    "quantize_params",
    "residual_group_lasso",
    "round_to_power_of_two",
    "split_filters",
    "storage_bits",
]
