"""Runs residual networks with every queue as deep as it must be, and each with one place less.

    python -m benchmarks.rtl_queues
    python -m benchmarks.rtl_queues --networks=net2,net7 --width=16 --size=32

By the formula of `flightnn_jax.rtl.queues` the machine runs, and stops for ever with one place less
in any queue. A line for each machine: its queues' depths, mismatches at these, and the queues with
which it stops. Small machines run in Icarus, one for each depth. Those of the paper's networks run
in Verilator, which takes most of the time to build: so it builds one, whose queues read from a file
which of them is told to hold a word less.
"""

import argparse
import itertools
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flightnn_jax import integer, rtl
from flightnn_jax.rtl import folding, simulate
from flightnn_jax.rtl.architecture import Machine, Queue
from tests.rtl import machines
from tests.support.networks_at_random import random_chain, random_network, random_paper

_IMAGES = 3
_CHAINS = (12, 15, 26, 31, 33, 37, 49, 51, 54)  # seeds that have residual blocks with queues


def main() -> int:
    """Prints the table; the exit code is 1 if one with its depths does not run as it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--networks", default="random,chains,net2,net6,net7")
    parser.add_argument("--width", type=int, default=8, help="filters of the widest layers")
    parser.add_argument("--size", type=int, default=16, help="height and width of the images")
    parser.add_argument("--target", type=int, default=4_000, help="most cycles of net2 to net7")
    given = parser.parse_args()
    print("| network | image | units | depths of queues | mismatches | one place less stops it |")
    print("|---" * 6 + "|")
    right = True
    for network, folds in _machines(given):
        machine = rtl.machine_of(network, folds, least=True)
        queues = [stage for stage in machine.stages if isinstance(stage, Queue)]
        tried = _of_one_build if network.name.startswith("net") else _of_builds
        runs, *less = tried(network, machine, queues)
        stops = [found for found in less if found is None]
        right = right and runs == 0
        cells = [
            network.name,
            " x ".join(map(str, network.input_shape)),
            sum(fold.lanes * fold.inputs * fold.terms for fold in machine.folds.values()),
            ", ".join(str(queue.depth) for queue in queues),
            "stops" if runs is None else runs,
            f"{len(stops)} of {len(queues)}",
        ]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    return 0 if right else 1


def _machines(
    given: argparse.Namespace,
) -> Iterator[tuple[integer.IntegerNetwork, dict[str, rtl.Fold]]]:
    """Networks and folds."""
    for name in given.networks.split(","):
        if name == "random":
            for size, seed in ((8, None), (8, 1), (16, None), (16, 2)):
                network = random_network(4, "resnet", "shift2", width=2, size=size)
                yield network, machines.folds(network, seed)
        elif name == "chains":
            for seed in _CHAINS:
                network = random_chain(seed, windows=(1, 3, 5))
                yield network, machines.folds(network, seed)
        else:
            network = random_paper(name, given.width, given.size)
            yield network, folding.cheapest(network, given.target)


Found = Iterator[int | None]
"""Mismatches of a machine, then of it with each queue a place shorter; None where it stops."""


def _of_builds(network: integer.IntegerNetwork, machine: Machine, queues: list[Queue]) -> Found:
    """Each generated and built."""
    shorter = (machines.with_depth(machine, queue.name) for queue in queues)
    for one in itertools.chain([machine], shorter):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            rtl.write(network, one, folder)
            simulate.build(folder, "icarus")
            yield _mismatches(network, one, folder, "icarus")


def _of_one_build(network: integer.IntegerNetwork, machine: Machine, queues: list[Queue]) -> Found:
    """One machine, whose queues are told."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rtl.write(network, machine, folder)
        _obey(folder)
        simulate.build(folder, "verilator")
        for told in [None, *range(len(queues))]:
            less = "".join(f"{int(i == told)}\n" for i in range(len(queues)))
            (folder / "less.hex").write_text(less)
            yield _mismatches(network, machine, folder, "verilator")


def _obey(folder: Path) -> None:
    """Queues that hold a word less where less.hex says so, by their numbers."""
    module, top = folder / "modules" / "fl_fifo.v", folder / "top.v"
    text, numbers = module.read_text(), itertools.count()
    placed = re.sub(r"fl_fifo #\(", lambda m: f"{m[0]} .NUMBER({next(numbers)}),", top.read_text())
    most = "localparam [CW-1:0] MOST = DEPTH[CW-1:0];"
    last = "parameter BLOCK = 0\n"
    if text.count(most) != 1 or text.count(last) != 1:
        raise ValueError(f"{module.name} has changed: {most!r} and {last!r} must be in it once")
    own = f"""reg less[0:{next(numbers) - 1}];
  initial $readmemh("less.hex", less);
  wire [CW-1:0] MOST = DEPTH[CW-1:0] - {{{{(CW - 1) {{1'b0}}}}, less[NUMBER]}};"""
    text = text.replace(last, "parameter BLOCK = 0,\n    parameter NUMBER = 0\n")
    module.write_text(text.replace(most, own))
    top.write_text(placed)


def _mismatches(
    network: integer.IntegerNetwork, machine: Machine, folder: Path, tool: str
) -> int | None:
    """Integers that differ; None where the machine stops."""
    images = machines.images(network, _IMAGES)
    # A running one is never so long without a beat.
    patience = len(machine.stages) * folding.interval(machine) + 1000
    try:
        run = simulate.run(folder, machine, images, tool, rtl.Ends(patience=patience))
    except rtl.StoppedError:
        return None
    return simulate.differences(machines.expected(network, images, folder), run).count


if __name__ == "__main__":
    raise SystemExit(main())
