"""What the loop has counted so far, as checkpoints have it."""

import dataclasses
import math
from typing import Any, NamedTuple

from flightnn_jax.training import costs
from flightnn_jax.training.step import StepMetrics


@dataclasses.dataclass
class Epoch:
    """Sums over the steps of an epoch that were read so far; goes into checkpoints as it is."""

    steps: int = 0
    loss: float = 0.0
    penalty: float = 0.0
    accuracy: float = 0.0

    def add(self, metrics: StepMetrics) -> None:
        """One step more."""
        self.steps += 1
        for name, value in metrics._asdict().items():
            setattr(self, name, getattr(self, name) + float(value))

    def means(self) -> dict[str, float]:
        """By the names of `StepMetrics`."""
        return {name: getattr(self, name) / self.steps for name in StepMetrics._fields}


class Progress(NamedTuple):
    """What the loop has counted at a checkpoint."""

    epoch: Epoch
    seconds: float
    room: costs.Room = costs.Room()

    @classmethod
    def parse(cls, record: dict[str, Any]) -> "Progress":
        """Of the record in a checkpoint; ValueError, KeyError or TypeError if it is damaged."""
        epoch, seconds = Epoch(**record["epoch"]), record["seconds"]
        for value in (seconds, *dataclasses.astuple(epoch)):
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ValueError(f"{value!r} is no number")
        return cls(epoch, seconds, costs.Room.parse(record))
