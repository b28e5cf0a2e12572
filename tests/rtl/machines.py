"""Machines of small networks, and what their simulation gives."""

import dataclasses

import numpy as np

from flightnn_jax import integer, rtl
from flightnn_jax.checker import interpreter, reader
from flightnn_jax.rtl import orders, simulate, timing
from tests.support import networks_at_random


def folds(network, seed=None):
    """Of every layer with weights: all at once, or at random."""
    found = {}
    rng = np.random.default_rng(seed)
    for layer in network.weighted:
        inputs, lanes = layer.weights.shape[-2], orders.most_lanes(layer)
        terms = max(1, int(layer.weights.passes.max()))
        if seed is None:
            found[layer.name] = rtl.Fold(lanes, inputs, terms, lanes)
            continue
        if orders.is_grouped(layer):  # a pass and a word are of one group
            lanes, inputs = (int(rng.choice(_divisors(n))) for n in (lanes, inputs))
            terms = int(rng.integers(1, terms + 1))
        else:
            lanes, inputs, terms = (int(rng.integers(1, n + 1)) for n in (lanes, inputs, terms))
        out = int(rng.choice([n for n in range(1, lanes + 1) if lanes % n == 0]))
        found[layer.name] = rtl.Fold(lanes, inputs, terms, out)
    if seed is None:
        found["image"] = rtl.Fold(out=network.input_shape[-1])
    return found


def _divisors(number):
    return [n for n in range(1, number + 1) if number % n == 0]


def images(network, count, seed=0):
    return networks_at_random.random_images(network, count, seed)


def expected(network, given, folder):
    """Every layer's output by the checker's interpreter, which reads the network from a file."""
    integer.save(network, folder / "network.safetensors")
    return interpreter.run(reader.load(folder / "network.safetensors"), given)


def assert_equal(network, machine, folder, given, tool="icarus", ends=None):
    """Writes, simulates and compares every integer, and without gaps every cycle."""
    rtl.write(network, machine, folder)
    simulate.build(folder, tool)
    run = simulate.run(folder, machine, given, tool, ends)
    right = expected(network, given, folder)
    assert set(run.outputs) == {layer.name for layer in network.layers}
    for name, found in run.outputs.items():
        np.testing.assert_array_equal(found, right[name].reshape(found.shape), err_msg=name)
    if ends is None:
        times = timing.times(machine, len(given))
        for name, stream in machine.layers.items():
            np.testing.assert_array_equal(run.cycles[name], times[stream.name], err_msg=name)
        np.testing.assert_array_equal(run.cycles["image"], times["image"])
        np.testing.assert_array_equal(run.cycles["logits"], times[machine.logits.name])
    return run


def with_depth(machine, name, depth=None):
    """The machine with another depth of a queue, by default a place less; with 0 it is left out."""
    stages, renamed = [], {}
    for stage in machine.stages:
        inputs = tuple(renamed.get(stream.name, stream) for stream in stage.inputs)
        changed = dataclasses.replace(stage, inputs=inputs)
        if stage.name == name:
            changed = dataclasses.replace(
                changed, depth=stage.depth - 1 if depth is None else depth
            )
        if stage.name == name and not changed.depth:
            renamed[stage.output.name] = inputs[0]
        else:
            stages.append(changed)
    return dataclasses.replace(machine, stages=tuple(stages))
