"""The platforms that programs are built for. Whoever builds one says for which.

A program may look different on each. What it looks like never depends on where it is built: the
functions that users call turn None into JAX's own platform, once, and hand the name on.
"""

from typing import Literal, get_args

import jax

Platform = Literal["cpu", "cuda", "rocm", "tpu"]
PLATFORMS: tuple[Platform, ...] = get_args(Platform)
_ALIASES: dict[str, Platform] = {"gpu": "cuda"}  # as JAX calls the GPUs that it finds


def resolved(platform: str | None = None) -> Platform:
    """The name of a platform as `jax.export` knows it; None is the one that JAX runs on.

    Raises:
      ValueError: if there is no such platform.

    Example:
      >>> resolved("gpu"), resolved("tpu")
      ('cuda', 'tpu')
    """
    given = jax.default_backend() if platform is None else platform
    name = _ALIASES.get(given, given)
    for known in PLATFORMS:
        if name == known:
            return known
    raise ValueError(f"platform {given!r} is unknown: choose one of {', '.join(PLATFORMS)}")


def has_matrix_units(platform: Platform) -> bool:
    """Whether products of narrow numbers, summed in float32 or int32, have units of their own."""
    return platform != "cpu"
