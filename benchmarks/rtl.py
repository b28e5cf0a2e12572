"""Simulates the Verilog of the paper's networks, with random weights, and compares every integer.

    python -m benchmarks.rtl
    python -m benchmarks.rtl --networks=net2,net7 --width=64 --images=10
    python -m benchmarks.rtl --integers=net1.safetensors --dataset=cifar10 --images=1000

With --integers the network of a file, on the first images of a data set's test split. For each
network a line: the machine, mismatches of all layers and images against the checker's interpreter,
cycles predicted and simulated, and what generation, build and run took.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from flightnn_jax import data, integer, rtl
from flightnn_jax.checker import interpreter, reader
from flightnn_jax.rtl import folding, simulate, timing
from tests.support.networks_at_random import random_images, random_paper

_PREDICTED = 3  # images
_AT_ONCE = 50  # images, of which each layer's beats are kept in files


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--networks", default="net1,net2,net4,net5,net6,net7")
    parser.add_argument("--integers", help="file of a network, instead of networks by name")
    parser.add_argument("--dataset", help="of the images of --integers; noise by default")
    parser.add_argument("--data_dir", help="of data sets")
    parser.add_argument("--width", type=int, default=16, help="filters of the widest layers")
    parser.add_argument("--size", type=int, default=32, help="height and width of the images")
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--target", type=int, default=40_000, help="most cycles an image")
    parser.add_argument("--gaps", type=int, default=0, help="chance in 256 at both ends")
    given = parser.parse_args()
    print(
        "| network | layers | units | images | mismatches | interval | predicted | first result "
        "| predicted | generated (s) | built (s of CPU) | run (s) |"
    )
    print("|---" * 12 + "|")
    for network in _networks(given):
        with tempfile.TemporaryDirectory() as folder:
            print(_row(network, Path(folder), given), flush=True)


def _networks(given: argparse.Namespace) -> Iterator[integer.IntegerNetwork]:
    if given.integers is not None:
        yield integer.load(given.integers)
        return
    for name in given.networks.split(","):
        yield random_paper(name, given.width, given.size)


def _images(network: integer.IntegerNetwork, given: argparse.Namespace) -> np.ndarray:
    """[images, *input_shape] uint8."""
    if given.dataset is None:
        return random_images(network, given.images)
    test = data.find(given.dataset, data_dir=given.data_dir).open("test")
    images, _ = test.read(np.arange(given.images))
    return images


def _row(network: integer.IntegerNetwork, folder: Path, given: argparse.Namespace) -> str:
    images = _images(network, given)
    start = time.process_time()
    folds = folding.cheapest(network, given.target)
    machine = rtl.machine_of(network, folds)
    predicted = timing.predict(machine, _PREDICTED)
    rtl.write(network, machine, folder)
    generated = time.process_time() - start
    before = _children()
    simulate.build(folder, "verilator")
    built = _children() - before
    integer.save(network, folder / "network.safetensors")
    right = reader.load(folder / "network.safetensors")
    ends = rtl.Ends(given.gaps, given.gaps)
    seconds, compared, mismatches, cycles = 0.0, 0, 0, np.array([])
    for i in range(0, len(images), _AT_ONCE):
        some = images[i : i + _AT_ONCE]
        start = time.perf_counter()
        run = simulate.run(folder, machine, some, "verilator", ends)
        seconds += time.perf_counter() - start
        mismatches += simulate.differences(interpreter.run(right, some), run).count
        compared += sum(np.size(x) for x in run.outputs.values())
        if i == 0:
            cycles = np.append(run.cycles["logits"][0], run.ends(len(some))[:_PREDICTED])
    units = sum(fold.lanes * fold.inputs * fold.terms for fold in folds.values())
    cells = [
        network.name,
        len(network.layers),
        units,
        len(images),
        f"{mismatches:,} of {compared:,}",
        f"{cycles[-1] - cycles[-2]:,}",
        f"{predicted.interval:,}",
        f"{cycles[0]:,}",
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
