"""What stages of generated Verilog take by their formulas, and what Yosys makes of them.

    python -m benchmarks.rtl_resources digits/integers.safetensors tiny/integers.safetensors

Prints the tables of docs/measurements/rtl.md: the stages of seed HELD_OUT, which no constant of
rtl/parts.py saw, and whole networks with two folds. With --seen the stages that the constants were
chosen by, besides modules alone (benchmarks/rtl_modules.py). Each stage is synthesized as a module
of its own, some in one run of Yosys.
"""

import argparse
import dataclasses
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flightnn_jax.fpga import Resources
from flightnn_jax.integer import files
from flightnn_jax.integer.certificate import Range, width
from flightnn_jax.integer.network import Affine, Convolution
from flightnn_jax.integer.weights import IntegerWeights, ShiftWeights, Weights
from flightnn_jax.rtl import (
    constants,
    generate,
    hardwired,
    parts,
    resources,
    synthesize,
    verilog,
    wiring,
)
from flightnn_jax.rtl.architecture import (
    Add,
    Average,
    Fold,
    Pool,
    Queue,
    Reorder,
    Repack,
    Stage,
    Stream,
    Wired,
)

SEEN, HELD_OUT = 8, 3
"""Seeds of the two sets."""
SETS = {
    SEEN: {"convolve": 14, "requantize": 20},
    HELD_OUT: {
        "convolve": 18,
        "wired": 10,
        "requantize": 14,
        "pool": 3,
        "average": 3,
        "add": 3,
        "queue": 3,
        "repack": 5,
        "reorder": 3,
    },
}
AT_ONCE = 8
"""Stages of a run of Yosys."""


class Drawn(NamedTuple):
    """A stage to measure.

    Attributes:
      text: what it is.
      stage: its record.
    """

    text: str
    stage: Stage


class Measured(NamedTuple):
    """A stage, what Yosys makes of it, and what the formulas say.

    Attributes:
      text: what it is.
      stage: its record.
      found: by Yosys.
    """

    text: str
    stage: Stage
    found: Resources

    @property
    def said(self) -> Resources:
        """By the formulas."""
        return resources.of(self.stage)


def main() -> None:
    """Prints constants or errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("files", nargs="*", help="integer networks, whole as well")
    parser.add_argument("--seen", action="store_true", help="stages that constants were chosen by")
    flags = parser.parse_args()
    seed = SEEN if flags.seen else HELD_OUT
    found = []
    print("| stage | LUT, formula | Yosys | | FF | Yosys | | BRAM18 | Yosys | DSP | Yosys |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for one in measured(drawn(seed, SETS[seed])):
        print(row(one.text, one.said, one.found), flush=True)
        found.append(one)
    print()
    for kind in sorted({resources.kind(one.stage) for one in found}):
        of = [one for one in found if resources.kind(one.stage) == kind]
        print(errors(f"LUT, {kind}", [off(m.said.lut, m.found.lut) for m in of]))
        print(errors(f"FF, {kind}", [off(m.said.ff, m.found.ff) for m in of]))
    for name in ("bram", "dsp"):
        right = sum(getattr(m.said, name) == getattr(m.found, name) for m in found)
        print(f"{name.upper()}: exact in {right} of {len(found)}")
    for path in flags.files:
        for lanes in (1, 4):
            print(whole(path, lanes), flush=True)


def row(text: str, said: Resources, found: Resources) -> str:
    """Of a table."""
    lut, ff = off(said.lut, found.lut), off(said.ff, found.ff)
    return (
        f"| {text} | {said.lut:.0f} | {found.lut:.0f} | {lut:+.1%} | {said.ff} | {found.ff} | "
        f"{ff:+.1%} | {said.bram} | {found.bram} | {said.dsp} | {found.dsp} |"
    )


def off(said: float, found: float) -> float:
    """The relative error."""
    return said / found - 1


def errors(name: str, values: list[float]) -> str:
    """Median and ninth of ten of the magnitudes."""
    ordered = sorted(map(abs, values))
    ninth = ordered[-(-9 * len(ordered) // 10) - 1]
    return (
        f"{name}, {len(ordered)} held out: median {statistics.median(ordered):.1%}, "
        f"nine of ten {ninth:.1%}, worst {ordered[-1]:.1%}"
    )


def whole(path: str, most: int) -> str:
    """A row of a network's machine with so many lanes of so many activations at most."""
    network = files.load(path)
    folds = {}
    for layer in network.weighted:
        *_, inputs, lanes = layer.weights.shape
        folds[layer.name] = Fold(min(most, lanes), min(most, inputs))
    machine = generate.machine_of(network, folds)
    with tempfile.TemporaryDirectory() as folder:
        generate.write(network, machine, folder)
        found = synthesize.count(folder, "top", "XC7")
    said = parts.total(map(resources.of, machine.stages))
    return row(f"{Path(path).parent.name}, {most} lanes of {most}", said, found)


def measured(stages: Iterable[Drawn]) -> Iterator[Measured]:
    """Synthesizes stages, some at a time."""
    waiting = list(stages)
    for start in range(0, len(waiting), AT_ONCE):
        some = waiting[start : start + AT_ONCE]
        named = [dataclasses.replace(x.stage, name=f"s{i}") for i, x in enumerate(some)]
        found = _synthesized(named)
        yield from (Measured(x.text, x.stage, r) for x, r in zip(some, found, strict=True))


def _synthesized(stages: list[Stage]) -> list[Resources]:
    """Each as a module that is kept apart."""
    names = [f"kept_{stage.name}" for stage in stages]
    with tempfile.TemporaryDirectory() as folder:
        synthesize.library(Path(folder))
        for stage in stages:
            for name, data in verilog.instance(stage).files.items():
                (Path(folder) / name).write_bytes(data)
        kept = "\n".join(_alone(f"kept_{stage.name}", stage) for stage in stages)
        inside = "\n".join(f"  (* keep *) {name} of_{name} ();" for name in names)
        (Path(folder) / "all.v").write_text(f"{kept}\nmodule all ();\n{inside}\nendmodule\n")
        return synthesize.counts(folder, names, "all", "XC7")


def _alone(name: str, stage: Stage) -> str:
    """A module with a stage's ports."""
    made = verilog.instance(stage)
    ports = {"clk": "input wire", "rst": "input wire"}
    sides = [(f"in{i}" if len(stage.inputs) > 1 else "in", s) for i, s in enumerate(stage.inputs)]
    for prefix, stream in [*sides, ("out", stage.output)]:
        forward, back = ("output", "input") if prefix == "out" else ("input", "output")
        ports[f"{prefix}_valid"] = f"{forward} wire"
        ports[f"{prefix}_ready"] = f"{back} wire"
        ports[f"{prefix}_data"] = f"{forward} wire [{stream.values * stream.bits - 1}:0]"
    declared = ", ".join(f"{kind} {port}" for port, kind in ports.items())
    parameters = ", ".join(f".{key}({value})" for key, value in made.parameters.items())
    connected = ", ".join(f".{port}({port})" for port in ports)
    return (
        f"(* keep_hierarchy *) module {name} ({declared});\n"
        f"  {made.module} #({parameters}) stage ({connected});\nendmodule"
    )


def drawn(seed: int, counts: Mapping[str, int]) -> Iterator[Drawn]:
    """Stages of every kind, so many of each."""
    for i, (kind, count) in enumerate(counts.items()):
        for j in range(count):
            yield DRAW[kind](np.random.default_rng((seed, i, j)))


def convolve(rng: np.random.Generator) -> Drawn:
    """An engine: any window, kind of weights and fold."""
    size, stride = ((3, 1), (3, 1), (3, 2), (1, 1), (5, 1), (1, 2))[rng.integers(6)]
    channels, filters = (int(n) for n in rng.integers(3, 33, 2))
    side = int(rng.choice([4, 8, 16]))
    integer = rng.random() < 0.3
    if integer:
        weights: Weights = IntegerWeights(
            rng.integers(-8, 8, (size, size, channels, filters)).astype(np.int8)
        )
    else:
        weights = _shifts(rng, (size, size, channels, filters), int(rng.integers(1, 3)))
    lanes = int(rng.integers(1, min(filters, 9) + 1))
    inputs = int(rng.integers(1, min(channels, 4) + 1))
    terms = int(rng.integers(1, int(weights.passes.max()) + 1))
    out = int(rng.choice([n for n in range(1, lanes + 1) if lanes % n == 0 and n <= 2]))
    fold = Fold(lanes, inputs, terms, out)
    order = np.argsort(-weights.passes.astype(int), kind="stable")
    most = int(weights.sizes().reshape(-1, filters).sum(axis=0).max()) * 128
    bits = int(width(Range(np.array([-most]), np.array([most])))[0])
    source = Stream("x", (side, side, channels), 8, inputs, np.arange(channels))
    after = -(-side // stride)
    output = Stream("y", (after, after, filters), bits, out, order)
    none = np.zeros(filters, np.int32)
    affine = Affine(none + 1, none, none, none)
    layer = Convolution("y", "x", stride, weights, 0, affine, none, 0, none)
    stage = constants.convolution(layer, source, output, fold)
    kind = "4-bit" if integer else f"k={weights.passes.max()}"
    what = f"conv {size}x{size}/{stride} {channels}-{filters} at {side}, {kind}"
    return Drawn(f"{what}, fold {','.join(map(str, fold))}", stage)


def wired(rng: np.random.Generator) -> Drawn:
    """A layer of wires: few weights of any kind."""
    size, stride = ((3, 1), (3, 2), (1, 1), (1, 2))[rng.integers(4)]
    channels, filters = int(rng.integers(1, 5)), int(rng.integers(3, 9))
    side, k = int(rng.choice([4, 8, 16])), int(rng.integers(1, 3))
    shape = (size, size, channels * (9 // size**2), filters)
    weights = _shifts(rng, shape, k).integers().astype(np.int64)
    if rng.random() < 0.3:
        weights = rng.integers(-8, 8, shape).astype(np.int64)
    flat = weights.reshape(-1, filters)
    low = int(rng.choice([-128, -16, 0]))
    ends = Range(np.full(len(flat), min(low, 0)), np.full(len(flat), 127))
    graph = wiring.build(flat, ends)
    source = Stream("x", (side, side, shape[2]), 8, shape[2], np.arange(shape[2]))
    out = int(rng.choice([n for n in range(1, filters + 1) if filters % n == 0]))
    after = -(-side // stride)
    output = Stream(
        "y", (after, after, filters), hardwired.sum_bits(graph), out, np.arange(filters)
    )
    stage = Wired("y", (source,), (output,), "y", size, stride, graph, wiring.EVERY)
    what = f"wires {size}x{size}/{stride} {shape[2]}-{filters} at {side}"
    return Drawn(f"{what}, {out} sums at once", stage)


def _shifts(rng: np.random.Generator, shape: tuple[int, ...], terms: int) -> ShiftWeights:
    """Terms of random signs; shifts as those of weights, most of them large."""
    k = rng.integers(1 if terms > 1 else terms, terms + 1, shape[-1]).astype(np.uint8)
    k[0] = terms
    there = np.arange(terms)[:, None, None, None, None] < k
    sign = rng.choice(np.array([-1, 1], np.int8), (terms, *shape)) * there
    sizes = 7 - np.minimum(7, rng.geometric(0.4, (terms, *shape)) - 1)
    return ShiftWeights(sign.astype(np.int8), (sizes * there).astype(np.uint8), k)


def requantize(rng: np.random.Generator) -> Drawn:
    """An affine map with multipliers of a kind, and an activation or none."""
    channels, values = int(rng.integers(4, 65)), int(rng.choice([1, 1, 1, 2, 4]))
    bits = int(rng.integers(14, 25))
    source = Stream("x", (4, 4, channels), bits, values, np.arange(channels))
    most = (1 << (bits - 1)) - 1
    ends = np.full(channels, -most), np.full(channels, most)
    kind = ("multiplied", "power", "terms", "none")[rng.integers(4)]
    multiplier = {
        "multiplied": rng.integers(100, 1 << 12, channels),
        "power": 1 << rng.integers(0, 6, channels),
        "terms": (1 << rng.integers(3, 6, channels)) + (1 << rng.integers(0, 2, channels)),
        "none": np.ones(channels, np.int64),
    }[kind]
    clips = rng.random() < 0.3
    low = high = np.full(channels, most)
    if clips:
        high = rng.integers(most // 4, most, channels)
    bias = rng.integers(-most // 2, most // 2, channels)
    product = int((high * multiplier).max()) + most
    v = product.bit_length() + 1
    activate = rng.random() < 0.8
    shift = None
    if activate:
        shift = np.full(channels, v - 9) - (rng.integers(0, 4, channels) * (rng.random() < 0.4))
    output = Stream("y", source.shape, 8 if activate else v, values, source.order)
    affine = Affine(*(x.astype(np.int32) for x in (multiplier, bias, -low, high)))
    slope = int(rng.choice([0, 3]))
    stage = constants.requantize(
        source, output, affine, Range(*ends), v, shift, slope, kind == "terms"
    )
    what = f"requantize {channels}, {bits} to {v} bits, {kind}{', clips' if clips else ''}"
    return Drawn(f"{what}{', activation' if activate else ''}, {values} a beat", stage)


def _map(rng: np.random.Generator, bits: int = 8) -> Stream:
    side = int(rng.choice([4, 8, 16, 32]))
    channels = int(rng.integers(2, 65))
    values = int(rng.choice([1, 1, 2, 4]))
    return Stream("x", (side, side, channels), bits, min(values, channels), np.arange(channels))


def pool(rng: np.random.Generator) -> Drawn:
    """Of any map."""
    x = _map(rng)
    half = (x.shape[0] // 2, x.shape[1] // 2, x.shape[2])
    output = Stream("y", half, 8, x.values, x.order)
    return Drawn(f"pool {x.shape}, {x.values} a beat", Pool("y", (x,), (output,)))


def average(rng: np.random.Generator) -> Drawn:
    """Of any map."""
    x = _map(rng)
    bits = 8 + (x.pixels - 1).bit_length()
    output = Stream("y", (1, 1, x.shape[2]), bits, x.values, x.order)
    return Drawn(f"average {x.shape}, {x.values} a beat", Average("y", (x,), (output,)))


def add(rng: np.random.Generator) -> Drawn:
    """Sums and activations that are lifted."""
    bits = int(rng.integers(14, 24))
    x = _map(rng, bits)
    lift = rng.integers(2, bits - 8, x.shape[2])
    other = Stream("z", x.shape, 8, x.values, x.order)
    output = Stream("y", x.shape, bits + 1, x.values, x.order)
    stage = Add("y", (x, other), (output,), (None, lift))
    return Drawn(f"add {x.shape}, {bits} bits, {x.values} a beat", stage)


def queue(rng: np.random.Generator) -> Drawn:
    """Of any depth."""
    x = _map(rng)
    output = Stream("y", x.shape, 8, x.values, x.order)
    depth = int(rng.integers(4, 1500))
    stage = Queue("y", (x,), (output,), depth)
    return Drawn(f"queue of {depth}, {8 * x.values} bits", stage)


def repack(rng: np.random.Generator) -> Drawn:
    """To wider or narrower words."""
    few, many = ((1, 2), (1, 3), (2, 4), (1, 4), (1, 8))[rng.integers(5)]
    channels, bits = int(rng.integers(many, 40)), int(rng.choice([8, 18]))
    before, after = (few, many) if rng.random() < 0.6 else (many, few)
    x, y = (
        Stream(name, (4, 4, channels), bits, values, np.arange(channels))
        for name, values in (("x", before), ("y", after))
    )
    text = f"{before} to {after} a beat, {bits} bits, {channels} channels"
    return Drawn(text, Repack("y", (x,), (y,)))


def reorder(rng: np.random.Generator) -> Drawn:
    """Of logits."""
    length, bits = int(rng.integers(3, 33)), int(rng.integers(14, 25))
    x, y = (
        Stream(name, (1, 1, length), bits, 1, order)
        for name, order in (("x", rng.permutation(length)), ("y", np.arange(length)))
    )
    return Drawn(f"reorder {length} of {bits} bits", Reorder("y", (x,), (y,)))


DRAW: dict[str, Callable[[np.random.Generator], Drawn]] = {
    "convolve": convolve,
    "wired": wired,
    "requantize": requantize,
    "pool": pool,
    "average": average,
    "add": add,
    "queue": queue,
    "repack": repack,
    "reorder": reorder,
}


if __name__ == "__main__":
    main()
