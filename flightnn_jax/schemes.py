"""The schemes as plain data: how weights and activations are stored. The paper's come first.

Training makes formats and spec trees of them, hardware costs and the paper's tables read them.
"""

import dataclasses
from typing import NamedTuple


class Weights(NamedTuple):
    """How every kernel is stored.

    Attributes:
      kind: "shift", sums of powers of two; "fixed", integers times one power of two; or "binary",
        -1 and 1.
      bits: of a weight; for shifts, of each term: a sign and the exponent.
      k: for shifts, the terms of every filter; the largest number of them in a flexible scheme.
    """

    kind: str
    bits: int
    k: int = 1


@dataclasses.dataclass(frozen=True)
class Scheme:
    """What a model's weights and activations are stored in.

    Attributes:
      name: what configs and commands call it.
      label: what the paper's tables call it.
      weights: of every kernel, of convolutions and dense layers; None leaves them float. Biases
        and batch norm stay float in every scheme.
      activation_bits: of every activation; None leaves them float.
      flexible: whether thresholds, which are trained, decide how many terms a filter takes.
    """

    name: str
    label: str
    weights: Weights | None
    activation_bits: int | None = 8
    flexible: bool = False


SCHEMES = (
    Scheme("full", "Full", None, activation_bits=None),
    Scheme("fp4", "FP 4W8A", Weights("fixed", bits=4)),
    Scheme("lightnn2", "L-2 8W8A", Weights("shift", bits=4, k=2)),
    Scheme("lightnn1", "L-1 4W8A", Weights("shift", bits=4, k=1)),
    Scheme("flightnn", "FL", Weights("shift", bits=4, k=2), flexible=True),
    Scheme("binaryconnect", "BC 1W8A", Weights("binary", bits=1)),
)


def find(name: str) -> Scheme:
    """The scheme of that name.

    Raises:
      ValueError: if there is none; the message lists the known ones.

    Example:
      >>> find("lightnn1").weights
      Weights(kind='shift', bits=4, k=1)
    """
    for scheme in SCHEMES:
        if scheme.name == name:
            return scheme
    known = ", ".join(scheme.name for scheme in SCHEMES)
    raise ValueError(f"scheme {name!r} is unknown: choose one of {known}")
