"""Runs that are done: read, compared, drawn. Neither JAX nor training is needed.

    from flightnn_jax import explore

    runs = explore.read_all(["/tmp/runs/lightnn1", "/tmp/runs/flightnn"])
    print(explore.draw(runs))

One run is drawn by itself, several are compared.
"""

from collections.abc import Sequence
from pathlib import Path

from flightnn_jax.explore.results import Curve, Layer, Result, ResultError, read, read_all

__all__ = ["Curve", "Layer", "Result", "ResultError", "draw", "read", "read_all"]


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
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return notes + (
            "no pictures: matplotlib is not installed: pip install 'flightnn-jax[plots]', and give "
            f"the command compare {' '.join(str(run.workdir) for run in runs)}"
        )
    figures = plots.pictures(runs)
    if not figures:
        return notes + "no pictures: there is nothing to draw"
    try:
        plots.save(figures, directory)
    except OSError as error:
        return notes + f"no pictures: {error}: choose a directory by --out of the command compare"
    return f"{notes}pictures: {directory}"
