"""What programs take on accelerators that are not there: compiled, and not run.

    python -m benchmarks.pods --results=FILE.json [--targets=v5e-16,h200] [--networks=net1]
        [--programs="step, ranges tracked,fast"] [--images=32]

Compiles each program for each target whose compiler this interpreter has, tells which are missing,
and keeps what comes out in FILE; what stands there already is not compiled again. Then it prints
tables of all that FILE holds (--networks= compiles nothing more): operations, bytes, memory and
exchanges from the compiler; the roofline, which is the larger of operations / peak and bytes /
bandwidth; and the time and speed that follow with all exchanges, none of which is hidden behind
arithmetic. Bytes are too many where the compiler keeps arrays on the chip, and too few where a
program has loops, whose passes count once. See benchmarks/absent.py for the peaks, and for
what is assumed of an exchange.
"""

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import app, flags

from benchmarks import absent, hlo, programs
from flightnn_jax import atomic, networks
from flightnn_jax.training import step
from flightnn_jax.training.machine import Machine

_NAMES = [target.name for target in absent.TARGETS]
_RESULTS = flags.DEFINE_string("results", None, "File of what was compiled.", required=True)
_TARGETS = flags.DEFINE_list("targets", _NAMES, f"Of {', '.join(_NAMES)}.")
_NETWORKS = flags.DEFINE_list("networks", ["net1"], "By name.")
_PROGRAMS = flags.DEFINE_multi_enum(
    "program", ["step, ranges tracked"], list(programs.PROGRAMS), "Which; give several."
)
_IMAGES = flags.DEFINE_integer("images", 32, "Images of each chip.", 1)
_WIDTH = flags.DEFINE_integer("width", None, "Filters of the widest layer, to try it out.")


class Compiled(NamedTuple):
    """A program of one chip. See the module's docstring; bytes and operations are of one chip.

    Attributes:
      target: its name.
      network: its name.
      program: of `programs.PROGRAMS`.
      images: of each chip.
      seconds: that compiling took, of the CPU's time.
      operations: products and sums; `operations_of` where the compiler does not tell.
      bytes: read and written in memory; where the compiler does not tell, by `hlo.traffic`.
      memory: bytes of temporaries.
      exchanges: (operation, bytes) each.
      products: how many matrix products there are, by the types that they take and give.
    """

    target: str
    network: str
    program: str
    images: int
    seconds: float
    operations: float
    bytes: float
    memory: int
    exchanges: list[list[Any]]
    products: dict[str, int]

    @property
    def key(self) -> str:
        """What it is a result of."""
        return f"{self.network}; {self.program}; {self.target}; {self.images}"


def compiled(target: absent.Target, network: networks.Network, program: str, each: int) -> Compiled:
    """Compiles a program, and reads what it takes."""
    mesh = step.data_mesh(absent.devices(target))
    started = time.process_time()
    lowered = programs.PROGRAMS[program](network, each * target.chips, mesh, Machine.of(mesh))
    made = lowered.compile()
    lines = hlo.instructions(made.as_text() or "")
    told = made.cost_analysis() or {}
    memory = made.memory_analysis()
    return Compiled(
        target=target.name,
        network=network.name,
        program=program,
        images=each,
        seconds=round(time.process_time() - started, 1),
        operations=told.get("flops", operations_of(network, program) * each),
        bytes=told.get("bytes accessed", hlo.traffic(lines)),
        memory=memory.temp_size_in_bytes if memory is not None else 0,
        exchanges=[list(one) for one in hlo.exchanges(lines)],
        products=hlo.products(lines),
    )


def operations_of(network: networks.Network, program: str) -> int:
    """Products and sums that an image takes, by the network alone: what all programs share."""
    pairs = 0
    for layer in networks.walk_weights(network):
        assert layer.kernel_shape is not None
        positions = math.prod(layer.output_shape[:-1])
        pairs += positions * math.prod(layer.kernel_shape)
    training = "step" in program or program == "population"
    members = programs.MEMBERS if program == "population" else 1
    return 2 * pairs * members * (3 if training else 1)


def seconds(made: Compiled) -> tuple[float, float, float]:
    """What arithmetic, memory and exchanges take by themselves."""
    target = next(t for t in absent.TARGETS if t.name == made.target)
    kind = target.kind
    peaks = {
        "fast": kind.bytes8,
        "shifts": kind.wide,
        "float32": kind.narrow,
        "step as on a CPU": kind.narrow,  # which rounds the operands of gradients, too
    }
    peak = peaks.get(made.program)
    if peak is not None:
        arithmetic = made.operations / peak
    else:  # forward a third, from narrow operands; two thirds are gradients, in float32
        arithmetic = made.operations * (1 / kind.narrow + 2 / kind.wide) / 3
    exchanges = sum(target.exchange_seconds(size) for _, size in made.exchanges)
    return arithmetic, made.bytes / kind.bandwidth, exchanges


def row(made: Compiled) -> str:
    """A line of the table."""
    arithmetic, memory, exchanges = seconds(made)
    target = next(t for t in absent.TARGETS if t.name == made.target)
    whole = max(arithmetic, memory) + exchanges
    times = programs.MEMBERS if made.program == "population" else 1
    speed = made.images * target.chips * times / whole
    sizes = [size for _, size in made.exchanges]
    told = f"{len(sizes)}, {sum(sizes) / 1e3:.0f} kB" if sizes else "-"
    cells = (
        *(made.network, made.program, made.target, str(made.images * times)),
        f"{made.operations / 1e9:.2f}",
        f"{made.bytes / 1e6:.0f}",
        f"{made.memory / 2**20:.0f}",
        told,
        *(f"{t * 1e6:.0f}" for t in (arithmetic, memory, exchanges)),
        f"{speed:,.0f}",
        f"{max(arithmetic, memory) / whole:.2f}",
    )
    return "| " + " | ".join(cells) + " |"


def scaling(made: Compiled) -> str:
    """A line of the second table: images/s and efficiency with other numbers of chips.

    Each chip has as many images as here, so its program and what it exchanges are the same.
    """
    target = next(t for t in absent.TARGETS if t.name == made.target)
    cells = [made.network, made.program, str(made.images), str(target.chips)]
    for other in absent.TARGETS:
        if other.kind == target.kind:
            arithmetic, memory, exchanges = seconds(made._replace(target=other.name))
            alone = max(arithmetic, memory)
            speed = made.images * other.chips / (alone + exchanges)
            cells.append(f"{speed:,.0f} ({alone / (alone + exchanges):.2f})")
    return "| " + " | ".join(cells) + " |"


def report(rows: Sequence[Compiled]) -> str:
    """Tables in Markdown, and a list."""
    names = (
        *("network", "program", "target", "images a chip", "GFLOP", "MB", "MiB of temporaries"),
        *("exchanges", "us of arithmetic", "us of memory", "us of exchanges", "images/s"),
        "efficiency",
    )
    head = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    found = [
        f"- {made.key}: "
        + (", ".join(f"{count} {kind}" for kind, count in made.products.items()) or "none")
        for made in rows
    ]
    chips = [target.chips for target in absent.TARGETS if target.kind == absent.V5E]
    columns = ("network", "program", "images a chip", "compiled for", *map(str, chips))
    spread = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    spread += [scaling(made) for made in rows if made.exchanges]
    parts = ("", "With as many images a chip on other numbers of chips:", "", *spread, "")
    return "\n".join([*head, *map(row, rows), *parts, "Matrix products of each:", "", *found])


def main(argv: Sequence[str]) -> None:
    """Compiles what is missing in the file, then prints it."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: use the flags")
    if unknown := set(_TARGETS.value) - set(_NAMES):
        raise app.UsageError(f"unknown targets {unknown}: choose of {', '.join(_NAMES)}")
    absent.prepare()
    file = Path(_RESULTS.value)
    kept = json.loads(file.read_text()) if file.exists() else []
    rows = {made.key: made for made in (Compiled(**one) for one in kept)}
    chosen = [target for target in absent.TARGETS if target.name in _TARGETS.value]
    for platform in sorted({target.platform for target in chosen}):
        if (why_not := absent.missing(platform)) is not None:
            print(why_not)
            chosen = [target for target in chosen if target.platform != platform]
    for name in _NETWORKS.value:
        network = networks.network(name, width=_WIDTH.value)
        for program in _PROGRAMS.value:
            for target in chosen:
                if f"{network.name}; {program}; {target.name}; {_IMAGES.value}" in rows:
                    continue
                made = compiled(target, network, program, _IMAGES.value)
                print(f"{made.key}: compiled in {made.seconds} s", flush=True)
                rows[made.key] = made
                text = json.dumps([one._asdict() for one in rows.values()], indent=1)
                atomic.write(file, text.encode())
    print(f"\nCompiled with JAX {jax.__version__}, not run:\n\n{report(list(rows.values()))}")


if __name__ == "__main__":
    app.run(main)
