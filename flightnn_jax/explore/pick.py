"""The best network under bounds: by validation, with the design that is built of it."""

from collections.abc import Sequence
from typing import NamedTuple

from flightnn_jax.explore import costs
from flightnn_jax.explore.members import Member
from flightnn_jax.hardware import asic
from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.records import Estimate, Number
from flightnn_jax.hardware.report import short, table


class Bounds(NamedTuple):
    """What a network and its design may take; None leaves a field free.

    Attributes:
      max_kb: of weights.
      max_nj: for an image.
      min_images_per_s: of the design.
      max_ms: for a batch.
      max_lut: of the design.
      max_share: of the device's scarcest resource, 0 to 1.
    """

    max_kb: float | None = None
    max_nj: float | None = None
    min_images_per_s: float | None = None
    max_ms: float | None = None
    max_lut: float | None = None
    max_share: float | None = None

    @property
    def of_designs(self) -> bool:
        """Whether one of them is of a design."""
        return any(bound is not None for bound in self[2:])


class Pick(NamedTuple):
    """A network and a design of it; None where it has none and none is needed."""

    member: Member
    design: Estimate | None


def best(
    members: Sequence[Member], device: Device, style: str, bounds: Bounds
) -> tuple[Pick | None, list[str]]:
    """The network with the best validation accuracy that meets the bounds, the cheapest of equal.

    Of its designs the smallest is taken that meets them where a speed is asked for, and the fastest
    elsewhere.

    Returns:
      The pick, None if there is none, and why others were passed over, a line each.
    """
    passed: list[str] = []
    for member in sorted(members, key=lambda m: (-m.judged, m.run.storage_bits, m.name)):
        reason = _network_misses(member, bounds)
        if reason is None:
            every = costs.sheet(member.work, device, style) if member.work else None
            designs = every.designs if every else ()
            met = [d for d in designs if not _design_misses(d, device, bounds)]
            if met or not bounds.of_designs:
                return Pick(member, _chosen(met, device, bounds)), passed
            reason = _nearest(designs, device, bounds) if designs else ""
            reason = reason or (every.reason if every else "its hardware costs are not known")
        passed.append(f"{member.name}: {reason}")
    return None, passed


def _chosen(designs: Sequence[Estimate], device: Device, bounds: Bounds) -> Estimate | None:
    if bounds.min_images_per_s is None:
        return designs[0] if designs else None  # the fastest stands first
    return min(designs, key=lambda design: costs.utilization(design, device))


def _network_misses(member: Member, bounds: Bounds) -> str | None:
    """Which bound a network breaks whatever its design is, in words."""
    kb = member.run.storage_bits / 8e3
    if bounds.max_kb is not None and kb > bounds.max_kb:
        return f"{short(kb)} kB of {short(bounds.max_kb)}"
    if bounds.max_nj is None:
        return None
    if member.work is None:
        return "its energy is not known"
    nj = asic.energy(member.work).value
    return f"{short(nj)} nJ of {short(bounds.max_nj)}" if nj > bounds.max_nj else None


def _design_misses(design: Estimate, device: Device, bounds: Bounds) -> list[str]:
    """What a design takes too much of, or is too slow in, in words."""
    figures = (
        ("images/s", design.images_per_s.value, bounds.min_images_per_s, True),
        ("ms", design.latency_ms.value, bounds.max_ms, False),
        ("LUT", design.resources["LUT"].value, bounds.max_lut, False),
        ("of the device", costs.utilization(design, device), bounds.max_share, False),
    )
    return [
        f"{short(value)} {unit} of {short(bound)}"
        for unit, value, bound, least in figures
        if bound is not None and (value < bound if least else value > bound)
    ]


def _nearest(designs: Sequence[Estimate], device: Device, bounds: Bounds) -> str:
    """What the design that breaks the fewest bounds breaks."""
    misses = min((_design_misses(design, device, bounds) for design in designs), key=len)
    return f"its nearest design has {' and '.join(misses)}"


def text(pick: Pick, device: Device) -> str:
    """A pick for a terminal: its accuracy and its costs, with their errors."""
    member, design = pick
    own = costs.of(member, device)
    rows = [["", "", "error"]]
    rows.append(["test accuracy, %", f"{100 * member.run.top1:.2f}", ""])
    if member.run.validation is not None:
        rows.append(["validation accuracy, %", f"{100 * member.run.validation:.2f}", ""])
    figures: list[tuple[str, Number]] = [("weights, kB", own["kb"])]
    figures += [("energy, nJ", own["nj"])] * ("nj" in own)
    if design is not None:
        figures += [
            ("images/s", design.images_per_s),
            ("latency of a batch, ms", design.latency_ms),
        ]
        figures += [
            (f"{name}, of {device.available()[name]:,}", n) for name, n in design.resources.items()
        ]
    rows += [[label, short(number.value), number.bar] for label, number in figures]
    lines = [f"{member.name}: {member.title}, {member.setting}", "", table(rows)]
    if design is not None:
        built = design.design
        rounds = " ".join(map(str, built.folding))
        lines += [
            "",
            f"design on {device.name}, style {design.style}: {built.parallelism} units, batch "
            f"{built.batch}, rounds of each layer {rounds}",
            *(f"note: {note}" for note in design.notes),
        ]
    return "\n".join(lines)
