"""What each layer adds to a cost that is a sum over the layers of a network."""

import dataclasses

from flightnn_jax.hardware import asic, estimate
from flightnn_jax.hardware.demands import Unit
from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.records import Estimate
from flightnn_jax.hardware.styles import array
from flightnn_jax.hardware.workload import Workload

_MUCH = 10**9


def of(unit: Unit, work: Workload, full: Workload, style: str, device: Device) -> list[float]:
    """The part of each layer; cycles in place of images a second.

    Args:
      unit: of the cost.
      work: the network.
      full: the same with all terms, for which an array is chosen.
      style: of its design.
      device: where it is to run.
    """
    layers = work.layers
    if unit.name == "k":
        filters = sum(layer.filters for layer in layers)
        return [layer.terms / filters for layer in layers]
    if unit.name == "kB":
        return [layer.weight_bits / 8e3 for layer in layers]
    if unit.name == "nJ":
        return [asic.layer_energy(layer).value for layer in layers]
    if unit.name == "LUT":
        return [layer.resources["LUT"].value for layer in wired(work, device).layers]
    design = estimate.largest(full, device, style)
    units, batch = design.parallelism, design.batch
    return [array.cycles(layer, units, batch) / batch for layer in layers]


def wired(work: Workload, device: Device) -> Estimate:
    """Hard-wired, on a device with as much as it needs: whether it fits is not asked here."""
    boundless = dataclasses.replace(device, bram=_MUCH, dsp=_MUCH, ff=_MUCH, lut=_MUCH)
    return estimate.estimate(work, boundless, "hardwired")
