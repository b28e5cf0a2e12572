"""What a run tells the world: a JSON-lines file, TensorBoard, progress, and records as JSON."""

import contextlib
import json
import logging
import math
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from flightnn_jax import atomic
from flightnn_jax.data import DataError

_MAX_RECORD_BYTES = 1 << 24  # of config.json and its like; a network of 10,000 layers has 1 MB
_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_ON_TERMINAL = 0.5
_log = logging.getLogger(__name__)


class RunLog:
    """Writes metrics to a run's directory; a context manager.

    Every row of `metrics.jsonl` has a step. A run that goes on at a step drops the rows after it,
    so that the file is that of a run without a break.
    """

    def __init__(self, workdir: Path, start: int) -> None:
        """Opens the files.

        Args:
          workdir: the run's directory.
          start: the step at which it goes on.
        """
        self._workdir = workdir
        path = workdir / "metrics.jsonl"
        atomic.write(
            path, "".join(json.dumps(finite(row)) + "\n" for row in read_rows(path, start))
        )
        self._rows = path.open("a")
        self._board = _board(workdir, start)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        with self._named():
            self._rows.close()
            if self._board is not None:
                self._board.close()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Errors of a full disk with the name of the run's directory, which they lack."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._workdir)) from error

    def write(self, row: dict[str, Any]) -> None:
        """Appends a row, which has a "step"; its numbers go to TensorBoard, too, if it is there."""
        with self._named():
            self._rows.write(json.dumps(finite(row), allow_nan=False) + "\n")
            self._rows.flush()
            if self._board is not None:
                for name, value in _numbers("", row):
                    self._board.add_scalar(name, value, row["step"])
                self._board.flush()


def _board(workdir: Path, start: int) -> Any:
    """TensorBoard's writer; None, said in a warning, where tensorboardX is not installed."""
    try:  # here, because it takes a second
        from tensorboardX import SummaryWriter  # type: ignore[import-untyped]  # it has no stubs
    except ModuleNotFoundError:
        _log.warning(
            "tensorboardX is not installed, so nothing is written for TensorBoard: metrics.jsonl "
            "has the same numbers"
        )
        return None
    return SummaryWriter(str(workdir / "tensorboard"), purge_step=start + 1)


def read_rows(path: Path, last_step: int | None = None) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file up to a step; what is cut short or damaged is left out."""
    rows = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # written when the run was killed
            continue
        if not isinstance(row, dict) or type(row.get("step")) is not int:
            continue
        if last_step is None or row["step"] <= last_step:
            rows.append(row)
    return rows


def _numbers(prefix: str, value: Any) -> list[tuple[str, float]]:
    """All numbers in nested dicts and lists, with names."""
    if isinstance(value, dict):
        return [x for name, v in value.items() for x in _numbers(f"{prefix}/{name}", v)]
    if isinstance(value, list):
        return [x for i, v in enumerate(value) for x in _numbers(f"{prefix}/{i}", v)]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return []
    return [(prefix.lstrip("/"), float(value))]


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Writes a record to be read by people, too; as a whole or not at all."""
    atomic.write(path, json.dumps(finite(record), indent=1, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """The same as JSON has it: null for NaN and infinities.

    Example:
      >>> finite({"loss": float("nan"), "share": [0.5, 1]})
      {'loss': None, 'share': [0.5, 1]}
    """
    if isinstance(value, dict):
        return {name: finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> dict[str, Any]:
    """A record that was written; DataError if it is missing or damaged."""
    try:
        record = json.loads(atomic.read(path, _MAX_RECORD_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path} does not exist: is its directory the workdir of a run?") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error}): remove it and train again") from None
    if not isinstance(record, dict):
        raise DataError(
            f"{path} is damaged ({record!r:.40} is no object): remove it and train again"
        )
    return record


class Progress:
    """Rate and time left: a line that is rewritten on a terminal, plain lines elsewhere."""

    def __init__(self, start: int, stop: int, batch_size: int, out: TextIO | None = None) -> None:
        """Starts the clock.

        Args:
          start: the step at which the run goes on.
          stop: the last step.
          batch_size: images a step.
          out: where to; standard error by default.
        """
        self._start, self._stop, self._batch = start, stop, batch_size
        self._out = sys.stderr if out is None else out
        self._terminal = self._out.isatty()
        self._began = self._said = time.monotonic()

    def step(self, step: int, loss: float) -> None:
        """Says where the run is, if it has not done so lately."""
        now = time.monotonic()
        wait = _SECONDS_ON_TERMINAL if self._terminal else _SECONDS_BETWEEN_LINES
        if now - self._said < wait:
            return
        self._said = now
        rate = (step - self._start) / (now - self._began)
        left = clock((self._stop - step) / rate) if rate else "?"
        text = f"step {step}/{self._stop}  loss {loss:.3f}  {rate * self._batch:.0f} images/s"
        self._say(f"{text}  {left} left", "\r\x1b[K" if self._terminal else "")

    def line(self, text: str) -> None:
        """A line that stays."""
        self._say(text + "\n" * self._terminal, "\r\x1b[K" if self._terminal else "")

    def _say(self, text: str, before: str) -> None:
        self._out.write(before + text + "\n" * (not self._terminal))
        self._out.flush()


def clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    Example:
      >>> clock(3725.2)
      '1:02:05'
    """
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
