"""Writes Verilog that computes an integer network bit for bit, and simulates it.

    python -m launch.rtl --integers=/tmp/digits/integers.safetensors --out=/tmp/digits/rtl
    python -m launch.rtl --integers=net1.safetensors --out=net1 --fold=image=3,conv1=8,3 --verify
    python -m launch.rtl --integers=net1.safetensors --out=net1 --target_images_per_s=2000

A fold is a layer's name and how much of it is computed at once: filters, activations, terms of a
weight, and sums that leave in a cycle; what is left out is 1. That of `image` is the bytes that
come in. With a target the cheapest folds that meet it are found. With --style=hardwired all weights
are wires, with --style=mixed those of the layers that --wired names, or, with a target, of those
that cost the least of the device as wires; a wired layer takes a window a cycle, and of its fold
only the last number counts, as in --fold=conv1=1,1,1,4. --prove shows by
Yosys that wired layers give their weights' sums for every input. --verify simulates the machine in
every simulator that is installed, or in those that it names, and compares every layer of every
image, and the predicted cycles. --synthesize counts what the machine takes on the device with
Yosys; on an ECP5 or iCE40 nextpnr places and routes it, and a bitstream is made. docs/rtl.md says
what is written, and how to run it by hand. The exit code is 0, 1 if an integer or a cycle differs
or the machine stops, or 2 for wrong input.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from flightnn_jax import integer, rtl
from flightnn_jax.checker import interpreter, reader
from flightnn_jax.fpga import Resources
from flightnn_jax.hardware import device
from flightnn_jax.integer import limits
from flightnn_jax.rtl import certify, folding, mixing, simulate, synthesize, timing, tools

from . import command
from .command import flags

_INTEGERS = flags.DEFINE_string("integers", None, "File of an integer network.", required=True)
_OUT = flags.DEFINE_string("out", None, "Directory for the files.", required=True)
_FOLD = flags.DEFINE_string("fold", None, "LAYER=FILTERS,INPUTS,TERMS,OUT,LAYER=.. of some layers.")
_TARGET = flags.DEFINE_integer("target_cycles", None, "Most cycles an image.", lower_bound=1)
_SPEED = flags.DEFINE_float("target_images_per_s", None, "Fewest images/s, at the device's clock.")
_DEVICE = flags.DEFINE_string("device", "ECP5-85", "An FPGA's name, or a .json file of one.")
_LEAST = flags.DEFINE_boolean(
    "least_queues", False, "Queues on skips as deep as they must be, not as is of use."
)
_STYLE = flags.DEFINE_enum("style", "engine", ["engine", "hardwired", "mixed"], "Of layers.")
_WIRED = flags.DEFINE_list("wired", [], "Layers that are wires; for --style=mixed.")
_SYNTHESIZE = flags.DEFINE_boolean("synthesize", False, "Count it, and place it where possible.")
_PROVE = flags.DEFINE_boolean("prove", False, "Prove the sums of wired layers, by Yosys.")
_IMAGES = flags.DEFINE_integer("images", 8, "Images that --verify runs.", lower_bound=2)
_GAPS = flags.DEFINE_integer(
    "gaps",
    0,
    "Chance in 256 that a cycle of --verify sends nothing, and that one takes nothing.",
    lower_bound=0,
    upper_bound=255,
)


class _Simulators(flags.ArgumentParser):
    """Nothing behind the flag means all that are installed."""

    def parse(self, argument: str | list[str]) -> list[str] | None:
        """The simulators; None for none."""
        if isinstance(argument, list):
            return argument
        if argument in ("true", "false"):
            able = [tool for tool in simulate.TOOLS if simulate.unavailable(tool) is None]
            return able if argument == "true" else None
        names = argument.split(",")
        unknown = sorted(set(names) - set(simulate.TOOLS))
        if unknown:
            raise ValueError(f"{unknown}: choose of {', '.join(simulate.TOOLS)}")
        return names


_VERIFY = flags.DEFINE_flag(
    flags.Flag(
        parser=_Simulators(),
        serializer=flags.CsvListSerializer(","),
        name="verify",
        default=None,
        help_string="Simulate, with all simulators that are installed or with these.",
        boolean=True,
    )
)


def main() -> int:
    """Writes the files that the flags describe, and verifies them if it shall."""
    command.quiet()
    if sum(flag.present for flag in (_FOLD, _TARGET, _SPEED)) > 1:
        raise command.UsageError("give one of --fold, --target_cycles and --target_images_per_s")
    board = device.named(_DEVICE.value)
    network = integer.load(_INTEGERS.value)
    machine, predicted = _machine(network, board)
    interval, first = predicted.interval, predicted.first
    about = {"digest": _digest(_INTEGERS.value), "interval": interval, "first_result": first}
    try:
        rtl.write(network, machine, _OUT.value, about)
    except OSError as error:
        raise ValueError(f"--out={_OUT.value}: {error}: choose another directory") from error
    print(
        f"{network.name}: {len(machine.stages)} stages in {_OUT.value}, an image every "
        f"{interval:,} cycles: {1e6 * board.clock_mhz / interval:,.0f} images/s at "
        f"{board.clock_mhz:g} MHz, the first result after {first:,} cycles"
    )
    if _PROVE.value:
        _prove(network, machine)
    if _SYNTHESIZE.value:
        _synthesize(machine, board.name, interval)
    return 0 if _VERIFY.value is None else _verify_all(network, machine)


def _verify_all(network: integer.IntegerNetwork, machine: rtl.Machine) -> int:
    """Runs the simulators, and returns the exit code."""
    if not _VERIFY.value:
        programs = "; ".join(filter(None, map(simulate.unavailable, simulate.TOOLS)))
        raise ValueError(f"--verify: no simulator can run here: {programs}")
    images = _some_images(network, _IMAGES.value)
    expected = interpreter.run(reader.load(_INTEGERS.value), images)
    return max([_verify(tool, machine, images, expected) for tool in _VERIFY.value])


def _prove(network: integer.IntegerNetwork, machine: rtl.Machine) -> None:
    """Proves every wired layer, and says so."""
    why_not = tools.unavailable(["yosys"])
    if why_not is not None:
        raise ValueError(f"--prove: {why_not}")
    for name, proof in certify.prove_layers(network, machine, _OUT.value):
        print(f"{name}: proven for every input: {proof.adders} adders, {proof.latency} cycles")


def _synthesize(machine: rtl.Machine, board: str, interval: int) -> None:
    """Prints what the machine takes on the device, and how fast it is there."""
    try:
        for line in synthesize.run(_OUT.value, machine, board, interval):
            print(line, flush=True)
    except synthesize.SynthesisError as error:
        raise ValueError(str(error)) from error


def _verify(
    tool: str, machine: rtl.Machine, images: np.ndarray, expected: Mapping[str, np.ndarray]
) -> int:
    """Runs a simulator, prints what came of it, and returns the exit code."""
    start = time.perf_counter()
    try:
        simulate.build(_OUT.value, tool)
        ends = rtl.Ends(_GAPS.value, _GAPS.value)
        run = simulate.run(_OUT.value, machine, images, tool, ends)
    except rtl.StoppedError as error:
        print(f"{tool}: {error}")
        return 1
    except rtl.SimulationError as error:
        raise ValueError(str(error)) from error
    seconds = time.perf_counter() - start
    found = simulate.differences(expected, run)
    print(
        f"{tool}: {len(images)} images, {len(run.outputs)} layers, {found.count} mismatches, "
        f"{seconds:.0f} s"
    )
    if found.first:
        print(f"{tool}: {found.first}")
    if found.count or _GAPS.value:
        return 1 if found.count else 0
    right = timing.predict(machine, 3).cycles[: len(images)]
    simulated = run.ends(len(images))[: len(right)]
    print(f"{tool}: last logits in cycles {simulated.tolist()}, predicted {right.tolist()}")
    return 0 if np.array_equal(simulated, right) else 1


def _machine(
    network: integer.IntegerNetwork, board: device.Device
) -> tuple[rtl.Machine, timing.Prediction]:
    """With the folds of --fold, or the cheapest with which the exact interval meets the target."""
    wired, target = _wired(network), _target(board)
    limit = target
    while True:
        folds = _given_folds(_FOLD.value or "")
        if limit is not None:
            if _STYLE.value == "mixed" and not _WIRED.value:
                wired = list(mixing.cheapest(network, limit, _available(board)))
            folds = folding.cheapest(network, limit, wired)
        machine = rtl.machine_of(network, folds, wired, least=_LEAST.value)
        predicted = timing.predict(machine)
        if limit is None or target is None or predicted.interval <= target:
            if _STYLE.value == "mixed":
                print(f"wires: {', '.join(wired) or 'of no layer'}")
            return machine, predicted
        # What waits for rows and queues: the closed form does not know it.
        limit = min(limit - 1, limit * target // predicted.interval)


def _target(board: device.Device) -> int | None:
    """Most cycles an image, or None for no target."""
    if _SPEED.value is None:
        return _TARGET.value
    if not 0 < _SPEED.value <= 1e6 * board.clock_mhz:
        raise ValueError(f"--target_images_per_s={_SPEED.value}: give a number above 0")
    return int(1e6 * board.clock_mhz / _SPEED.value)


def _given_folds(text: str) -> dict[str, rtl.Fold]:
    """The folds of --fold.

    Raises:
      ValueError: if it is none.
    """
    folds: dict[str, list[int]] = {}
    name = ""
    for part in filter(None, text.split(",")):
        given, _, number = part.rpartition("=")
        if given in folds:
            raise ValueError(f"--fold={text}: {given} is there twice: give all its numbers at once")
        name = given or name
        if not name or not number.isdecimal():
            raise ValueError(f"--fold={text}: {part!r} is no LAYER=NUMBER, nor a NUMBER behind one")
        folds.setdefault(name, []).append(int(number))
    for name, numbers in folds.items():
        most = 1 if name == limits.IMAGE else len(rtl.Fold._fields)
        if len(numbers) > most:
            count = len(numbers)
            raise ValueError(f"--fold={text}: {count} numbers for {name}: give at most {most}")
    return {
        name: rtl.Fold(out=numbers[0]) if name == limits.IMAGE else rtl.Fold(*numbers)
        for name, numbers in folds.items()
    }


def _available(board: device.Device) -> Resources:
    """What the device has, in tables of 6 inputs."""
    return Resources(board.bram, board.dsp, board.ff, board.lut / board.lut_factor)


def _wired(network: integer.IntegerNetwork) -> list[str]:
    """The layers whose weights are wires, as far as the flags name them.

    Raises:
      ValueError: if the flags contradict each other.
    """
    style, names = _STYLE.value, list(_WIRED.value)
    if names and style != "mixed":
        raise ValueError(f"--style={style} --wired={','.join(names)}: give --style=mixed with it")
    if style == "mixed" and not names and not (_TARGET.present or _SPEED.present):
        raise ValueError(
            "--style=mixed: name layers with --wired, or give a target by which they are chosen"
        )
    return [layer.name for layer in network.weighted] if style == "hardwired" else names


def _digest(path: str) -> str:
    """What the file says of itself: it was checked when it was read."""
    data = Path(path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    return str(json.loads(data[8 : 8 + length])["__metadata__"]["sha256"])


def _some_images(network: integer.IntegerNetwork, count: int) -> np.ndarray:
    """The golden images, and noise where they are too few."""
    noise = np.random.default_rng(0).integers(0, 256, (count, *network.input_shape), np.uint8)
    golden = noise[:0] if network.golden is None else network.golden.images
    return np.concatenate([golden, noise])[:count]


if __name__ == "__main__":
    command.run(main)
