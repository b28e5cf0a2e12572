"""A reader, certifier and interpreter of integer files, written from docs/integers.md alone.

Its author had read that page and no other reader, so where this differs from the library or from
the checker, one of the three is wrong or the page is. Nothing of the library is imported. It reads
bytes, and is quick enough for mutations; `integers_oracle`, by loops, is what files are made with.
"""

import hashlib
import json
import math
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
WINDOWS = ("conv", "conv_window")
WEIGHED = (*WINDOWS, "dense")
TYPES = {"U8": "u1", "I8": "i1", "I32": "<i4"}
WEIGHTS = ("shift", "integer", "binary", "codebook")
TOP = (
    "format version name input_shape output_exponent slope affine affine_terms labels layers "
    "provenance golden digests"
)
CONV = "kind name input stride shape weights output weight_exponent exponent"
ENTRIES = {
    "conv": CONV,
    "conv_window": CONV + " groups padding",
    "max_window": "kind name input size stride padding",
    "flatten": "kind name input axes",
    "add": "kind name inputs exponent",
    "max_pool": "kind name input",
    "average": "kind name input shift exponent",
    "dense": "kind name input shape weights weight_exponent",
}


class InvalidError(ValueError):
    """A rule of the page that a file breaks."""


class File(NamedTuple):
    manifest: dict[str, Any]
    tensors: dict[str, Array]
    weights: dict[str, list[Array]]  # by layer, for each filter its terms, [terms, *shape[:-1]]
    shapes: dict[str, tuple[int, ...]]
    sums: dict[str, bool]


def need(true: Any, rule: str) -> None:
    if not true:
        raise InvalidError(rule)


def whole(value: Any, low: int, high: int, what: str) -> int:
    need(type(value) is int and low <= value <= high, f"{what} is {value!r}, not {low} to {high}")
    return value


def text(value: Any, what: str) -> str:
    need(type(value) is str, f"{what} is no text")
    return value


def _json(source: str) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        need(len({key for key, _ in items}) == len(items), "a key twice")
        return dict(items)

    def integer(digits: str) -> int:
        need(len(digits.lstrip("-")) <= 4300, "digits of an integer")
        return int(digits)

    def constant(name: str) -> None:
        raise InvalidError(f"{name} is no JSON")

    def texts(value: Any) -> None:
        if isinstance(value, str):
            value.encode()
        for part in value if isinstance(value, list) else ():
            texts(part)
        for key, part in value.items() if isinstance(value, dict) else ():
            texts(key)
            texts(part)

    try:
        found = json.loads(
            source, object_pairs_hook=pairs, parse_int=integer, parse_constant=constant
        )
        texts(found)
    except (ValueError, RecursionError) as error:  # UnicodeEncodeError, too
        raise InvalidError(f"JSON: {error}") from None
    return found


def read(data: bytes) -> File:
    """The file, if it keeps every rule of the page that needs no run of it."""
    need(8 <= len(data) <= 1 << 30, "size of the file")
    size = int.from_bytes(data[:8], "little")
    need(size <= min(1 << 22, len(data) - 8), "size of the header")
    try:
        header = _json(data[8 : 8 + size].decode())
    except UnicodeDecodeError:
        raise InvalidError("header is not UTF-8") from None
    need(isinstance(header, dict), "the header is no object")
    meta = header.pop("__metadata__", None)
    need(isinstance(meta, dict) and set(meta) == {"manifest", "sha256"}, "metadata")
    tensors = _tensors(header, data[8 + size :])
    digest = hashlib.sha256(text(meta["manifest"], "manifest").encode() + b"\0")
    for name in sorted(tensors, key=str.encode):
        shape = ",".join(map(str, tensors[name].shape))
        digest.update(b"\0".join([name.encode(), header[name]["dtype"].encode(), shape.encode()]))
        digest.update(b"\0" + tensors[name].tobytes())
    need(digest.hexdigest() == meta["sha256"], "sha256")
    manifest = _json(meta["manifest"])
    _check_manifest(manifest)
    return _check_layers(manifest, tensors, len(data))


def _tensors(header: dict[str, Any], data: bytes) -> dict[str, Array]:
    spans, found = [], {}
    for name, entry in header.items():
        need(isinstance(entry, dict) and set(entry) == {"dtype", "shape", "data_offsets"}, name)
        need(isinstance(entry["dtype"], str) and entry["dtype"] in TYPES, f"dtype of {name}")
        shape, offsets = entry["shape"], entry["data_offsets"]
        need(isinstance(shape, list) and len(shape) <= 5, f"axes of {name}")
        need(isinstance(offsets, list) and len(offsets) == 2, f"offsets of {name}")
        first, behind = (whole(n, 0, len(data), f"offset of {name}") for n in offsets)
        count = math.prod(whole(n, 0, 1 << 40, f"axis of {name}") for n in shape)
        kind = np.dtype(TYPES[entry["dtype"]])
        need(behind - first == count * kind.itemsize, f"bytes of {name}")
        spans.append((first, behind))
        found[name] = np.frombuffer(data[first:behind], kind).reshape(shape)
    end = 0
    for first, behind in sorted(spans):
        need(first == end, "a gap")
        end = behind
    need(end == len(data), "the end of the file")
    return found


def _check_manifest(m: Any) -> None:
    need(isinstance(m, dict), "the manifest is no object")
    version = m.get("version")
    need(type(version) is int and 1 <= version <= 6, f"version {version!r}")
    need(set(m) == set(TOP.split()) - ({"digests"} if version == 1 else set()), "entries")
    need(m["format"] == "flightnn integer network", "format")
    text(m["name"], "name")
    need(isinstance(m["input_shape"], list) and len(m["input_shape"]) in (1, 3), "input_shape")
    for n in m["input_shape"]:
        whole(n, 1, 65536, "axis of the image")
    need(math.prod(m["input_shape"]) <= 1 << 28, "values of the image")
    whole(m["output_exponent"], -1000, 1000, "output_exponent")
    whole(m["slope"], 1, 7, "slope")
    need(m["affine"] in ("multiplier", "shifts"), "affine")
    if m["affine"] == "multiplier":
        need(m["affine_terms"] is None, "affine_terms")
    else:
        whole(m["affine_terms"], 1, 32, "affine_terms")
    need(isinstance(m["labels"], list), "labels")
    for label in m["labels"]:
        text(label, "a label")
    need(isinstance(m["provenance"], dict), "provenance")
    for value in m["provenance"].values():
        need(type(value) in (str, int, float), "provenance")
        need(type(value) is not float or math.isfinite(value), "provenance")
    whole(m["golden"], 0, 65536, "golden")
    need(isinstance(m["layers"], list) and 1 <= len(m["layers"]) <= 4096, "layers")


def _check_layers(m: dict[str, Any], tensors: dict[str, Array], file_bytes: int) -> File:
    shapes: dict[str, tuple[int, ...]] = {"image": tuple(m["input_shape"])}
    sums = {"image": False}
    weights: dict[str, list[Array]] = {}
    used: set[str] = set()
    awaited: set[str] = set()
    counted = 0
    for layer in m["layers"]:
        kind = layer.get("kind") if isinstance(layer, dict) else None
        need(isinstance(kind, str) and kind in ENTRIES, "kind of a layer")
        need(set(layer) == set(ENTRIES[kind].split()), f"entries of a {kind}")
        name = text(layer["name"], "name")
        allowed = all(c.isascii() and (c.isalnum() or c == "_") for c in name)
        need(allowed and 1 <= len(name) <= 64 and name[0].isalpha(), f"name {name!r}")
        need(name not in shapes and name != "golden", f"name {name!r}")
        inputs = layer["inputs"] if kind == "add" else [layer["input"]]
        need(isinstance(inputs, list) and len(inputs) == 1 + (kind == "add"), "inputs")
        need(all(isinstance(i, str) and i in shapes for i in inputs), f"inputs of {name}")
        used |= set(inputs)
        need(kind == "add" or not sums[inputs[0]], f"{name} reads sums")
        shapes[name] = _shape(layer, [shapes[i] for i in inputs])
        for n in shapes[name]:
            whole(n, 1, 65536, f"axis of {name}")
        need(math.prod(shapes[name]) <= 1 << 28, f"values of {name}")
        sums[name] = _is_sum(layer)
        for entry in ("exponent", "weight_exponent"):
            whole(layer.get(entry, 0), -1000, 1000, entry)
        if kind in WEIGHED:
            counted += math.prod(layer["shape"])
            need(counted <= min(1 << 26, 64 * file_bytes), "weights")
        awaited |= _check_tensors(m, layer, tensors, shapes[name], [sums[i] for i in inputs])
        if kind in WEIGHED:
            weights[name] = _weights(layer, tensors)
    _check_ends(m, used, shapes)
    for name in ("image", *[layer["name"] for layer in m["layers"]]):
        key = f"golden.{name}"
        if key in tensors or m["golden"]:
            kind = "u1" if name == "image" else "<i4" if sums[name] else "i1"
            _tensor(tensors, key, kind, (m["golden"], *shapes[name]))
            awaited.add(key)
    need(set(tensors) == awaited, f"tensors {set(tensors) ^ awaited}")
    _check_digests(m, sums)
    return File(m, tensors, weights, shapes, sums)


def _check_ends(m: dict[str, Any], used: set[str], shapes: dict[str, tuple[int, ...]]) -> None:
    """That every layer is read, and the last one alone gives logits; the version, too."""
    last = m["layers"][-1]
    need({layer["name"] for layer in m["layers"][:-1]} <= used, "a layer that is not read")
    logits = [layer for layer in m["layers"] if _is_logits(layer)]
    need(logits == [last], "logits")
    need(last["kind"] == "dense" or last["exponent"] == m["output_exponent"], "exponent")
    need(shapes[last["name"]] == (len(m["labels"]),), "labels")
    kinds = {layer.get("weights") for layer in m["layers"]}
    new = {layer["kind"] for layer in m["layers"]} & {"conv_window", "max_window", "flatten"}
    linear = any(layer.get("output") == "linear" for layer in m["layers"])
    least = (
        6 if linear else 5 if new else 4 if "codebook" in kinds else 3 if "binary" in kinds else 2
    )
    need(m["version"] == least or (m["version"], least) == (1, 2), "version")


def _is_logits(layer: dict[str, Any]) -> bool:
    return layer["kind"] == "dense" or (layer["kind"] == "average" and layer["shift"] is None)


def _is_sum(layer: dict[str, Any]) -> bool:
    return _is_logits(layer) or layer.get("output") == "sum"


def _shape(layer: dict[str, Any], inputs: list[tuple[int, ...]]) -> tuple[int, ...]:
    kind, name, x = layer["kind"], layer["name"], inputs[0]
    need(len(set(inputs)) == 1, f"inputs of {name} differ in shape")
    if kind == "add":
        return x
    need(len(x) == (1 if kind == "dense" else 3), f"axes of the input of {name}")
    if kind in WEIGHED:
        axes = layer["shape"]
        need(isinstance(axes, list) and len(axes) == (2 if kind == "dense" else 4), "shape")
        for n in axes:
            whole(n, 1, 65536, f"axis of the weights of {name}")
        need(layer["weights"] in WEIGHTS, "weights")
    if kind == "dense":
        need(axes[0] == x[0], f"inputs of {name}")
        return (axes[1],)
    if kind in WINDOWS:
        return _shape_of_windows(layer, x)
    if kind == "max_pool":
        need(x[0] % 2 == 0 and x[1] % 2 == 0, "an odd side")
        return (x[0] // 2, x[1] // 2, x[2])
    if kind == "max_window":
        size = whole(layer["size"], 1, 65536, "size")
        stride = whole(layer["stride"], 1, 65536, "stride")
        padding = whole(layer["padding"], 0, size - 1, "padding")
        pool = (size, stride, padding) == (2, 2, 0) and x[0] % 2 == x[1] % 2 == 0
        need(not pool, "a max_window that is a max_pool")
        return (*_places(x, size, stride, padding), x[2])
    if kind == "flatten":
        need(whole(layer["axes"], 1, 3, "axes") != 2, "axes")
        return (math.prod(x),) if layer["axes"] == 1 else (1, 1, math.prod(x))
    need(layer["shift"] is None or whole(layer["shift"], -16, 30, "shift") is not None, "shift")
    return (x[2],)


def _shape_of_windows(layer: dict[str, Any], x: tuple[int, ...]) -> tuple[int, ...]:
    name, axes = layer["name"], layer["shape"]
    need(axes[0] == axes[1] and axes[0] % 2 == 1, f"window of {name}")
    need(layer["output"] in ("activation", "linear", "sum"), "output")
    groups, size, half = 1, axes[0], (axes[0] - 1) // 2
    padding = half
    if layer["kind"] == "conv_window":
        groups = whole(layer["groups"], 1, axes[3], "groups")
        need(axes[3] % groups == 0, "groups")
        if layer["padding"] is not None:
            padding = whole(layer["padding"], 0, size - 1, "padding")
            need(padding != half, "a padding that is written as null")
        need(groups > 1 or layer["padding"] is not None, "a conv_window that is a conv")
    need(x[2] == groups * axes[2], f"channels of the input of {name}")
    return (*_places(x, size, whole(layer["stride"], 1, 65536, "stride"), padding), axes[3])


def _places(x: tuple[int, ...], size: int, stride: int, padding: int) -> tuple[int, int]:
    need(size <= min(x[:2]) + 2 * padding, "a window beyond the input")
    return tuple((n + 2 * padding - size) // stride + 1 for n in x[:2])  # type: ignore[return-value]


def _tensor(tensors: dict[str, Array], name: str, kind: str, shape: tuple[int, ...]) -> Array:
    need(name in tensors, f"{name} is missing")
    tensor = tensors[name]
    need(tensor.dtype == np.dtype(kind) and tensor.shape == shape, f"{name}: type or shape")
    return tensor


def _check_tensors(
    m: dict[str, Any],
    layer: dict[str, Any],
    tensors: dict[str, Array],
    shape: tuple[int, ...],
    reads_sums: list[bool],
) -> set[str]:
    """The names of a layer's tensors; types, shapes and limits are checked."""
    kind, name, filters = layer["kind"], layer["name"], shape[-1]
    awaited: dict[str, tuple[str, tuple[int, ...]]] = {}
    if kind == "add":
        awaited["certificate"] = ("<i4", (filters, 3))
        awaited |= {f"lift{i}": ("u1", (filters,)) for i in (0, 1) if not reads_sums[i]}
    if kind in WEIGHED:
        awaited["certificate"], awaited["bias"] = ("<i4", (filters, 10)), ("<i4", (filters,))
        per = math.prod(layer["shape"][:-1])
        bits = 4 * filters
        if layer["weights"] == "shift":
            k = _tensor(tensors, f"{name}.k", "u1", (filters,))
            need(k.max() <= 3, "k")
            awaited["k"], bits = ("u1", (filters,)), 4 * int(k.sum())
        if layer["weights"] == "binary":
            bits = filters
        if layer["weights"] == "codebook":
            levels = tensors.get(f"{name}.levels", np.zeros(0))
            need(levels.ndim == 1 and 1 <= len(levels) <= 256, "levels")
            awaited["levels"] = ("i1", levels.shape)
            bits = filters * max(1, (len(levels) - 1).bit_length())
        awaited["codes"] = ("u1", (-(-per * bits // 8),))
    if kind in WINDOWS:
        awaited |= dict.fromkeys(("multiplier", "low", "high"), ("<i4", (filters,)))
    if _rounds(layer):
        awaited["shift"] = ("u1", (filters,))
    got = {key: _tensor(tensors, f"{name}.{key}", *value) for key, value in awaited.items()}
    if "shift" in got:
        need(int(got["shift"].max()) + m["slope"] <= 30, "shift + slope")
    if "levels" in got:
        need((np.diff(got["levels"].astype(int)) > 0).all(), "levels do not rise")
    need(all(got[key].max() <= 24 for key in got if key.startswith("lift")), "lift")
    if kind in WINDOWS:
        need((got["low"] <= got["high"]).all(), "low > high")
        if m["affine"] == "shifts":
            need(max(map(_powers, got["multiplier"].tolist())) <= m["affine_terms"], "multiplier")
    return {f"{name}.{key}" for key in awaited}


def _powers(n: int) -> int:
    """The fewest signed powers of two whose sum is n."""
    n, count = abs(n), 0
    while n:
        if n % 2:
            count, n = count + 1, n - (2 - n % 4)
        n //= 2
    return count


def _weights(layer: dict[str, Any], tensors: dict[str, Array]) -> list[Array]:
    """For each filter its terms, [terms, *shape but the last]."""
    name, (*inner, filters) = layer["name"], layer["shape"]
    per, kind = math.prod(inner), layer["weights"]
    counts = tensors[f"{name}.k"].tolist() if kind == "shift" else [1] * filters
    levels = tensors[f"{name}.levels"].astype(np.int64) if kind == "codebook" else np.zeros(1)
    width = {"shift": 4, "integer": 4, "binary": 1, "codebook": 0}[kind]
    width = width or max(1, (len(levels) - 1).bit_length())
    bits = np.unpackbits(tensors[f"{name}.codes"], bitorder="little").astype(np.int64)
    used = per * sum(counts) * width
    need(not bits[used:].any(), "bits behind the last code")
    codes = bits[:used].reshape(-1, width) @ (1 << np.arange(width))
    if kind == "shift":
        values = np.where(codes % 2 == 1, -1, 1) << (codes // 2)
    elif kind == "integer":
        values = np.where(codes >= 8, codes - 16, codes)
    elif kind == "binary":
        values = 1 - 2 * codes
    else:
        need(not len(codes) or codes.max() < len(levels), "a code beyond the levels")
        values = levels[codes]
    begins = np.cumsum([0, *counts]) * per
    return [values[begins[f] : begins[f + 1]].reshape(counts[f], *inner) for f in range(filters)]


def _check_digests(m: dict[str, Any], sums: dict[str, bool]) -> None:
    digests = m.get("digests")
    if digests is None:
        return
    need(m["golden"] > 0, "digests without golden images")
    need(
        isinstance(digests, dict) and set(digests) == {"images", "seed", "outputs", "sums"},
        "digests",
    )
    whole(digests["images"], 1, 1024, "images")
    whole(digests["seed"], 0, 2**32 - 1, "seed")
    rounded = {layer["name"] for layer in m["layers"] if _rounds(layer)}
    for entry, names in (("outputs", set(sums) - {"image"}), ("sums", rounded)):
        need(isinstance(digests[entry], dict) and set(digests[entry]) == names, entry)


def _slope(file: File, layer: dict[str, Any]) -> int:
    return 0 if layer.get("output") == "linear" else file.manifest["slope"]


def _rounds(layer: dict[str, Any]) -> bool:
    return layer["kind"] == "add" or layer.get("output") in ("activation", "linear")


def even(v: Any, n: Any) -> Any:
    """v / 2^n rounded, ties to even; integers or arrays of them."""
    up = np.maximum(n, 0)
    half = (1 << up) >> 1
    down = (v + np.where(up > 0, half - 1 + ((v >> up) & 1), 0)) >> up
    return np.where(np.asarray(n) < 0, v << np.maximum(-np.asarray(n), 0), down)


def activate(v: Any, shift: Any, slope: int) -> Any:
    return np.clip(np.where(v >= 0, even(v, shift), even(v, shift + slope)), -128, 127)


def run(file: File, images: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """Every layer's outputs for images, uint8 [images, *shape], and v where it is rounded."""
    outputs: dict[str, Array] = {"image": images.astype(np.int64) - 128}
    rounded: dict[str, Array] = {}
    for layer in file.manifest["layers"]:
        name, kind = layer["name"], layer["kind"]
        of = {key: _of(file, f"{name}.{key}") for key in _PARTS if f"{name}.{key}" in file.tensors}
        if kind == "add":
            parts = [outputs[i] << of.get(f"lift{j}", 0) for j, i in enumerate(layer["inputs"])]
            rounded[name] = parts[0] + parts[1]
            outputs[name] = activate(rounded[name], of["shift"], _slope(file, layer))
            continue
        x = outputs[layer["input"]]
        if kind in WINDOWS:
            v = np.clip(_conv(file, layer, x), of["low"], of["high"]) * of["multiplier"]
            v = v + of["bias"]
            if layer["output"] != "sum":
                rounded[name], v = v, activate(v, of["shift"], _slope(file, layer))
        elif kind == "dense":
            v = x @ np.stack([w.sum(0) for w in file.weights[name]], -1) + of["bias"]
        elif kind == "max_pool":
            v = _largest(x, 2, 2, 0)
        elif kind == "max_window":
            v = _largest(x, layer["size"], layer["stride"], layer["padding"])
        elif kind == "flatten":
            v = x.reshape(len(x), *file.shapes[name])
        else:
            v = x.sum((1, 2))
            if layer["shift"] is not None:
                v = np.clip(even(v, layer["shift"]), -128, 127)
        outputs[name] = v
    return outputs, rounded


_PARTS = ("multiplier", "low", "high", "bias", "shift", "lift0", "lift1")


def _of(file: File, name: str) -> Array:
    return file.tensors[name].astype(np.int64)


def _padding(layer: dict[str, Any]) -> int:
    padding = layer.get("padding")
    return (layer["shape"][0] - 1) // 2 if padding is None else padding


def _windows(x: Array, size: int, stride: int, padding: int, outside: int) -> list[list[Array]]:
    """[dy][dx] of windows, each the value there for all windows, [images, rows, columns, c]."""
    rows, columns = _places(x.shape[1:], size, stride, padding)
    wide = np.pad(x, ((0, 0), *[(padding, padding)] * 2, (0, 0)), constant_values=outside)
    return [
        [
            wide[:, dy : dy + stride * rows : stride, dx : dx + stride * columns : stride]
            for dx in range(size)
        ]
        for dy in range(size)
    ]


def _conv(file: File, layer: dict[str, Any], x: Array) -> Array:
    size, _, depth, filters = layer["shape"]
    weights = np.stack([w.sum(0) for w in file.weights[layer["name"]]], -1)
    groups = layer.get("groups", 1)
    seen = _windows(x, size, layer["stride"], _padding(layer), 0)
    parts = []
    for g in range(groups):
        mine = slice(g * filters // groups, (g + 1) * filters // groups)
        channels = slice(g * depth, (g + 1) * depth)
        parts.append(
            sum(
                seen[dy][dx][..., channels] @ weights[dy, dx][:, mine]
                for dy in range(size)
                for dx in range(size)
            )
        )
    return np.concatenate(parts, -1)


def _largest(x: Array, size: int, stride: int, padding: int) -> Array:
    seen = _windows(x, size, stride, padding, -128)
    return np.max([value for row in seen for value in row], axis=0)


def images_of(file: File) -> Array:
    """The images of the digests."""
    digests, golden = file.manifest["digests"], file.tensors["golden.image"].astype(int)
    shape = tuple(file.manifest["input_shape"])
    high, wide, deep = shape if len(shape) == 3 else (1, shape[0], 1)
    made = []
    for j in range(digests["images"]):
        g = golden[j // 4 % len(golden)].reshape(high, wide, deep)
        random, i = b"", 0
        while len(random) < 8 + g.size:
            random += hashlib.sha256(f"{digests['seed']}/{j}/{i}".encode()).digest()
            i += 1
        h = list(random[:8])
        n = np.frombuffer(random[8 : 8 + g.size], np.uint8).astype(int).reshape(g.shape)
        y, z, c = np.indices(g.shape)
        u = z if h[5] % 2 == 0 else wide - 1 - z
        if j % 4 == 0:
            base = g[(y + h[0]) % high, (u + h[1]) % wide, c]
        elif j % 4 == 1:
            base = ((256 - h[2]) * g[y, u, c] + h[2] * n) >> 8
        elif j % 4 == 2:
            base = n[y >> h[2] % 5, z >> h[2] % 5, c]
        else:
            base = h[2] * (256 * y // high) + h[3] * (256 * z // wide)
            base = (base // 64 + h[4] * c) % 256
        made.append(np.clip((base - 128) * (16 + h[6]) // 64 + 64 + h[7] // 2, 0, 255))
    return np.stack(made).astype(np.uint8).reshape(-1, *shape)


def digests_of(file: File) -> dict[str, dict[str, str]]:
    outputs, rounded = run(file, images_of(file))
    del outputs["image"]
    return {
        "outputs": {
            name: _sha(v, "<i4" if file.sums[name] else "i1") for name, v in outputs.items()
        },
        "sums": {name: _sha(v, "<i4") for name, v in rounded.items()},
    }


def _sha(values: Array, kind: str) -> str:
    return hashlib.sha256(values.astype(kind).tobytes()).hexdigest()


Range = list[tuple[int, int]]  # of each channel, the least and the largest value


def certify(file: File) -> dict[str, list[list[int]]]:
    """The certificate of each layer that has one; InvalidError if it does not fit into 32 bits."""
    m = file.manifest
    ranges: dict[str, Range] = {"image": [(-128, 127)] * m["input_shape"][-1]}
    if len(m["input_shape"]) == 1:
        ranges["image"] = [(-128, 127)] * m["input_shape"][0]
    found: dict[str, list[list[int]]] = {}
    for layer in m["layers"]:
        name, kind = layer["name"], layer["kind"]
        if kind == "add":
            found[name], reach = _certify_add(file, layer, [ranges[i] for i in layer["inputs"]])
        elif kind in WEIGHED:
            found[name], reach = _certify_weighed(file, layer, ranges[layer["input"]])
        elif kind == "average":
            reach = _certify_average(file, layer, ranges[layer["input"]])
        else:
            reach = ranges[layer["input"]]
            if kind == "flatten":  # row-major, so the channels come again at every place
                reach = reach * (file.shapes[name][-1] // len(reach))
        known = m["version"] > 1 or file.sums[name]
        ranges[name] = reach if known else [(-128, 127)] * len(reach)
    return found


def _width(low: int, high: int) -> int:
    return max(1, *[(n if n >= 0 else -n - 1).bit_length() + 1 for n in (low, high)])


def _activated(file: File, layer: dict[str, Any], reach: Range) -> Range:
    shift, slope = _of(file, f"{layer['name']}.shift").tolist(), _slope(file, layer)
    return [
        (int(activate(low, s, slope)), int(activate(high, s, slope)))
        for (low, high), s in zip(reach, shift, strict=True)
    ]


def _certify_add(
    file: File, layer: dict[str, Any], inputs: list[Range]
) -> tuple[list[list[int]], Range]:
    lifts = [
        file.tensors.get(f"{layer['name']}.lift{i}", np.zeros(len(inputs[0]), int)).tolist()
        for i in (0, 1)
    ]
    reach = [
        (
            sum(inputs[i][c][0] << lifts[i][c] for i in (0, 1)),
            sum(inputs[i][c][1] << lifts[i][c] for i in (0, 1)),
        )
        for c in range(len(inputs[0]))
    ]
    rows = [[low, high, _width(low, high)] for low, high in reach]
    need(all(row[2] <= 31 for row in rows), "v_width of an add")
    return rows, _activated(file, layer, reach)


def _certify_weighed(file: File, layer: dict[str, Any], x: Range) -> tuple[list[list[int]], Range]:
    name, kind, filters = layer["name"], layer["kind"], layer["shape"][-1]
    of = {
        key: _of(file, f"{name}.{key}").tolist()
        for key in _PARTS
        if f"{name}.{key}" in file.tensors
    }
    rows, reach = [], []
    for f in range(filters):
        group = f * layer.get("groups", 1) // filters
        depth = layer["shape"][-2]
        mine = x[group * depth : (group + 1) * depth]
        if kind in WINDOWS and _padding(layer) > 0:
            mine = [(min(low, 0), max(high, 0)) for low, high in mine]
        low, high = (np.array([r[i] for r in mine], dtype=np.int64) for i in (0, 1))
        terms = file.weights[name][f]
        w = terms.sum(0)
        acc = (int(np.minimum(low * w, high * w).sum()), int(np.maximum(low * w, high * w).sum()))
        up = np.maximum(np.maximum(low * terms, high * terms), 0).sum()
        down = np.maximum(np.maximum(-low * terms, -high * terms), 0).sum()
        partial = int(max(up, down))
        if file.manifest["version"] == 1:
            partial = 128 * int(np.abs(terms).sum())
        v = tuple(n + of["bias"][f] for n in acc)
        if kind != "dense":
            scaled = [of["multiplier"][f] * min(max(n, of["low"][f]), of["high"][f]) for n in acc]
            need(_width(min(scaled), max(scaled)) <= 32, "the product with the multiplier")
            v = (min(scaled) + of["bias"][f], max(scaled) + of["bias"][f])
        acc_width, v_width = _width(-partial, partial), _width(*v)
        need(acc_width <= 32 and v_width <= (31 if _rounds(layer) else 32), "widths")
        shifts = [0]
        if layer["weights"] == "shift" and terms.size:
            shifts = np.log2(np.abs(terms)).astype(int).ravel().tolist()
        exact = int(partial < 1 << 24)
        rows.append([*acc, partial, acc_width, *v, v_width, exact, min(shifts), max(shifts)])
        reach.append(v)
    return rows, _activated(file, layer, reach) if _rounds(layer) else reach


def _certify_average(file: File, layer: dict[str, Any], x: Range) -> Range:
    places = math.prod(file.shapes[layer["input"]][:2])
    sums = [(places * low, places * high) for low, high in x]
    shift = layer["shift"]
    left = max(0, -(shift or 0))
    widest = max(_width(low << left, high << left) for low, high in sums)
    need(widest <= (32 if shift is None else 31), "sums of an average")
    if shift is None:
        return sums
    return [tuple(int(np.clip(even(n, shift), -128, 127)) for n in pair) for pair in sums]  # type: ignore[misc]


def check(data: bytes) -> File:
    """The file, if it keeps every rule of the page: golden images, digests and certificate, too."""
    file = read(data)
    for name, rows in certify(file).items():
        need(file.tensors[f"{name}.certificate"].tolist() == rows, f"certificate of {name}")
    if file.manifest["golden"]:
        outputs, _ = run(file, file.tensors["golden.image"])
        for name in set(outputs) - {"image"}:
            need(np.array_equal(outputs[name], file.tensors[f"golden.{name}"]), f"golden {name}")
    digests = file.manifest.get("digests")
    if digests is not None:
        need({k: digests[k] for k in ("outputs", "sums")} == digests_of(file), "digests")
    return file
