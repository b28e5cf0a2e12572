"""Reading by hand: right files whatever their order, wrong and hostile ones with one exception."""

import json
import random
import struct
import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.checker.checker import check
from flightnn_jax.checker.container import FileError
from flightnn_jax.checker.interpreter import run
from flightnn_jax.checker.reader import load, read
from flightnn_jax.checker.weights import filter_terms, matrix
from tests.support import integers_oracle as oracle
from tests.support.integers_writer import (
    NETS,
    Builder,
    assemble,
    of_version_1,
    plain,
    residual,
    tensors_of,
    write,
)


def parts(net=None):
    """The manifest as a dictionary and the tensors of a file with a golden image."""
    net = net or plain(1)
    images = [np.full(net.manifest["input_shape"], 130).tolist()]
    return net.manifest | {"golden": 1}, tensors_of(net, images, oracle.certify(net)[0])


def refuse(pattern, data):
    with pytest.raises(FileError, match=pattern):
        read(data)


def raw(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def test_weights_come_back():
    for net in plain(2), residual(2):
        network = read(write(net))
        for layer in net.manifest["layers"]:
            if layer["kind"] not in ("conv", "dense"):
                continue
            record = network.layer(layer["name"])
            weights = matrix(network, record)
            assert weights.dtype == np.int16
            assert list(weights.shape) == layer["shape"]
            flat = weights.reshape(-1, layer["shape"][-1])
            for index, o in np.ndindex(flat.shape):
                assert flat[index, o] == oracle.weight(net, layer["name"], o, index)
            if layer["weights"] == "shift":
                k = [len(terms) for terms in net.numbers[f"{layer['name']}.terms"]]
                assert [len(terms) for terms in filter_terms(network, record)] == k


def test_three_equal_terms_of_the_largest_power():
    net = NETS["matrix"](1)
    net.numbers["dense.terms"][0] = [[(-1, 7)] * 5] * 3
    assert matrix(read(write(net)), read(write(net)).layer("dense"))[:, 0].tolist() == [-384] * 5


def test_the_order_of_tensors_and_spaces_do_not_matter():
    manifest, tensors = parts()
    text = json.dumps(manifest)
    first = read(assemble(text, tensors))
    second = read(assemble(text, tensors, order=sorted(tensors, reverse=True)))
    assert first.manifest == second.manifest
    for name, tensor in first.tensors.items():
        assert_array_equal(second.tensors[name], tensor)
        assert not tensor.flags.writeable
    data = assemble(text, tensors)
    (length,) = struct.unpack("<Q", data[:8])
    padded = struct.pack("<Q", length + 5) + data[8 : 8 + length] + b" " * 5 + data[8 + length :]
    assert read(padded).manifest == first.manifest


def test_texts_of_all_kinds():
    net = plain(1)
    net.manifest |= {"name": "naïve ☃ 𝄞", "labels": ["", "a\0b", "猫"]}
    assert read(write(net)).manifest.labels == ("", "a\0b", "猫")


def test_a_file_on_disk(tmp_path):
    path = tmp_path / "net"
    path.write_bytes(write(plain(1)))
    assert check(load(path)) == []
    with pytest.raises(FileError, match="cannot read"):
        load(tmp_path)
    with path.open("r+b") as file:
        file.truncate(2**30 + 1)  # sparse: takes no room
    with pytest.raises(FileError, match="1073741825 bytes: an integer network has 1073741824"):
        load(path)


def entry(**changes):
    return {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]} | changes


def box(tensors=None, **metadata):
    texts = {"manifest": "{}", "sha256": ""} | metadata
    return raw({"__metadata__": texts} | (tensors or {}), b"ab")


CONTAINERS = {
    "nothing": (b"", "0 bytes: at least 8"),
    "short": (b"\0" * 7, "7 bytes: at least 8"),
    "huge header": (struct.pack("<Q", 2**63) + b"{}", "length is 9223372036854775808"),
    "wrong endian": (struct.pack(">Q", 2) + b"{}", "not a little-endian"),
    "header too long": (struct.pack("<Q", 2**22 + 1) + b" " * (2**22 + 1), "4194304 are allowed"),
    "not UTF-8": (raw(b'{"\xff": 1}'), "the header is not JSON: 'utf-8'"),
    "not JSON": (raw(b"{"), "the header is not JSON: "),
    "NaN": (raw(b'{"a": NaN}'), "NaN is not a number"),
    "twice": (raw(b'{"a": 1, "a": 2}'), "a key stands twice among a, a"),
    "long number": (raw(b'{"a": ' + b"9" * 5000 + b"}"), "the header is not JSON: Exceeds"),
    "deep": (raw(b"[" * 10**6), "nested too deeply"),
    "a list": (raw(b"[]"), "no __metadata__"),
    "no metadata": (raw({"a": entry()}, b"ab"), "no __metadata__"),
    "metadata missing": (raw({"__metadata__": {"manifest": ""}}), "has the entries manifest: "),
    "metadata extra": (box(format="pt"), "manifest, sha256, format: manifest and sha256 alone"),
    "metadata type": (raw({"__metadata__": {"manifest": 1, "sha256": ""}}), "must be texts"),
    "surrogate": (
        box({"a": entry()}, manifest='{"format": "\ud800"}'),
        "half of a surrogate pair in the header",
    ),
    "entry": (box({"a": []}), "tensor 'a' needs dtype, shape"),
    "entry extra": (box({"a": entry(more=1)}), "and nothing else"),
    "dtype": (box({"a": entry(dtype="F32")}), "the type 'F32': U8, I8 and I32"),
    "dtype list": (box({"a": entry(dtype=["U8"])}), "U8, I8 and I32 are"),
    "shape": (box({"a": entry(shape=[-2])}), r"the shape \[-2\]"),
    "shape float": (box({"a": entry(shape=[2.0])}), r"the shape \[2.0\]"),
    "shape bool": (box({"a": entry(shape=[True, 2])}), r"the shape \[True, 2\]"),
    "axes": (box({"a": entry(shape=[1] * 6)}), "at most 5 axes"),
    "absurd": (box({"a": entry(shape=[2**39] * 5)}), "stands at 0 to 2 of 2 bytes"),
    "offsets": (box({"a": entry(data_offsets=[0])}), "must be two numbers"),
    "backwards": (box({"a": entry(data_offsets=[2, 0])}), "stands at 2 to 0"),
    "too long": (box({"a": entry(shape=[1])}), "stands at 0 to 2 of 2 bytes, and U8 of shape"),
    "behind the end": (box({"a": entry(data_offsets=[1, 3])}), "stands at 1 to 3 of 2"),
    "gap": (box({"a": entry(shape=[1], data_offsets=[1, 2])}), "begins at byte 1 of the data, not"),
    "overlap": (box({"a": entry(), "b": entry()}), "begins at byte 0 of the data, not at 2"),
    "rest": (box({"a": entry(shape=[1], data_offsets=[0, 1])}), "1 bytes follow the last tensor"),
    "no manifest": (box({"a": entry()}), "the manifest's format is not 'flightnn"),
    "manifest": (box({"a": entry()}, manifest="{"), "the manifest is not JSON"),
    "manifest is a list": (box({"a": entry()}, manifest="[]"), "the manifest's format"),
}


@pytest.mark.parametrize("case", CONTAINERS)
def test_containers(case):
    data, pattern = CONTAINERS[case]
    refuse(pattern, data)


def test_versions_come_before_digests():
    manifest, tensors = parts()
    for version in 7, 0, "1", 1.0, True, None:
        text = json.dumps(manifest | {"version": version})
        refuse("version .* this reader knows 1 to 6", assemble(text, tensors, sha256="?"))
    refuse("claims the digest", assemble(json.dumps(manifest), tensors, sha256="0" * 64))
    right = json.loads(assemble(json.dumps(manifest), tensors)[8:].split(b"}}")[0] + b"}}")
    upper = right["__metadata__"]["sha256"].upper()
    refuse("claims the digest", assemble(json.dumps(manifest), tensors, sha256=upper))
    half = json.dumps(manifest)[:-1] + ', "name": "\ud800"}'
    refuse("half of a surrogate pair in the header", assemble(half, tensors, sha256="?"))
    half = json.dumps(manifest | {"name": "?"}).replace("?", "\ud800")
    refuse("half of a surrogate pair in the header", assemble(half, tensors, sha256="?"))
    twice = json.dumps(manifest)[:-1] + ', "name": "?"}'
    refuse("a key stands twice", assemble(twice, tensors, sha256="?"))


MANIFESTS = {
    "missing": ({"slope": "-"}, r"the manifest lacks \['slope'\]"),
    "extra": ({"more": 1}, r"has \['more'\] too many"),
    "name": ({"name": 3}, "name is 3, and must be a text"),
    "slope": ({"slope": 0}, "slope is 0, and must be an integer, 1 to 7"),
    "slope true": ({"slope": True}, "slope is True"),
    "slope float": ({"slope": 3.0}, "slope is 3.0"),
    "exponent": ({"output_exponent": 1001}, "-1000 to 1000"),
    "affine": ({"affine": "both"}, "affine is 'both', and must be 'multiplier' or 'shifts'"),
    "affine list": ({"affine": []}, "affine is"),
    "terms": ({"affine_terms": 2}, "affine is 'multiplier' and affine_terms 2"),
    "no terms": ({"affine": "shifts"}, "'shifts' needs a number"),
    "many terms": ({"affine": "shifts", "affine_terms": 33}, "1 to 32"),
    "labels": ({"labels": ["a", 1, "b"]}, "a list of texts"),
    "few labels": ({"labels": ["a", "b"]}, "3 logits and 2 labels"),
    "no layers": ({"layers": []}, "0 layers: 1 to 4096"),
    "many layers": ({"layers": [0] * 4097}, "4097 layers: 1 to 4096"),
    "layers": ({"layers": {}}, "layers is {}, and must be a list"),
    "a layer": ({"layers": [3]}, "layer 0 has the kind None"),
    "golden": ({"golden": -1}, "golden is -1"),
    "more golden": ({"golden": 2}, "golden.image is"),
    "provenance": ({"provenance": {"a": []}}, "texts and finite numbers"),
    "infinite": ({"provenance": {"a": 1e999}}, "Infinity is not a number"),
    "input": ({"input_shape": [4, 6]}, "1 or 3 lengths"),
    "no input": ({"input_shape": [4, 0, 2]}, "input_shape is 0"),
    "long input": ({"input_shape": [4, 65537, 2]}, "1 to 65536"),
    "odd input": (
        {"input_shape": [4, 5, 2]},
        "layer pool1: a pool on 4x5: height and width must be even",
    ),
    "odd height": ({"input_shape": [3, 6, 2]}, "layer pool1: a pool on 3x6"),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_manifests(case):
    changes, pattern = MANIFESTS[case]
    manifest, tensors = parts()
    manifest |= changes
    manifest = {key: value for key, value in manifest.items() if value != "-"}
    refuse(pattern, assemble(json.dumps(manifest), tensors))


LAYERS = {
    "kind": (0, {"kind": "relu"}, "has the kind 'relu': choose of conv, add"),
    "kind list": (0, {"kind": []}, "has the kind"),
    "extra": (1, {"size": 2}, r"layer 1, max_pool 'pool1', lacks \[\] and has \['size'\]"),
    "dot": (0, {"name": "conv.1"}, "name is 'conv.1', and must be a letter and up to 63 of"),
    "digit": (0, {"name": "1conv"}, "must be a letter and up to 63 of"),
    "long": (0, {"name": "c" * 65}, "must be a letter and up to 63 of"),
    "unread": (2, {"input": "image", "shape": [1, 1, 2, 4]}, "no layer reads pool1"),
    "newline": (0, {"name": "conv1\n"}, "must be a letter and up to 63 of"),
    "image": (0, {"name": "image"}, "none of image, golden"),
    "golden": (0, {"name": "golden"}, "none of image, golden"),
    "twice": (1, {"name": "conv1"}, "layer conv1: the name stands for an earlier layer"),
    "later": (0, {"input": "pool1"}, "it reads 'pool1', which is no earlier layer"),
    "itself": (0, {"input": "conv1"}, "it reads 'conv1', which is no earlier layer"),
    "stride": (0, {"stride": 0}, "stride is 0"),
    "even size": (0, {"shape": [2, 2, 2, 5]}, "size odd"),
    "not square": (0, {"shape": [3, 1, 2, 5]}, "size odd"),
    "axes": (0, {"shape": [3, 3, 2]}, "4 lengths"),
    "channels": (0, {"shape": [3, 3, 3, 5]}, "take 3 channels, not 2"),
    "filters": (2, {"shape": [1, 1, 5, 5]}, "conv3: its weights .* take 4 channels, not 5"),
    "many weights": (0, {"shape": [4097, 4097, 2, 5]}, "167854090 weights|67108864 at most"),
    "weights": (0, {"weights": "float"}, "'shift' or 'integer'"),
    "other weights": (2, {"weights": "shift"}, "conv2.k is missing"),
    "sums in a pool": (0, {"output": "sum"}, "pool1: it reads sums of shape"),
    "logits inside": (4, {"shift": 3}, "is the last layer and nowhere else"),
    "average shift": (4, {"shift": -17}, "-16 to 30"),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layers(case):
    index, changes, pattern = LAYERS[case]
    manifest, tensors = parts(plain(1).copy())
    manifest["layers"][index] |= changes
    refuse(pattern, assemble(json.dumps(manifest), tensors))


def test_additions():
    for changes, pattern in (
        ({"inputs": ["conv1"]}, "has 1 inputs: it needs two"),
        ({"inputs": "ab"}, "inputs is 'ab', and must be a list"),
        ({"inputs": ["image", "conv1"]}, r"adds the shapes \(5, 5, 3\) and \(3, 3, 4\)"),
        ({"inputs": ["second", "second"]}, "block1.lift1' belongs to no layer"),
        ({"inputs": ["conv1", "second"]}, "block1.lift0 is missing"),
    ):
        manifest, tensors = parts(residual(1))
        manifest["layers"][3] |= changes
        refuse(pattern, assemble(json.dumps(manifest), tensors))


def test_tensors():
    manifest, tensors = parts()
    text = json.dumps(manifest)
    for name, (dtype, shape, data) in tensors.items():
        rest = {key: value for key, value in tensors.items() if key != name}
        refuse(f"the tensor {name} is missing", assemble(text, rest))
        other = {"U8": "I8", "I8": "U8", "I32": "U8"}[dtype]
        wide = [*shape[:-1], shape[-1] * (4 if dtype == "I32" else 1)]
        refuse(f"the tensor {name} is ", assemble(text, rest | {name: (other, wide, data)}))
    extra = tensors | {"conv1.more": ("U8", [0], b"")}
    refuse("'conv1.more' belongs to no layer", assemble(text, extra))
    dtype, shape, data = tensors["conv1.k"]
    many = tensors | {"conv1.k": (dtype, shape, b"\4" + data[1:])}
    refuse("conv1.k has a 4: a filter has 3", assemble(text, many))


def without_terms(input_shape, filters):
    """A small file of a network that may be large: its filters have no terms."""
    b = Builder(1, [2, 2, 1])
    b.conv("conv", "image", filters, size=1)
    b.average("average", "conv", None)
    net = b.net()
    net.manifest["input_shape"] = input_shape
    net.manifest["layers"][0]["shape"] = [1, 1, input_shape[2], filters]
    net.numbers["conv.terms"] = [[]] * filters
    return write(of_version_1(net))


def test_a_small_file_that_claims_a_large_network_takes_little_memory():
    data = without_terms([65536, 4096, 1], 1)
    assert len(data) < 2000
    refused = [
        (pattern, without_terms(shape, filters))
        for shape, filters, pattern in (
            (
                [65536, 4097, 1],
                1,
                r"image has the shape \(65536, 4097, 1\): 268435456",
            ),
            ([65536, 2048, 1], 3, r"conv has the shape .*: 268435456 values at most"),
            ([1, 1, 65536], 3, "196608 weights in a file of .* bytes: 64 a byte are the most"),
        )
    ]
    tracemalloc.start()
    network = read(data)
    (reason,) = check(network)
    assert reason.startswith("average: channel 0: sums of -34359738368 to")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    for pattern, data in refused:
        refuse(pattern, data)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.whole(2)
@pytest.mark.no_cover  # it would cost half of the time
@pytest.mark.parametrize("name", NETS)
@pytest.mark.quick(0)
def test_any_bytes(name):
    """Cut, spliced and scrambled files: the documented exception, or a network that runs."""
    draw = random.Random(name)
    net = NETS[name](1)
    image = np.full(net.manifest["input_shape"], 130)
    data = write(net, [image.tolist()])
    length = struct.unpack("<Q", data[:8])[0]
    refused = 0
    for i in range(2600):
        changed = bytearray(data)
        if i % 3 == 0:
            del changed[draw.randrange(len(data)) :]
        for _ in range(draw.choice((1, 1, 2, 30))):
            end = len(changed) if i % 2 else min(len(changed), length + 8)
            at = draw.randrange(end + 1)
            changed[at : at + draw.choice((0, 1, 1, 4))] = draw.randbytes(draw.choice((0, 1, 1, 4)))
        try:
            network = read(bytes(changed))
        except FileError:
            refused += 1
        else:
            run(network, image[None].astype(np.uint8))
    assert refused > 2500


@pytest.mark.whole(2)
@pytest.mark.no_cover  # it would cost half of the time
@pytest.mark.parametrize("name", NETS)
@pytest.mark.quick(1)
def test_any_manifest_under_a_right_digest(name):
    """A liar who knows the digest: every value of the manifest exchanged for odd ones."""
    values = [None, True, -1, 0, 1, 2**31, 2**70, 1.5, "", "image", "x" * 300, [], [1], {}, "sum"]
    net = NETS[name](1)
    _, tensors = parts(net)

    def places(value):
        keys = value if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield value, key
            if isinstance(value[key], dict | list):
                yield from places(value[key])

    manifest = net.manifest | {"golden": 1}
    count = 0
    for i, (holder, key) in enumerate(list(places(manifest))):
        old = holder[key]
        for value in values[i % 3 :: 3]:
            holder[key] = value
            try:
                reasons = check(read(assemble(json.dumps(manifest), tensors)))
            except FileError as error:
                reasons = [str(error)]
            count += bool(reasons)
        holder[key] = old
    assert count > 100
    assert check(read(assemble(json.dumps(manifest), tensors))) == []
