"""Styles of FPGA design, each a module that answers `base.Style`; a new one is a line here.

array: the paper's array of processing elements, constants fitted to its tables.
engine: a pipelined engine for every layer, of measured parts.
hardwired: constants in place of weights, of measured parts.
"""

from flightnn_jax.hardware.styles import array, engine, hardwired
from flightnn_jax.hardware.styles.base import Anchor, Options, Style

STYLES: dict[str, Style] = {"array": array, "engine": engine, "hardwired": hardwired}
"""By the name that commands and records have for it."""


def named(name: str, options: Options) -> Style:
    """The style of that name.

    Args:
      name: of `STYLES`.
      options: that it is to read.

    Raises:
      ValueError: if there is no such style, or it does not read an option that is given.

    Example:
      >>> named("hardwired", Options(multiplier="lut"))
      Traceback (most recent call last):
        ...
      ValueError: multiplier=lut is for the style engine, not 'hardwired'; leave it out
    """
    if name not in STYLES:
        raise ValueError(f"style {name!r} is unknown: choose one of {', '.join(STYLES)}")
    for option, default in Options._field_defaults.items():
        value = getattr(options, option)
        if value != default and option not in STYLES[name].OPTIONS:
            readers = " or ".join(n for n, style in STYLES.items() if option in style.OPTIONS)
            raise ValueError(
                f"{option}={value} is for the style {readers}, not {name!r}; leave it out"
            )
    return STYLES[name]


__all__ = ["STYLES", "Anchor", "Options", "Style", "named"]
