"""The proof by running: every interpreter on every image, compared at every layer.

`verify` runs the reference (shifts) and what is named besides it: the fast path, the kernel in C++,
the float32 form, the independent interpreter, which reads the network from a file, onnxruntime,
simulators of its Verilog, its C compiled, and, where there is a training run, the trained network
itself. Integers are equal or they are not.
"""

import dataclasses
import functools
import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flightnn_jax.checker import interpreter, reader
from flightnn_jax.integer import files, inference
from flightnn_jax.integer.export import c as c_export
from flightnn_jax.integer.export import onnx as onnx_export
from flightnn_jax.integer.export import qonnx as qonnx_export
from flightnn_jax.integer.inference import float32, native_build, popcount
from flightnn_jax.integer.network import IntegerNetwork
from flightnn_jax.rtl import simulate
from flightnn_jax.rtl.runner import make_runner

REFERENCE = "shifts"
TRAINED = "trained"
Outputs = Mapping[str, Any]
Runner = Callable[[np.ndarray], Outputs]  # from images to outputs by the layers' names
Batches = Iterable[tuple[np.ndarray, np.ndarray | None]]  # images, and labels or None


class Interpreter(NamedTuple):
    """One way to run a network, which `verify` compares with the reference.

    Attributes:
      runner: makes the function from images to every layer's output.
      logits: makes one from images to the logits, where that is another program; None elsewhere.
      unavailable: why it cannot run on this machine, or None.
      suits: of those on request, the networks for which it runs though nobody names it.
    """

    runner: Callable[[IntegerNetwork], Runner]
    logits: Callable[[IntegerNetwork], Runner] | None = None
    unavailable: Callable[[], str | None] = lambda: None
    suits: Callable[[IntegerNetwork], bool] = lambda network: False


class Difference(NamedTuple):
    """The first integer that differs: of the earliest layer, then of the earliest image.

    Attributes:
      path: which one differs from the reference.
      layer: its name.
      image: its number in the data set.
      pixel: (row, column), or () behind the average.
      channel: the filter.
      expected: the reference's integer.
      actual: the other one.
    """

    path: str
    layer: str
    image: int
    pixel: tuple[int, ...]
    channel: int
    expected: int
    actual: int

    def __str__(self) -> str:
        """One line for people."""
        pixel = f" pixel {self.pixel}," if self.pixel else ""
        return (
            f"{self.path}: first mismatch in layer {self.layer}, channel {self.channel},{pixel} "
            f"image {self.image}: {self.actual} instead of {self.expected}"
        )


@dataclasses.dataclass
class PathReport:
    """How one path compares.

    Attributes:
      layers: how many were compared.
      mismatches: integers that differ from the reference's.
      first: of them; None where there is none.
      hits: images whose class is their label.
      seconds: spent on running it, without the first batch, which compiles.
      timed: images in that time.
    """

    layers: int = 0
    mismatches: int = 0
    first: Difference | None = None
    hits: int = 0
    seconds: float = 0.0
    timed: int = 0


@dataclasses.dataclass
class Report:
    """The result of a verification.

    Attributes:
      images: how many were run.
      labelled: how many of them had a label.
      layers: of the network.
      paths: by name, the reference first.
    """

    images: int
    labelled: int
    layers: int
    paths: dict[str, PathReport]

    @property
    def mismatches(self) -> int:
        """Integers that differ, of all paths."""
        return sum(path.mismatches for path in self.paths.values())

    def accuracy(self, path: str = REFERENCE) -> float | None:
        """Top 1 of a path; None without labels."""
        return self.paths[path].hits / self.labelled if self.labelled else None

    def __str__(self) -> str:
        """A line for each path, and one for each first mismatch."""
        lines = [f"{self.images} images, {self.layers} layers, {self.mismatches} mismatches"]
        for name, path in self.paths.items():
            accuracy = self.accuracy(name)
            top = "" if accuracy is None else f"  accuracy {100 * accuracy:6.2f} %"
            speed = f"{path.timed / path.seconds:9.0f} images/s" if path.timed else ""
            lines.append(
                f"  {name:14}{path.layers:3} layers  {path.mismatches} mismatches{top}{speed}"
            )
        lines += [str(path.first) for path in self.paths.values() if path.first]
        return "\n".join(lines)


def verify(
    network: IntegerNetwork,
    batches: Batches,
    *,
    paths: Sequence[str] | None = None,
    trained: Runner | None = None,
) -> Report:
    """Runs every interpreter over a data set and compares all layers with the reference.

    Args:
      network: a valid one.
      batches: pairs of images, [batch, height, width, channels] uint8, and labels, [batch] or
        None. Batches of one size compile once; a smaller last one is filled up.
      paths: of PATHS and ON_REQUEST, and "trained" if that is given; by default all of PATHS that
        can run here, see `unavailable`, and those on request that suit the network.
      trained: every layer's output by the network that was trained: `LoweredRun.trained` of
        `training.export`.

    Raises:
      ValueError: if a path is unknown or one that was named cannot run here, or there are no
        images.

    Example:
      >>> from flightnn_jax.integer import Average, MaxPool
      >>> layers = (MaxPool("pool1", "image"), Average("average", "pool1", None, -7))
      >>> network = IntegerNetwork("mean", (2, 2, 1), layers, 3, None, -7, ("grey",), {}, None)
      >>> images = np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1)
      >>> report = verify(network, [(images, None)], paths=["fast", "independent"])
      >>> report.images, report.layers, report.mismatches
      (2, 2, 0)
    """
    return compare(network, runners(network, paths, trained), batches)


def unavailable() -> dict[str, str]:
    """By path, why it cannot run on this machine; nothing for those that can."""
    reasons = {name: path.unavailable() for name, path in PATHS.items()}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def runners(
    network: IntegerNetwork, paths: Sequence[str] | None = None, trained: Runner | None = None
) -> dict[str, Runner]:
    """The interpreters by name, the reference first; arguments as those of `verify`."""
    if paths is None:
        missing = unavailable()
        suiting = (name for name, path in ON_REQUEST.items() if path.suits(network))
        paths = [TRAINED, *(path for path in PATHS if path not in missing), *suiting]
    elif TRAINED in paths and trained is None:
        raise ValueError(f"path {TRAINED!r} without a training run: name one (--run=WORKDIR)")
    known = {**PATHS, **ON_REQUEST}
    unknown = sorted(set(paths) - {*known, REFERENCE, TRAINED})
    if unknown:
        raise ValueError(f"paths {unknown} are unknown: choose of {', '.join([TRAINED, *known])}")
    for name in paths:
        if name in known and (reason := known[name].unavailable()) is not None:
            raise ValueError(f"path {name!r} cannot run here: {reason}")
    made: dict[str, Runner] = {REFERENCE: inference.make_layer_outputs(network, REFERENCE)}
    if trained is not None and TRAINED in paths:
        made[TRAINED] = trained
    for name, path in known.items():
        if name in paths:
            made[name] = path.runner(network)
            if path.logits is not None:
                made[f"{name}, logits"] = path.logits(network)
    return made


def _inference(path: str, unavailable: Callable[[], str | None]) -> Interpreter:
    """A path of `inference`."""

    def logits(network: IntegerNetwork) -> Runner:
        last, infer = network.layers[-1].name, inference.make_inference(network, path)
        return lambda images: {last: infer(images)}

    def runner(network: IntegerNetwork) -> Runner:
        return inference.make_layer_outputs(network, path)

    return Interpreter(runner, logits, unavailable)


def _independent(network: IntegerNetwork) -> Runner:
    """The checker's interpreter, on what its reader makes of the network's file."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "network.safetensors"
        files.save(network, file)
        loaded = reader.load(file)
    return lambda images: interpreter.run(loaded, images)


def _onnx(network: IntegerNetwork) -> Runner:
    return onnx_export.run_onnx(onnx_export.to_onnx(network, every_layer=True))


def _qonnx(network: IntegerNetwork) -> Runner:
    """By the package qonnx, which takes models for a fixed number of images."""

    @functools.cache
    def of(batch: int) -> Runner:
        model = qonnx_export.to_qonnx(network, batch=batch, every_layer=True)
        return qonnx_export.run_qonnx(model)

    return lambda images: of(len(images))(images)


def _without(module: str, extra: str) -> str | None:
    if importlib.util.find_spec(module) is not None:
        return None
    return f"{module} is not installed: pip install 'flightnn-jax[{extra}]'"


# Besides the reference. A further path is a further entry.
PATHS: dict[str, Interpreter] = {
    "fast": _inference("fast", lambda: None),
    "native": _inference("native", native_build.why_not),
    "float": Interpreter(float32.function_of),
    "independent": Interpreter(_independent),
    "onnx": Interpreter(_onnx, unavailable=lambda: _without("onnxruntime", "onnx")),
}


def _simulator(tool: str) -> Interpreter:
    """The network as Verilog in a simulator."""
    return Interpreter(
        lambda network: make_runner(network, tool), unavailable=lambda: simulate.unavailable(tool)
    )


# Its Verilog: slow, so only where it is named.
SIMULATORS: dict[str, Interpreter] = {tool: _simulator(tool) for tool in simulate.TOOLS}
# Products from tables, popcounts, and other programs that are exported; C takes a second or more to
# compile. Popcounts run unasked where they compute a layer.
ON_REQUEST: dict[str, Interpreter] = {
    **SIMULATORS,
    "tables": _inference("tables", lambda: None),
    "popcount": _inference("popcount", lambda: None)._replace(
        suits=lambda network: bool(popcount.layers(network))
    ),
    "c": Interpreter(c_export.make_runner, unavailable=c_export.unavailable),
    "qonnx": Interpreter(_qonnx, unavailable=lambda: _without("qonnx", "qonnx")),
}


def compare(network: IntegerNetwork, runners: Mapping[str, Runner], batches: Batches) -> Report:
    """Runs these interpreters, the first of which is right, on all batches.

    Args:
      network: whose layers are compared.
      runners: functions of images by name. What a function leaves out is not compared.
      batches: as those of `verify`.
    """
    report = Report(0, 0, len(network.layers), {name: PathReport() for name in runners})
    size = 0
    for images, labels in batches:
        count, size = len(images), size or len(images)
        filled = images
        if count < size:
            filled = np.concatenate([images, np.repeat(images[:1], size - count, axis=0)])
        expected: Outputs = {}
        for name, run in runners.items():
            path = report.paths[name]
            start = time.perf_counter()
            outputs = {layer: np.asarray(value)[:count] for layer, value in run(filled).items()}
            if report.images:
                path.seconds += time.perf_counter() - start
                path.timed += count
            expected = expected or outputs
            _compare_layers(network, name, path, expected, outputs, report.images)
            logits = outputs[network.layers[-1].name]
            if labels is not None:
                path.hits += int(np.sum(logits.argmax(axis=1) == np.asarray(labels)))
        report.images += count
        report.labelled += 0 if labels is None else count
    if not report.images:
        raise ValueError("there are no images: give a data set that is not empty")
    return report


def _compare_layers(
    network: IntegerNetwork,
    name: str,
    path: PathReport,
    expected: Outputs,
    outputs: Outputs,
    start: int,
) -> None:
    order = [layer.name for layer in network.layers]
    path.layers = len(outputs)
    for layer in (layer for layer in order if layer in outputs):
        differs = expected[layer] != outputs[layer]
        count = int(np.count_nonzero(differs))
        path.mismatches += count
        if not count:
            continue
        place = tuple(int(i) for i in np.argwhere(differs)[0])
        first = Difference(
            name,
            layer,
            start + place[0],
            place[1:-1],
            place[-1],
            int(expected[layer][place]),
            int(outputs[layer][place]),
        )
        if path.first is None or order.index(layer) < order.index(path.first.layer):
            path.first = first
