"""Runs that are done: read, compared, drawn, explored. Neither JAX nor training is needed.

    from flightnn_jax import explore

    runs = explore.read_all(["/tmp/runs/lightnn1", "/tmp/runs/flightnn"])
    print(explore.draw(runs))

One run is drawn by itself, several are compared. `members` finds all runs below a directory,
`groups` takes those together that differ in the seed alone, `costs` and `fronts` say what they cost
and which are the best, `pick` takes one under bounds, and `page` makes a file to explore them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flightnn_jax.explore.results import Curve, Layer, Result, ResultError, read, read_all
from flightnn_jax.lazy import getter

if TYPE_CHECKING:
    from flightnn_jax.explore.members import Member
    from flightnn_jax.hardware.records import Number
else:
    _MODULES = ("commands", "costs", "fronts", "groups", "members", "page", "pick")
    __getattr__ = getter(__name__, {name: name for name in _MODULES})

__all__ = ["Curve", "Layer", "Result", "ResultError", "draw", "draw_fronts", "read", "read_all"]


def draw(runs: Sequence[Result], directory: str | Path | None = None) -> str:
    """Draws one run, or compares several; PNG and SVG.

    Args:
      runs: from `read` or `read_all`.
      directory: where to; made if need be. By default `plots` in the workdir of one run, and
        `plots/compared` in that of the first of several.

    Returns:
      a line that tells where the pictures are, or why there are none. What could not be read
      stands in lines before it.
    """
    inside = "plots" if len(runs) == 1 else "plots/compared"
    directory = runs[0].workdir / inside if directory is None else Path(directory)
    notes = "".join(f"{note}\n" for run in runs for note in run.notes)
    try:
        from flightnn_jax.explore import plots  # here: matplotlib is loaded to draw, and an extra
    except ModuleNotFoundError as error:
        return notes + _without(
            error, f"give the command compare {' '.join(str(run.workdir) for run in runs)}"
        )
    figures = plots.pictures(runs)
    if not figures:
        return notes + "no pictures: there is nothing to draw"
    try:
        plots.save(figures, directory)
    except OSError as error:
        return notes + f"no pictures: {error}: choose a directory by --out of the command compare"
    return f"{notes}pictures: {directory}"


def draw_fronts(
    members: "Sequence[Member]",
    costs: "Sequence[Mapping[str, Number]]",
    device: str,
    directory: str | Path,
) -> str:
    """Draws accuracy against storage, energy, tables and throughput; PNG and SVG.

    Args:
      members: of a sweep.
      costs: of each, from `costs.of`.
      device: the name of the one whose throughput they have.
      directory: where to; made if need be.

    Returns:
      a line that tells where the pictures are, or why there are none.
    """
    try:
        from flightnn_jax.explore import front_plots, plots  # here, as in `draw`
    except ModuleNotFoundError as error:
        return _without(error, "give the command explore again")
    try:
        plots.save(front_plots.pictures(members, costs, device), Path(directory))
    except OSError as error:
        return f"no pictures: {error}: choose a directory by --plots of the command explore"
    return f"pictures: {directory}"


def _without(error: ModuleNotFoundError, remedy: str) -> str:
    """What to tell where matplotlib is missing; another missing module is raised."""
    if (error.name or "").partition(".")[0] != "matplotlib":
        raise error
    return (
        f"no pictures: matplotlib is not installed: pip install 'flightnn-jax[plots]', and {remedy}"
    )
