"""The schemes as plain data: how weights and activations are stored. The paper's come first.

Training makes formats and spec trees of them, hardware costs and the paper's tables read them.
"""

import dataclasses
from typing import NamedTuple


class Weights(NamedTuple):
    """How every kernel is stored.

    Attributes:
      kind: "shift", sums of powers of two; "fixed", integers times one power of two; "binary", -1
        and 1; or "codebook", a few levels that a layer shares.
      bits: of a weight; for shifts, of each term: a sign and the exponent.
      k: for shifts, the terms of every filter; the largest number of them in a flexible scheme.
      levels: of a codebook.
    """

    kind: str
    bits: int
    k: int = 1
    levels: int = 0


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
      first: of the first layer that has weights, where it has others than `weights`.
      last: likewise of the last one.
      signs: whether layers with weights, but the first and the last, hand on the signs of batch
        norm's output in place of activations of `activation_bits`.
      distribution_loss: whether batch norm is drawn to outputs whose signs say the most.
      levels: of the activations that layers with weights, but the last, hand on: a ReLU's, at equal
        distances from 0 on; None for activations of `activation_bits`.
    """

    name: str
    label: str
    weights: Weights | None
    activation_bits: int | None = 8
    flexible: bool = False
    first: Weights | None = None
    last: Weights | None = None
    signs: bool = False
    distribution_loss: bool = False
    levels: int | None = None

    def weights_of(self, index: int, count: int) -> Weights | None:
        """How the kernel of one of so many layers with weights is stored.

        Example:
          >>> [find("bnn").weights_of(i, 3).kind for i in range(3)]
          ['fixed', 'binary', 'fixed']
        """
        if index == 0 and self.first is not None:
            return self.first
        if index == count - 1 and self.last is not None:
            return self.last
        return self.weights


_ENDS = Weights("fixed", bits=4)  # of binarized networks, whose ends the literature leaves float
SCHEMES = (
    Scheme("full", "Full", None, activation_bits=None),
    Scheme("fp4", "FP 4W8A", Weights("fixed", bits=4)),
    Scheme("lightnn2", "L-2 8W8A", Weights("shift", bits=4, k=2)),
    Scheme("lightnn1", "L-1 4W8A", Weights("shift", bits=4, k=1)),
    Scheme("flightnn", "FL", Weights("shift", bits=4, k=2), flexible=True),
    Scheme("binaryconnect", "BC 1W8A", Weights("binary", bits=1)),
    Scheme("bnn", "BNN 1W1A", Weights("binary", bits=1), first=_ENDS, last=_ENDS, signs=True),
    Scheme(
        "bnn_dl",
        "BNN-DL 1W1A",
        Weights("binary", bits=1),
        first=_ENDS,
        last=_ENDS,
        signs=True,
        distribution_loss=True,
    ),
    Scheme("codebook5", "CB 5W8A", Weights("codebook", bits=3, levels=5)),
    Scheme("codebook10", "CB 10W8A", Weights("codebook", bits=4, levels=10)),
    Scheme("table40", "T 5x8", Weights("codebook", bits=3, levels=5), levels=8),
    Scheme("table320", "T 10x32", Weights("codebook", bits=4, levels=10), levels=32),
)


def find(name: str) -> Scheme:
    """The scheme of that name.

    Raises:
      ValueError: if there is none; the message lists the known ones.

    Example:
      >>> find("lightnn1").weights
      Weights(kind='shift', bits=4, k=1, levels=0)
    """
    for scheme in SCHEMES:
        if scheme.name == name:
            return scheme
    known = ", ".join(scheme.name for scheme in SCHEMES)
    raise ValueError(f"scheme {name!r} is unknown: choose one of {known}")
