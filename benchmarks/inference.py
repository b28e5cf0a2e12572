"""What integer inference costs, as ratios of CPU time in rounds in which all programs take turns.

    python -m benchmarks.inference --networks=net1,net3,net7 --batches=32,1
    python -m benchmarks.inference --start

Against onnxruntime's own int8 network of the same shapes, which computes other numbers:
onnxruntime with our exact export, a float32 network in XLA, and our three paths, the native one
where it can be compiled. One thread, since CPU time of several counts their waiting. --start
measures a new process instead, from its start to the first image's class. Weights are random: see
benchmarks/integer_networks.py.
"""

import os

if hasattr(os, "sched_setaffinity"):  # before JAX counts the processors
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import onnxruntime_int8
from benchmarks.integer_networks import random_network
from flightnn_jax import integer, networks
from flightnn_jax.integer import files, inference
from flightnn_jax.integer.export import onnx as onnx_export
from flightnn_jax.integer.inference import native_build

_NETWORKS = flags.DEFINE_list("networks", ["net1", "net3", "net7"], "which networks, by name")
_BATCHES = flags.DEFINE_list("batches", ["32", "1"], "images at once")
_ROUNDS = flags.DEFINE_integer("rounds", 9, "timed runs of each program", lower_bound=1)
_START = flags.DEFINE_bool("start", False, "measure the start of a process instead")

_BASE = "onnxruntime int8"
Run = Callable[[], object]


def float_network(network: integer.IntegerNetwork) -> Callable[[jax.Array], jax.Array]:
    """A float32 network of the same layers, as one would write it: nothing is rounded."""
    slope = 2.0**-network.slope

    def scaled(x: jax.Array, layer: integer.Convolution) -> jax.Array:
        around = layer.weights.shape[0] // 2
        acc = jax.lax.conv_general_dilated(
            x,
            jnp.asarray(layer.weights.integers(), jnp.float32) / 128,
            (layer.stride, layer.stride),
            ((around, around), (around, around)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        multiplier, bias = (
            jnp.asarray(part, jnp.float32)[None, None, None] / 4096
            for part in (layer.affine.multiplier, layer.affine.bias)
        )
        return acc * multiplier + bias

    def leaky(x: jax.Array) -> jax.Array:
        return jnp.where(x < 0, x * slope, x)

    def run(images: jax.Array) -> jax.Array:
        values = {integer.IMAGE: images.astype(jnp.float32) - 128}
        for layer in network.layers:
            if isinstance(layer, integer.Add):
                x = leaky(values[layer.inputs[0]] + values[layer.inputs[1]])
            elif isinstance(layer, integer.Convolution):
                x = scaled(values[layer.input], layer)
                x = x if layer.shift is None else leaky(x)
            elif isinstance(layer, integer.MaxPool):
                x = values[layer.input]
                x = jnp.maximum(x[:, ::2], x[:, 1::2])
                x = jnp.maximum(x[:, :, ::2], x[:, :, 1::2])
            elif isinstance(layer, integer.Average):
                x = values[layer.input].mean(axis=(1, 2))
            else:
                assert isinstance(layer, integer.Dense)
                weights = jnp.asarray(layer.weights.integers(), jnp.float32) / 128
                x = values[layer.input] @ weights + jnp.asarray(layer.bias, jnp.float32)[None]
            values[layer.name] = x
        return x

    return run


def programs(table: networks.Network, batch: int) -> dict[str, Run]:
    """All programs to compare, by name."""
    network = random_network(table)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, *table.input_shape), np.uint8)
    there = jnp.asarray(images)

    def on_device(function: Callable[[jax.Array], jax.Array]) -> Run:
        return lambda: jax.block_until_ready(function(there))

    rival = onnxruntime_int8.quantized_model(table)
    made = {
        _BASE: onnxruntime_int8.runner(rival, images.transpose(0, 3, 1, 2), 1),
        "XLA float32": on_device(jax.jit(float_network(network))),
        "ours, fast": on_device(inference.make_inference(network)),
        "ours, shifts": on_device(inference.make_inference(network, "shifts")),
    }
    if native_build.unavailable() is None:
        made["ours, native"] = on_device(inference.make_inference(network, "native"))
    for weights in ("uint8", "int8"):
        exported = onnx_export.to_onnx(network, weights=weights)
        made[f"our ONNX, {weights}"] = onnxruntime_int8.runner(exported, images, 1)
    return made


def race(runs: dict[str, Run], rounds: int) -> dict[str, tuple[float, float]]:
    """Of each program the median CPU seconds, and the median ratio of the base's to its own."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()  # or what ran before it decides what is in the caches, and on fresh memory
            start = time.process_time()
            run()
            times[name].append(time.process_time() - start)
    base = np.array(times[_BASE])
    return {
        name: (float(np.median(seconds)), float(np.median(base / np.array(seconds))))
        for name, seconds in times.items()
    }


def start_of_process(name: str) -> None:
    """Prints how long a new process takes to load a file and to classify one image."""
    code = (
        "import sys, numpy as np\n"
        "from flightnn_jax.integer import files, inference\n"
        "network = files.load(sys.argv[1])\n"
        "image = np.zeros((1, *network.input_shape), np.uint8)\n"
        "print(int(np.argmax(inference.make_inference(network)(image))))\n"
        "assert not {'flax', 'optax', 'tensorflow_datasets'} & set(sys.modules)\n"
    )
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "network.safetensors"
        files.save(random_network(networks.network(name)), file)
        timings = []
        for _ in range(3):
            wall, cpu = time.perf_counter(), os.times()
            subprocess.run([sys.executable, "-c", code, str(file)], check=True, capture_output=True)
            used = os.times()
            spent = used.children_user + used.children_system
            spent -= cpu.children_user + cpu.children_system
            timings.append((time.perf_counter() - wall, spent))
    best = min(timings)
    print(f"{name}: {best[0]:.2f} s from the start to the first class, {best[1]:.2f} s of CPU")


def main(argv: Sequence[str]) -> None:
    """Measures each network named by the flags."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: name networks with --networks")
    for name in _NETWORKS.value:
        if _START.value:
            start_of_process(name)
            continue
        for batch in map(int, _BATCHES.value):
            print(f"{name}, batch {batch}: CPU microseconds an image, speed against {_BASE}")
            results = race(programs(networks.network(name), batch), _ROUNDS.value)
            for program, (seconds, ratio) in results.items():
                print(f"  {program:20}{seconds / batch * 1e6:10.0f}{ratio:8.2f}", flush=True)


if __name__ == "__main__":
    app.run(main)
