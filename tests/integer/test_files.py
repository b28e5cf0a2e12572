"""Files of integer networks: what they hold, how they are written, and what is refused."""

import dataclasses
import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.integer import Golden, IntegerNetworkError, ShiftWeights, certificate, files
from tests.support import integer_files
from tests.support.networks_at_random import (
    output_of,
    random_images,
    random_network,
    random_networks,
    with_layer,
)

NETWORKS = dict(random_networks())
SMALL = random_network(width=2, size=4)
MEBIBYTE = 1 << 20


def with_golden(network, count=2):
    """With golden outputs of the right shapes; their numbers are not what the layers give."""
    rng = np.random.default_rng(0)
    outputs = {}
    for layer in network.layers:
        shape, dtype = output_of(network, layer.name)
        outputs[layer.name] = rng.integers(-128, 128, (count, *shape)).astype(dtype)
    return dataclasses.replace(network, golden=Golden(random_images(network, count), outputs))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("golden", [False, True])
def test_what_is_loaded_is_what_was_saved(name, golden, tmp_path):
    network = with_golden(NETWORKS[name]) if golden else NETWORKS[name]
    files.save(network, tmp_path / "network.safetensors")
    integer_files.assert_same(files.load(tmp_path / "network.safetensors"), network)


@pytest.mark.parametrize("name", ["vgg-integer-3-extreme", "resnet-shift2-1"])
def test_the_safetensors_library_reads_and_writes_the_same(name):
    network = with_golden(NETWORKS[name])
    data = files.to_bytes(network)
    manifest, tensors = integer_files.parts(data)
    integer_files.assert_same(files.from_bytes(integer_files.sealed(manifest, tensors)), network)
    assert manifest["format"] == "flightnn integer network"
    assert tensors["conv1.multiplier"].dtype == np.int32
    assert tensors["golden.image"].shape == (2, 8, 8, 3)
    assert data == files.to_bytes(files.from_bytes(data))


def test_the_manifest_of_a_resnet():
    manifest, tensors = integer_files.parts(files.to_bytes(NETWORKS["resnet-shift2-1"]))
    layers = {layer.pop("name"): layer for layer in manifest.pop("layers")}
    assert manifest == {
        "format": "flightnn integer network",
        "version": 2,
        "name": "random_resnet",
        "input_shape": [8, 8, 3],
        "output_exponent": -9,
        "slope": 3,
        "affine": "shifts",
        "affine_terms": 1,
        "labels": [f"class {i}" for i in range(5)],
        "provenance": {"seed": 1, "kind": "resnet"},
        "golden": 0,
        "digests": None,
    }
    assert layers["block2_shortcut"] == {
        "kind": "conv",
        "input": "block1",
        "stride": 2,
        "shape": [1, 1, 4, 8],
        "weights": "shift",
        "output": "sum",
        "weight_exponent": -9,
        "exponent": -5,
    }
    block = {"kind": "add", "inputs": ["block1_second", "pool1"], "exponent": -4}
    assert layers["block1"] == block
    assert layers["pool1"] == {"kind": "max_pool", "input": "conv1"}
    dense = {"shape": [8, 5], "weights": "shift", "weight_exponent": -8}
    assert layers["dense"] == {"kind": "dense", "input": "average", **dense}
    assert {name for name in tensors if name.startswith("block1.")} == {
        "block1.shift",
        "block1.lift1",
        "block1.certificate",
    }


def test_codes_stand_as_the_document_says():
    network = NETWORKS["vgg-shift3-2"]
    weights = network.layers[2].weights  # [5, 5, 4, 8]
    nibbles = []
    for o in range(8):
        for j in range(weights.k[o]):
            for dy in range(5):
                for dx in range(5):
                    for i in range(4):
                        at = j, dy, dx, i, o
                        nibbles.append(2 * int(weights.shift[at]) + int(weights.sign[at] == -1))
    nibbles += [0] * (len(nibbles) % 2)
    _, tensors = integer_files.parts(files.to_bytes(network))
    packed = [low + 16 * high for low, high in zip(nibbles[::2], nibbles[1::2], strict=True)]
    assert_array_equal(tensors["conv2.codes"], packed)


def test_a_weight_of_no_terms_takes_no_bytes():
    empty = ShiftWeights(
        np.zeros((0, 1, 1, 2, 5), np.int8),
        np.zeros((0, 1, 1, 2, 5), np.uint8),
        np.zeros(5, np.uint8),
    )
    network = random_network(width=1, weights="shift1")
    layers = [
        dataclasses.replace(layer, weights=empty) if layer.name == "conv3" else layer
        for layer in network.layers
    ]
    network = certificate.certified(dataclasses.replace(network, layers=tuple(layers)))
    data = files.to_bytes(network)
    assert integer_files.parts(data)[1]["conv3.codes"].shape == (0,)
    integer_files.assert_same(files.from_bytes(data), network)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "network.safetensors"
    files.save(SMALL, path)
    before = path.read_bytes()

    def full(_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        files.save(NETWORKS["resnet-shift2-1"], path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_wrong_network_is_not_saved(tmp_path):
    wrong = with_layer(SMALL, "conv2", stride=0)
    with pytest.raises(IntegerNetworkError, match="conv2: stride=0"):
        files.save(wrong, tmp_path / "network.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "provenance", [{"a": float("nan")}, {1: 2}, {"a": b"bytes"}, {"a": "\ud800"}, {"a": [1]}]
)
def test_provenance_is_plain(provenance):
    with pytest.raises(IntegerNetworkError, match="provenance"):
        files.to_bytes(dataclasses.replace(SMALL, provenance=provenance))


def test_loading_needs_numpy_alone(tmp_path):
    path = tmp_path / "network.safetensors"
    files.save(SMALL, path)
    code = f"""
import sys
from flightnn_jax.integer import files
assert files.load({str(path)!r}).name == "random_vgg"
assert not {{"jax", "flax", "optax", "safetensors", "tensorflow_datasets"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


DATA = files.to_bytes(SMALL)
MANIFEST, TENSORS = integer_files.parts(DATA)


def changed(**fields):
    return integer_files.sealed(MANIFEST | fields, TENSORS)


def with_layer_field(name, value, layer=0):
    layers = [dict(fields) for fields in MANIFEST["layers"]]
    layers[layer][name] = value
    return changed(layers=layers)


def with_tensor(name, array):
    tensors = dict(TENSORS)
    if array is None:
        del tensors[name]
    else:
        tensors[name] = array
    return integer_files.sealed(MANIFEST, tensors)


FIRST = '{"format": "flightnn integer network", "version": 1}'  # what is looked at first


def with_entry(**entry):
    """A header with one tensor, and eight bytes of data."""
    tensor = {"dtype": "U8", "shape": [8], "data_offsets": [0, 8], **entry}
    about = {"manifest": FIRST, "sha256": ""}
    return integer_files.raw({"__metadata__": about, "a.k": tensor}, bytes(8))


BOMB = [65535, 65535, 65535, 65535]
DEEP = "[" * 100_000
HOSTILE = {
    "nothing": (b"", "truncated"),
    "a length alone": (bytes([8, 0, 0, 0, 0, 0, 0, 0]), "truncated"),
    "half a header": (DATA[:50], "truncated"),
    "half the data": (DATA[:-7], "do not fill the"),
    "more data": (DATA + b"\0", "do not fill the"),
    "a big-endian length": (DATA[7::-1] + DATA[8:], "wrong byte order"),
    "the largest length": (b"\xff" * 8 + DATA[8:], "truncated"),
    "no JSON": (integer_files.raw(b"hello"), "header: Expecting value"),
    "no UTF-8": (integer_files.raw(b"\xff\xfe"), "header: 'utf-8' codec"),
    "no object": (integer_files.raw(b"[]"), "header: it is no JSON object"),
    "deep JSON": (integer_files.raw(DEEP.encode()), "header: it is nested too deeply"),
    "a long number": (
        integer_files.raw(b'{"a": ' + b"9" * 100_000 + b"}"),
        "header: Exceeds the limit",
    ),
    "a key twice": (integer_files.raw(b'{"a": 1, "a": 2}'), "names a key twice"),
    "no metadata": (integer_files.raw({}), "must hold manifest and sha256"),
    "metadata is a list": (
        integer_files.raw({"__metadata__": []}),
        "must hold manifest and sha256",
    ),
    "digest is a number": (
        integer_files.raw({"__metadata__": {"manifest": "{}", "sha256": 3}}),
        "must be texts",
    ),
    "half a character": (
        integer_files.raw({"__metadata__": {"manifest": "\ud800", "sha256": ""}}),
        "no text of Unicode",
    ),
    "deep manifest": (
        integer_files.raw({"__metadata__": {"manifest": DEEP, "sha256": ""}}),
        "manifest: it is nested too deeply",
    ),
    "tensor of no type": (with_entry(dtype="F64"), "type 'F64'"),
    "tensor is a list type": (with_entry(dtype=["U8"]), "choose of U8"),
    "tensor larger than its bytes": (with_entry(shape=[9]), "do not fit"),
    "tensor of a negative shape": (with_entry(shape=[-2, -4]), "is no shape"),
    "tensor of halves": (with_entry(shape=[8.0]), "is no shape"),
    "tensor of true": (with_entry(shape=[8, True]), "is no shape"),
    "tensor of a huge shape": (with_entry(shape=[1 << 62, 4, 0]), "is no shape"),
    "tensor beyond the end": (with_entry(data_offsets=[8, 16]), "do not fill"),
    "tensor before the start": (with_entry(data_offsets=[-8, 0]), "is no shape"),
    "tensor with a gap": (with_entry(shape=[4], data_offsets=[4, 8]), "do not fill"),
    "a name that is none": (
        integer_files.raw({"__metadata__": {"manifest": FIRST, "sha256": ""}, "\ud800": 3}),
        "no name of a tensor",
    ),
    "another digest": (DATA.replace(b'"sha256":"', b'"sha256":"0', 1), "tensor"),
    "another format": (changed(format="other"), "of another kind"),
    "a newer version": (changed(version=7), "version 7: this program reads versions 1 to 6"),
    "a newer version of other types and digest": (
        integer_files.raw(
            {
                "__metadata__": {"manifest": FIRST.replace("1", "7"), "sha256": ""},
                "a.k": {"dtype": "F8", "shape": [], "data_offsets": [0, 1]},
            },
            bytes(1),
        ),
        "version 7: this program reads versions 1 to 6; a newer one may",
    ),
    "version true": (changed(version=True), "version True"),
    "a field too many": (changed(more=1), r"\['more'\]"),
    "a manifest of null": (integer_files.sealed("null", {}), "of another kind"),
    "NaN": (integer_files.sealed('{"a": NaN}', {}), "NaN is no number"),
    "infinite provenance": (
        integer_files.sealed(json.dumps(MANIFEST).replace('"seed": 0', '"seed": 1e999'), TENSORS),
        "provenance",
    ),
    "labels of numbers": (changed(labels=[1, 2, 3, 4, 5]), "label=1: it is a text"),
    "too few labels": (changed(labels=["one"]), "1 labels for 5 classes"),
    "slope 0": (changed(slope=0), "slope=0"),
    "slope true": (changed(slope=True), "wrong type"),
    "a flat image": (changed(input_shape=[8, 0, 3]), r"network: shape \(8, 0, 3\)"),
    "a negative image": (changed(input_shape=[-8, 8, 3]), r"network: shape \(-8, 8, 3\)"),
    "a huge image": (changed(input_shape=[65536, 65536, 65536]), "too large"),
    "golden images that are not there": (changed(golden=2), "golden: image is uint8 of shape .0, "),
    "more golden images than allowed": (changed(golden=10**9), "golden=1000000000: it is 0 to 65"),
    "fewer than no golden images": (changed(golden=-1), "golden=-1: it is 0 to 65,536"),
    "golden outputs of another shape": (
        with_tensor("golden.pool1", np.zeros((0, 9), np.int8)),
        "golden: pool1 is int8 of shape .0, 9.: it is an array of int8 of shape .0, 2, 2, 2",
    ),
    "affine of no kind": (changed(affine="shifts"), "goes with null"),
    "terms of no kind": (changed(affine="shifts", affine_terms=0), "affine_terms=0"),
    "too few terms": (changed(affine="shifts", affine_terms=1), "signed powers of two"),
    "no layers": (changed(layers=[]), "0 layers"),
    "layers of numbers": (changed(layers=[1]), "layer 0: kind None"),
    "too many layers": (changed(layers=[{}] * 5000), "5000 layers"),
    "a layer of no kind": (with_layer_field("kind", "lstm"), "'lstm': choose one of conv"),
    "a layer of a list kind": (with_layer_field("kind", []), "choose one of conv"),
    "a layer of no name": (with_layer_field("name", "../etc"), "etc.k: the tensor is missing"),
    "the image's name": (with_layer_field("name", "image"), "image.k: the tensor is"),
    "two of a name": (with_layer_field("name", "conv1", 2), "conv1.k: the tensor is missing"),
    "a layer that reads itself": (with_layer_field("input", "conv1"), "no layer before it"),
    "a window of even size": (with_layer_field("shape", [2, 2, 3, 3]), "conv1"),
    "stride 0": (with_layer_field("stride", 0), "stride=0"),
    "an absurd exponent": (with_layer_field("exponent", 10**30), "exponent=1000"),
    "weights of no kind": (with_layer_field("weights", "float"), "'float': choose"),
    "output of no kind": (with_layer_field("output", "float"), "'float': choose"),
    "a negative shape": (
        with_layer_field("shape", [-3, -3, 3, 2]),
        "conv1: shape .*: it has 4 axes",
    ),
    "a bomb": (with_layer_field("shape", BOMB), "conv1: shape .*: it is too large"),
    "an axis too long": (with_layer_field("shape", [1, 1, 1 << 40, 1]), "it has 4 axes of 1 to"),
    "a missing tensor": (with_tensor("conv1.bias", None), "conv1.bias: the tensor is missing"),
    "a tensor too many": (
        with_tensor("conv9.k", TENSORS["conv1.k"]),
        "conv9.k.* belong to nothing",
    ),
    "a tensor of another type": (
        with_tensor("conv1.shift", TENSORS["conv1.shift"].astype(np.int32)),
        "conv1: shift is int32",
    ),
    "absurd shifts": (
        with_tensor("conv1.shift", np.full_like(TENSORS["conv1.shift"], 255)),
        "conv1: shift from .* to 255: each is from 0 to 27",
    ),
    "absurd k": (
        with_tensor("conv1.k", np.full_like(TENSORS["conv1.k"], 255)),
        "conv1: k from 0 to 255: each is from 0 to 3",
    ),
    "low above high": (with_tensor("conv1.low", TENSORS["conv1.high"] + 1), "low above high"),
    "multipliers that overflow": (
        with_tensor("conv1.multiplier", np.full_like(TENSORS["conv1.bias"], 1 << 30)),
        "conv1: v_width",
    ),
    "a certificate of more": (
        with_tensor("conv1.certificate", TENSORS["conv1.certificate"] + 1),
        "conv1: the certificate says acc_min=",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_words_and_little_memory(name):
    data, message = HOSTILE[name]
    tracemalloc.start()
    try:
        with pytest.raises(IntegerNetworkError, match=message):
            files.from_bytes(data)
        assert tracemalloc.get_traced_memory()[1] < 4 * MEBIBYTE
    finally:
        tracemalloc.stop()


def test_a_bomb_of_empty_filters_is_measured_before_it_is_made():
    """No codes at all describe a hundred million weights that are zero."""
    layers = [dict(fields) for fields in MANIFEST["layers"]]
    filters = TENSORS["conv1.k"].size
    layers[0]["shape"] = [4095, 4095, 3, filters]
    tensors = TENSORS | {
        "conv1.k": np.zeros(filters, np.uint8),
        "conv1.codes": np.zeros(0, np.uint8),
    }
    with pytest.raises(IntegerNetworkError, match="weights in a file of"):
        files.from_bytes(integer_files.sealed(MANIFEST | {"layers": layers}, tensors))


@pytest.mark.parametrize("length", range(0, len(DATA), 97))
def test_every_truncation_is_refused(length):
    with pytest.raises(IntegerNetworkError):
        files.from_bytes(DATA[:length])


@pytest.mark.slow
def test_every_flipped_bit_is_seen():
    for position in range(len(DATA)):
        data = bytearray(DATA)
        data[position] ^= 1 << position % 2 * 6  # no bit that makes a blank another blank
        with pytest.raises(IntegerNetworkError):
            files.from_bytes(bytes(data))


def test_a_large_file_is_refused_unread(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(DATA)
        file.truncate(1 << 40)
    with pytest.raises(IntegerNetworkError, match="a file of 1099511627776 bytes"):
        files.load(path)


def test_what_is_no_file_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match="directory"):
        files.load(tmp_path)
