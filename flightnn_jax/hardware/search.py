"""All designs that no other beats: exact, and fast enough for a whole network.

A design is kept if no other is at least as good in all merits and better in one: images a second,
latency, utilization (the largest share of a resource of the device), or other fields of `Choice` on
request, such as energy. Where workloads are compared, loss of accuracy is a merit too.

Which designs there are, each style says: an array tries all powers of two of elements and images;
engines all batches and foldings of each layer, by `pipeline`, which need not try them one by one.
"""

import dataclasses
import math
from collections.abc import Sequence

from flightnn_jax import pareto
from flightnn_jax.hardware import styles
from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.records import Choice, Design
from flightnn_jax.hardware.styles import Options
from flightnn_jax.hardware.workload import Workload

STYLES = tuple(styles.STYLES)

SIGNS = {"images_per_s": -1, "latency_ms": 1, "utilization": 1, "energy_nj": 1, "accuracy_loss": 1}
"""Merits, which are fields of `Choice`, and whether more (-1) or less (1) of them is better."""

MERITS = ("images_per_s", "latency_ms", "utilization")
ALL_MERITS = (*MERITS, "accuracy_loss")


def front(
    workload: Workload,
    device: Device,
    style: str = "engine",
    *,
    min_images_per_s: float = 0.0,
    multiplier: str = "dsp",
    merits: Sequence[str] = MERITS,
) -> list[Choice]:
    """Every undominated design of a workload on a device, the best in the first merit first.

    Args:
      workload: what is computed.
      device: on what.
      style: of `STYLES`.
      min_images_per_s: slower designs are left out.
      multiplier: for engines, "dsp" or "lut".
      merits: of `SIGNS`, by which designs are compared.

    Returns:
      One design for each combination of merits; empty if none is fast enough.

    Raises:
      ValueError: if no design fits on the device, or a merit is unknown.

    Example:
      >>> from flightnn_jax.hardware.device import named
      >>> from flightnn_jax.hardware.workload import from_network
      >>> choices = front(from_network("net4", "lightnn1"), named("XC7Z020"))
      >>> choices[0].images_per_s > choices[-1].images_per_s
      True
    """
    options = Options(multiplier=multiplier)
    choices = styles.named(style, options).designs(workload, device, options)
    choices = [c for c in choices if c.images_per_s >= min_images_per_s]
    return [choices[i] for i in pareto.undominated(_costs(choices, merits))]


def _costs(choices: Sequence[Choice], merits: Sequence[str]) -> list[list[float]]:
    """The merits as costs, which are better when smaller: a row for each choice."""
    unknown = [name for name in merits if name not in SIGNS]
    if unknown or not merits:
        names = ", ".join(unknown) or "of none"
        raise ValueError(f"merits {names} are unknown: choose one of {', '.join(SIGNS)}")
    return [[SIGNS[name] * (getattr(c, name) or 0.0) for name in merits] for c in choices]


def fastest(workload: Workload, device: Device, multiplier: str = "dsp") -> Design:
    """The engines with the most images a second, and of these the ones that take the least.

    Example:
      >>> from flightnn_jax.hardware.device import named
      >>> from flightnn_jax.hardware.workload import from_network
      >>> fastest(from_network("net4", "lightnn1"), named("XC7Z020")).folding
      (1, 1, 2, 1)
    """
    return styles.STYLES["engine"].largest(workload, device, Options(multiplier=multiplier))


def compare(
    candidates: Sequence[tuple[Workload, float | None]],
    device: Device,
    style: str = "engine",
    *,
    max_accuracy_loss: float | None = None,
    min_images_per_s: float = 0.0,
    merits: Sequence[str] = ALL_MERITS,
) -> list[Choice]:
    """The undominated designs of several workloads, such as one network in several schemes.

    Args:
      candidates: workloads, each with its loss of accuracy, in any unit, or None.
      device: on what.
      style: as for `front`.
      max_accuracy_loss: candidates that lose more are left out.
      min_images_per_s: slower designs are left out.
      merits: as for `front`.

    Returns:
      The designs, the fastest first.

    Raises:
      ValueError: if the loss is bounded or compared, and not known of all candidates, or if no
        candidate is left or fits.
    """
    _costs((), merits)  # checks them
    if max_accuracy_loss is not None and math.isnan(max_accuracy_loss):
        raise ValueError(f"max_accuracy_loss={max_accuracy_loss}: give a number")
    if not 0 <= min_images_per_s < math.inf:
        raise ValueError(
            f"min_images_per_s={min_images_per_s}: give a finite number that is not negative"
        )
    if max_accuracy_loss is not None or ("accuracy_loss" in merits and len(candidates) > 1):
        unknown = [work.scheme for work, loss in candidates if loss is None]
        if unknown:
            raise ValueError(
                f"the accuracy loss of {', '.join(unknown)} is not known, so designs cannot be "
                "compared by it; give one for each candidate, 0 where it does not matter"
            )
    kept = [c for c in candidates if max_accuracy_loss is None or (c[1] or 0) <= max_accuracy_loss]
    if max_accuracy_loss is not None and not kept:
        raise ValueError(
            f"max_accuracy_loss={max_accuracy_loss}: every candidate loses more, the best "
            f"{min((loss or 0.0 for _, loss in candidates), default='of none')}"
        )
    choices, misfits = [], []
    for workload, loss in kept:
        try:
            own = front(workload, device, style, min_images_per_s=min_images_per_s, merits=merits)
        except ValueError as error:
            misfits.append(str(error))
            continue
        choices += [dataclasses.replace(choice, accuracy_loss=loss) for choice in own]
    if len(misfits) == len(kept):
        raise ValueError("; ".join(misfits) or "no candidates: give at least one workload")
    best = [choices[i] for i in sorted(pareto.undominated(_costs(choices, merits)))]
    return sorted(best, key=lambda c: -c.images_per_s)
