"""The check finds what is wrong, and where."""

import dataclasses
import functools
import subprocess
import sys

import numpy as np
import pytest

from flightnn_jax.integer import (
    Add,
    Average,
    Convolution,
    Dense,
    MaxPool,
    certificate,
    files,
    verify,
)
from tests.support.networks_at_random import random_images, random_network, with_layer
from tests.support.prepared import ROOT

FIRST = {Convolution: "block1_first", Add: "block1", MaxPool: "pool1", Average: "average"}
FIRST[Dense] = "dense"


@functools.cache
def network():
    """One layer of each kind, and as few as possible: each path compiles them again and again."""
    whole = random_network(0, "resnet", "shift2", width=2)
    *_, average, dense = whole.layers
    weights = dense.weights
    halved = dataclasses.replace(weights, sign=weights.sign[:, :2], shift=weights.shift[:, :2])
    last = [
        dataclasses.replace(average, input="block1"),
        dataclasses.replace(dense, weights=halved),
    ]
    return certificate.certified(dataclasses.replace(whole, layers=(*whole.layers[:5], *last)))


def images():
    return random_images(network(), 7)[2:]


def faulty(name):
    """The network with one bit of a layer flipped, and a certificate that fits it."""
    layer = next(layer for layer in network().layers if layer.name == name)
    if isinstance(layer, Average):
        changes = {"shift": layer.shift ^ 1}
    elif isinstance(layer, Add):
        shift = layer.shift.copy()
        shift[0] ^= 1
        changes = {"shift": shift}
    else:
        shift = layer.weights.shift.copy()
        shift[0].flat[0] ^= 1
        changes = {"weights": dataclasses.replace(layer.weights, shift=shift)}
    return certificate.certified(with_layer(network(), name, **changes))


def flipped(run, name):
    """A runner that flips a bit of a layer's output: a pool has no numbers of its own."""

    def wrong(images):
        outputs = {layer: np.array(value) for layer, value in run(images).items()}
        outputs[name][1, 0, 1, 0] ^= 1
        return outputs

    return wrong


@functools.cache
def right(path):
    return verify.runners(network(), [path])[path]


def check_fault(kind, path):
    name = FIRST[kind]
    if kind is MaxPool:
        wrong = flipped(right(path), name)
    else:
        wrong = verify.runners(faulty(name), [path])[path]
    runners = {"right": right("independent"), path: wrong}
    batches = [(images()[:3], None), (images()[3:], None)]
    report = verify.compare(network(), runners, batches)
    first = report.paths[path].first
    assert report.mismatches > 0
    assert (first.path, first.layer) == (path, name)
    expected, actual = (np.asarray(run(images())[name]) for run in runners.values())
    place = (first.image, *first.pixel, first.channel)
    if kind is not MaxPool:  # which is wrong once a batch
        assert place == tuple(np.argwhere(expected != actual)[0])
        assert (first.expected, first.actual) == (expected[place], actual[place])
    else:
        assert place == (1, 0, 1, 0)
        assert first.expected ^ 1 == first.actual
    assert f"layer {name}, channel {first.channel}" in str(report)


@pytest.mark.parametrize("path", ["independent", "onnx"])
@pytest.mark.parametrize("kind", FIRST)
def test_a_planted_bit_is_found(kind, path):
    check_fault(kind, path)


@pytest.mark.whole(5)
@pytest.mark.slow
@pytest.mark.parametrize("path", ["shifts", "fast", "float"])
@pytest.mark.parametrize("kind", FIRST)
def test_a_planted_bit_is_found_in_jax(kind, path):
    check_fault(kind, path)


def test_all_paths_agree():
    net = random_network(4, "vgg", "shift2")
    pictures = random_images(net, 5)
    labels = np.zeros(5, int)
    report = verify.verify(net, [(pictures[:3], labels[:3]), (pictures[3:], labels[3:])])
    assert report.mismatches == 0
    assert (report.images, report.labelled, report.layers) == (5, 5, 5)
    two = [path for path in ("fast", "native") if path not in verify.unavailable()]
    twice = [name for path in two for name in (path, f"{path}, logits")]
    assert list(report.paths) == ["shifts", *twice, *list(verify.PATHS)[2:]]
    assert len({report.accuracy(name) for name in report.paths}) == 1
    assert report.paths["fast, logits"].layers == 1
    assert "5 images, 5 layers, 0 mismatches" in str(report)
    assert "images/s" in str(report)


def test_without_labels_there_is_no_accuracy():
    runners = {"right": right("independent")}
    report = verify.compare(network(), runners, [(images(), None)])
    assert report.accuracy("right") is None
    assert "accuracy" not in str(report)


def test_wrong_input_is_told():
    with pytest.raises(
        ValueError, match=r"paths \['tpu'\] are unknown: choose of trained, fast, native"
    ):
        verify.verify(network(), [], paths=["tpu"])
    with pytest.raises(ValueError, match="there are no images"):
        verify.compare(network(), {"right": right("independent")}, [])


COMMAND = """
import sys
from launch import command
from launch import verify as verify_command
from flightnn_jax.integer import verify
make = verify.runners
def runners(network, paths, trained):
    made = make(network, ["independent"], trained)
    right = made["independent"]
    def wrong(images):
        return {name: value ^ (name == sys.argv[0]) for name, value in right(images).items()}
    return {"shifts": right, "independent": wrong}
verify.runners = runners
command.run(verify_command.main)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "code"), [("nothing", 0), ("conv2", 1)])
def test_the_command(tmp_path, fault, code):
    file = tmp_path / "network.safetensors"
    files.save(random_network(4, "vgg", "shift1"), file)
    flags = [f"--integers={file}", "--dataset=digits", "--batch=100"]
    words = [sys.executable, "-c", COMMAND.replace("sys.argv[0]", repr(fault)), *flags]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == code, done.stderr
    assert "360 images, 5 layers" in done.stdout
    assert ("first mismatch in layer conv2" in done.stdout) == bool(code)
