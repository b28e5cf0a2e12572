"""Neural networks without multipliers: weights as sums of powers of two, in JAX.

A name is imported when it is first used, so that what needs no JAX (the networks' tables, integer
networks' files, hardware costs) starts without it.
"""

from typing import TYPE_CHECKING

from flightnn_jax.lazy import getter

if TYPE_CHECKING:  # what _TABLE says, for type checkers; tests/test_layers.py compares the two
    from flightnn_jax import activations as activations
    from flightnn_jax import atomic as atomic
    from flightnn_jax import budget as budget
    from flightnn_jax import checker as checker
    from flightnn_jax import data as data
    from flightnn_jax import distribution as distribution
    from flightnn_jax import encoding as encoding
    from flightnn_jax import explore as explore
    from flightnn_jax import filters as filters
    from flightnn_jax import formats as formats
    from flightnn_jax import fpga as fpga
    from flightnn_jax import gates as gates
    from flightnn_jax import hardware as hardware
    from flightnn_jax import integer as integer
    from flightnn_jax import limits as limits
    from flightnn_jax import networks as networks
    from flightnn_jax import numerics as numerics
    from flightnn_jax import paper as paper
    from flightnn_jax import pareto as pareto
    from flightnn_jax import penalty as penalty
    from flightnn_jax import platforms as platforms
    from flightnn_jax import quantize as quantize
    from flightnn_jax import rtl as rtl
    from flightnn_jax import rules as rules
    from flightnn_jax import schemes as schemes
    from flightnn_jax import spec as spec
    from flightnn_jax import thresholds as thresholds
    from flightnn_jax import training as training
    from flightnn_jax.activations import activation_exponent as activation_exponent
    from flightnn_jax.activations import quantize_activations as quantize_activations
    from flightnn_jax.distribution import distribution_loss as distribution_loss
    from flightnn_jax.encoding import decode_params as decode_params
    from flightnn_jax.encoding import encode_params as encode_params
    from flightnn_jax.encoding import split_filters as split_filters
    from flightnn_jax.formats.base import Codes as Codes
    from flightnn_jax.formats.base import Format as Format
    from flightnn_jax.formats.base import ShiftCounts as ShiftCounts
    from flightnn_jax.formats.binary import Binary as Binary
    from flightnn_jax.formats.binary import BinaryCodes as BinaryCodes
    from flightnn_jax.formats.codebook import Codebook as Codebook
    from flightnn_jax.formats.codebook import CodebookCodes as CodebookCodes
    from flightnn_jax.formats.fixed_point import FixedPoint as FixedPoint
    from flightnn_jax.formats.fixed_point import FixedPointCodes as FixedPointCodes
    from flightnn_jax.formats.shift import Shift as Shift
    from flightnn_jax.formats.shift_codes import ShiftCodes as ShiftCodes
    from flightnn_jax.formats.window import Window as Window
    from flightnn_jax.numerics import exponent_of as exponent_of
    from flightnn_jax.numerics import power_of_two as power_of_two
    from flightnn_jax.numerics import round_to_power_of_two as round_to_power_of_two
    from flightnn_jax.penalty import add_residual_group_lasso as add_residual_group_lasso
    from flightnn_jax.penalty import residual_group_lasso as residual_group_lasso
    from flightnn_jax.quantize import Storage as Storage
    from flightnn_jax.quantize import count_shifts as count_shifts
    from flightnn_jax.quantize import quantize_params as quantize_params
    from flightnn_jax.quantize import storage_bits as storage_bits
    from flightnn_jax.rules import spec_from_rules as spec_from_rules
    from flightnn_jax.spec import make_spec as make_spec
    from flightnn_jax.thresholds import SharedThresholds as SharedThresholds
    from flightnn_jax.thresholds import init_thresholds as init_thresholds

__version__ = "0.1.0"

# {module: the names that it gives}. A module of this folder is a name, too.
_NAMES: dict[str, tuple[str, ...]] = {
    "activations": ("activation_exponent", "quantize_activations"),
    "atomic": (),
    "budget": (),
    "checker": (),
    "data": (),
    "distribution": ("distribution_loss",),
    "encoding": ("decode_params", "encode_params", "split_filters"),
    "explore": (),
    "filters": (),
    "formats": (),
    "formats.base": ("Codes", "Format", "ShiftCounts"),
    "formats.binary": ("Binary", "BinaryCodes"),
    "formats.codebook": ("Codebook", "CodebookCodes"),
    "formats.fixed_point": ("FixedPoint", "FixedPointCodes"),
    "formats.shift": ("Shift",),
    "formats.shift_codes": ("ShiftCodes",),
    "formats.window": ("Window",),
    "fpga": (),
    "gates": (),
    "hardware": (),
    "integer": (),
    "limits": (),
    "networks": (),
    "numerics": ("exponent_of", "power_of_two", "round_to_power_of_two"),
    "paper": (),
    "pareto": (),
    "penalty": ("add_residual_group_lasso", "residual_group_lasso"),
    "platforms": (),
    "quantize": ("Storage", "count_shifts", "quantize_params", "storage_bits"),
    "rtl": (),
    "rules": ("spec_from_rules",),
    "schemes": (),
    "spec": ("make_spec",),
    "thresholds": ("SharedThresholds", "init_thresholds"),
    "training": (),
}
# {name: the module that has it}. A module's own name stands for the module.
_TABLE = {
    name: module for module, names in _NAMES.items() for name in (module, *names) if "." not in name
}
# What `from flightnn_jax import *` brings: no modules.
__all__ = [name for name, module in _TABLE.items() if name != module]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _TABLE)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_TABLE})
