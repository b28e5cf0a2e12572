"""Prints the best finished run of a directory under bounds, and the commands that build it.

    python -m launch.pick /tmp/sweep --max_nj=300 --min_images_per_s=100000 --max_kb=6

The best is that of the highest validation accuracy; its test accuracy is printed. Every
Pareto-optimal design of a network is tried on --device in --style.
"""

from collections.abc import Sequence

from flightnn_jax.explore import commands, costs, members, pick
from flightnn_jax.hardware import device

from . import command, program
from .command import flags

_KB = flags.DEFINE_float("max_kb", None, "Of weights.", lower_bound=0)
_NJ = flags.DEFINE_float("max_nj", None, "For an image, on a 65-nm ASIC.", lower_bound=0)
_SPEED = flags.DEFINE_float("min_images_per_s", None, "Of a design.", lower_bound=0)
_MS = flags.DEFINE_float("max_ms", None, "For a batch.", lower_bound=0)
_LUT = flags.DEFINE_float("max_lut", None, "Of a design.", lower_bound=0)
_SHARE = flags.DEFINE_float(
    "max_share", None, "Of the device's scarcest resource, 0 to 1.", lower_bound=0, upper_bound=1
)
_DEVICE = flags.DEFINE_string("device", "XC7Z045", "An FPGA's name, or a .json file of one.")
_STYLE = flags.DEFINE_enum("style", "engine", costs.STYLES, "Style of the design.")

_SHOWN = 5  # of the runs that were passed over


def main(directories: Sequence[str]) -> None:
    """Picks from a directory."""
    if len(directories) != 1:
        raise command.UsageError(f"give one directory of runs, not {len(directories)}")
    board = device.named(_DEVICE.value)
    bounds = pick.Bounds(*(f.value for f in (_KB, _NJ, _SPEED, _MS, _LUT, _SHARE)))
    found, notes = members.find(directories[0])
    for note in notes:
        print(f"note: {note}")
    chosen, passed = pick.best(found, board, _STYLE.value, bounds)
    some = [*passed[:_SHOWN], *[f"and {len(passed) - _SHOWN} others"] * (len(passed) > _SHOWN)]
    if chosen is None:
        raise ValueError(
            f"no run meets the bounds: loosen one. The best by validation: {'; '.join(some)}"
        )
    for line in some:
        print(f"better, but beyond the bounds: {line}")
    print(pick.text(chosen, board))
    this = program.this()
    build = commands.build(chosen.member, board.name, _STYLE.value, this)
    for title, lines in (("made by", commands.made(chosen.member, this)), ("build it", build)):
        if lines:
            print(f"\n{title}:\n" + "\n".join(lines))


if __name__ == "__main__":
    command.run(main, arguments="a directory of runs that are done")
