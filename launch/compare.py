"""Compares runs that are done: a table of accuracy, mean k and storage, and pictures.

    python -m launch.compare /tmp/runs/*
    python -m launch.compare results/net4

A directory of several runs, such as a sweep, gives a table over seeds: accuracy with its standard
error, the gap to full precision, and costs by the models of hardware. Networks of the paper stand
beside its tables.

Pictures, PNG and SVG, go to plots/compared in the first workdir, or to --out. For one workdir they
are those that the end of its training drew, in plots: accuracy and loss over epochs, k by layer and
over epochs, thresholds. Without matplotlib a line says so. Neither JAX nor training is needed.
"""

from collections.abc import Sequence
from pathlib import Path

from flightnn_jax import explore
from flightnn_jax.hardware import device

from . import command
from .command import flags

_OUT = flags.DEFINE_string("out", None, "Directory of the pictures.")
_DEVICE = flags.DEFINE_string(
    "device", "XC7Z045", "FPGA for the speed of a directory's runs: a name, or a .json file."
)


def table(runs: Sequence[explore.Result]) -> str:
    """A row for each run."""
    wide = max(12, *(len(run.name) for run in runs))
    rows = [f"{'model':{wide}}{'accuracy (%)':>14}{'mean k':>9}{'weights (kB)':>14}"]
    for run in runs:
        mean_k = "" if run.mean_k is None else f"{run.mean_k:.2f}"
        storage = run.storage_bits / 8e3
        rows.append(f"{run.name:{wide}}{100 * run.top1:14.2f}{mean_k:>9}{storage:14.1f}")
    return "\n".join(rows)


def over_seeds(directory: str) -> str:
    """A row for each recipe of the runs below a directory, and the paper's tables beside."""
    from flightnn_jax.explore import costs, groups, members  # here: a single run needs none
    from flightnn_jax.paper import reproduction

    found, notes = members.find(directory)
    board = device.named(_DEVICE.value)
    own = [costs.of(member, board, ("kb", "nj", "images_per_s")) for member in found]
    some = groups.groups(found)
    parts = [groups.text(some, own), reproduction.text(some), *(f"note: {n}" for n in notes)]
    return "\n\n".join(part for part in parts if part)


def main(directories: Sequence[str]) -> None:
    """Compares the runs in these directories."""
    alone = []
    for directory in directories:
        if Path(directory).is_dir() and not (Path(directory) / "result.json").exists():
            print(over_seeds(directory))
        else:
            alone.append(directory)
    if alone:
        runs = explore.read_all(alone)
        print(table(runs))
        print(explore.draw(runs, _OUT.value))


if __name__ == "__main__":
    command.run(main, arguments="the workdirs of runs that are done, or directories of several")
