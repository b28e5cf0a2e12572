"""Harnesses that say what modules of the library compute; `flightnn_jax.rtl.prove` reads them."""

from importlib import resources


def harness(name: str) -> bytes:
    """The text of NAME.v, whose module `proof` drives `ok`."""
    return resources.files(__package__).joinpath(f"{name}.v").read_bytes()
