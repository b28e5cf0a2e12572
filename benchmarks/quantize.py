"""Quantizing a parameter tree, against a jitted copy of the same bytes.

    python -m benchmarks.quantize [--millions=100] [--rounds=15] [--layout=last|first] [--k=2]

Every round runs every row once, so that all of them meet the machine in the same state; a row's
ratio is the median over rounds of its time over the copy's in that round. Memory is what XLA
reserves: arguments, results and temporaries together, over the size of the tree.
"""

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

import flightnn_jax as fl

_MILLIONS = flags.DEFINE_integer("millions", 100, "Millions of weights in the tree.", 1)
_ROUNDS = flags.DEFINE_integer("rounds", 15, "How often each row is timed.", 1)
_K = flags.DEFINE_integer("k", 2, "Terms of a weight.", 1, 3)
_LAYOUT = flags.DEFINE_enum("layout", "last", ["last", "first"], "Where the filter axis is.")

PyTree = Any


def make_tree(millions: int, layout: str) -> PyTree:
    """Kernels of a ResNet and of a transformer, repeated until there are enough weights."""
    shapes = [(3, 3, 512, 512), (3, 3, 256, 512), (1, 1, 512, 2048), (1024, 4096), (3, 3, 64, 64)]
    rng = np.random.default_rng(0)
    tree: list[jax.Array] = []
    size = 0
    while size < millions * 1_000_000:
        shape = shapes[len(tree) % len(shapes)]
        if layout == "first":
            shape = (shape[-1], *shape[:-1])
        tree.append(jnp.asarray(rng.normal(size=shape, scale=0.05).astype(np.float32)))
        size += tree[-1].size
    return tree


def rows(params: PyTree, k: int, layout: str) -> dict[str, tuple[jax.stages.Wrapped, tuple]]:
    """The functions to time, each with its arguments."""
    axis = -1 if layout == "last" else 0
    fixed = fl.make_spec(params, fl.Shift(k=k, filter_axis=axis))
    trained = fl.init_thresholds(params, fixed)

    def half_square(params: PyTree, spec: PyTree) -> jax.Array:
        return square(fl.quantize_params(params, spec))

    def square(params: PyTree) -> jax.Array:
        return sum((jnp.sum(w * w) / 2 for w in jax.tree.leaves(params)), jnp.zeros(()))

    def backward(params: PyTree, spec: PyTree, cotangent: PyTree) -> PyTree:
        return jax.vjp(fl.quantize_params, params, spec)[1](cotangent)

    penalty = jax.grad(lambda p, s: fl.residual_group_lasso(p, s, 1e-5))
    return {
        "copy": (jax.jit(lambda p: jax.tree.map(jnp.copy, p)), (params,)),
        f"LightNN-{k}": (jax.jit(fl.quantize_params), (params, fixed)),
        f"FLightNN, k = {k}": (jax.jit(fl.quantize_params), (params, trained)),
        "its vjp, given dL/dQ": (jax.jit(backward), (params, trained, params)),
        "gradient of a loss on Q": (jax.jit(jax.grad(half_square, (0, 1))), (params, trained)),
        "the same loss without Q": (jax.jit(jax.grad(square)), (params,)),
        "gradient of the penalty": (jax.jit(penalty), (params, trained)),
    }


def main(argv: Sequence[str]) -> None:
    """Prints the table."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    params = make_tree(_MILLIONS.value, _LAYOUT.value)
    timed = rows(params, _K.value, _LAYOUT.value)
    size = sum(w.nbytes for w in params)
    print(
        f"{size / 4e6:.0f}M float32 weights in {len(params)} arrays on {jax.devices()[0]}, "
        f"jax {jax.__version__}, filter axis {_LAYOUT.value}"
    )
    memory = {}
    for name, (f, arguments) in timed.items():
        reserved = f.lower(*arguments).compile().memory_analysis()
        parts = [f"{part}_size_in_bytes" for part in ("argument", "output", "temp")]
        memory[name] = sum(getattr(reserved, part) for part in parts) / size
        jax.block_until_ready(f(*arguments))
    times: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(_ROUNDS.value):
        for name, (f, arguments) in timed.items():
            start = time.perf_counter()
            jax.block_until_ready(f(*arguments))
            times[name].append(time.perf_counter() - start)
    print(f"{'':26}{'ms':>8}{'of a copy':>11}{'memory of tree':>16}")
    for name, seconds in times.items():
        ratios = np.divide(seconds, times["copy"])
        print(
            f"{name:26}{1e3 * np.median(seconds):8.1f}{np.median(ratios):11.2f}{memory[name]:16.2f}"
        )


if __name__ == "__main__":
    app.run(main)
