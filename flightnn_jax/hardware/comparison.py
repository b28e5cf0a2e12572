"""One layer in all schemes and styles, beside each other, and where a shift loses.

The paper compares schemes in one style on one board. The same layer is costed here in all of them:
what is a gain in an array bounded by multipliers is none where weights are wires.
"""

from typing import NamedTuple

from flightnn_jax import schemes
from flightnn_jax.hardware import asic, styles
from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.styles.base import Figure
from flightnn_jax.hardware.workload import from_network


class Row(NamedTuple):
    """A scheme's costs for one image of one layer.

    Attributes:
      scheme: of `schemes.SCHEMES`.
      mean_k: of its filters.
      figures: of every style, and the energy on an ASIC.
    """

    scheme: str
    mean_k: float
    figures: tuple[Figure, ...]


def rows(network: str, mean_k: float, device: Device) -> list[Row]:
    """The largest layer of a network in all schemes, in the order of their table.

    Example:
      >>> from flightnn_jax.hardware.device import named
      >>> [row.scheme for row in rows("net1", 1.3, named("XC7Z045"))]
      ['full', 'fp4', 'lightnn2', 'lightnn1', 'flightnn', 'binaryconnect', 'bnn', 'bnn_dl',
       'codebook5', 'codebook10', 'table40', 'table320']
    """
    compared = []
    for scheme in schemes.SCHEMES:
        assumed = mean_k if scheme.flexible else None
        work = from_network(network, scheme.name, mean_k=assumed).largest()
        energy = asic.energy(work)
        asked = ("ASIC nJ", energy, "in energy on an ASIC", energy.value, asic.ratio_error(work))
        figures = [f for style in styles.STYLES.values() for f in style.figures(work, device)]
        compared.append(Row(scheme.name, work.mean_k, (*figures, Figure(*asked))))
    return compared


class Verdict(NamedTuple):
    """How one scheme does against 4-bit fixed point.

    Attributes:
      scheme: of the weights.
      what: the `verdict` of a `Figure`.
      gain: how many times better it is; below 1 it loses.
      settled: whether the gain is beyond the error of the ratio.
    """

    scheme: str
    what: str
    gain: float
    settled: bool


def verdicts(compared: list[Row]) -> list[Verdict]:
    """Each other quantized scheme against "fp4", figure by figure.

    Example:
      >>> from flightnn_jax.hardware.device import named
      >>> lost = [v for v in verdicts(rows("net1", 1.3, named("XC7Z045"))) if v.gain < 1]
      >>> sorted({(v.scheme, v.what) for v in lost if v.settled and "light" in v.scheme})
      [('lightnn2', 'hard-wired'), ('lightnn2', 'in energy on an ASIC')]
    """
    against = next(row for row in compared if row.scheme == "fp4")
    judged = []
    for row in compared:
        if row is against or schemes.find(row.scheme).weights is None:
            continue
        for ours, theirs in zip(row.figures, against.figures, strict=True):
            if ours.verdict is not None and ours.value is not None:
                gain, error = theirs.cost / ours.cost, ours.ratio_error
                settled = not 1 / error <= gain <= error
                judged.append(Verdict(row.scheme, ours.verdict, gain, settled))
    return judged
