"""Compares runs that are done: a table of accuracy, mean k and storage, and pictures.

    python -m launch.compare /tmp/runs/*

Pictures, PNG and SVG, go to plots/compared in the first workdir, or to --out. For one workdir they
are those that the end of its training drew, in plots: accuracy and loss over epochs, k by layer and
over epochs, thresholds. Without matplotlib a line says so. Neither JAX nor training is needed.
"""

from collections.abc import Sequence

from flightnn_jax import explore

from . import command
from .command import flags

_OUT = flags.DEFINE_string("out", None, "Directory of the pictures.")


def table(runs: Sequence[explore.Result]) -> str:
    """A row for each run."""
    wide = max(12, *(len(run.name) for run in runs))
    rows = [f"{'model':{wide}}{'accuracy (%)':>14}{'mean k':>9}{'weights (kB)':>14}"]
    for run in runs:
        mean_k = "" if run.mean_k is None else f"{run.mean_k:.2f}"
        storage = run.storage_bits / 8e3
        rows.append(f"{run.name:{wide}}{100 * run.top1:14.2f}{mean_k:>9}{storage:14.1f}")
    return "\n".join(rows)


def main(workdirs: Sequence[str]) -> None:
    """Compares the runs in these workdirs."""
    runs = explore.read_all(workdirs)
    print(table(runs))
    print(explore.draw(runs, _OUT.value))


if __name__ == "__main__":
    command.run(main, arguments="the workdirs of runs that are done")
