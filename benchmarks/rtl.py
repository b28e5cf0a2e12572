"""Simulates the Verilog of the paper's networks, with random weights, and compares every integer.

    python -m benchmarks.rtl
    python -m benchmarks.rtl --networks=net2,net7 --width=64 --images=10

For each network a line: the machine, mismatches of all layers and images against the checker's
interpreter, cycles predicted and simulated, and what generation, build and run took.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from flightnn_jax import integer, rtl
from flightnn_jax.checker import interpreter, reader
from flightnn_jax.rtl import folding, simulate, timing
from tests.support.networks_at_random import random_images, random_paper

_PREDICTED = 3  # images


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--networks", default="net1,net2,net4,net5,net6,net7")
    parser.add_argument("--width", type=int, default=16, help="filters of the widest layers")
    parser.add_argument("--size", type=int, default=32, help="height and width of the images")
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--target", type=int, default=40_000, help="most cycles an image")
    parser.add_argument("--gaps", type=int, default=0, help="chance in 256 at both ends")
    given = parser.parse_args()
    print(
        "| network | layers | units | mismatches | interval | predicted | first result | predicted "
        "| generated (s) | built (s of CPU) | run (s) |"
    )
    print("|---" * 11 + "|")
    for name in given.networks.split(","):
        network = random_paper(name, given.width, given.size)
        with tempfile.TemporaryDirectory() as folder:
            print(_row(network, Path(folder), given), flush=True)


def _row(network: integer.IntegerNetwork, folder: Path, given: argparse.Namespace) -> str:
    start = time.process_time()
    folds = folding.cheapest(network, given.target)
    machine = rtl.machine_of(network, folds)
    predicted = timing.predict(machine, _PREDICTED)
    rtl.write(network, machine, folder)
    generated = time.process_time() - start
    before = _children()
    simulate.build(folder, "verilator")
    built = _children() - before
    images = random_images(network, given.images)
    integer.save(network, folder / "network.safetensors")
    expected = interpreter.run(reader.load(folder / "network.safetensors"), images)
    start = time.perf_counter()
    run = simulate.run(folder, machine, images, "verilator", rtl.Ends(given.gaps, given.gaps))
    seconds = time.perf_counter() - start
    found = simulate.differences(expected, run)
    ends = run.ends(given.images)
    units = sum(fold.lanes * fold.inputs * fold.terms for fold in folds.values())
    cells = [
        network.name,
        len(network.layers),
        units,
        f"{found.count} of {sum(np.size(x) for x in run.outputs.values()):,}",
        f"{ends[_PREDICTED - 1] - ends[_PREDICTED - 2]:,}",
        f"{predicted.interval:,}",
        f"{run.cycles['logits'][0]:,}",
        f"{predicted.first:,}",
        f"{generated:.1f}",
        f"{built:.0f}",
        f"{seconds:.1f}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def _children() -> float:
    """Seconds of CPU that programs which were started have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
