"""Writes integer networks as files, straight from docs/integers.md, and makes small ones to write.

Nothing of the library is imported: the reader and the checker are tested with these files.
"""

import hashlib
import json
import math
import random
import struct

from tests.support import integers_oracle as oracle
from tests.support.integers_oracle import Net, flatten

LETTERS = {"U8": "B", "I8": "b", "I32": "i"}


def pack(dtype, numbers):
    return struct.pack(f"<{len(numbers)}{LETTERS[dtype]}", *numbers)


def packed(codes, bits=4):
    number = sum(code << bits * i for i, code in enumerate(codes))
    return list(number.to_bytes(-(-len(codes) * bits // 8), "little"))


def tensors_of(net, images, certificates):
    """(dtype, shape, data) by name; the golden outputs are computed."""
    shapes, tensors = oracle.shapes_of(net), {}

    def put(name, dtype, shape, nested):
        tensors[name] = (dtype, shape, pack(dtype, flatten(nested)))

    golden = [oracle.run(net, image) for image in images]
    put("golden.image", "U8", [len(images), *net.manifest["input_shape"]], images)
    for layer in net.manifest["layers"]:
        name = layer["name"]
        channels = shapes[name][-1:]
        for key in ("multiplier", "low", "high", "bias"):
            if f"{name}.{key}" in net.numbers:
                put(f"{name}.{key}", "I32", channels, net.numbers[f"{name}.{key}"])
        for key in ("shift", "lift0", "lift1"):
            if f"{name}.{key}" in net.numbers:
                put(f"{name}.{key}", "U8", channels, net.numbers[f"{name}.{key}"])
        if f"{name}.terms" in net.numbers:
            terms = net.numbers[f"{name}.terms"]
            put(f"{name}.k", "U8", channels, [len(rows) for rows in terms])
            codes = [2 * shift + (sign < 0) for f in terms for row in f for sign, shift in row]
        if f"{name}.integers" in net.numbers:
            codes = [w % 16 for w in flatten(net.numbers[f"{name}.integers"])]
        if layer["kind"] in ("conv", "conv_window", "dense"):
            data = packed(codes)
            if layer["weights"] == "binary":
                data = packed([int(code == 15) for code in codes], bits=1)
            if layer["weights"] == "codebook":
                levels = net.numbers[f"{name}.levels"]
                put(f"{name}.levels", "I8", [len(levels)], levels)
                indices = [levels.index(w) for w in flatten(net.numbers[f"{name}.integers"])]
                data = packed(indices, max(1, math.ceil(math.log2(len(levels)))))
            put(f"{name}.codes", "U8", [len(data)], data)
        if name in certificates:
            columns = len(certificates[name][0])
            # what does not fit loses its upper bits, as it would in a careless writer
            rows = [(n + 2**31) % 2**32 - 2**31 for n in flatten(certificates[name])]
            put(f"{name}.certificate", "I32", [*channels, columns], rows)
        outputs = [outputs[name] for outputs in golden]
        put(
            f"golden.{name}",
            "I32" if oracle.is_sums(layer) else "I8",
            [len(images), *shapes[name]],
            outputs,
        )
    return tensors


def assemble(manifest, tensors, sha256=None, order=None):
    """A file of a manifest (a text) and tensors; the digest is right unless another is given."""
    if sha256 is None:
        sha = hashlib.sha256(manifest.encode() + b"\0")
        for name in sorted(tensors, key=str.encode):
            dtype, shape, data = tensors[name]
            sha.update(name.encode() + b"\0" + dtype.encode() + b"\0")
            sha.update(",".join(str(axis) for axis in shape).encode() + b"\0" + data)
        sha256 = sha.hexdigest()
    header, body = {"__metadata__": {"manifest": manifest, "sha256": sha256}}, b""
    for name in order or tensors:
        dtype, shape, data = tensors[name]
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        body += data
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + body


def write(net, images=(), certificates=None, digests=0, seed=7):
    """A file of a network; its certificates are right unless others are given."""
    certificates = oracle.certify(net)[0] if certificates is None else certificates
    manifest = net.manifest | {"golden": len(images)}
    if digests:
        manifest["digests"] = oracle.digests(net, images, digests, seed)
    return assemble(json.dumps(manifest), tensors_of(net, images, certificates))


class Builder:
    """Networks with random numbers, layer by layer, whose exponents agree."""

    def __init__(self, seed, input_shape, slope=3, affine_terms=None):
        self.random = random.Random(seed)
        self.layers, self.numbers, self.slope, self.terms = [], {}, slope, affine_terms
        self.shapes, self.exponents = {"image": input_shape}, {"image": -7}

    def weights(self, name, shape, kind):
        count = 1
        for axis in shape[:-1]:
            count *= axis
        draw = self.random
        if kind != "shift":
            values = range(-8, 8) if kind == "integer" else (-1, 1)
            if kind == "codebook":
                values = sorted(draw.sample(range(-128, 128), 5))
                self.numbers[f"{name}.levels"] = values
            rows = [[draw.choice(values) for _ in range(count)] for _ in range(shape[-1])]
            self.numbers[f"{name}.integers"] = rows
            return
        self.numbers[f"{name}.terms"] = [
            [
                [(draw.choice((-1, 1)), draw.randint(0, 7)) for _ in range(count)]
                for _ in range((o + draw.randint(0, 1)) % 4)
            ]
            for o in range(shape[-1])
        ]

    def multiplier(self):
        if self.terms is None:
            return self.random.randint(-90, 90)
        powers = [2 ** self.random.randint(0, 5) for _ in range(self.terms)]
        return sum(self.random.choice((-1, 1)) * power for power in powers)

    def conv(
        self, name, source, filters, size=3, stride=1, weights="shift", output=None, **windows
    ):
        """output: None for activations, "linear", or the exponent that sums must have."""
        output, linear = (None, True) if output == "linear" else (output, False)
        height, width, inputs = self.shapes[source]
        inputs //= windows.get("groups", 1)
        shape, draw = [size, size, inputs, filters], self.random
        self.weights(name, shape, weights)
        self.numbers[f"{name}.multiplier"] = [self.multiplier() for _ in range(filters)]
        self.numbers[f"{name}.bias"] = [draw.randint(-5000, 5000) for _ in range(filters)]
        reach = 128 * 3 * 128 * size * size * inputs
        self.numbers[f"{name}.low"] = [-draw.choice((reach, reach // 50)) for _ in range(filters)]
        self.numbers[f"{name}.high"] = [draw.choice((reach, reach // 60)) for _ in range(filters)]
        exponent = draw.randint(-5, -2) if output is None else output
        if output is None:
            typical = 13 if weights == "shift" else 10
            self.numbers[f"{name}.shift"] = [typical + draw.randint(-3, 3) for _ in range(filters)]
        self.layers.append(
            {"kind": "conv", "name": name, "input": source, "stride": stride, "shape": shape}
            | {"weights": weights, "output": "activation" if output is None else "sum"}
            | ({"output": "linear"} if linear else {})
            | {"weight_exponent": -7, "exponent": exponent}
            | ({"kind": "conv_window", "groups": 1, "padding": None, **windows} if windows else {})
        )
        p = oracle.padding_of(self.layers[-1])
        rows, columns = (oracle.places(n, size, stride, p) for n in (height, width))
        self.shapes[name] = [rows, columns, filters]
        self.exponents[name] = exponent

    def add(self, name, sources, exponent, least=11):
        shape = self.shapes[sources[0]]
        shift = [self.random.randint(least, least + 4) for _ in range(shape[-1])]
        self.numbers[f"{name}.shift"] = shift
        kinds = {layer["name"]: layer.get("output") for layer in self.layers}
        for i, source in enumerate(sources):
            if kinds.get(source) != "sum":
                lift = [self.exponents[source] - exponent + s for s in shift]
                self.numbers[f"{name}.lift{i}"] = lift
        self.layers.append(
            {"kind": "add", "name": name, "inputs": list(sources), "exponent": exponent}
        )
        self.shapes[name], self.exponents[name] = shape, exponent

    def max_pool(self, name, source):
        height, width, channels = self.shapes[source]
        self.layers.append({"kind": "max_pool", "name": name, "input": source})
        self.shapes[name] = [height // 2, width // 2, channels]
        self.exponents[name] = self.exponents[source]

    def max_window(self, name, source, size, stride, padding):
        height, width, channels = self.shapes[source]
        window = {"size": size, "stride": stride, "padding": padding}
        self.layers.append({"kind": "max_window", "name": name, "input": source, **window})
        rows, columns = (oracle.places(n, size, stride, padding) for n in (height, width))
        self.shapes[name] = [rows, columns, channels]
        self.exponents[name] = self.exponents[source]

    def flatten(self, name, source, axes):
        height, width, channels = self.shapes[source]
        self.layers.append({"kind": "flatten", "name": name, "input": source, "axes": axes})
        self.shapes[name] = [1] * (axes - 1) + [height * width * channels]
        self.exponents[name] = self.exponents[source]

    def average(self, name, source, shift):
        height, width, channels = self.shapes[source]
        halvings = (height * width - 1).bit_length()
        exponent = self.exponents[source] + (shift or 0) - halvings
        self.layers.append(
            {"kind": "average", "name": name, "input": source, "shift": shift, "exponent": exponent}
        )
        self.shapes[name], self.exponents[name] = [channels], exponent

    def dense(self, name, source, classes, weights="shift"):
        shape = [*self.shapes[source], classes]
        self.weights(name, shape, weights)
        self.numbers[f"{name}.bias"] = [self.random.randint(-900, 900) for _ in range(classes)]
        self.layers.append(
            {"kind": "dense", "name": name, "input": source, "shape": shape}
            | {"weights": weights, "weight_exponent": -6}
        )
        self.shapes[name], self.exponents[name] = [classes], self.exponents[source] - 6

    def net(self):
        last = self.layers[-1]["name"]
        kinds = {layer.get("weights") for layer in self.layers}
        later = {layer["kind"] for layer in self.layers} & {"conv_window", "max_window", "flatten"}
        manifest = {
            "format": "flightnn integer network",
            "version": 5 if later else 4 if "codebook" in kinds else 3 if "binary" in kinds else 2,
            **({"version": 6} if any(x.get("output") == "linear" for x in self.layers) else {}),
            "name": "small",
            "input_shape": self.shapes["image"],
            "output_exponent": self.exponents[last],
            "slope": self.slope,
            "affine": "multiplier" if self.terms is None else "shifts",
            "affine_terms": self.terms,
            "labels": [f"class {i}" for i in range(self.shapes[last][-1])],
            "layers": self.layers,
            "provenance": {"made by": "tests", "seed": 1, "rate": 0.5},
            "golden": 0,
            "digests": None,
        }
        return Net(manifest, self.numbers)


def plain(seed=0, **options):
    """Convolutions of both kinds of weights, a pool, and an average as logits."""
    b = Builder(seed, [4, 6, 2], **options)
    b.conv("conv1", "image", 5)
    b.max_pool("pool1", "conv1")
    b.conv("conv2", "pool1", 4, size=1, weights="integer")
    b.conv("conv3", "conv2", 3, size=5, weights="integer")
    b.average("average", "conv3", None)
    return b.net()


def residual(seed=0, **options):
    """Strides, a lifted skip, a sum of two sums, an average with a shift, a dense layer."""
    b = Builder(seed, [5, 5, 3], **options)
    b.conv("conv1", "image", 4, stride=2)
    b.conv("first", "conv1", 4)
    b.conv("second", "first", 4, output=-4)
    b.add("block1", ["second", "conv1"], -4)
    b.conv("down", "block1", 3, stride=2, output=-3)
    b.conv("shortcut", "block1", 3, size=1, stride=2, output=-3)
    b.add("block2", ["down", "shortcut"], -3, least=13)
    b.average("average", "block2", 2)
    b.dense("dense", "average", 4)
    return b.net()


def lifted(seed=0, **options):
    """A sum of two activations, one of them the image, a negative average shift, integers."""
    b = Builder(seed, [3, 3, 2], **options)
    b.conv("conv1", "image", 2, weights="integer")
    b.add("both", ["image", "conv1"], -5)
    b.conv("conv2", "both", 3, size=7, stride=3)
    b.average("average", "conv2", -2)
    b.dense("dense", "average", 3, weights="integer")
    return b.net()


def matrix(seed=0, **options):
    """A dense layer and nothing else."""
    b = Builder(seed, [5], **options)
    b.dense("dense", "image", 3)
    return b.net()


def binary(seed=0, **options):
    """Weights of one bit beside shifts, a number of them that fills no byte."""
    b = Builder(seed, [3, 4, 2], **options)
    b.conv("conv1", "image", 3, weights="binary")
    b.conv("conv2", "conv1", 2, size=1)
    b.average("average", "conv2", 1)
    b.dense("dense", "average", 3, weights="binary")
    return b.net()


def codebook(seed=0, **options):
    """Weights of five levels, indices of three bits, beside shifts."""
    b = Builder(seed, [3, 4, 2], **options)
    b.conv("conv1", "image", 3, weights="codebook")
    b.conv("conv2", "conv1", 2, size=1)
    b.average("average", "conv2", 1)
    b.dense("dense", "average", 3, weights="codebook")
    return b.net()


def mobile(seed=0, **options):
    """Groups, depthwise filters, padding of all widths, windows of pools, flat inputs."""
    b = Builder(seed, [4, 3, 2], **options)
    b.conv("conv1", "image", 4, padding=2)
    b.max_window("pool1", "conv1", 3, 2, 1)
    b.conv("conv2", "pool1", 4, groups=4)
    b.conv("conv3", "conv2", 6, groups=2, padding=0, weights="integer")
    b.flatten("flat1", "conv3", 3)
    b.conv("conv4", "flat1", 3, size=1)
    b.flatten("flat2", "conv4", 1)
    b.dense("dense", "flat2", 3)
    return b.net()


def linear(seed=0, **options):
    """Convolutions that keep negative values, one of them in groups, and one that does not."""
    b = Builder(seed, [2, 2, 2], **options)
    b.conv("conv1", "image", 2, size=1, output="linear")
    b.conv("conv2", "conv1", 2, output="linear", groups=2)
    b.conv("conv3", "conv2", 3, size=1)
    b.average("average", "conv3", None)
    return b.net()


NETS = {
    "linear": linear,
    "mobile": mobile,
    "plain": plain,
    "residual": residual,
    "lifted": lifted,
    "matrix": matrix,
    "binary": binary,
    "codebook": codebook,
}


def random_image(shape, draw):
    if not shape:
        return draw.choice((0, 255, draw.randint(0, 255)))
    return [random_image(shape[1:], draw) for _ in range(shape[0])]


def of_version_1(net):
    """The network as a file of version 1 describes it."""
    manifest = {key: value for key, value in net.manifest.items() if key != "digests"}
    return Net(manifest | {"version": 1}, net.numbers)
