"""Hard-wired layers: what their graphs say they take against what Yosys makes of them.

    python -m benchmarks.hardwired digits/*.safetensors --most=2000 > hardwired.txt
    python -m benchmarks.hardwired --signs

Prints the tables of docs/measurements/hardwired.md. Layers are those of the files that are named,
up to so many weights, and random ones of every scheme, input range and spacing of registers. The
model has no constants that were fitted, so each of them is one that it never saw. With --signs
layers of signs alone: as sums of numbers of two bits, and counted. Runs from the repository, for it
shares the tests' mutations.
"""

import argparse
import collections
import json
import re
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

import flightnn_jax as fl
from flightnn_jax.integer import files
from flightnn_jax.integer.certificate import Range
from flightnn_jax.rtl import affine, graph, hardwired, netlist, wiring
from flightnn_jax.rtl.graph import Cost
from flightnn_jax.rtl.modules import library
from flightnn_jax.rtl.wiring import Wires
from tests.rtl import mutants

SCRIPT = (
    "read_verilog -defer wired.v; synth_xilinx -family xc7 -flatten -top wired -noiopad; "
    "tee -o stat.json stat -json"
)
COUNTING = "".join(library()[f"{name}.v"].decode() for name in (netlist.COUNT, netlist.OFFSET))
"""Modules that wires of signs have."""

RANGES = {"image": (-128, 127), "leaky": (-16, 127), "positive": (0, 127)}
KINDS = ("L-1", "FL", "L-2", "FP4")


class Layer(NamedTuple):
    """A layer to measure.

    Attributes:
      name: what the table says.
      wires: its weights and ranges.
      every: levels between registers.
      share: whether filters share sub-sums.
    """

    name: str
    wires: Wires
    every: int = 1
    share: bool = True


def main() -> None:
    """Prints all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("files", nargs="*", help="integer networks")
    parser.add_argument("--most", type=int, default=2000, help="weights of a layer of a file")
    parser.add_argument("--yosys", default="yosys", help="the program")
    parser.add_argument("--signs", action="store_true", help="layers of signs alone")
    parser.add_argument("--mutants", type=int, default=2000, help="netlists with a fault")
    flags = parser.parse_args()
    version = subprocess.run([flags.yosys, "-V"], capture_output=True, text=True, check=True)
    print(version.stdout.strip())
    if flags.signs:
        signs(flags.yosys)
        return
    held_out = [*of_files(flags.files, flags.most), *at_random()]
    errors(held_out, flags.yosys)
    schemes(flags.yosys)
    print(json.dumps(faults(flags.mutants)))


def of_files(paths: list[str], most: int) -> Iterator[Layer]:
    """The layers of files, proven and measured with registers behind every level."""
    for path in paths:
        network = files.load(path)
        for layer in network.weighted:
            wires = wiring.of_layer(network, layer.name)
            if wires.weights.size <= most:
                yield Layer(f"{Path(path).stem}, {layer.name}", wires)


def at_random() -> Iterator[Layer]:
    """Layers of normal weights of every kind."""
    shapes = ((9, 8), (25, 6), (27, 16), (64, 10), (72, 8), (36, 16), (144, 4))
    for i, shape in enumerate(shapes):
        for j, kind in enumerate(KINDS):
            name = tuple(RANGES)[(i + j) % 3]
            every = (1, 1, 2, 0)[(i + j) % 4]
            yield Layer(f"{kind}, {name}", drawn(kind, shape, 10 * i + j, name), every)


def drawn(kind: str, shape: tuple[int, int], seed: int, inputs: str = "image") -> Wires:
    """Normal weights as the library stores them; half of FL's filters have two terms."""
    w = jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)
    if kind == "FL":
        half = shape[1] // 2
        one, two = encoded(fl.Shift(k=1), w[:, :half]), encoded(fl.Shift(k=2), w[:, half:])
        weights = np.concatenate([one, two], axis=1)
    else:
        formats = {"L-1": fl.Shift(k=1), "L-2": fl.Shift(k=2), "FP4": fl.FixedPoint(bits=4)}
        weights = encoded(formats[kind], w)
    return Wires(weights, Range(*(np.full(shape[0], end) for end in RANGES[inputs])))


def encoded(rule: fl.Format, w: jnp.ndarray) -> np.ndarray:
    """[taps, filters] the integers that weights become."""
    return rule.encode(w).to_weights().weights.integers().astype(np.int64)


def measured(text: str, yosys: str) -> Cost:
    """What Yosys makes of a module; inverters are tables, too."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        (Path(directory) / "wired.v").write_text(text + COUNTING)
        subprocess.run([yosys, "-q", "-p", SCRIPT], cwd=directory, check=True, capture_output=True)
        found = (Path(directory) / "stat.json").read_text()
    cells = json.loads(found[found.index("{") :])["modules"]["\\wired"]["num_cells_by_type"]

    def count(pattern: str) -> int:
        return sum(n for name, n in cells.items() if re.fullmatch(pattern, name))

    return Cost(count(r"LUT\d|INV"), count("FD.*"), count("SRL.*"))


def errors(layers: list[Layer], yosys: str) -> None:
    """The model's errors, layer by layer, and all together. Each layer is proven, too."""
    print("\n| layer | weights | adders | cycles | LUT, graph | Yosys | | FF, graph | Yosys | |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    luts, ffs = [], []
    for layer in layers:
        built = wiring.build(*layer.wires, share=layer.share)
        text = hardwired.verilog(built, "wired", layer.every)
        proof = affine.prove(netlist.from_verilog(text, "wired"), *layer.wires)
        said, found = graph.cost(built, layer.every), measured(text, yosys)
        lut, ff = (said[i] / found[i] - 1 if found[i] else float(said[i]) for i in (0, 1))
        luts.append(abs(lut))
        if layer.every:
            ffs.append(abs(ff))
        taps, filters = layer.wires.weights.shape
        print(
            f"| {layer.name} | {taps}x{filters} | {proof.adders} | {proof.latency} | {said.lut} | "
            f"{found.lut} | {lut:+.1%} | {said.ff} | {found.ff} | {ff:+.1%} |",
            flush=True,
        )
    for name, values in (("LUT", luts), ("FF", ffs)):
        ordered = sorted(values)
        ninth = ordered[int(np.ceil(0.9 * len(ordered))) - 1]
        print(
            f"\n{name}: median {statistics.median(ordered):.2%}, nine of ten within {ninth:.2%}, "
            f"worst {ordered[-1]:.2%}, of {len(ordered)} layers"
        )


def schemes(yosys: str, shape: tuple[int, int] = (72, 16)) -> None:
    """Tables a weight of one layer in every scheme, with sub-sums that are shared and without."""
    print(f"\n{shape[0]}x{shape[1]} weights, registers behind every level (LUT and FF by Yosys)\n")
    print("| | adders a weight | LUT | FF | SRL | LUT a weight | against FP4 |")
    print("|---|---|---|---|---|---|---|")
    for share in (False, True):
        rows = {}
        for kind in KINDS:
            wires = drawn(kind, shape, 99)
            built = wiring.build(*wires, share=share)
            rows[kind] = built, measured(hardwired.verilog(built, "wired"), yosys)
        for kind, (built, cost) in rows.items():
            count = shape[0] * shape[1]
            name = f"{kind}, {'shared' if share else 'each filter by itself'}"
            print(
                f"| {name} | {len(built.adders) / count:.2f} | {cost.lut} | {cost.ff} | "
                f"{cost.srl} | {cost.lut / count:.2f} | {cost.lut / rows['FP4'][1].lut:.2f} |",
                flush=True,
            )


def signs(yosys: str) -> None:
    """Layers of random signs in windows of 3x3, registers behind every second level."""
    print("\n| layer | sums | adders | cycles | LUT, graph | Yosys | FF, graph | Yosys |")
    print("|---|---|---|---|---|---|---|---|")
    for shape in ((72, 16), (288, 32)):
        weights = np.where(np.random.default_rng(5).standard_normal(shape) < 0, -1, 1)
        ends = Range(*(np.full(shape[0], end) for end in (-1, 1)))
        for name, size in (("of two bits", 0), ("counted", 3)):
            built = wiring.build(weights, ends, size)
            text = hardwired.verilog(built, "wired", wiring.EVERY)
            proof = affine.prove(netlist.from_verilog(text, "wired"), weights, ends, size)
            said, found = graph.cost(built, wiring.EVERY), measured(text, yosys)
            print(
                f"| {shape[0]}x{shape[1]} | {name} | {proof.adders} | {proof.latency} | "
                f"{said.lut} | {found.lut} | {said.ff} | {found.ff} |",
                flush=True,
            )


def faults(count: int) -> dict[str, object]:
    """Netlists with a fault: what a simulation tells from the right one, and what is refused."""
    rng = np.random.default_rng(0)
    seen: collections.Counter[str] = collections.Counter()
    wires = drawn("L-2", (8, 4), 0, "leaky")
    text = hardwired.verilog(wiring.build(*wires), "wired")
    right = netlist.from_verilog(text, "wired")
    x = rng.integers(wires.inputs.low, wires.inputs.high + 1, (3000, 8))
    x[::2] = np.where(rng.random((1500, 8)) < 0.5, wires.inputs.low, wires.inputs.high)
    bits = (x[:, :, None] >> np.arange(8) & 1).reshape(len(x), -1).astype(np.uint8)
    latency = affine.prove(right, *wires).latency
    expected = netlist.simulate(right, bits)[latency:]
    for i in range(count):
        wrong = mutants.mutant(rng, right, mutants.KINDS[i % len(mutants.KINDS)])
        if wrong is None:
            continue
        seen["planted"] += 1
        try:
            differs = not np.array_equal(netlist.simulate(wrong, bits)[latency:], expected)
        except ValueError:
            differs = True
        try:
            affine.prove(wrong, *wires)
        except affine.NotProvenError:
            seen["differ, refused" if differs else "alike, refused"] += 1
        else:
            seen["differ, PROVEN" if differs else "alike, proven"] += 1
    return dict(seen)


if __name__ == "__main__":
    main()
