"""Modules of generated Verilog alone, as Yosys maps them, on which rtl/parts.py rests.

    python -m benchmarks.rtl_modules > modules.txt

Prints the tables and flip-flops of each module with some parameters, and the constants of fl_rows
by least squares over the rows of drawn engines. The others are read off: fl_lane takes 26 tables
for a product, 2 for a bit of its sum and the bits of its tree, and so on.
"""

import itertools
import math
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.rtl_drawn import convolve
from flightnn_jax.fpga import Resources
from flightnn_jax.rtl import modules, parts, row_resources, synthesize, verilog
from flightnn_jax.rtl.parts import Constants, Parameters

AT_ONCE = 16
"""Modules of a run of Yosys."""
ROWS = 40
"""Drawn engines whose rows are fitted, of seed 7."""
OF_ROWS = (
    *("VALUES", "WORDS", "HEIGHT", "WIDTH", "SIZE", "STRIDE"),
    *("OUT_HEIGHT", "OUT_WIDTH", "ROWS", "TURNS", "EMPTY", "STEPS"),
)
"""Parameters of fl_rows."""
FITTED = ("control", "zero", "counted", "place", "offset")


class Case(NamedTuple):
    """A module with parameters."""

    module: str
    parameters: Mapping[str, int | str]

    def text(self, name: str) -> str:
        """Its Verilog, as a module of another name that is kept apart and has these defaults."""
        source = modules.library()[f"{self.module}.v"].decode()
        source = source.replace(f"module {self.module} ", f"(* keep_hierarchy *) module {name} ")
        for key, value in self.parameters.items():
            pattern = rf"(parameter(?: \[[^\]]*\])? {key} = )[^,\n]+"
            source = re.sub(pattern, rf"\g<1>{value}", source, count=1)
        return source


def main() -> None:
    """Prints what was found."""
    for case, found in measured([*cases()]):
        given = ", ".join(f"{key}={value}" for key, value in case.parameters.items())
        print(f"{case.module} {given}: {found.lut:.0f} LUT, {found.ff} FF", flush=True)
    print(fitted())


def cases() -> Iterator[Case]:
    """Modules with few parameters."""
    for width in (4, 8, 16, 40, 64):
        yield Case("fl_buffer", {"WIDTH": width})
    for steps in range(1, 9):
        yield Case("fl_elastic", {"STEPS": steps})
    for values, terms, integer in itertools.product((1, 2, 3, 4, 5, 8), (1, 2), (0, 1)):
        if terms == 1 or not integer:
            levels = math.ceil(math.log2(values * terms))
            shape = {"VALUES": values, "TERMS": terms, "INTEGER": integer, "LEVELS": levels}
            yield Case("fl_lane", {**shape, "WIDTH": 22})
    for values, width, beats in ((1, 8, 1), (1, 8, 4), (1, 16, 20), (2, 8, 8), (4, 16, 12)):
        yield Case("fl_pool", {"VALUES": values, "WIDTH": width, "BEATS": beats})
    for values, beats, pixels, out in ((1, 10, 16, 12), (1, 40, 64, 14), (4, 16, 256, 16)):
        shape = {"VALUES": values, "BEATS": beats, "POSITIONS": pixels, "OUT": out}
        yield Case("fl_average", shape)
    for depth in (5, 20, 64, 300):
        yield Case("fl_fifo", {"WIDTH": 8, "DEPTH": depth})
    for many, few in ((2, 1), (4, 1), (8, 1), (4, 2)):
        yield Case("fl_narrow", {"WIDTH": 8, "IN": many, "OUT": few, "CHANNELS": 10})
        yield Case("fl_widen", {"WIDTH": 8, "IN": few, "OUT": many, "BEATS": 9})
    for wide in (14, 20):
        shape = {"IN": wide, "CLIPPED": wide, "BIAS": 0}
        yield Case("fl_affine", {**shape, "CLIP": 1, "FACTOR": 0, "OUT": wide})
        for terms, bits in ((1, 3), (1, 4), (2, 4), (2, 5)):
            factor = {"FACTOR": 2, "TERMS": terms, "BITS": bits, "OUT": wide + 8}
            yield Case("fl_affine", {**shape, "CLIP": 0, **factor})
    for bits, more, slope in itertools.product((20, 24, 30), (0, 1, 2, 3), (0, 3)):
        shape = {"IN": bits, "LEAST": bits - 12, "MORE": more, "SLOPE": slope}
        yield Case("fl_activate", shape)


def measured(some: list[Case]) -> Iterator[tuple[Case, Resources]]:
    """Each with what Yosys makes of it."""
    for start in range(0, len(some), AT_ONCE):
        now = some[start : start + AT_ONCE]
        names = [f"kept_{i}" for i in range(len(now))]
        with tempfile.TemporaryDirectory() as folder:
            synthesize.library(Path(folder))
            texts = [case.text(name) for case, name in zip(now, names, strict=True)]
            inside = "\n".join(f"  (* keep *) {name} of_{name} ();" for name in names)
            every = [*texts, f"module all ();\n{inside}\nendmodule\n"]
            (Path(folder) / "all.v").write_text("\n".join(every))
            yield from zip(now, synthesize.counts(folder, names, "all", "XC7"), strict=True)


def fitted() -> Constants:
    """The constants of fl_rows by least squares."""
    engines = [convolve(np.random.default_rng((7, 0, i))).stage for i in range(ROWS)]
    made = [verilog.instance(stage) for stage in engines]
    some = []
    for one in made:
        given = {name: one.parameters[name] for name in OF_ROWS}
        some.append(Case("fl_rows", {**given, "BLOCK": one.parameters["ROWS_BLOCK"]}))
    found = np.array([found.lut for _, found in measured(some)])

    def said(constants: Constants) -> np.ndarray:
        return np.array([row_resources.of(Parameters(one, constants)).lut for one in made])

    zero = parts.CONSTANTS._replace(**dict.fromkeys(FITTED, 0.0))
    base = said(zero)
    slopes = [said(zero._replace(**{name: 1.0})) - base for name in FITTED]
    values = np.linalg.lstsq(np.stack(slopes, axis=1), found - base, rcond=None)[0]
    return parts.CONSTANTS._replace(
        **{name: round(float(x), 2) for name, x in zip(FITTED, values, strict=True)}
    )


if __name__ == "__main__":
    main()
