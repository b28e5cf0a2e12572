"""From a training run's directory to an integer network with labels, provenance, golden images."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from flightnn_jax import data
from flightnn_jax.integer import (
    CodebookWeights,
    Golden,
    IntegerNetwork,
    digests,
    invariants,
    proof,
    tables,
)
from flightnn_jax.integer.inference import float32
from flightnn_jax.training import evaluation, runs

_GOLDEN_IMAGES = 2


class LoweredRun(NamedTuple):
    """A run's network as integers, and what it was as trained.

    Attributes:
      network: with golden images.
      accuracy: top 1 on `test` as trained; see `evaluation`.
      float_bytes: of the trained float32 parameters and statistics that it replaces.
      trained: from images to the trained network's own activations: `evaluation.layer_outputs`.
      test: the test split of its data set, or its first images.
    """

    network: IntegerNetwork
    accuracy: float
    float_bytes: int
    trained: Callable[[Any], dict[str, jax.Array]]
    test: data.Split

    @property
    def rounded_after_training(self) -> str | None:
        """A line that says so, if multipliers are sums of other powers of two than in training."""
        terms = self.network.affine_terms
        trained = self.network.provenance.get("config.affine_terms")
        if terms is None or terms == trained:
            return None
        return (
            f"multipliers of {terms} powers of two, and the run was trained with "
            f"{'any' if trained is None else trained}: other integers run than were trained where "
            f"that rounds; launch.train --config.affine_terms={terms} trains for them"
        )


def lower_run(
    workdir: str | Path,
    *,
    which: str = "last",
    affine_terms: int | None = None,
    data_dir: str | None = None,
    images: int | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> LoweredRun:
    """The integer network of a checkpoint, with what every layer gives for two test images.

    Args:
      workdir: of the run.
      which: "last", "best" by validation, or the number of a step.
      affine_terms: see `lower.lower`; None for those of the run's config.
      data_dir: where the run's data is; None for where it was when the run began.
      images: evaluates so many, the first of the test split; None for all.
      mesh: the devices that evaluate the trained network; all by default.

    Raises:
      LoweringError: if the network has no form in integers.
      CheckpointError: if there is no such checkpoint.
      DataError: if the data set is missing.
    """
    prepared = runs.reopen(workdir, data_dir, mesh)
    model = prepared.model
    step, state = prepared.state_at(which)
    whole = prepared.train_split.dataset.open("test")
    test = data.first(whole, images)
    state = jax.device_get(state)
    terms = model.affine_terms if affine_terms is None else affine_terms
    network = evaluation.lowered(model, state, affine_terms=terms, labels=test.dataset.labels)
    accuracy = float(prepared.evaluate(state, test).top1)
    about = {
        "config": prepared.config.to_dict(),
        "step": step,
        "accuracy_as_trained": accuracy,
        "images_evaluated": None if len(test) == len(whole) else len(test),
        **runs.surroundings(),
    }
    network = dataclasses.replace(network, provenance=notes(about))
    examples, _ = whole.read(np.arange(min(_GOLDEN_IMAGES, len(whole))))
    network = with_golden(network, examples, evaluation.trained_kernels(model, state))
    float_bytes = _bytes(state.params) + _bytes(state.batch_stats)
    trained = evaluation.layer_outputs(model, state)
    return LoweredRun(network, accuracy, float_bytes, trained, test)


def notes(about: dict[str, Any]) -> dict[str, str | int | float]:
    """Nested records as texts and numbers by name; what is None is left out.

    Example:
      >>> notes({"config": {"width": None, "track": 0.5, "clamp": True, "decay_at": [0.5]}})
      {'config.track': 0.5, 'config.clamp': 'True', 'config.decay_at': '[0.5]'}
    """
    flat: dict[str, str | int | float] = {}
    for name, value in about.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": note for inner, note in notes(value).items()}
        elif value is not None:
            flat[name] = value if type(value) in (str, int, float) else str(value)
    return flat


def with_golden(
    network: IntegerNetwork, images: np.ndarray, kernels: dict[str, Any] | None = None
) -> IntegerNetwork:
    """The network with these golden images, every layer's output for them, and digests.

    Args:
      network: that `check` accepts.
      images: [n, *input_shape] uint8.
      kernels: see `float32.form_of`.
    """
    outputs = float32.function_of(network, kernels)(images)
    arrays = {name: np.asarray(output) for name, output in outputs.items()}
    network = dataclasses.replace(network, golden=Golden(images, arrays))
    run = float32.function_of(digests.with_sums(network))
    network = dataclasses.replace(network, digests=digests.of(network, run))
    invariants.check(network)
    return network


def accuracy(network: IntegerNetwork, split: data.Split, batch_size: int = 100) -> float:
    """Top 1 of an integer network on a split, by its float32 form.

    Args:
      network: that `check` accepts.
      split: of `data.load`.
      batch_size: images at once.
    """
    run = float32.function_of(network)
    last = network.layers[-1].name
    hits = 0
    for batch in data.evaluation_batches(split, batch_size):
        classes = np.argmax(run(batch.images)[last], axis=1)  # the first of equal ones
        hits += int(np.sum((classes == np.asarray(batch.labels)) & np.asarray(batch.mask)))
    return hits / len(split)


def _bytes(tree: Any) -> int:
    return sum(math.prod(np.shape(x)) * 4 for x in jax.tree.leaves(tree))


def summary(lowered: LoweredRun, size: int) -> str:
    """A few lines for people.

    Args:
      lowered: what `lower_run` gave.
      size: of the file in bytes.
    """
    network, golden = lowered.network, lowered.network.golden
    arrays = [] if golden is None else [golden.images, *golden.outputs.values()]
    examples = sum(array.nbytes for array in arrays)
    affine = "multiplier and shift"
    if network.affine_terms is not None:
        affine = f"shifts and additions, {network.affine_terms} powers of two a multiplier"
    rounded = lowered.rounded_after_training
    compact = ""
    if any(isinstance(layer.weights, CodebookWeights) for layer in network.weighted):
        counted = tables.census(network)
        entries = ", ".join(f"{name} {n:,}" for name, n in counted.entries.items())
        compact = f"tables of products: {entries}; {counted.values} numbers as weights\n"
    return (
        f"{network.name}: {len(network.layers)} layers, affine maps of {affine}\n"
        + (f"{rounded}\n" if rounded else "")
        + compact
        + f"{proof.as_trained(network)}\n"
        f"file {size / 1e3:.1f} kB, of which {examples / 1e3:.1f} kB are golden images\n"
        f"trained float32 numbers {lowered.float_bytes / 1e3:.1f} kB, "
        f"{lowered.float_bytes / (size - examples):.1f} times the file without golden images"
    )
