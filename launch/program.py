"""This program as the explorer and the pick tell its commands."""

import flightnn_jax
from flightnn_jax.explore.commands import Program

from . import extras, options

_CONFIG = "configs/digits.py"


def this() -> Program:
    """The version, the config from which others are told by flags, and what commands there are.

    Raises:
      ValueError: if a flag of a config is given.
    """
    given = options.given()
    if given:
        raise ValueError(f"--{given[0]}: runs that are done have their configs, so leave it out")
    fields = options.load_config(_CONFIG).to_dict()
    return Program(flightnn_jax.__version__, _CONFIG, fields, rtl="rtl" in extras.COMMANDS)
