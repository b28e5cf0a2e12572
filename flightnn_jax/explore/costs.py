"""What members cost, by the models of `hardware`: in four units, and design by design.

Thousands of designs on a page are more than a user can tell apart. So `thinned` takes designs that
are alike as one.
"""

import dataclasses
import math
from collections.abc import Collection
from typing import NamedTuple

from flightnn_jax.explore.members import Member
from flightnn_jax.hardware import asic, search
from flightnn_jax.hardware.device import RESOURCES, Device
from flightnn_jax.hardware.estimate import estimate
from flightnn_jax.hardware.records import Estimate, Number
from flightnn_jax.hardware.workload import Workload

STYLES = search.STYLES


class Unit(NamedTuple):
    """A unit in which members are compared.

    Attributes:
      key: short, for files and flags.
      label: with the unit, for axes and tables.
      larger: whether more of it is better.
    """

    key: str
    label: str
    larger: bool = False

    def cost(self, value: float) -> float:
        """The same to be small: seconds for an image in place of images a second."""
        return 1 / value if self.larger else value


UNITS = (
    Unit("kb", "weights (kB)"),
    Unit("nj", "energy of an image (nJ)"),
    Unit("lut", "hard-wired (LUT)"),
    Unit("images_per_s", "throughput (images/s)", larger=True),
)
KEYS = tuple(unit.key for unit in UNITS)

_MUCH = 10**9
_BOUNDLESS = Device("any FPGA", _MUCH, _MUCH, _MUCH, _MUCH, clock_mhz=100)


def of(member: Member, device: Device, keys: Collection[str] = KEYS) -> dict[str, Number]:
    """The costs of a member by `Unit.key`; a unit in which it has none is left out.

    Args:
      member: of a sweep.
      device: whose throughput is told.
      keys: of the units that are wanted; those of hard-wired weights take the longest.

    Storage is that of its record, and energy that of the arithmetic on a 65-nm ASIC. LUTs have 6
    inputs and hold all weights as wires, whether or not a device has as many. Throughput is that of
    the fastest engines that fit on the device.
    """
    costs = {"kb": Number(member.run.storage_bits / 8e3, 1.0, "counted")}
    if member.work is None:
        return costs
    costs["nj"] = asic.energy(member.work)
    wired = _tried(member.work, _BOUNDLESS, "hardwired") if "lut" in keys else None
    if wired is not None:
        costs["lut"] = wired.resources["LUT"]
    fastest = _tried(member.work, device, "engine") if "images_per_s" in keys else None
    if fastest is not None:
        costs["images_per_s"] = fastest.images_per_s
    return {key: cost for key, cost in costs.items() if key in keys}


def _tried(work: Workload, device: Device, style: str) -> Estimate | None:
    """The fastest design; None if there is none."""
    try:
        return estimate(work, device, style)
    except ValueError:
        return None


@dataclasses.dataclass(frozen=True)
class Sheet:
    """The Pareto-optimal designs of a workload on a device in a style, the fastest first.

    Invariants: either `designs` is empty, and `reason` says why, or the other way round.

    Attributes:
      device: its name.
      style: of `STYLES`.
      designs: what each costs.
      reason: why there is none; empty otherwise.
    """

    device: str
    style: str
    designs: tuple[Estimate, ...]
    reason: str = ""


def sheet(work: Workload, device: Device, style: str) -> Sheet:
    """All designs that no other beats in speed, latency and share of the device.

    Example:
      >>> from flightnn_jax.hardware import device, workload
      >>> work, board = workload.from_network("net4", "lightnn1"), device.named("XC7Z020")
      >>> every = sheet(work, board, "engine")
      >>> len(every.designs) > len(thinned(every, board, 0.5).designs) > 1
      True
    """
    try:
        choices = search.front(work, device, style)
        designs = tuple(estimate(work, device, style, design=one.design) for one in choices)
    except ValueError as error:
        return Sheet(device.name, style, (), str(error))
    return Sheet(device.name, style, designs)


def thinned(every: Sheet, device: Device, alike: float) -> Sheet:
    """The first of all designs that are alike, the fastest; all of them if `alike` is 0.

    Designs are alike if they fall into one cell of a grid whose steps are the factor 1 + `alike`
    in speed, latency and share of the device.
    """
    if not alike:
        return every
    cells: dict[tuple[int, ...], Estimate] = {}
    for design in every.designs:
        merits = (design.images_per_s.value, design.latency_ms.value, utilization(design, device))
        # Where every filter is pruned, nothing is left to compute, and the speed is infinite.
        logs = [math.log(m) if 0 < m < math.inf else 0.0 for m in merits]
        cells.setdefault(tuple(math.floor(x / math.log1p(alike)) for x in logs), design)
    return dataclasses.replace(every, designs=tuple(cells.values()))


def utilization(design: Estimate, device: Device) -> float:
    """The largest share of a resource of the device that a design takes."""
    return device.share([design.resources[name].value for name in RESOURCES])
