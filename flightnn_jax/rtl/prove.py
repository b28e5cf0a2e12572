"""Proofs of the library's modules, by Yosys's `sat`.

Each module stands in a harness (proofs/*.v) that says what it computes and drives the wire `ok`.
There are three ways. A module without registers is right for all inputs. One whose registers hold
what came in a few cycles before is right whatever they held at first. For a queue, and what counts
or keeps rows, the harness says, too, how its registers and memory stand for what it holds; if that
and `ok` are true in one cycle they are in the next one (induction), and they are behind a reset.

A proof holds for the parameters that it names; `CLAIMS` lists them.
"""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from flightnn_jax.rtl import tools
from flightnn_jax.rtl.modules import library
from flightnn_jax.rtl.proofs import harness


class Claim(NamedTuple):
    """That a module computes what its harness says.

    Attributes:
      harness: the file without its ending; the module is fl_HARNESS.
      parameters: of the harness.
      cycles: until what the registers held at first no longer counts; 0 for no registers, None
        for a proof by induction.
    """

    harness: str
    parameters: Mapping[str, int]
    cycles: int | None

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"fl_{self.harness}" + (f" ({given})" if given else "")


def _tree(numbers: int, levels: int) -> Claim:
    delay = -(-levels // 2)
    return Claim("tree", {"N": numbers, "LEVELS": levels, "DELAY": delay}, delay)


def _lane(values: int, terms: int, integer: int, code: int = 4) -> Claim:
    levels = (values * terms - 1).bit_length()
    shape = {"VALUES": values, "TERMS": terms, "INTEGER": integer, "CODE": code, "LEVELS": levels}
    delay = 2 + -(-levels // 2)
    return Claim("lane", {**shape, "DELAY": delay}, delay + 2)


def _looked_up(kept: int, parts: int, lookup: int) -> Claim:
    """A lane of levels, with tables for parts of an activation."""
    levels = (parts - 1).bit_length()
    shape = {"VALUES": 1, "TERMS": 1, "CODE": 3, "LEVELS": levels}
    delay = 2 + -(-levels // 2)
    given = {**shape, "LOOKUP": lookup, "KEPT": kept, "PARTS": parts, "DELAY": delay}
    return Claim("lane", given, delay + 2)


def _popcount(bits: int) -> Claim:
    levels = (-(-bits // 7) - 1).bit_length()
    delay = 1 + -(-levels // 2)
    return Claim("popcount", {"N": bits, "LEVELS": levels, "DELAY": delay}, delay)


def _signs(values: int) -> Claim:
    levels = (-(-values // 7) - 1).bit_length()
    delay = 2 + -(-levels // 2)
    return Claim("signs", {"VALUES": values, "LEVELS": levels, "DELAY": delay}, delay + 2)


def _activate(bits: int, least: int, more: int, slope: int) -> Claim:
    return Claim("activate", {"IN": bits, "LEAST": least, "MORE": more, "SLOPE": slope}, 3)


def _windows(shape: tuple[int, int], size: int, stride: int) -> Claim:
    """Of pixels of a bit: no gate knows what a pixel is."""
    height, width = shape
    given = {"HEIGHT": height, "WIDTH": width, "SIZE": size, "STRIDE": stride}
    return Claim("windows", given, None)


def _rows(shape: tuple[int, int, int], size: int, stride: int, empty: tuple[int, ...]) -> Claim:
    """Of a map of (height, width, words), by turns; an empty one has one step."""
    given = dict(zip(("HEIGHT", "WIDTH", "WORDS"), shape, strict=True))
    given |= {"SIZE": size, "STRIDE": stride, "TURNS": len(empty)}
    return Claim("rows", {**given, "EMPTY": sum(x << i for i, x in enumerate(empty))}, None)


_SMALL = {"IN": 5, "CLIPPED": 5, "OUT": 9}

CLAIMS = (
    Claim("product", {}, 0),
    Claim("product4", {"DSP": 0}, 0),
    Claim("product4", {"DSP": 1}, 0),
    *(_tree(numbers, levels) for numbers, levels in ((1, 0), (2, 1), (3, 2), (4, 2), (5, 3))),
    _lane(1, 1, 0),
    _lane(2, 1, 0),
    _lane(1, 2, 0),
    _lane(1, 1, 1),
    _lane(1, 1, 0, code=1),
    _lane(2, 1, 0, code=1),
    Claim("lookup", {}, 0),
    Claim("lookup", {"SIGNED": 1}, 0),
    Claim("lookup", {"BITS": 2, "CODE": 4, "SIGNED": 1}, 0),
    _looked_up(3, 1, 2),
    _looked_up(5, 2, 1),
    *(_popcount(bits) for bits in (1, 7, 8, 15)),
    *(_signs(values) for values in (1, 2, 7, 9)),
    *(Claim("count", {"N": bits, "BITS": bits.bit_length()}, 0) for bits in range(1, 7)),
    Claim("offset", {"PLACE": 2, "BITS": 3, "TABLE": 0b101_000_110_011}, 0),
    Claim("offset", {"PLACE": 4, "BITS": 2, "TABLE": 0x1B27_E4D8}, 0),
    _activate(16, 0, 0, 0),
    _activate(16, 4, 2, 3),
    _activate(24, 8, 3, 3),
    _activate(31, 12, 4, 1),
    _activate(12, 14, 1, 7),
    Claim("affine", {"FACTOR": 0}, 4),
    Claim("affine", {**_SMALL, "FACTOR": 0, "CLIP": 0, "BIAS": 0}, 2),
    Claim("affine", {**_SMALL, "FACTOR": 1, "BITS": 4}, 5),
    Claim("affine", {**_SMALL, "FACTOR": 2, "TERMS": 1, "BITS": 3}, 5),
    Claim("affine", {**_SMALL, "FACTOR": 2, "TERMS": 2, "BITS": 2}, 6),
    Claim("fork", {}, 0),
    Claim("buffer", {"WIDTH": 2}, None),
    Claim("elastic", {"STEPS": 3}, None),
    Claim("elastic", {"STEPS": 7}, None),
    Claim("fifo", {"WIDTH": 2}, None),
    Claim("reduce", {"MAXIMUM": 1, "IN": 8, "OUT": 8}, None),
    Claim("reduce", {"MAXIMUM": 0, "IN": 8, "OUT": 12}, None),
    Claim("results", {"VALUES": 2, "BEATS": 3, "REST": 2, "PASSES": 2}, None),
    Claim("results", {"VALUES": 1, "BEATS": 4, "REST": 1, "PASSES": 3}, None),
    Claim("results", {"VALUES": 1, "BEATS": 1, "REST": 1, "PASSES": 1}, None),
    Claim("narrow", {"IN": 4, "OUT": 2, "CHANNELS": 5}, None),
    Claim("narrow", {"IN": 4, "OUT": 1, "CHANNELS": 3}, None),
    Claim("narrow", {"IN": 3, "OUT": 1, "CHANNELS": 7}, None),
    Claim("widen", {"IN": 1, "OUT": 3, "BEATS": 5}, None),
    Claim("widen", {"IN": 2, "OUT": 4, "BEATS": 4}, None),
    Claim("widen", {"IN": 1, "OUT": 4, "BEATS": 3}, None),
    _windows((2, 2), 3, 1),
    _windows((2, 3), 3, 2),
    _windows((3, 3), 3, 1),
    _windows((3, 4), 3, 2),
    _windows((3, 1), 3, 1),
    _windows((1, 2), 3, 3),
    _windows((2, 2), 5, 1),
    _windows((3, 3), 1, 2),
    _rows((2, 2, 1), 3, 1, (0, 1)),
    _rows((3, 2, 1), 3, 1, (0, 1)),
    _rows((2, 3, 1), 3, 1, (0, 0, 1)),
    _rows((4, 2, 1), 3, 2, (0, 1)),
    _rows((4, 2, 2), 1, 2, (0,)),
    _rows((4, 1, 1), 1, 3, (0, 1)),
    _rows((3, 2, 3), 1, 1, (1, 0)),
    _rows((1, 1, 3), 1, 1, (0, 1)),
    _rows((1, 1, 1), 3, 1, (0, 1)),
    _rows((2, 1, 1), 5, 1, (1,)),
)
"""What is proven. Queues carry words of any width alike, so narrow ones stand for all."""


class Verdict(NamedTuple):
    """What came of a claim.

    Attributes:
      proven: whether it was shown.
      seconds: that Yosys took.
      log: what Yosys printed, with a counterexample where it has found one.
    """

    proven: bool
    seconds: float
    log: str


def prove(
    claim: Claim, modules: Mapping[str, bytes] | None = None, most_seconds: int = 600
) -> Verdict:
    """Asks Yosys.

    Args:
      claim: one of `CLAIMS`, say.
      modules: by the names of their files; the library's by default.
      most_seconds: after so many a claim counts as not proven.

    Raises:
      ToolError: if there is no program `yosys`.
    """
    sources = dict(library() if modules is None else modules)
    sources["proof.v"] = harness(claim.harness)
    with tempfile.TemporaryDirectory() as directory:
        for name, text in sources.items():
            (Path(directory) / name).write_bytes(text)
        words = ["yosys", "-p", _script(claim, sorted(sources))]
        start = time.perf_counter()
        try:
            log = tools.run(words, directory, fine=(0, 1), seconds=most_seconds)
        except tools.TimeLimitError as error:
            return Verdict(False, float(most_seconds), str(error))
    return Verdict("SUCCESS!" in log, time.perf_counter() - start, log)


def _script(claim: Claim, sources: list[str]) -> str:
    """Of Yosys."""
    given = " ".join(f"-set {name} {value}" for name, value in claim.parameters.items())
    how = "-tempinduct -maxsteps 4"
    if claim.cycles is not None:
        how = f"-seq {claim.cycles + 1} -prove-skip {claim.cycles}"
    return "; ".join(
        [
            f"read_verilog -defer {' '.join(sources)}",
            *([f"chparam {given} proof"] if given else []),
            "hierarchy -check -top proof",
            "proc",
            "memory -nordff",  # before `flatten`, so that words keep the names of their module
            "flatten",
            "opt",
            f"sat {how} -prove ok 1 -verify",
        ]
    )
