"""Seconds that a command takes to be imported, for each command, beside Python and NumPy alone.

    python -m benchmarks.imports [--rounds=9]

Each time is that of a process from its start to its end. The commands are those that start without
JAX, and two others for comparison. CPU time is told too, since other work moves it less.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from absl import app, flags

_ROUNDS = flags.DEFINE_integer("rounds", 9, "How often each is timed.", lower_bound=1)
_ROWS = {
    "Python": "",
    "NumPy": "import numpy",
    **{
        name: f"import launch.{name}, sys; assert 'jax' not in sys.modules"
        for name in (
            *("check", "compare", "explore", "pick", "sweep", "rtl"),
            *("estimate", "designs", "schemes", "audit"),
        )
    },
    "verify": "import launch.verify",
    "train": "import launch.train",
}


def main(argv: Sequence[str]) -> None:
    """Prints a row for each."""
    del argv
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in _ROWS}
    for _ in range(_ROUNDS.value):
        for name, code in _ROWS.items():
            times[name].append(_timed(code))
    print(f"{'import of':12}{'wall':>8}{'CPU':>8}   medians of {_ROUNDS.value}")
    for name, rounds in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{name:12}{wall:8.2f}{cpu:8.2f}")


def _timed(code: str) -> tuple[float, float]:
    before, began = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    wall, after = time.perf_counter() - began, os.times()
    return wall, after[2] - before[2] + after[3] - before[3]  # of the processes that ended


if __name__ == "__main__":
    app.run(main)
