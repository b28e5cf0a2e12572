"""What stages of generated Verilog take by their formulas, and what Yosys makes of them.

    python -m benchmarks.rtl_resources digits/integers.safetensors:4 tiny/integers.safetensors:1
    python -m benchmarks.rtl_resources --done=rtl.md digits/integers.safetensors:4

Prints the tables of docs/measurements/rtl.md: the stages of seed HELD_OUT, which no constant of
rtl/parts.py saw, and whole networks, each with so many lanes of so many activations in a layer at
most. With --seen the stages that the constants were chosen by, besides modules alone
(benchmarks/rtl_modules.py). Each stage is synthesized as a module of its own, some in one run of
Yosys. --done takes the rows of a run that was broken off from what it printed.
"""

import argparse
import dataclasses
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.rtl_drawn import HELD_OUT, SEEN, SEEN_LATER, SETS, Drawn, drawn
from flightnn_jax.fpga import Resources
from flightnn_jax.integer import files
from flightnn_jax.rtl import generate, parts, resources, synthesize, verilog
from flightnn_jax.rtl.architecture import Fold, Stage

AT_ONCE = 8
"""Stages of a run of Yosys."""


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
    parser.add_argument("files", nargs="*", help="integer networks, whole as well: FILE:LANES")
    parser.add_argument("--seen", action="store_true", help="stages that constants were chosen by")
    parser.add_argument("--done", type=Path, help="what a run printed that was broken off")
    flags = parser.parse_args()
    seeds = (SEEN, *SEEN_LATER) if flags.seen else (HELD_OUT,)
    done = rows(flags.done.read_text()) if flags.done else {}
    found = []
    print("| stage | LUT, formula | Yosys | | FF | Yosys | | BRAM18 | Yosys | DSP | Yosys |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for one in measured([x for seed in seeds for x in drawn(seed, SETS[seed])], done):
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
    for given in flags.files:
        path, _, lanes = given.rpartition(":")
        print(whole(path, int(lanes), done), flush=True)


def row(text: str, said: Resources, found: Resources) -> str:
    """Of a table."""
    lut, ff = off(said.lut, found.lut), off(said.ff, found.ff)
    return (
        f"| {text} | {said.lut:.0f} | {found.lut:.0f} | {lut:+.1%} | {said.ff} | {found.ff} | "
        f"{ff:+.1%} | {said.bram} | {found.bram} | {said.dsp} | {found.dsp} |"
    )


def rows(text: str) -> dict[str, Resources]:
    """What Yosys found, of rows that were printed."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) == 11 and cells[2].isdigit():
            lut, ff, bram, dsp = (int(cells[i]) for i in (2, 5, 8, 10))
            found[cells[0]] = Resources(bram, dsp, ff, lut)
    return found


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


def whole(path: str, most: int, done: Mapping[str, Resources]) -> str:
    """A row of a network's machine with so many lanes of so many activations at most."""
    network = files.load(path)
    folds = {}
    for layer in network.weighted:
        *_, inputs, lanes = layer.weights.shape
        folds[layer.name] = Fold(min(most, lanes), min(most, inputs))
    machine = generate.machine_of(network, folds)
    said = parts.total(map(resources.of, machine.stages))
    text = f"{Path(path).parent.name}, {most} lanes of {most}"
    if text in done:
        return row(text, said, done[text])
    with tempfile.TemporaryDirectory() as folder:
        generate.write(network, machine, folder)
        return row(text, said, synthesize.count(folder, "top", "XC7"))


def measured(
    stages: Iterable[Drawn], done: Mapping[str, Resources] | None = None
) -> Iterator[Measured]:
    """Synthesizes stages, some at a time, but for those that are done."""
    known = dict(done or {})
    waiting = list(stages)
    for i, one in enumerate(waiting):
        if one.text not in known:
            some = [x for x in waiting[i:] if x.text not in known][:AT_ONCE]
            named = [dataclasses.replace(x.stage, name=f"s{j}") for j, x in enumerate(some)]
            known.update(zip((x.text for x in some), _synthesized(named), strict=True))
        yield Measured(one.text, one.stage, known[one.text])


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


if __name__ == "__main__":
    main()
