"""The engines of all layers as one pipeline: exactly the least that each speed and batch takes.

All stages hand over together, so with B images a batch, T the cycles of the slowest stage and L
stages, images a second = f B / T and latency = L T / f. Only sums of resources join the layers
then. The least utilization is computed for every T that a layer can have, and every B. If each
resource could choose its own foldings, the sums would be a lower bound. The foldings that are best
for one resource often meet that bound, and are optimal then. Where they do not, `Pipeline._least`
enumerates the sums that may be better, which is exact too.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flightnn_jax import pareto
from flightnn_jax.hardware import asic
from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.records import Choice, Design
from flightnn_jax.hardware.workload import Workload

_WEIGHTS = np.array([w for w in itertools.product(range(5), repeat=4) if sum(w) == 4]) / 4
"""Of the four resources: everything in one of them, and steps of a quarter between."""

_MAX_DESIGNS = 50_000  # times of a stage and batches; the paper's networks have up to 3,500
_MAX_SUMS = 2_000_000  # of resources, at once in memory

_SLACK = 1e-13
"""Above rounding errors of a mean, below the least difference of two utilizations."""


class Stages(NamedTuple):
    """What a layer's stage can be: its foldings, the fastest first.

    Attributes:
      folding: (n,)
      cycles: (n,), ascending.
      lanes: (n,), units of a layer at once, for each image of the batch.
      shared: (n, 4), in the order of `Resources`, whatever the batch.
      each: (n, 4), for each image of the batch.
    """

    folding: np.ndarray
    cycles: np.ndarray
    lanes: np.ndarray
    shared: np.ndarray
    each: np.ndarray


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
    """All designs of a workload on a device in which every layer has a stage of its own."""

    def __init__(
        self, workload: Workload, device: Device, style: str, layers: Sequence[Stages]
    ) -> None:
        self.workload, self.device, self.style, self.layers = workload, device, style, layers
        self.energy_nj = asic.energy(workload).value
        have = np.array(list(device.available().values()), float)
        # Where the device has nothing of a resource, the least need is beyond all bounds.
        self.have = np.where(have > 0, have, 1e-300)
        slowest_start = max(int(x.cycles[0]) for x in self.layers)
        every = np.unique(np.concatenate([x.cycles for x in self.layers]))
        self.times = every[every >= slowest_start]
        # Of a layer's options, those up to last[t] are through within times[t].
        self.last = [np.searchsorted(x.cycles, self.times, side="right") - 1 for x in self.layers]

    def all(self) -> list[Choice]:
        """A design of least utilization for each time and batch, without some dominated ones."""
        batches = [(batch, self.bounds(batch, least)) for batch, least in self.batches()]
        speed = np.concatenate([batch / self.times for batch, _ in batches])
        time = np.tile(self.times, len(batches))
        reached = np.concatenate([bounds.share.min(axis=0) for _, bounds in batches])
        choices = []
        for batch, bounds in batches:
            for t in np.flatnonzero(bounds.least <= 1):
                if bounds.share[:, t].min() > bounds.least[t]:
                    # Not settled by its bounds; nor need it be if its best is reached elsewhere.
                    as_fast = (speed >= batch / self.times[t]) & (time <= self.times[t])
                    if (as_fast & (reached <= bounds.least[t])).any():
                        continue
                share, pick = self.exact(batch, int(t), bounds)
                if share <= 1:
                    choices.append(self.choice(batch, pick, share))
        if not choices:
            raise self.misfit()
        return choices

    def fastest(self) -> Design:
        """The least time an image, and the least utilization with it, of all that fit."""
        best: tuple[float, float] = (math.inf, math.inf)
        chosen: tuple[int, tuple[int, ...]] = (0, ())
        for batch, least in self.batches():
            bounds = None
            for t in np.flatnonzero(least <= 1):
                time = float(self.times[t] / batch)
                if time > best[0]:
                    break
                bounds = bounds or self.bounds(batch, least)
                share, pick = self.exact(batch, int(t), bounds)
                if share <= 1:
                    if (time, share) < best:
                        best, chosen = (time, share), (batch, pick)
                    break
        if not chosen[1]:
            raise self.misfit()
        return self.design(*chosen)

    def batches(self) -> Iterator[tuple[int, np.ndarray]]:
        """Batches of which the slowest design may fit, and the bound of utilization for each time.

        Larger ones take more of everything.

        Raises:
          ValueError: if there is none.
        """
        batch, least = 1, self.least(1)
        if least[-1] > 1:
            raise self.misfit()
        while least[-1] <= 1:
            if batch * len(self.times) > _MAX_DESIGNS:
                raise self.too_many()
            yield batch, least
            batch += 1
            least = self.least(batch)

    def misfit(self) -> ValueError:
        """The error for a workload that does not fit, with the least that each resource needs."""
        needed = sum(np.min(x.shared + x.each, axis=0) for x in self.layers)
        short = self.device.shortage(np.asarray(needed).tolist())
        return ValueError(
            f"{self.workload.name} in {self.workload.scheme} does not fit on {self.device.name} "
            f"with an engine for every layer, which takes at least "
            f"{' and '.join(short.values()) or 'more than there is in every folding'}; choose the "
            "style array, fewer layers, or a larger device"
        )

    def too_many(self) -> ValueError:
        """The error for a search that would take too long to be exact."""
        return ValueError(
            f"{self.workload.name} in {self.workload.scheme} on {self.device.name}: more than "
            f"{_MAX_DESIGNS:,} designs would have to be compared: choose the style array, a "
            "smaller network, or a device with fewer resources"
        )

    def least(self, batch: int) -> np.ndarray:
        """(times,): utilization with the best foldings for each resource alone, a lower bound."""
        sums = np.zeros((len(self.times), 4))
        for options, last in zip(self.layers, self.last, strict=True):
            needed = options.shared + batch * options.each
            sums += np.minimum.accumulate(needed, axis=0)[last]
        return self._shares(sums)

    def bounds(self, batch: int, least: np.ndarray) -> Bounds:
        """The bound, and the choices that are best for one resource, for all times at once."""
        chosen = np.zeros((4, len(self.times), 4))
        picks = np.zeros((4, len(self.layers), len(self.times)), int)
        for i, options in enumerate(self.layers):
            needed = options.shared + batch * options.each
            # Where a resource does not decide, what takes less of all of them does.
            size = (needed / (1 + needed.sum(axis=0))).sum(axis=1) / 8
            for r in range(4):
                merit = needed[:, r] + size
                best = np.minimum.accumulate(merit)
                first = np.maximum.accumulate(np.where(merit == best, np.arange(len(merit)), 0))
                picks[r, i] = first[self.last[i]]
                chosen[r] += needed[picks[r, i]]
        return Bounds(least, np.array([self._shares(c) for c in chosen]), picks)

    def _shares(self, needed: np.ndarray) -> np.ndarray:
        """`Device.share` of each row."""
        return (needed / self.have).max(axis=1)

    def exact(self, batch: int, t: int, bounds: Bounds) -> tuple[float, tuple[int, ...]]:
        """The least utilization within times[t], and each layer's option."""
        r = int(np.argmin(bounds.share[:, t]))
        share, pick = float(bounds.share[r, t]), tuple(int(p) for p in bounds.picks[r, :, t])
        return (share, pick) if share == bounds.least[t] else self._least(batch, t, share, pick)

    def _least(
        self, batch: int, t: int, best: float, pick: tuple[int, ...]
    ) -> tuple[float, tuple[int, ...]]:
        """Layer by layer all sums of resources, without those that cannot beat `best`.

        A utilization is no less than any weighted mean of the shares of resources, and the least
        mean of the layers to come is a sum of their own least means. So a sum is dropped if for
        some weights its mean, with the least of the rest, is `best` or more. Utilizations differ
        by more than `_SLACK` or not at all: by 1 / (LUTs x FFs) at least.
        """
        needed = [
            (x.shared + batch * x.each)[: last[t] + 1]
            for x, last in zip(self.layers, self.last, strict=True)
        ]
        means = [(n / self.have) @ _WEIGHTS.T for n in needed]
        for w in range(len(_WEIGHTS)):  # a better start: all layers choose by the same weights
            way = tuple(int(m[:, w].argmin()) for m in means)
            total = sum(n[o] for n, o in zip(needed, way, strict=True))
            share = float(self._shares(total[None])[0])
            if share < best:
                best, pick = share, way
        rest = np.cumsum([m.min(axis=0) for m in means[::-1]], axis=0)[::-1]
        rest = np.concatenate([rest[1:], np.zeros((1, len(_WEIGHTS)))])
        sums, steps = np.zeros((1, 4), needed[0].dtype), []
        for options, after in zip(needed, rest, strict=True):
            kept = pareto.undominated(options)
            if len(sums) * len(kept) > _MAX_SUMS:
                raise self.too_many()
            grown = (sums[:, None] + options[None, kept]).reshape(-1, 4)
            bound = ((grown / self.have) @ _WEIGHTS.T + after).max(axis=1)
            alive = np.flatnonzero(bound < best - _SLACK)
            sums, first = np.unique(grown[alive], axis=0, return_index=True)
            steps.append((kept, alive[first]))
            if not len(sums):
                return best, pick
        shares = self._shares(sums)
        at = int(shares.argmin())
        way = ()
        for kept, origin in reversed(steps):
            at, option = divmod(int(origin[at]), len(kept))
            way = (kept[option], *way)
        return float(shares.min()), way

    def design(self, batch: int, pick: tuple[int, ...]) -> Design:
        """The record of a choice of options."""
        folding = tuple(int(x.folding[o]) for x, o in zip(self.layers, pick, strict=True))
        at_once = sum(int(x.lanes[o]) for x, o in zip(self.layers, pick, strict=True))
        return Design(batch * at_once, batch, folding)

    def choice(self, batch: int, pick: tuple[int, ...], share: float) -> Choice:
        """The same with its merits."""
        slowest = max(int(x.cycles[o]) for x, o in zip(self.layers, pick, strict=True))
        ms = 1e-3 / self.device.clock_mhz
        return Choice(
            self.workload.name,
            self.workload.scheme,
            self.style,
            self.design(batch, pick),
            images_per_s=1e3 * batch / (slowest * ms),
            latency_ms=len(self.layers) * slowest * ms,
            utilization=share,
            energy_nj=self.energy_nj,
        )
