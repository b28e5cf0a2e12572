"""What every style of design answers, and how the estimate of a pipeline is put together.

A style is a module of this package with what `Style` lists, and a line in `styles.STYLES`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from flightnn_jax.hardware import asic
from flightnn_jax.hardware.device import RESOURCES, Device
from flightnn_jax.hardware.records import Choice, Design, Estimate, LayerCost, Number, total
from flightnn_jax.hardware.workload import LayerWork, Workload

NOT_MODELLED = (
    "pools, batch norm, requantization and shortcut sums are not included in any number",
)


class Anchor(NamedTuple):
    """A measured throughput by which the others of a network are scaled.

    Attributes:
      workload: what was measured, in any scheme, such as L-1.
      images_per_s: its measured throughput on the same board.
    """

    workload: Workload
    images_per_s: float

    def __str__(self) -> str:
        """For notes and errors."""
        return f"{self.images_per_s:g} images/s in {self.workload.scheme}"


class Options(NamedTuple):
    """Options that only some styles read; each style names its own in `OPTIONS`.

    Attributes:
      anchor: replaces the fitted scale of speeds.
      multiplier: "dsp" or "lut", for weights that are no shifts.
    """

    anchor: Anchor | None = None
    multiplier: str = "dsp"


class Figure(NamedTuple):
    """A number by which schemes are compared within a style.

    Attributes:
      heading: of its column.
      value: None where the style cannot compute with such weights.
      verdict: where a scheme gains or loses, as the end of a sentence; None for a figure without
        a verdict.
      cost: a scheme gains over another by the ratio of their costs.
      ratio_error: the factor within which that ratio is known.
    """

    heading: str
    value: Number | None
    verdict: str | None = None
    cost: float = math.nan
    ratio_error: float = math.inf


class Style(Protocol):
    """A module of `styles`."""

    @property
    def OPTIONS(self) -> tuple[str, ...]:  # noqa: N802  # a constant of the module
        """The fields of `Options` that it reads; others must be left at their defaults."""

    def designs(self, workload: Workload, device: Device, options: Options) -> list[Choice]:
        """Designs that fit, all undominated ones among them.

        Raises:
          ValueError: if none fits.
        """

    def largest(self, workload: Workload, device: Device, options: Options) -> Design:
        """The design that is estimated where none is given: the largest, or fastest, that fits.

        Raises:
          ValueError: if none fits.
        """

    def estimate(
        self, workload: Workload, device: Device, design: Design | None, options: Options
    ) -> Estimate:
        """The costs of a design, of the largest one by default.

        Raises:
          ValueError: if the design does not fit.
        """

    def figures(self, workload: Workload, device: Device) -> tuple[Figure, ...]:
        """What `comparison` shows of the style, for a workload of one layer."""


def layer_cost(layer: LayerWork, cycles: Number, resources: dict[str, Number]) -> LayerCost:
    """The record of a layer: the style's cycles and resources, the rest from the layer alone."""
    return LayerCost(
        name=layer.name,
        multiplications=layer.multiplications,
        mean_k=layer.mean_k,
        weight_bits=layer.weight_bits,
        cycles=cycles,
        energy_nj=asic.layer_energy(layer),
        resources=resources,
    )


def named(
    needed: Sequence[float], factors: dict[str, float | None], origin: str
) -> dict[str, Number]:
    """Resources by name, each with its error."""
    return {
        name: Number(value, factors[name], origin)
        for name, value in zip(RESOURCES, needed, strict=True)
    }


def rate(cycles: Number, batch: int, device: Device) -> Number:
    """Images a second; infinitely many if nothing is left to compute."""
    if not cycles.value:
        return cycles._replace(value=math.inf)
    return cycles.over(1e6 * device.clock_mhz * batch)


def check_fits(resources: dict[str, Number], workload: Workload, device: Device, what: str) -> None:
    """Raises a ValueError if the device has too little of a resource."""
    short = device.shortage([resources[name].value for name in RESOURCES])
    if short:
        raise ValueError(
            f"{workload.name} in {workload.scheme}: {what} takes {' and '.join(short.values())} "
            f"on {device.name}; choose a smaller design or a larger device"
        )


def slowest(layers: Sequence[LayerCost]) -> Number:
    """The cycles of the slowest stage, for which all others wait."""
    return max((x.cycles for x in layers), key=lambda n: n.value)


def pipelined(
    workload: Workload,
    device: Device,
    style: str,
    design: Design,
    layers: Sequence[LayerCost],
    *,
    latency_ms: Number,
    notes: tuple[str, ...] = NOT_MODELLED,
) -> Estimate:
    """The estimate of layers that have hardware of their own and work at the same time."""
    resources = {name: total(x.resources[name] for x in layers) for name in RESOURCES}
    check_fits(resources, workload, device, "this design")
    cycles = slowest(layers)
    return Estimate(
        workload=workload.name,
        scheme=workload.scheme,
        device=device.name,
        style=style,
        design=design,
        layers=tuple(layers),
        cycles=cycles,
        latency_ms=latency_ms,
        images_per_s=rate(cycles, design.batch, device),
        energy_nj=total(x.energy_nj for x in layers),
        resources=resources,
        bounded_by=tuple(device.shortage([2 * resources[name].value for name in RESOURCES])),
        notes=notes,
    )
