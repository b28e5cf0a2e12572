"""Prints a table of runs that are done: accuracy, mean k and storage of each.

python -m launch.compare /tmp/runs/*
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flightnn_jax.training import runlog

from . import command


def table(records: Sequence[dict[str, Any]]) -> str:
    """A row for each record of `runs.run`."""
    rows = [f"{'model':12}{'accuracy (%)':>14}{'mean k':>9}{'weights (kB)':>14}"]
    for record in records:
        mean_k = "" if record["mean_k"] is None else f"{record['mean_k']:.2f}"
        accuracy, storage = 100 * record["test"]["top1"], record["storage_bits"] / 8e3
        rows.append(f"{record['scheme']:12}{accuracy:14.2f}{mean_k:>9}{storage:14.1f}")
    return "\n".join(rows)


def main(workdirs: Sequence[str]) -> None:
    """Compares the runs in these workdirs."""
    print(table([runlog.read_json(Path(workdir) / "result.json") for workdir in workdirs]))


if __name__ == "__main__":
    command.run(main, arguments="the workdirs of runs that are done")
