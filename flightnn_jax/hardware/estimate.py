"""What a workload costs on an FPGA, in one of the styles of design."""

import dataclasses

from flightnn_jax.hardware import styles
from flightnn_jax.hardware.arithmetic import KINDS
from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.records import Design, Estimate
from flightnn_jax.hardware.styles import Anchor, Options
from flightnn_jax.hardware.workload import ANY, Workload

__all__ = ["Anchor", "as_lightnn1", "estimate", "largest"]


def estimate(
    workload: Workload,
    device: Device,
    style: str = "array",
    *,
    design: Design | None = None,
    anchor: Anchor | None = None,
    multiplier: str = "dsp",
) -> Estimate:
    """What a workload costs on a device.

    Args:
      workload: what is computed.
      device: on what; its clock is `device.clock_mhz`.
      style: of `styles.STYLES`.
      design: what is built; by default the largest, or fastest, that fits, searched exactly. An
        "array" reads its parallelism and batch, an "engine" batch and folding.
      anchor: for "array": a measured throughput of the same network, which replaces the fitted
        scale; the model then decides the ratio alone.
      multiplier: for "engine", "dsp" or "lut" for weights that are no shifts.

    Returns:
      The estimate; every number has its error.

    Raises:
      ValueError: if the style is unknown or does not read an option, or the design does not fit.

    Example:
      >>> from flightnn_jax.hardware.device import named
      >>> from flightnn_jax.hardware.workload import from_network
      >>> layer = from_network("net7", "lightnn1").largest()
      >>> costs = estimate(layer, named("XC7Z045"))
      >>> costs.design.parallelism, costs.bounded_by, round(costs.images_per_s.value)
      (512, ('BRAM',), 1118)
      >>> costs.images_per_s.bar
      '±90 %'
    """
    options = Options(anchor, multiplier)
    return styles.named(style, options).estimate(workload, device, design, options)


def largest(workload: Workload, device: Device, style: str, multiplier: str = "dsp") -> Design:
    """The largest parallelism and batch that fit; the fastest of all designs, for "engine".

    Example:
      >>> from flightnn_jax.hardware.device import named
      >>> from flightnn_jax.hardware.workload import from_network
      >>> largest(from_network("net1", "lightnn1").largest(), named("XC7Z045"), "array")
      Design(parallelism=512, batch=256, folding=(32,))
    """
    options = Options(multiplier=multiplier)
    return styles.named(style, options).largest(workload, device, options)


def as_lightnn1(workload: Workload) -> Workload:
    """The same layers with one shift a filter: what measured speeds are anchored on.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> as_lightnn1(from_network("net1", "fp4")) == from_network("net1", "lightnn1")
      True
    """
    shift = KINDS["shift"]
    layers = tuple(
        dataclasses.replace(
            layer,
            format=shift.kind,
            k=(1,) * layer.filters,
            accumulator_bits=shift.accumulator_bits(layer.taps),
            bits=shift.bits or 4,
            signs=False,
            shared_bits=0,
            activations=ANY,
            trained=None,
        )
        for layer in workload.layers
    )
    return Workload(workload.name, "lightnn1", layers)
