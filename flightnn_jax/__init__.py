"""Neural networks without multipliers: weights as sums of powers of two, in JAX.

The public names are those of `flightnn_jax.api`. They are fetched when they are first used, so
that what needs no JAX (the networks' tables, integer networks' files, hardware costs) starts
without it.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flightnn_jax.api import *  # noqa: F403 - the names are listed there, once
else:

    def __getattr__(name: str) -> Any:
        public = name == "__all__" or not name.startswith("_")
        if public and importlib.util.find_spec(f"{__name__}.{name}") is None:
            api = importlib.import_module(f"{__name__}.api")
            if hasattr(api, name):
                return getattr(api, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return [*globals(), *__getattr__("__all__")]
