"""What a training step costs, as ratios of steps that take turns in one process.

    python -m benchmarks.train_step --networks=net1,net7 --batch=64

Steps: full precision, FLightNN with tracked and with frozen activation ranges, and, where PyTorch
can be imported, the same FLightNN step written naturally in PyTorch, contiguous and channels_last,
and by torch.compile with the fused Adam, which needs a C++ compiler (--nocompiled leaves it out).
The convolutions alone, forward and backward, are the least that a step can take in XLA.
Wall time says what a user waits for; CPU time, summed over threads, is steadier on a busy machine.
"""

import os

# Read when JAX and PyTorch start: two threads each, and convolutions that use both of them.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_cpu_experimental_ynn_fusion_type=-individual_convolution"
)
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]  # it has no stubs
from absl import app, flags

import flightnn_jax as fl
from flightnn_jax import networks
from flightnn_jax.training import models
from launch import devices

try:
    from benchmarks import pytorch_step
except ModuleNotFoundError:
    pytorch_step = None  # type: ignore[assignment]  # PyTorch is no requirement of the library

_NETWORKS = flags.DEFINE_list("networks", ["net1", "net7"], "which networks, by name")
_BATCH = flags.DEFINE_integer("batch", 64, "images a step", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 15, "timed steps of each kind", lower_bound=1)
_COMPILED = flags.DEFINE_boolean("compiled", True, "also PyTorch's step by torch.compile")
_KEEP = flags.DEFINE_boolean(
    "keep_memory", True, "Keep memory that is freed, as launch.train does; it serves PyTorch, too."
)

LAMBDA = 3e-5
RATE = 1e-3


def jax_step(
    net: networks.Network, images: np.ndarray, labels: np.ndarray, bits: int | None, track: bool
) -> Callable[[], None]:
    """A step of full precision (bits=None) or FLightNN, to be called again and again."""
    model = models.Model(net, activation_bits=bits)
    optimizer = optax.adam(RATE)
    variables = jax.jit(model.init)(jax.random.key(0), images)
    params = variables.pop("params")
    spec = None
    if bits is not None:
        spec = fl.init_thresholds(params, fl.make_spec(params, fl.Shift(k=2)))
        optimizer = optax.chain(fl.add_residual_group_lasso(LAMBDA, parts=tuple), optimizer)

    def loss(trained: Any, rest: Any, images: jax.Array, labels: jax.Array) -> Any:
        params, spec = trained
        weights = params if spec is None else fl.quantize_params(params, spec)
        logits, updates = model.apply(
            {"params": weights, **rest},
            images,
            train=True,
            track=track,
            mutable=["batch_stats", *(["ranges"] if track else [])],
        )
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return entropy.mean(), {**rest, **updates}

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, images: jax.Array, labels: jax.Array) -> Any:
        trained, rest, slots = state
        gradient, rest = jax.grad(loss, has_aux=True)(trained, rest, images, labels)
        updates, slots = optimizer.update(gradient, slots, trained)
        return optax.apply_updates(trained, updates), rest, slots

    trained = (params, spec)
    state = [(trained, variables, optimizer.init(trained))]
    on_device = (jnp.asarray(images), jnp.asarray(labels))

    def run() -> None:
        state[0] = jax.block_until_ready(step(state[0], *on_device))

    return run


def convolutions(net: networks.Network, batch: int) -> Callable[[], None]:
    """All convolutions and dense layers of a step, forward and backward, and nothing else."""
    rng = np.random.default_rng(0)
    arrays: list[tuple[jax.Array, ...]] = []  # input, kernel, cotangent
    strides = []
    for step in networks.walk_weights(net):
        assert step.kernel_shape is not None
        shapes = (batch, *step.input_shape), step.kernel_shape, (batch, *step.output_shape)
        arrays.append(tuple(jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes))
        strides.append(getattr(step.layer, "stride", None))

    def one(x: jax.Array, kernel: jax.Array, stride: int | None) -> jax.Array:
        if stride is None:
            return x @ kernel
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    @jax.jit
    def step_of(arrays: Any) -> Any:
        results = []
        for i, ((x, kernel, cotangent), stride) in enumerate(zip(arrays, strides, strict=True)):
            output, pull = jax.vjp(functools.partial(one, stride=stride), x, kernel)
            to_input, to_kernel = pull(cotangent)
            # The image needs no gradient. Sums read all of an array and keep none of it.
            results.append((output.sum(), to_input.sum() if i else 0.0, to_kernel))
        return results

    return lambda: jax.block_until_ready(step_of(arrays))


def steps_of(net: networks.Network, batch: int) -> dict[str, Callable[[], None]]:
    """All steps to compare, by name."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, *net.input_shape), np.uint8)
    labels = rng.integers(0, net.classes, batch)
    steps = {
        "full precision": jax_step(net, images, labels, None, False),
        "FLightNN, tracked": jax_step(net, images, labels, 8, True),
        "FLightNN, frozen": jax_step(net, images, labels, 8, False),
    }
    if pytorch_step is not None:
        for layout in ("contiguous", "channels_last"):
            steps[f"PyTorch FLightNN, {layout}"] = pytorch_step.flightnn_step(
                net, images, labels, layout, RATE, LAMBDA
            )
        if _COMPILED.value:
            steps["PyTorch FLightNN, compiled"] = pytorch_step.flightnn_step(
                net, images, labels, "channels_last", RATE, LAMBDA, compiled=True
            )
    steps["convolutions alone"] = convolutions(net, batch)
    return steps


def race(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, tuple[float, float]]:
    """Median (wall, CPU) seconds of each step; in every round each step runs once."""
    for run in steps.values():
        run()
        run()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, run in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: tuple(np.median(rows, axis=0)) for name, rows in times.items()}


def report(name: str, batch: int, medians: dict[str, tuple[float, float]]) -> None:
    """Prints a row for each step: microseconds an image, and the ratio to full precision."""
    base = medians["full precision"]
    print(f"{name}, batch {batch}: microseconds an image and ratio to full precision, wall and CPU")
    for step, (wall, cpu) in medians.items():
        scale = 1e6 / batch
        print(
            f"  {step:32}{wall * scale:9.0f}{wall / base[0]:7.2f}x"
            f"{cpu * scale:9.0f}{cpu / base[1]:7.2f}x"
        )
    for ours in ("FLightNN, tracked", "FLightNN, frozen"):
        ratios = [medians[ours][i] / medians["convolutions alone"][i] for i in range(2)]
        print(f"  {ours} takes {ratios[0]:.2f}x (wall), {ratios[1]:.2f}x (CPU) the convolutions")
    rivals = [times for step, times in medians.items() if step.startswith("PyTorch")]
    for ours in ("FLightNN, tracked", "FLightNN, frozen") if rivals else ():
        ratios = [min(r[i] for r in rivals) / medians[ours][i] for i in range(2)]
        print(f"  {ours} against the faster PyTorch: {ratios[0]:.2f}x wall, {ratios[1]:.2f}x CPU")


def main(argv: Sequence[str]) -> None:
    """Measures each network named by the flags."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: name networks with --networks")
    if _KEEP.value:
        devices.keep_freed_memory()
    if pytorch_step is None:
        print("without PyTorch (pip install torch==2.13.0 to compare with it)")
    for name in _NETWORKS.value:
        net = networks.network(name)
        report(name, _BATCH.value, race(steps_of(net, _BATCH.value), _ROUNDS.value))


if __name__ == "__main__":
    app.run(main)
