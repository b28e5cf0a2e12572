"""The engines of all layers as one pipeline: exactly the least that each speed and batch takes.

All stages hand over together, so with B images a batch, T the cycles of the slowest stage and L
stages, images a second = f B / T and latency = L T / f. Only sums of resources join the layers
then. For every T that a layer can have, and every B, the least utilization is found as follows. If
each resource could choose its own foldings, the sums would be a lower bound. The foldings that are
best for one resource often meet that bound, and are optimal then. Where they do not,
`Pipeline._least` enumerates the undominated sums, which is exact too.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from flightnn_jax.hardware import engine
from flightnn_jax.hardware.cost import Choice, Design
from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.workload import Layer, Workload


class _Options(NamedTuple):
    """A layer's foldings, the fastest first.

    Attributes:
      folding: (n,)
      cycles: (n,), ascending.
      shared: (n, 4), in the order of `Engine`.
      each: (n, 4), for each image of the batch.
    """

    folding: np.ndarray
    cycles: np.ndarray
    shared: np.ndarray
    each: np.ndarray


def _options(layer: Layer, device: Device, multiplier: str) -> _Options:
    rounds = engine.foldings(layer)
    cycles = np.array([engine.cycles(layer, r) for r in rounds])
    order = np.argsort(cycles, kind="stable")
    parts = [engine.parts(layer, r, device, multiplier=multiplier) for r in rounds]
    return _Options(
        np.array(rounds)[order],
        cycles[order],
        np.array([p.shared for p in parts])[order],
        np.array([p.each for p in parts])[order],
    )


class Bounds(NamedTuple):
    """What is known of a batch, for each time.

    Attributes:
      least: (times,), a lower bound of utilization.
      share: (4, times), the utilization if all layers choose what is best for one resource.
      picks: (4, layers, times), these choices.
    """

    least: np.ndarray
    share: np.ndarray
    picks: np.ndarray


class Pipeline:
    """All engines for a workload on a device."""

    def __init__(self, workload: Workload, device: Device, multiplier: str) -> None:
        self.workload, self.device = workload, device
        known: dict[Layer, _Options] = {}  # residual networks repeat their layers
        self.layers = []
        for layer in workload.layers:
            key = dataclasses.replace(layer, name="")
            if key not in known:
                known[key] = _options(layer, device, multiplier)
            self.layers.append(known[key])
        self.have = np.array(list(device.available().values()), float)
        slowest_start = max(int(x.cycles[0]) for x in self.layers)
        every = np.unique(np.concatenate([x.cycles for x in self.layers]))
        self.times = every[every >= slowest_start]
        # Of a layer's options, those up to last[t] are through within times[t].
        self.last = [np.searchsorted(x.cycles, self.times, side="right") - 1 for x in self.layers]

    def all(self) -> list[Choice]:
        """The least utilization for each time and batch that fit."""
        found = []
        for batch, bounds in self.batches():
            for t in np.flatnonzero(bounds.least <= 1):
                share, pick = self.exact(batch, int(t), bounds)
                if share <= 1:
                    found.append(self.choice(batch, pick, share))
        if not found:
            raise self.misfit()
        return found

    def fastest(self) -> Design:
        """The least time an image, and the least utilization with it, of all that fit."""
        best: tuple[float, float] = (math.inf, math.inf)
        chosen: tuple[int, tuple[int, ...]] = (0, ())
        for batch, bounds in self.batches():
            for t in np.flatnonzero(bounds.least <= 1):
                time = float(self.times[t] / batch)
                if time > best[0]:
                    break
                share, pick = self.exact(batch, int(t), bounds)
                if share <= 1:
                    if (time, share) < best:
                        best, chosen = (time, share), (batch, pick)
                    break
        if not chosen[1]:
            raise self.misfit()
        return self.design(*chosen)

    def batches(self) -> Iterator[tuple[int, Bounds]]:
        """Batches of which the slowest design may fit; larger ones take more of everything.

        Raises:
          ValueError: if there is none.
        """
        batch, bounds = 1, self.bounds(1)
        if bounds.least[-1] > 1:
            raise self.misfit()
        while bounds.least[-1] <= 1:
            yield batch, bounds
            batch += 1
            bounds = self.bounds(batch)

    def misfit(self) -> ValueError:
        """The error for a workload that does not fit even if each resource had its own way."""
        needed = sum(np.min(x.shared + x.each, axis=0) for x in self.layers)
        short = self.device.shortage(np.asarray(needed).tolist())
        return ValueError(
            f"{self.workload.name} in {self.workload.scheme} does not fit on {self.device.name} "
            f"with an engine for every layer, which takes at least "
            f"{' and '.join(short.values()) or 'more than there is in every folding'}; choose the "
            "style processing, fewer layers, or a larger device"
        )

    def bounds(self, batch: int) -> Bounds:
        """Bounds, and the choices that are best for one resource, for all times at once."""
        sums = np.zeros((len(self.times), 4))
        chosen = np.zeros((4, len(self.times), 4))
        picks = np.zeros((4, len(self.layers), len(self.times)), int)
        for i, options in enumerate(self.layers):
            needed = options.shared + batch * options.each
            sums += np.minimum.accumulate(needed, axis=0)[self.last[i]]
            # Where a resource does not decide, what takes less of all of them does.
            size = (needed / (1 + needed.sum(axis=0))).sum(axis=1) / 8
            for r in range(4):
                merit = needed[:, r] + size
                best = np.minimum.accumulate(merit)
                first = np.maximum.accumulate(np.where(merit == best, np.arange(len(merit)), 0))
                picks[r, i] = first[self.last[i]]
                chosen[r] += needed[picks[r, i]]
        return Bounds(self._shares(sums), np.array([self._shares(c) for c in chosen]), picks)

    def _shares(self, needed: np.ndarray) -> np.ndarray:
        """`Device.share` of each row."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nan_to_num(needed / self.have, nan=0.0, posinf=np.inf).max(axis=1)

    def exact(self, batch: int, t: int, bounds: Bounds) -> tuple[float, tuple[int, ...]]:
        """The least utilization within times[t], and each layer's option."""
        r = int(np.argmin(bounds.share[:, t]))
        share, pick = float(bounds.share[r, t]), tuple(int(p) for p in bounds.picks[r, :, t])
        return (share, pick) if share == bounds.least[t] else self._least(batch, t, share, pick)

    def _least(
        self, batch: int, t: int, best: float, pick: tuple[int, ...]
    ) -> tuple[float, tuple[int, ...]]:
        """Layer by layer all undominated sums, without those that cannot beat `best`."""
        needed = [
            (x.shared + batch * x.each)[: last[t] + 1]
            for x, last in zip(self.layers, self.last, strict=True)
        ]
        rest = np.cumsum([n.min(axis=0) for n in needed[::-1]], axis=0)[::-1]
        sums: dict[tuple[int, ...], tuple[int, ...]] = {(0, 0, 0, 0): ()}
        for i, options in enumerate(needed):
            after = rest[i + 1] if i + 1 < len(needed) else np.zeros(4, int)
            grown: dict[tuple[int, ...], tuple[int, ...]] = {}
            for total, way in sums.items():
                for o in _least_options(options):
                    new = tuple(int(a + b) for a, b in zip(total, options[o], strict=True))
                    if self.device.share(np.add(new, after).tolist()) < best:
                        grown.setdefault(new, (*way, o))
            kept: dict[tuple[int, ...], tuple[int, ...]] = {}
            for new in sorted(grown):
                if not any(all(a <= b for a, b in zip(k, new, strict=True)) for k in kept):
                    kept[new] = grown[new]
            sums = kept
        for total, way in sums.items():
            share = self.device.share(total)
            if share < best:
                best, pick = share, way
        return best, pick

    def design(self, batch: int, pick: tuple[int, ...]) -> Design:
        """The record of a choice of options."""
        folding = tuple(int(x.folding[o]) for x, o in zip(self.layers, pick, strict=True))
        at_once = map(engine.lanes, self.workload.layers, folding)
        return Design(batch * sum(at_once), batch, folding)

    def choice(self, batch: int, pick: tuple[int, ...], share: float) -> Choice:
        """The same with its merits."""
        slowest = max(int(x.cycles[o]) for x, o in zip(self.layers, pick, strict=True))
        ms = 1e-3 / self.device.clock_mhz
        return Choice(
            self.workload.name,
            self.workload.scheme,
            "engine",
            self.design(batch, pick),
            1e3 * batch / (slowest * ms),
            len(self.layers) * slowest * ms,
            share,
        )


def _least_options(needed: np.ndarray) -> list[int]:
    """Options that no other of the layer's options dominates."""
    kept: list[int] = []
    for o in sorted(range(len(needed)), key=lambda i: tuple(needed[i])):
        if not any((needed[k] <= needed[o]).all() for k in kept):
            kept.append(o)
    return kept
