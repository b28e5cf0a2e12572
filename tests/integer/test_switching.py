"""Bits that change, counted under jit, against NumPy's trace of a layer and bits one by one."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.checker import interpreter, reader
from flightnn_jax.hardware import activity, report, workload
from flightnn_jax.integer import Dense, ShiftWeights, certificate, files, switching
from tests.support.networks_at_random import random_images, random_network, with_layer


def inputs_of(network, images, tmp_path):
    """What each layer reads, by the independent interpreter."""
    files.save(network, tmp_path / "network.safetensors")
    outputs = interpreter.run(reader.load(tmp_path / "network.safetensors"), images)
    outputs["image"] = images.astype(np.int64) - 128
    weighted = [layer for layer in network.layers if hasattr(layer, "weights")]
    return [(layer, outputs[layer.input]) for layer in weighted]


def windows_of(layer, values):
    """Each output's taps, dy, dx, channel, cut out one by one: [windows, taps]."""
    if isinstance(layer, Dense):
        return values
    size, stride = layer.weights.shape[0], layer.stride
    edge = size // 2
    padded = np.pad(values, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    return np.array([
        padded[image, y : y + size, x : x + size].ravel()
        for image in range(len(values))
        for y in range(0, values.shape[1], stride)
        for x in range(0, values.shape[2], stride)
    ])  # fmt: skip


def passes_of(weights):
    """One-term filters, filter by filter: signs and shifts, [taps, passes] both."""
    terms = [
        (weights.sign[j, ..., o].ravel(), weights.shift[j, ..., o].ravel())
        for o in range(weights.shape[-1])
        for j in range(weights.k[o])
    ]
    empty = np.zeros((weights.sign[0, ..., 0].size, 0), int)
    return [np.stack(part, axis=1) if terms else empty for part in zip(*terms, strict=True)]


def flips(values, bits):
    """Bits that change between neighbours on the last axis, all together."""
    values = np.asarray(values, np.int64)
    changed = (values[..., 1:] ^ values[..., :-1]) & (2**bits - 1)
    return sum(int(n).bit_count() for n in changed.ravel())


@pytest.mark.quick(0)
@pytest.mark.parametrize(("kind", "weights"), [
    ("vgg", "shift1"), ("vgg", "shift3"), pytest.param("resnet", "shift2", marks=pytest.mark.slow),
])  # fmt: skip
def test_equal_to_the_trace_of_each_layer(kind, weights, tmp_path):
    network = random_network(3, kind, weights)
    images = random_images(network, 3)
    changes_of = switching.collect(network, images)
    layers = inputs_of(network, images, tmp_path)
    assert list(changes_of) == [layer.name for layer, _ in layers]
    for layer, values in layers:
        windows, (sign, shift) = windows_of(layer, values), passes_of(layer.weights)
        changes = changes_of[layer.name]
        assert changes[4:] == (len(windows), sign.shape[1], windows.shape[1] - 1)
        expected = activity.shift_trace(windows, sign < 0, shift)
        pairs = np.array([len(windows), sign.shape[1], *[len(windows) * sign.shape[1]] * 2])
        sums = np.array(expected) * pairs * changes.cycles
        assert_array_equal(changes[:4], np.rint(sums).astype(np.int64))
        assert changes.distances() == expected


@pytest.mark.parametrize("kind", ["vgg", pytest.param("resnet", marks=pytest.mark.slow)])
def test_bits_one_by_one_for_four_bit_integers(kind, tmp_path):
    network = random_network(5, kind, "integer")
    images = random_images(network, 1)
    changes_of = switching.collect(network, images)
    for layer, values in inputs_of(network, images, tmp_path):
        windows = windows_of(layer, values)
        codes = layer.weights.value.reshape(windows.shape[1], -1).T.astype(int)
        products = windows[:, None, :] * codes[None]
        assert_array_equal(
            changes_of[layer.name][:4],
            [
                flips(windows, 8),
                flips(codes, 4),
                flips(products, 16),
                flips(np.cumsum(products, axis=-1), 24),
            ],
        )


@pytest.mark.quick(0)
def test_blocks_make_no_difference(monkeypatch):
    network = random_network(1, "vgg", "shift2")
    images = random_images(network, 2)
    whole = switching.collect(network, images)
    for block in (1, 50):  # one window at a time; a last block that is not full
        monkeypatch.setattr(switching, "BLOCK", block)
        assert switching.collect(network, images) == whole


@pytest.mark.quick(0)
def test_images_add_up():
    network = random_network(2, "vgg", "shift2")
    images = random_images(network, 2)
    both = switching.collect(network, images)
    parts = [switching.collect(network, images[i : i + 1]) for i in (0, 1)]
    for name, changes in both.items():
        first, second = (part[name] for part in parts)
        assert changes.weight == first.weight == second.weight
        for field in ("activation", "product", "accumulator", "windows"):
            summed = getattr(first, field) + getattr(second, field)
            assert getattr(changes, field) == summed


def test_a_layer_without_terms_takes_nothing():
    network = random_network(0, "vgg", "shift1")
    shape = network.layers[0].weights.shape
    none = np.zeros((0, *shape))
    pruned = ShiftWeights(none.astype(np.int8), none.astype(np.uint8), np.zeros(4, np.uint8))
    network = certificate.certified(with_layer(network, "conv1", weights=pruned))
    changes = switching.collect(network, random_images(network))
    means = changes["conv1"].distances()
    assert (means.weight, means.product, means.accumulator) == (0, 0, 0)
    distances = {name: changed.distances() for name, changed in changes.items()}
    energy = activity.energies(workload.from_integers(network), distances)
    assert energy["conv1"].layer.value == energy["conv1"].constant.value == 0
    assert energy["conv2"].layer.value > 0


def test_energies_of_all_layers():
    network = random_network(4, "vgg", "shift2")
    work = workload.from_integers(network)
    changes = switching.collect(network, random_images(network))
    distances = {name: changed.distances() for name, changed in changes.items()}
    energies = activity.energies(work, distances, node=45, voltage=1.1)
    for layer in work.layers:
        a, w, p, s = distances[layer.name]
        one = 0.439 + 0.055 * a + 0.127 * w + 0.032 * p + 0.044 * s
        energy = energies[layer.name]
        assert energy.operation.value == pytest.approx(one)
        assert energy.layer.value == pytest.approx(one * layer.operations / 1e3)
        assert energy.constant.value == pytest.approx(1.23 * layer.operations / 1e3)
        assert energy.layer.factor == 1.18
    records = report.activity_json(work, distances)
    assert [record["name"] for record in records] == [layer.name for layer in work.layers]
    assert records[0]["distances"] == distances["conv1"]._asdict()
    assert all(record["asic_nj"]["error"] == "±40 %" for record in records)
    text = report.activity_text(work, distances)
    assert [line.split()[0] for line in text.splitlines()[4:-1]] == list(distances)
    with pytest.raises(ValueError, match="no traces of conv1, conv3"):
        activity.energies(work, {"conv2": distances["conv2"]})


def test_bad_images():
    network = random_network()
    images = random_images(network)
    for bad in (images[0], images[:0]):
        with pytest.raises(ValueError, match=r"images of shape .*: give \(batch, height"):
            switching.collect(network, bad)
    with pytest.raises(ValueError, match="takes uint8"):
        switching.collect(network, images.astype(np.int8))
    with pytest.raises(ValueError, match=r"takes uint8 of shape \(batch, 8, 8, 3\)"):
        switching.collect(network, images[..., :1])
