"""Checks and measures this library on the devices that JAX finds: run by launch/gpu.sh.

    python -m benchmarks.accelerator [--networks=net1,net7] [--check] [--measure]

--check: every path of integers against the reference and against the checker, which is NumPy
alone, and the same network as exported StableHLO; the sums of each convolution as training
computes them here, against integers. Ends with code 1 if anything differs.
--measure: wall time of the training step, of a step of several members at once, of inference on
integers by each path, and of the step that rounds gradients' operands, as XLA would by default.
"""

import functools
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import integer_networks, programs
from flightnn_jax import Shift, networks
from flightnn_jax.data import Batch
from flightnn_jax.integer import inference, verify
from flightnn_jax.integer.export import stablehlo
from flightnn_jax.integer.inference import operations
from flightnn_jax.training import products, step
from flightnn_jax.training.machine import ONE_CPU, Machine

_NETWORKS = flags.DEFINE_list("networks", ["net1"], "Which, by name.")
_WIDTH = flags.DEFINE_integer("width", None, "Filters of the widest layer, to try it out.")
_CHECK = flags.DEFINE_bool("check", False, "Whether integers are compared.")
_MEASURE = flags.DEFINE_bool("measure", False, "Whether times are measured.")
_IMAGES = flags.DEFINE_integer("images", 128, "Images of a training step.", 1)
_MANY = flags.DEFINE_integer("many", 1024, "Images of a batch of inference.", 1)
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Of each measurement, the median of which counts.", 1)
_CHECKED = 16  # images


def images_for(network: networks.Network, count: int) -> np.ndarray:
    """Random ones."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *network.input_shape), np.uint8)


def differing_integers(network: networks.Network) -> int:
    """How many integers differ between the paths that can run here; a line for each path."""
    made = integer_networks.random_network(network)
    images = images_for(network, _CHECKED)
    report = verify.verify(made, [(images, None)])
    print(report)
    for path, reason in verify.unavailable().items():
        print(f"  {path} was left out: {reason}")
    try:
        data = stablehlo.to_stablehlo(made, path="fast", platforms=(jax.default_backend(),))
    except ImportError as error:
        print(f"  StableHLO was left out: {error}")
        return report.mismatches
    want = np.asarray(inference.make_inference(made, "shifts")(images))
    wrong = int((np.asarray(stablehlo.from_stablehlo(data)(images)) != want).sum())
    print(f"  exported StableHLO: {wrong} mismatches")
    return report.mismatches + wrong


def differing_sums(network: networks.Network) -> int:
    """How many sums of training's convolutions differ from integers, where these are below 2**24.

    A line for each layer.
    """
    rng, wrong, kind = np.random.default_rng(0), 0, _products()
    for each in networks.walk_weights(network):
        if not isinstance(each.layer, networks.Conv):
            continue
        assert each.kernel_shape is not None
        latent = jnp.asarray(rng.normal(0, 0.1, each.kernel_shape), jnp.float32)
        w = np.asarray(Shift(k=2).quantize(latent))
        x = rng.integers(-128, 128, (2, *each.input_shape))
        unit = 2.0 ** (np.floor(np.log2(np.abs(w).max())) - 8)  # all weights are multiples of it
        made = products.convolve(
            jnp.asarray(x / 128, jnp.float32), jnp.asarray(w), each.layer.stride, kind
        )
        patches = np.asarray(
            operations.patches_of(jnp.asarray(x, jnp.int32), each.layer.size, each.layer.stride)
        ).astype(np.float64)
        weights = (w / unit).reshape(-1, w.shape[-1]).astype(np.float64)
        want = patches @ weights  # exact: integers below 2**53
        exact = np.abs(patches) @ np.abs(weights) < 1 << 24
        got = np.asarray(made, np.float64) * 128 / unit
        differ = int(((got != want) & exact).sum())
        print(f"  {each.name}: {differ} of {exact.sum()} sums below 2**24 differ ({kind} operands)")
        wrong += differ
    return wrong


def _machine() -> Machine:
    return Machine.of(step.data_mesh())


def _products() -> products.Products:
    return products.products_for(_machine().platform, 8, Shift(k=2).significant_bits)


def median_seconds(run: Callable[[], Any]) -> float:
    """Wall time of a call, after two that compile and warm up."""
    times = []
    for _ in range(_ROUNDS.value + 2):
        started = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - started)
    return float(np.median(times[2:]))


def steps(network: networks.Network, machine: Machine, track: bool) -> Callable[[], Any]:
    """A training step, to be called again and again."""
    mesh = step.data_mesh()
    made = programs.training(network, _IMAGES.value, mesh, machine)
    state = [step.init_state(made.config, made.model, mesh)]
    batch = _batch(network, _IMAGES.value)

    def run() -> Any:
        state[0], metrics = made.step(state[0], batch, made.hyper, track)
        return metrics

    return run


def population(network: networks.Network) -> Callable[[], Any]:
    """A step of several members at once, likewise; they begin alike, which costs the same."""
    mesh = step.data_mesh()
    made = programs.training(network, _IMAGES.value, mesh, _machine())
    leaves = jax.tree.leaves(step.init_state(made.config, made.model, mesh))
    state, batch, hyper = jax.tree.map(
        lambda each: jnp.stack([jnp.asarray(each)] * programs.MEMBERS),
        (leaves, _batch(network, _IMAGES.value), made.hyper),
    )
    states = [state]

    def run() -> Any:
        states[0], metrics = made.steps(states[0], batch, hyper, False)
        return metrics

    return run


def _batch(network: networks.Network, count: int) -> Batch:
    labels = jnp.arange(count) % network.classes
    images = jnp.asarray(images_for(network, count))
    return Batch(images, labels.astype(jnp.int32), jnp.ones(count, jnp.bool_))


def measure(network: networks.Network) -> None:
    """Prints a line for each program."""
    count, here = _IMAGES.value, _machine()
    print(f"{network.name}, {len(jax.devices())} x {jax.devices()[0].device_kind}, batch {count}")
    runs: dict[str, tuple[int, Callable[[], Any]]] = {
        "step, ranges tracked": (count, steps(network, here, True)),
        "step, ranges frozen": (count, steps(network, here, False)),
        "step, tracked, XLA's default precision": (count, steps(network, ONE_CPU, True)),
        f"step of {programs.MEMBERS} members": (count * programs.MEMBERS, population(network)),
    }
    made = integer_networks.random_network(network)
    images = jnp.asarray(images_for(network, _MANY.value))
    for path in ("fast", "shifts"):
        infer = inference.make_inference(made, path)
        runs[f"integers, {path}, batch {_MANY.value}"] = (
            _MANY.value,
            functools.partial(infer, images),
        )
    for name, (number, run) in runs.items():
        seconds = median_seconds(run)
        print(f"  {name:42}{seconds * 1e3:10.3f} ms{number / seconds:12.0f} images/s", flush=True)


def main(argv: Sequence[str]) -> None:
    """Checks, then measures."""
    if len(argv) > 1 or not (_CHECK.value or _MEASURE.value):
        raise app.UsageError("give --check, --measure or both")
    wrong = 0
    for name in _NETWORKS.value:
        network = networks.network(name, width=_WIDTH.value)
        if _CHECK.value:
            print(f"{name} on {jax.devices()[0].device_kind}, {_products()} operands")
            wrong += differing_integers(network) + differing_sums(network)
        if _MEASURE.value:
            measure(network)
    if _CHECK.value:
        print(f"{wrong} differ" if wrong else "all equal")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    app.run(main)
