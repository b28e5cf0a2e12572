"""From a training run's directory to a file, by function and by command."""

import dataclasses
import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax import data, quantize_params
from flightnn_jax.integer import certificate, files, proof
from flightnn_jax.integer.inference import float32
from flightnn_jax.integer.lower import LoweringError
from flightnn_jax.training import export, runs
from tests.support import commands, training

pytestmark = pytest.mark.slow
FIELDS = {"epochs": 12, "learning_rate": 0.03, "scheme": "lightnn2"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The directory of a run that is done, and its record."""
    workdir = tmp_path_factory.mktemp("run")
    prepared = training.prepare(workdir, **FIELDS)
    return workdir, runs.train(prepared)


@pytest.fixture(scope="module")
def lowered(run):
    return export.lower_run(run[0], mesh=training.one_device())


def test_a_run_becomes_a_network(run, lowered):
    network, record = lowered.network, run[1]
    assert lowered.accuracy == record["test"]["top1"]
    assert network.provenance["config.scheme"] == "lightnn2"
    assert network.provenance["config.learning_rate"] == record["config"]["learning_rate"]
    assert network.provenance["step"] == record["steps"]
    assert network.provenance["accuracy_as_trained"] == lowered.accuracy
    assert {"git", "versions.jax", "devices"} <= network.provenance.keys()
    assert network.labels == tuple("0123456789")
    # kernels, and scale, bias, mean and variance of 4 + 10 filters
    kernels = 9 * (3 * 4 + 4 * 10)
    assert lowered.float_bytes == 4 * (kernels + 4 * (4 + 10))


def test_the_integers_are_as_accurate(lowered):
    test = data.load("digits", "test", image_size=8)
    accuracy = export.accuracy(lowered.network, test, 100)
    assert accuracy == export.accuracy(lowered.network, test, 77)
    assert accuracy > 0.3  # a few steps of a small network
    assert abs(accuracy - lowered.accuracy) <= 5 / 360


def test_a_few_images_say_the_accuracy(run, lowered):
    few = export.lower_run(run[0], images=37, mesh=training.one_device())
    assert proof.unlike(few.network, lowered.network) == []
    images, labels = lowered.test.read(np.arange(37))
    logits = float32.function_of(lowered.network)(images)[lowered.network.layers[-1].name]
    assert few.accuracy == np.mean(np.argmax(logits, axis=1) == labels)
    text = f"{100 * few.accuracy:.2f} % on the first 37 images of the test split"
    assert text in export.summary(few, 10_000)
    more = export.lower_run(run[0], images=1000, mesh=training.one_device())
    assert more.network.provenance == lowered.network.provenance


def test_golden_outputs_are_those_of_the_trained_weights(run, lowered):
    network = lowered.network
    images, _ = data.load("digits", "test", image_size=8).read(np.arange(2))
    assert_array_equal(network.golden.images, images)
    prepared = training.prepare(run[0], **FIELDS)
    with prepared.checkpoints() as checkpoints:
        state, _ = checkpoints.restore_step(run[1]["steps"], prepared.initial_state())
    trained = quantize_params(state.params, state.spec)
    kernels = {name: np.asarray(arrays["kernel"]) for name, arrays in trained.items()}
    for outputs in (
        float32.function_of(network)(images),
        float32.function_of(network, kernels)(images),
    ):
        for name, output in outputs.items():
            assert_array_equal(network.golden.outputs[name], output)


def test_a_summary_says_sizes_and_accuracy(lowered):
    text = export.summary(lowered, 10_000)
    assert f"{100 * lowered.accuracy:.2f} %" in text
    assert "10.0 kB" in text
    assert "affine maps of multiplier and shift" in text


def test_full_precision_has_no_integers(tmp_path):
    prepared = training.prepare(tmp_path, epochs=1, scheme="full")
    runs.train(prepared)
    with pytest.raises(LoweringError, match="activations of float bits"):
        export.lower_run(tmp_path, mesh=training.one_device())


def command(*arguments, module="lower"):
    [ended] = commands.run([[module, *arguments]])
    return ended


def test_the_command_writes_a_file_and_says_that_it_was_not_trained_so(run, tmp_path):
    out = tmp_path / "digits.safetensors"
    done = command(f"--workdir={run[0]}", f"--out={out}", "--affine_terms=1")
    assert done.code == 0, done.errors
    network = files.load(out)
    assert network.affine_terms == 1
    assert "shifts and additions, 1 powers of two" in done.out
    rounded = "multipliers of 1 powers of two, and the run was trained with any: other integers"
    assert f"\n{rounded}" in done.out
    assert f"file {out.stat().st_size / 1e3:.1f} kB" in done.out
    assert json.dumps(network.provenance)
    done = command(f"--run={run[0]}", f"--integers={out}", "--paths=trained", module="verify")
    assert done.code == 1, done.errors
    assert "trained: first mismatch in layer conv1" in done.out
    assert f"\ntrained: {rounded}" in done.out


def test_a_file_is_verified_by_its_own_examples_and_by_its_run(run, lowered, tmp_path):
    """A bias that is one too large changes few outputs, and none that golden images see."""
    network = lowered.network
    right, wrong = tmp_path / "right.safetensors", tmp_path / "wrong.safetensors"
    files.save(network, right)
    first = network.layers[0]
    bias = first.affine.bias.copy()
    bias[1] += 1
    affine = dataclasses.replace(first.affine, bias=bias)
    layers = (dataclasses.replace(first, affine=affine), *network.layers[1:])
    bad = certificate.certified(dataclasses.replace(network, layers=layers))
    files.save(bad, wrong)
    done = command(f"--integers={wrong}", module="verify")
    assert done.code == 1
    assert f"{first.name}: the digest of its sums over 64 images" in done.out
    files.save(dataclasses.replace(bad, digests=None), wrong)
    done = command(f"--integers={wrong}", f"--run={run[0]}", module="verify")
    assert done.code == 1
    assert f"{first.name}.bias: {bias[1]} at (1,), and the other has {bias[1] - 1}" in done.out
    both = command(f"--integers={right}", f"--run={run[0]}", "--paths=fast", module="verify")
    assert both.code == 0, both.out + both.errors
    assert "360 images" in both.out


def test_the_command_says_what_is_wrong(tmp_path):
    done = command(f"--workdir={tmp_path}")
    assert done.code == 2
    assert "config.json" in done.errors
    assert "Traceback" not in done.errors
