"""Stages of a run, such as full precision, then LightNN-2, before the scheme that is wanted."""

import math
from typing import NamedTuple

from flightnn_jax import schemes


class Stage(NamedTuple):
    """What is trained before the scheme of a run.

    Attributes:
      scheme: of the weights and activations.
      epochs: passes over the train split, 1 or more.
    """

    scheme: str
    epochs: int


def parse(text: str, epochs: int) -> tuple[Stage, ...]:
    """The stages in a text such as "full:0.4,lightnn2:0.3".

    Args:
      text: schemes and their parts of a run, in order, between commas.
      epochs: of the whole run, which leaves one or more for the scheme of the run.

    Raises:
      ValueError: if the text is none, or there are too few epochs.

    Example:
      >>> parse("full:0.4,lightnn2:0.3", epochs=10)
      (Stage(scheme='full', epochs=4), Stage(scheme='lightnn2', epochs=3))
    """
    stages = tuple(_stage(part, epochs, text) for part in text.split(","))
    left = epochs - sum(stage.epochs for stage in stages)
    if left < 1 or any(stage.epochs < 1 for stage in stages):
        told = ", ".join(f"{stage.scheme} has {stage.epochs}" for stage in stages)
        raise ValueError(
            f"stages={text!r:.80} with epochs={epochs}: {told}, and the scheme {left}; each needs "
            "1 or more, so choose other parts or more epochs"
        )
    return stages


def _stage(part: str, epochs: int, text: str) -> Stage:
    name, _, number = part.strip().partition(":")
    try:
        share = float(number)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise ValueError(
            f"stages={text!r:.80}: give SCHEME:PART between commas, parts of the epochs between "
            "0 and 1, such as full:0.4,lightnn2:0.3"
        )
    return Stage(schemes.find(name).name, round(share * epochs))
