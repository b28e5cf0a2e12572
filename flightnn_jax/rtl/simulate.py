"""Runs a machine's files in Verilator or Icarus, and reads what every layer gave. NumPy alone."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flightnn_jax.rtl import folding, generate, hexadecimal, queues, tools
from flightnn_jax.rtl.architecture import Machine, Stream

TOOLS = {"verilator": ("verilator", "g++", "make"), "icarus": ("iverilog", "vvp")}
_SECONDS = 3600
_CYCLES_OF_A_STAGE = 30  # that a beat takes to go through
_STOPPED = 3  # what the bench in C++ ends with where nothing moves


class SimulationError(tools.ToolError):
    """A simulator that is not there or does not take the Verilog: what it said, and what to do."""


class StoppedError(SimulationError):
    """A machine in which nothing moves any more."""


class Ends(NamedTuple):
    """What the two ends of a machine do.

    Attributes:
      gaps: chance in 256 that a cycle offers no beat of an image.
      stalls: chance in 256 that a cycle takes no logit.
      seed: of both.
      patience: cycles without a beat at either end until it counts as stopped; by default those
        that no machine which runs is without.
    """

    gaps: int = 0
    stalls: int = 0
    seed: int = 0
    patience: int | None = None


class Run(NamedTuple):
    """What came of some images.

    Attributes:
      outputs: by layer [images, *shape] int64, channels in the layer's own order.
      cycles: by layer, and of 'image' and 'logits', [beats] int64 in which each beat passed,
        counted from the first cycle in which one may come in.
    """

    outputs: dict[str, np.ndarray]
    cycles: dict[str, np.ndarray]

    def ends(self, images: int) -> np.ndarray:
        """[images] the cycle of each image's last logit."""
        return self.cycles["logits"].reshape(images, -1)[:, -1]


def unavailable(tool: str) -> str | None:
    """Why a simulator cannot run here, or None."""
    return tools.unavailable(TOOLS[tool])


def build(folder: str | Path, tool: str) -> None:
    """Compiles a machine's files for a simulator.

    Raises:
      SimulationError: if that is not possible.
    """
    why_not = unavailable(tool)
    if why_not is not None:
        raise SimulationError(f"{tool}: {why_not}")
    if tool == "verilator":
        at = Path(folder).resolve()
        if " " in str(at):  # make takes it for two names
            raise SimulationError(
                f"verilator: {at} has a space in its name: choose another directory"
            )
        _call(["make", "obj_dir/bench"], at)


def run(
    folder: str | Path, machine: Machine, images: np.ndarray, tool: str, ends: Ends | None = None
) -> Run:
    """Runs images through a machine that was built.

    Args:
      folder: of its files.
      machine: what they are of.
      images: [count, *input_shape] uint8.
      tool: 'verilator' or 'icarus'.
      ends: how they come and go.

    Raises:
      StoppedError: if not all logits come.
      SimulationError: if the simulator fails otherwise.
    """
    at, ends = Path(folder), ends or Ends()
    if ends.patience is None:
        ends = ends._replace(patience=generate.patience(machine))
    beats = generate.image_beats(machine.image, images)
    logits = len(images) * machine.logits.total
    if tool == "verilator":
        (at / "run.bin").write_bytes(beats.tobytes())
        values = machine.image.values
        bench = str(at.resolve() / "obj_dir" / "bench")
        words = [bench, "run.bin", *map(str, (values, logits, *ends, _more(machine)))]
    else:
        words = _icarus(at, machine, beats, logits, ends)
    _call(words, at, _STOPPED)
    cycles, outputs = {}, {}
    for name, stream in machine.layers.items():
        cycles[name], values_of = read(at / f"layer_{name}.txt", stream)
        outputs[name] = unpacked(values_of, stream, len(images))
    for name, stream in (("image", machine.image), ("logits", machine.logits)):
        cycles[name], _ = read(at / f"{name}.txt", stream)
    if len(cycles["logits"]) < logits:
        raise StoppedError(
            f"nothing moves after {len(cycles['image'])} beats of images and "
            f"{len(cycles['logits'])} of {logits} logits"
        )
    return Run(outputs, cycles)


def _more(machine: Machine) -> int:
    """Cycles that beats may take which no logit needs: rows that a stride passes over."""
    for stage in machine.stages:
        last = np.array(stage.output.total - 1)
        if queues.needs(stage)(last) < stage.source.total:
            return folding.interval(machine) + _CYCLES_OF_A_STAGE * len(machine.stages)
    return 0


def _icarus(at: Path, machine: Machine, beats: np.ndarray, logits: int, ends: Ends) -> list[str]:
    (at / "run.hex").write_bytes(hexadecimal.words(beats.astype(np.int64), 8))
    sizes = {
        "VALUES": machine.image.values,
        "BEATS": len(beats),
        "LOGITS": logits,
        "PATIENCE": ends.patience,
        "MORE": _more(machine),
    }
    sources = ["top.v", *(f"modules/{name}" for name in sorted(_sources(at)))]
    words = ["iverilog", "-g2001", "-Wall", "-DFLIGHTNN_RECORD", "-s", "bench", "-o", "icarus.vvp"]
    words += [f"-Pbench.{name}={value}" for name, value in sizes.items()]
    _call([*words, *sources], at)
    plus = ["+images=run.hex", f"+gaps={ends.gaps}", f"+stalls={ends.stalls}", f"+seed={ends.seed}"]
    return ["vvp", "-N", "icarus.vvp", *plus]


def _sources(at: Path) -> list[str]:
    return [path.name for path in (at / "modules").glob("*.v")]


def _call(words: list[str], at: Path, *fine: int) -> None:
    """Runs a program; where it fails, the files may be another machine's."""
    tools.run(words, at, error=SimulationError, fine=(0, *fine), seconds=_SECONDS)


def read(file: Path, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
    """What fl_record wrote.

    Returns:
      [beats] int64 cycles, and [beats, values] int64.
    """
    bits = stream.values * stream.bits
    digits = -(-bits // 4)
    text = np.frombuffer(file.read_bytes(), np.uint8).reshape(-1, 8 + 1 + digits + 1)
    value = np.where(text <= ord("9"), text - ord("0"), text - (ord("a") - 10)).astype(np.int64)
    cycles = value[:, :8] @ (1 << 4 * np.arange(7, -1, -1))
    nibbles = value[:, 9:-1][:, ::-1]
    spread = (nibbles[:, :, None] >> np.arange(4) & 1).reshape(len(text), 4 * digits)[:, :bits]
    spread = spread.reshape(len(text), stream.values, stream.bits)
    weights = 1 << np.arange(stream.bits)
    weights[-1] *= -1
    return cycles, spread @ weights


def unpacked(values: np.ndarray, stream: Stream, images: int) -> np.ndarray:
    """[images, *shape] of beats, channels in the layer's own order; what is missing is 0."""
    whole = np.zeros((images * stream.total, stream.values), np.int64)
    whole[: len(values)] = values
    channels = whole.reshape(images, stream.pixels, -1)[:, :, : stream.shape[2]]
    result = np.empty_like(channels)
    result[:, :, stream.order] = channels
    return result.reshape(images, *stream.shape)


@dataclasses.dataclass(frozen=True)
class Differences:
    """How a run differs from what it should give.

    Attributes:
      count: integers.
      first: of the earliest layer and image: layer, channel, pixel and both integers; '' for none.
    """

    count: int
    first: str


def differences(expected: Mapping[str, np.ndarray], run: Run) -> Differences:
    """Compares every layer, in the order of the network."""
    count, first = 0, ""
    for name, found in run.outputs.items():
        right = expected[name].reshape(found.shape)
        wrong = np.argwhere(right != found)
        count += len(wrong)
        if len(wrong) and not first:
            image, y, x, channel = place = tuple(wrong[0].tolist())
            first = (
                f"first mismatch in layer {name}, channel {channel}, pixel ({y}, {x}), image "
                f"{image}: {found[place]} instead of {right[place]}"
            )
    return Differences(count, first)
