"""Whether trained networks keep budgets in units of hardware, and what that does for accuracy.

    python -m benchmarks.budgets --out=DIR [--seeds=4] [--epochs=10] [--bounds="2 kB" ...]
        [--mean_k=1.45,1.53,1.6]

Trains members on the digits at 8x8, network 4 at width 16: three bounds in each of five units, or
those that are given, and a mean k of 1 to 2 to compare with. Members that are done in DIR are not
trained again. Prints a row
for each bound: the share of it that is used, least and most of the seeds; accuracy and loss on the
test images; and what a mean k reaches at the same cost, between its members, for each seed. Of a
throughput, which k changes in steps, that is the largest mean k whose member keeps the bound, and
100 % used is the least speed that keeps it and that passes over the filters of a layer give.
"""

import dataclasses
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import app, flags, logging

from flightnn_jax import networks
from flightnn_jax.hardware import demands, device, limits, workload
from flightnn_jax.hardware.styles import engine
from flightnn_jax.training import costs, runs, step
from flightnn_jax.training.config import Config

_OUT = flags.DEFINE_string("out", None, "Directory of the members.", required=True)
_SEEDS = flags.DEFINE_integer("seeds", 4, "Members of each budget.", 1)
_EPOCHS = flags.DEFINE_integer("epochs", 10, "Of each training.", 1)
_SOME = flags.DEFINE_multi_string("bounds", [], "Bounds to be tried, of those below; else all.")

_MEAN_K = flags.DEFINE_list("mean_k", None, "To compare with; those below if none are given.")

BASE = Config(
    network="net4",
    width=16,
    dataset="digits",
    image_size=8,
    mode="budget",
    epochs=10,
    batch_size=64,
    learning_rate=1e-2,
    evaluate_every=10,
)
SMALL = "iCE40UP5K"
BOUNDS: tuple[tuple[str, dict[str, Any]], ...] = (
    *((f"{n} nJ", {}) for n in (19, 23, 27)),
    *((f"{n} kB", {}) for n in (1.7, 2, 2.4)),
    *((f"{n} LUT", {}) for n in (26000, 29000, 33000)),
    *((f"{n} cycles", {"style": "array"}) for n in (240, 290, 350)),
    *((f"{n} images/s", {"device": SMALL}) for n in (9500, 8000, 6500)),
)
MEAN_K = (1.0, 1.1, 1.2, 1.3, 1.45, 1.53, 1.6, 1.75, 2.0)


class Row(NamedTuple):
    """A trained member.

    Attributes:
      budget: as in its config.
      seed: of its training.
      top1: on the test images, in percent.
      loss: on them.
      values: {budget: what it costs in the unit of that bound}.
      kept: whether it keeps its own.
    """

    budget: str
    seed: int
    top1: float
    loss: float
    values: dict[str, float]
    kept: bool


def main(argv: Sequence[str]) -> None:
    """Trains what is missing and prints the table."""
    del argv
    logging.set_verbosity(logging.WARNING)
    mesh = step.data_mesh(jax.devices()[:1])
    bounds = [each for each in BOUNDS if not _SOME.value or each[0] in _SOME.value]
    budgets: list[tuple[str | float, dict[str, Any]]] = [*bounds, *((k, {}) for k in _means())]
    rows = [
        _member(budget, fields, seed, mesh)
        for seed in range(_SEEDS.value)
        for budget, fields in budgets
    ]
    bounded = [row for row in rows if row.budget in dict(BOUNDS)]
    print(f"{len(bounded)} members, {sum(not row.kept for row in bounded)} broken bounds")
    print("| budget | used (%) | mean k's top 1, loss | its own | difference |")
    print("|---|---|---|---|---|")
    for budget, _ in bounds:
        print(_line(budget, rows))


def _means() -> list[float]:
    """The controls."""
    return list(MEAN_K) if _MEAN_K.value is None else [float(k) for k in _MEAN_K.value]


def _member(budget: str | float, fields: dict[str, Any], seed: int, mesh: jax.sharding.Mesh) -> Row:
    name = f"{budget}-e{_EPOCHS.value}-s{seed}".replace(" ", "").replace("/", "-per-")
    workdir = Path(_OUT.value) / name
    done = workdir / "row.json"
    if not done.exists():
        asked = {"budget": budget, "seed": seed, "epochs": _EPOCHS.value, **fields}
        config = Config.from_dict({**BASE.to_dict(), **asked})
        run = runs.prepare(config, workdir, mesh=mesh)
        record = runs.train(run)
        if record is None:
            raise KeyboardInterrupt
        work = costs.work_of(run.model, run.last_state())
        values = {text: _value(work, text, other) for text, other in BOUNDS}
        kept = all(each["kept"] for each in record.get("budgets", []))
        test = record["test"]
        row = Row(str(budget), seed, 100 * test["top1"], test["loss"], values, kept)
        done.write_text(json.dumps(row._asdict()))
    return Row(**json.loads(done.read_text()))


def _value(work: Any, text: str, fields: dict[str, Any]) -> float:
    (demand,) = demands.parse(text)
    style = demands.style_of((demand,), fields.get("style"))
    board = device.named(fields.get("device", BASE.device))
    return limits.cost(work, demand.unit, limits.Target(style, board))


def _line(budget: str, rows: list[Row]) -> str:
    (demand,) = demands.parse(budget)
    own = [row for row in rows if row.budget == budget]
    all_of_it = _least_step(demand) if demand.unit.at_least else demand
    used = [100 * all_of_it.share(row.values[budget]) for row in own]
    others = []
    for row in own:
        controls = [r for r in rows if r.budget in map(str, _means()) and r.seed == row.seed]
        controls.sort(key=lambda r: float(r.budget))
        if demand.unit.at_least:
            kept = [r for r in controls if demand.is_met(r.values[budget])]
            others.append((kept[-1].top1, kept[-1].loss))
            continue
        cost = [r.values[budget] for r in controls]
        order = np.argsort(cost)
        at = [np.interp(row.values[budget], np.take(cost, order), np.take(y, order))
              for y in ([r.top1 for r in controls], [r.loss for r in controls])]  # fmt: skip
        others.append((float(at[0]), float(at[1])))
    gains = [row.top1 - other[0] for row, other in zip(own, others, strict=True)]
    falls = [row.loss - other[1] for row, other in zip(own, others, strict=True)]
    return (
        f"| {budget}{_told(demand, all_of_it)} | {min(used):.1f} to {max(used):.1f} | "
        f"{statistics.mean(o[0] for o in others):.2f}, {statistics.mean(o[1] for o in others):.3f}"
        f" | {statistics.mean(r.top1 for r in own):.2f}, {statistics.mean(r.loss for r in own):.3f}"
        f" | {_spread(gains, 2)} points, {_spread(falls, 3)} |"
    )


def _told(demand: demands.Demand, all_of_it: demands.Demand) -> str:
    """The step of a throughput in words."""
    return "" if demand == all_of_it else f" ({all_of_it.bound:,.0f})"


def _least_step(demand: demands.Demand) -> demands.Demand:
    """The least throughput that keeps a bound, of all that engines of a layer may have."""
    clock = 1e6 * device.named(SMALL).clock_mhz
    network = networks.network("net4", width=BASE.width, input_shape=(8, 8, 3))
    layers = workload.from_network(network, "lightnn1").layers
    times = {
        engine.cycles(dataclasses.replace(layer, k=(2,) * two + (1,) * (layer.filters - two)), fold)
        for layer in layers
        for fold in engine.foldings(layer)
        for two in range(layer.filters + 1)
    }
    return demand._replace(bound=min(clock / t for t in times if demand.is_met(clock / t)))


def _spread(values: list[float], digits: int) -> str:
    """A mean and its standard error."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):+.{digits}f} +- {error:.{digits}f}"


if __name__ == "__main__":
    app.run(main)
