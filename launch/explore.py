"""Writes one HTML file in which the finished runs of a directory are explored, and draws fronts.

    python -m launch.explore /tmp/sweep --out=sweep.html

The file needs no network and no other file. It shows accuracy against storage, energy, speed and
the resources of a device, with every Pareto-optimal design of each network: docs/explorer.md.
Fronts are printed, and drawn into --plots where matplotlib is installed.
"""

from collections.abc import Sequence
from pathlib import Path

from flightnn_jax import atomic, explore
from flightnn_jax.explore import costs, fronts, members, page
from flightnn_jax.hardware import device

from . import command, program
from .command import flags

_OUT = flags.DEFINE_string("out", None, "The HTML file; DIR/explorer.html by default.")
_DEVICES = flags.DEFINE_list(
    "devices",
    [d.name for d in device.DEVICES],
    "FPGAs, the first for pictures: names, or .json files.",
)
_STYLES = flags.DEFINE_list(
    "styles", ["engine", "hardwired", "array"], f"Styles of design: {', '.join(costs.STYLES)}."
)
_PLOTS = flags.DEFINE_string("plots", None, "Directory of the pictures; beside --out by default.")


def main(directories: Sequence[str]) -> None:
    """Writes the page of a directory."""
    if len(directories) != 1:
        raise command.UsageError(f"give one directory of runs, not {len(directories)}")
    boards = [device.named(name) for name in _DEVICES.value]
    unknown = [style for style in _STYLES.value if style not in costs.STYLES]
    if unknown:
        raise ValueError(f"style {unknown[0]!r} is unknown: choose of {', '.join(costs.STYLES)}")
    found, notes = members.find(directories[0])
    own = [costs.of(member, boards[0]) for member in found]
    print(fronts.text(found, own))
    for note in notes:
        print(f"note: {note}")
    out = Path(_OUT.value or Path(directories[0]) / "explorer.html")
    text = page.page(
        Path(directories[0]).resolve().name,
        found,
        boards,
        _STYLES.value,
        program.this(),
        notes,
    )
    atomic.write(out, text)
    plots = Path(_PLOTS.value or out.with_suffix(""))
    print(explore.draw_fronts(found, own, boards[0].name, plots))
    print(f"explorer: {out} ({len(text.encode()) / 1e6:.2f} MB)")


if __name__ == "__main__":
    command.run(main, arguments="a directory of runs that are done")
