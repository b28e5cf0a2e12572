"""Numbers that carry their error, and the records of designs and estimates."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, NamedTuple


class Number(NamedTuple):
    """A value, how far to trust it, and why.

    Attributes:
      value: the number.
      factor: the truth lies between value / factor and value x factor in nine of ten known
        cases; 1 where the value is counted or follows exactly. None where no measurement is known
        that it could be compared with.
      origin: what the value and the factor rest on.
    """

    value: float
    factor: float | None
    origin: str

    @property
    def bar(self) -> str:
        """The error in words.

        Example:
          >>> Number(100, 1.25, "").bar, Number(100, 2.2, "").bar, Number(100, None, "").bar
          ('±25 %', 'within 2.2x', 'unverified')
        """
        if self.factor is None:
            return "unverified"
        if self.factor == 1:
            return "exact"
        if self.factor < 2:
            return f"±{100 * (self.factor - 1):.0f} %"
        return f"within {self.factor:.2g}x"

    def times(self, by: float) -> "Number":
        """A multiple of the number, such as the number in another unit, with its relative error."""
        return self._replace(value=self.value * by)

    def over(self, by: float) -> "Number":
        """`by` divided by the number, as a rate is a count over a time, with its relative error."""
        return self._replace(value=by / self.value)

    def as_json(self) -> dict[str, Any]:
        """The fields for a JSON file; an infinite value becomes None."""
        value = self.value if math.isfinite(self.value) else None
        return {"value": value, "error": self.bar, "factor": self.factor, "from": self.origin}


def total(numbers: Iterable[Number]) -> Number:
    """The sum. All parts may err in the same direction, so the worst error is the sum's.

    Example:
      >>> total([Number(1, 1.1, "a"), Number(2, 1.3, "a")])
      Number(value=3, factor=1.3, origin='a')
    """
    parts = list(numbers)
    known = [n.factor for n in parts if n.factor is not None]
    factor = max(known) if len(known) == len(parts) else None
    origins = dict.fromkeys(n.origin for n in parts)
    return Number(sum(n.value for n in parts), factor, "; ".join(origins))


@dataclasses.dataclass(frozen=True)
class Design:
    """What a designer chooses.

    Attributes:
      parallelism: multiply-accumulate units that work at once.
      batch: images that are computed together.
      folding: for each layer, how many rounds its filters (its one-term filters, under
        "array") take; a single round computes them all at once.
    """

    parallelism: int
    batch: int
    folding: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Choice:
    """A design and its merits, by which `search` compares it.

    Attributes:
      workload: its name.
      scheme: of its weights.
      style: of `styles.STYLES`.
      design: what is built.
      images_per_s: to be large.
      latency_ms: of a batch, to be small.
      utilization: the largest share of a resource, to be small; at most 1.
      energy_nj: of the arithmetic for one image, on a 65-nm ASIC, to be small.
      accuracy_loss: of the workload, to be small; None if it is not known.
    """

    workload: str
    scheme: str
    style: str
    design: Design
    images_per_s: float
    latency_ms: float
    utilization: float
    energy_nj: float
    accuracy_loss: float | None = None


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """A layer's share.

    Attributes:
      name: of the layer.
      multiplications: for one image.
      mean_k: of its filters.
      weight_bits: of its weights.
      cycles: for one batch.
      energy_nj: of its arithmetic for one image, on a 65-nm ASIC.
      resources: of its own, by name; empty where all layers share the hardware.
    """

    name: str
    multiplications: int
    mean_k: float
    weight_bits: int
    cycles: Number
    energy_nj: Number
    resources: dict[str, Number]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a workload costs on a device.

    Attributes:
      workload: its name.
      scheme: of its weights.
      device: its name.
      style: of `styles.STYLES`.
      design: what was chosen.
      layers: by layer.
      cycles: from one batch to the next.
      latency_ms: of a batch, from its first input to its last output.
      images_per_s: with one batch after the other.
      energy_nj: of the arithmetic for one image, on a 65-nm ASIC; it does not depend on the
        design.
      resources: of `device.RESOURCES`, in all.
      bounded_by: resources that a design twice as large would exceed; empty if it would fit.
      notes: what else to know before trusting the numbers.
    """

    workload: str
    scheme: str
    device: str
    style: str
    design: Design
    layers: tuple[LayerCost, ...]
    cycles: Number
    latency_ms: Number
    images_per_s: Number
    energy_nj: Number
    resources: dict[str, Number]
    bounded_by: tuple[str, ...]
    notes: tuple[str, ...] = ()
