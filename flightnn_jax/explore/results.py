"""What runs tell of themselves: result.json and metrics.jsonl, read without JAX.

result.json decides whether there is a run. A metrics.jsonl that is missing or damaged only makes
curves shorter, and a note says so.
"""

import collections
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flightnn_jax import atomic
from flightnn_jax.hardware import demands

_MAX_BYTES = 1 << 26
_MAX_COUNT = 1 << 53  # whole numbers up to it are exact as floats
_MAX_K = 256
_MAX_FLOAT = 1.7e308


class ResultError(ValueError):
    """A directory that holds no record of a run."""


class Curve(NamedTuple):
    """A number over the epochs at which it was written.

    Attributes:
      epochs: [n] int, ascending.
      values: [n] float64, finite.
    """

    epochs: np.ndarray
    values: np.ndarray


class Layer(NamedTuple):
    """A layer whose weights are sums of powers of two, at the end of the training.

    Attributes:
      name: of its kernel in the parameters, such as "conv1/kernel".
      filters: how many it has.
      share: of them at k = 0, 1, 2, ...; the sum is 1.
    """

    name: str
    filters: int
    share: tuple[float, ...]

    @property
    def label(self) -> str:
        """The name for people."""
        return self.name.removesuffix("/kernel")

    @property
    def mean_k(self) -> float:
        """Terms that a filter has on average."""
        return sum(k * part for k, part in enumerate(self.share))


@dataclasses.dataclass(frozen=True)
class Result:
    """A run that is done.

    Attributes:
      workdir: its directory.
      name: its scheme, as the paper's tables call it.
      top1: of the test split, 0 to 1.
      mean_k: over all filters; None where no weights are shifts.
      storage_bits: of all kernels.
      budget: the mean k that it had to meet; None without.
      layers: of shifts, from the image on.
      rows: of metrics.jsonl, by epoch.
      notes: what could not be read, a line each.
      validation: top1 of the validation split at the end, 0 to 1; None in records without.
      config: the fields of its config, as the file has them.
    """

    workdir: Path
    name: str
    top1: float
    mean_k: float | None
    storage_bits: int
    budget: float | None
    layers: tuple[Layer, ...]
    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    validation: float | None
    config: dict[str, Any]

    def curve(self, *path: str | int) -> Curve:
        """The numbers at a place in the rows, such as "train", "loss"; rows without are skipped."""
        points = [(row["epoch"], _at(row, path)) for row in self.rows]
        kept = [(epoch, value) for epoch, value in points if value is not None]
        epochs, values = zip(*kept, strict=True) if kept else ((), ())
        return Curve(np.array(epochs, int), np.array(values, np.float64))


def read(workdir: str | Path) -> Result:
    """Reads a run's directory.

    Raises:
      ResultError: if there is no result.json, or it is no record of a run.
      OSError: if a file cannot be read.
    """
    workdir = Path(workdir)
    path = workdir / "result.json"
    try:
        record = json.loads(atomic.read(path, _MAX_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        raise ResultError(
            f"{path} does not exist: name the workdir of a run that is done"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{path} is damaged ({error}): remove it and train again") from None
    rows, notes = _rows(workdir / "metrics.jsonl")
    try:
        config = record.get("config") or {}
        budgeted = config.get("mode") == "budget" and config.get("scheme") == "flightnn"
        if budgeted and isinstance(config.get("budget"), str):  # bounds in units of hardware
            budgeted = not demands.parse(config["budget"])
        return Result(
            workdir=workdir,
            name=str(record["scheme"]),
            top1=_checked(record["test"]["top1"], 1),
            mean_k=None if record["mean_k"] is None else _checked(record["mean_k"], _MAX_K),
            storage_bits=int(_checked(record["storage_bits"], _MAX_COUNT)),
            budget=_checked(config["budget"], _MAX_K) if budgeted else None,
            layers=tuple(
                Layer(
                    str(name),
                    int(_checked(layer["filters"], _MAX_COUNT)),
                    tuple(_checked(part, 1) for part in layer["share"]),
                )
                for name, layer in record.get("layers", {}).items()
            ),
            rows=rows,
            notes=notes,
            validation=_validation(record),
            config=dict(config),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultError(
            f"{path} is no record of a run ({type(error).__name__}: {error}): remove it and train "
            "again"
        ) from None


def _validation(record: dict[str, Any]) -> float | None:
    value = _at(record, ("validation", "top1"))
    return None if value is None else _checked(value, 1)


def _checked(value: Any, largest: float) -> float:
    """A number of a record, from 0 to `largest`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= largest:
        raise ValueError(f"{value!r:.80} is no number from 0 to {largest:g}")
    return value


def read_all(workdirs: Sequence[str | Path]) -> list[Result]:
    """Reads several; where a scheme is there twice, names tell the workdirs, too.

    Raises:
      ResultError: if one of them is no run.
      OSError: if a file cannot be read.
    """
    runs = [read(workdir) for workdir in workdirs]
    schemes = collections.Counter(run.name for run in runs)
    ends = collections.Counter((run.name, run.workdir.resolve().name) for run in runs)
    named = []
    for run in runs:
        if schemes[run.name] > 1:
            end = run.workdir.resolve().name
            told = end if ends[run.name, end] == 1 else run.workdir
            run = dataclasses.replace(run, name=f"{run.name} {told}")
        named.append(run)
    return named


def _rows(path: Path) -> tuple[tuple[dict[str, Any], ...], tuple[str, ...]]:
    """The rows with an epoch, the last one of each, and what is to be said of the rest."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return (), (f"{path} does not exist: there are no curves over epochs",)
    rows = {}
    for line in lines:
        try:
            row = json.loads(line)
            rows[int(_checked(row["epoch"], _MAX_COUNT))] = row
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
            continue
    lost = len(lines) - len(rows)
    notes = (f"{path}: {lost} of {len(lines)} lines are damaged and left out",) if lost else ()
    if not rows and not lost:
        notes = (f"{path} is empty: there are no curves over epochs",)
    return tuple(rows[epoch] for epoch in sorted(rows)), notes


def _at(row: Any, path: Sequence[str | int]) -> float | None:
    """A finite number at a place in nested objects and lists; None if there is none."""
    for key in path:
        if isinstance(row, dict) and isinstance(key, str):
            row = row.get(key)
        elif isinstance(row, list) and isinstance(key, int) and key < len(row):
            row = row[key]
        else:
            return None
    if isinstance(row, bool) or not isinstance(row, int | float):
        return None
    return float(row) if -_MAX_FLOAT <= row <= _MAX_FLOAT else None
