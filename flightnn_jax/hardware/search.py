"""All designs that no other beats: exact, and fast enough for a whole network.

A design's merits are images a second, latency, and utilization, the largest share of a resource of
the device that it takes. A design is kept if no other is at least as good in all three and better
in one. Where several workloads are compared, loss of accuracy is a fourth merit.

For an array (`processing`) all powers of two of elements and images are tried; for engines all
batches and foldings of each layer, by `pipeline`, which need not try them one by one.
"""

import bisect
import dataclasses
from collections.abc import Sequence

import numpy as np

from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.pipeline import Pipeline
from flightnn_jax.hardware.records import Choice, Design
from flightnn_jax.hardware.styles import array, engine, hardwired
from flightnn_jax.hardware.workload import Workload

STYLES = ("processing", "engine", "hardwired")


def front(
    workload: Workload,
    device: Device,
    style: str = "engine",
    *,
    min_images_per_s: float = 0.0,
    multiplier: str = "dsp",
) -> list[Choice]:
    """Every undominated design of a workload on a device, the fastest first.

    Args:
      workload: what is computed.
      device: on what.
      style: "processing", "engine" or "hardwired".
      min_images_per_s: slower designs are left out.
      multiplier: for engines, "dsp" or "lut".

    Returns:
      One design for each combination of merits; empty if none is fast enough.

    Raises:
      ValueError: if no design fits on the device.

    Example:
      >>> from flightnn_jax.hardware.device import find
      >>> from flightnn_jax.hardware.workload import from_network
      >>> choices = front(from_network("net4", "lightnn1"), find("XC7Z020"))
      >>> choices[0].images_per_s > choices[-1].images_per_s
      True
    """
    if style == "processing":
        found = _processing(workload, device)
    elif style == "engine":
        found = Pipeline(workload, device, multiplier).all()
    elif style == "hardwired":
        found = [_hardwired(workload, device)]
    else:
        raise ValueError(f"style {style!r} is unknown: choose one of {', '.join(STYLES)}")
    return _undominated([c for c in found if c.images_per_s >= min_images_per_s])


def fastest(workload: Workload, device: Device, multiplier: str = "dsp") -> Design:
    """The engines with the most images a second, and of these the ones that take the least.

    Example:
      >>> from flightnn_jax.hardware.device import find
      >>> from flightnn_jax.hardware.workload import from_network
      >>> fastest(from_network("net4", "lightnn1"), find("XC7Z020")).folding
      (2, 2, 4, 2)
    """
    return Pipeline(workload, device, multiplier).fastest()


def compare(
    candidates: Sequence[tuple[Workload, float | None]],
    device: Device,
    style: str = "engine",
    *,
    max_accuracy_loss: float | None = None,
    min_images_per_s: float = 0.0,
) -> list[Choice]:
    """The undominated designs of several workloads, such as one network in several schemes.

    Args:
      candidates: workloads, each with its loss of accuracy, in any unit, or None.
      device: on what.
      style: as for `front`.
      max_accuracy_loss: candidates that lose more are left out.
      min_images_per_s: slower designs are left out.

    Raises:
      ValueError: if the loss is bounded or compared, and not known of all candidates, or if no
        candidate is left or fits.
    """
    losses = [loss for _, loss in candidates]
    if len(candidates) > 1 or max_accuracy_loss is not None:
        unknown = [w.scheme for w, loss in candidates if loss is None]
        if unknown:
            raise ValueError(
                f"the accuracy loss of {', '.join(unknown)} is not known, so designs cannot be "
                "compared by it; give one for each candidate, 0 if it is no matter"
            )
    if max_accuracy_loss is not None:
        kept = [c for c in candidates if c[1] is not None and c[1] <= max_accuracy_loss]
        if not kept:
            raise ValueError(
                f"max_accuracy_loss={max_accuracy_loss}: every candidate loses more, the best "
                f"{min(loss for loss in losses if loss is not None)}"
            )
        candidates = kept
    found, misfits = [], []
    for workload, loss in candidates:
        try:
            choices = front(workload, device, style, min_images_per_s=min_images_per_s)
        except ValueError as error:
            misfits.append(str(error))
            continue
        found += [dataclasses.replace(choice, accuracy_loss=loss) for choice in choices]
    if len(misfits) == len(candidates):
        raise ValueError("; ".join(misfits) or "no candidates: give at least one workload")
    merits = np.array(
        [(-c.images_per_s, c.latency_ms, c.utilization, c.accuracy_loss or 0.0) for c in found]
    )
    kept_choices = []
    for i, choice in enumerate(found):
        better = (merits <= merits[i]).all(axis=1) & (merits < merits[i]).any(axis=1)
        twin = (merits[:i] == merits[i]).all(axis=1).any()
        if not better.any() and not twin:
            kept_choices.append(choice)
    return sorted(kept_choices, key=lambda c: -c.images_per_s)


def _undominated(choices: list[Choice]) -> list[Choice]:
    """One of each undominated triple of merits, by a sweep from fast to slow.

    `stairs` holds (latency, utilization) of the undominated pairs seen so far: latency ascending,
    utilization descending. A faster design dominates if its step is at or below both.
    """
    order = sorted(choices, key=lambda c: (-c.images_per_s, c.latency_ms, c.utilization))
    latencies: list[float] = []
    shares: list[float] = []
    kept = []
    for choice in order:
        at = bisect.bisect_right(latencies, choice.latency_ms)
        if at and shares[at - 1] <= choice.utilization:
            continue
        kept.append(choice)
        end = at = bisect.bisect_left(latencies, choice.latency_ms)
        while end < len(shares) and shares[end] >= choice.utilization:
            end += 1
        latencies[at:end], shares[at:end] = [choice.latency_ms], [choice.utilization]
    return kept


def _processing(workload: Workload, device: Device) -> list[Choice]:
    """All powers of two of elements, and of images that their memory holds."""
    found = []
    kind, seconds = workload.format, 1e-6 / device.clock_mhz
    most = array.largest_parallelism(kind, device)
    for power in range(most.bit_length()):
        parallelism = 1 << power
        try:
            images = array.largest_batch(workload.layers, parallelism, device).images
        except ValueError:
            if parallelism == most:
                raise
            continue
        needed = array.resources(kind, parallelism, device)
        share = device.share([needed[name].value for name in device.available()])
        for exponent in range(images.bit_length()):
            batch = 1 << exponent
            cycles = sum(array.cycles(x, parallelism, batch) for x in workload.layers)
            folding = tuple(array.folding(x, parallelism, batch) for x in workload.layers)
            design = Design(parallelism, batch, folding)
            found.append(
                Choice(
                    workload.name,
                    workload.scheme,
                    "processing",
                    design,
                    batch / (cycles * seconds),
                    cycles * seconds * 1e3,
                    share,
                )
            )
    return found


def _hardwired(workload: Workload, device: Device) -> Choice:
    """The one design there is."""
    design = hardwired_design(workload, device)
    parts = [hardwired.resources(x, device) for x in workload.layers]
    cycles = [hardwired.cycles(x) for x in workload.layers]
    ms = 1e-3 / device.clock_mhz
    return Choice(
        workload.name,
        workload.scheme,
        "hardwired",
        design,
        1e3 / (max(cycles) * ms),
        sum(cycles) * ms,
        device.share([sum(column) for column in zip(*parts, strict=True)]),
    )


def hardwired_design(workload: Workload, device: Device) -> Design:
    """All weights at once.

    Raises:
      ValueError: if they do not fit.
    """
    parts = [hardwired.resources(x, device) for x in workload.layers]
    short = device.shortage([sum(column) for column in zip(*parts, strict=True)])
    if short:
        raise ValueError(
            f"{workload.name} in {workload.scheme} does not fit on {device.name} hard-wired, which "
            f"takes {' and '.join(short.values())}; choose the style processing or engine, fewer "
            "layers, or a larger device"
        )
    weights = sum(x.taps * engine.active_filters(x) for x in workload.layers)
    return Design(weights, 1, (1,) * len(workload.layers))
