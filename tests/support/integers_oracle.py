"""Integer networks by loops over Python's integers: what the interpreter is compared with.

Written from docs/integers.md, slow, and for tiny networks. Nothing of the library is imported. A
network is a `Net`: the manifest as a dictionary, and numbers as nested lists. Weights are not
codes here, but numbers["conv1.terms"][filter][term] = [(sign, shift), ..], or
numbers["conv1.integers"][filter] = [int, ..].
"""

import dataclasses
import hashlib
import itertools
import math
import pickle
from fractions import Fraction


@dataclasses.dataclass
class Net:
    manifest: dict
    numbers: dict

    def copy(self):
        return pickle.loads(pickle.dumps(self))  # a tenth of the time of copy.deepcopy


def weight(net, name, o, index):
    """One weight W, at a place in the order of the axes before the last."""
    if f"{name}.integers" in net.numbers:
        return net.numbers[f"{name}.integers"][o][index]
    return sum(sign * 2**shift for sign, shift in at(net.numbers[f"{name}.terms"][o], index))


def at(terms, index):
    return [term[index] for term in terms]


def clip(v, low, high):
    return low if v < low else high if v > high else v


def even(v, n):
    return round(Fraction(v) / Fraction(2) ** n)  # Python rounds ties to even


def activate(v, shift, slope):
    return clip(even(v, shift if v >= 0 else shift + slope), -128, 127)


def run(net, image):
    """Every layer's output for an image, [height][width][channels] of bytes or [channels]."""
    values = {"image": activations(image)}
    for layer in net.manifest["layers"]:
        given = [values[name] for name in layer.get("inputs", [layer.get("input")])]
        values[layer["name"]] = RUN[layer["kind"]](net, layer, *given)
    return {layer["name"]: values[layer["name"]] for layer in net.manifest["layers"]}


def activations(image):
    return image - 128 if isinstance(image, int) else [activations(part) for part in image]


def run_conv(net, layer, x):
    height, width = len(x), len(x[0])
    stride, (size, _, inputs, filters) = layer["stride"], layer["shape"]
    p = padding_of(layer)
    out = []
    for y in range(places(height, size, stride, p)):
        out.append([])
        for column in range(places(width, size, stride, p)):
            out[-1].append([])
            for o in range(filters):
                acc, skipped = 0, inputs * group_of(layer, o)
                window = itertools.product(range(size), range(size), range(inputs))
                for index, (dy, dx, i) in enumerate(window):
                    yy, xx = stride * y + dy - p, stride * column + dx - p
                    if 0 <= yy < height and 0 <= xx < width:
                        acc += weight(net, layer["name"], o, index) * x[yy][xx][skipped + i]
                out[-1][-1].append(conv_output(net, layer, o, acc))
    return out


def padding_of(layer):
    given = layer.get("padding")
    return (layer["shape"][0] - 1) // 2 if given is None else given


def group_of(layer, o):
    return o * layer.get("groups", 1) // layer["shape"][-1]


def places(length, size, stride, p):
    """How many windows of a size begin at -p, stride - p, .. and end before length + p."""
    return len(range(-p, length + p - size + 1, stride))


def conv_output(net, layer, o, acc):
    low, high, multiplier, bias = (
        net.numbers[f"{layer['name']}.{name}"][o] for name in ("low", "high", "multiplier", "bias")
    )
    v = clip(acc, low, high) * multiplier + bias
    if layer["output"] == "sum":
        return v
    return activate(v, net.numbers[f"{layer['name']}.shift"][o], slope_of(net, layer))


def slope_of(net, layer):
    return 0 if layer.get("output") == "linear" else net.manifest["slope"]


def run_add(net, layer, a, b):
    def pixel(a, b):
        out = []
        for o, parts in enumerate(zip(a, b, strict=True)):
            v = 0
            for i, part in enumerate(parts):
                lift = net.numbers.get(f"{layer['name']}.lift{i}")
                v += part if lift is None else part * 2 ** lift[o]
            if not layer.get("shiftless"):
                v = activate(v, net.numbers[f"{layer['name']}.shift"][o], net.manifest["slope"])
            out.append(v)
        return out

    if isinstance(a[0], int):
        return pixel(a, b)
    return [[pixel(*both) for both in zip(*rows, strict=True)] for rows in zip(a, b, strict=True)]


def run_max_pool(net, layer, x):
    del net, layer
    return [
        [
            [
                max(x[2 * y + dy][2 * column + dx][c] for dy in (0, 1) for dx in (0, 1))
                for c in range(len(x[0][0]))
            ]
            for column in range(len(x[0]) // 2)
        ]
        for y in range(len(x) // 2)
    ]


def run_max_window(net, layer, x):
    del net
    size, stride, p = layer["size"], layer["stride"], layer["padding"]
    height, width = len(x), len(x[0])

    def largest(y, column, c):
        rows = range(max(0, stride * y - p), min(height, stride * y - p + size))
        columns = range(max(0, stride * column - p), min(width, stride * column - p + size))
        return max(x[yy][xx][c] for yy in rows for xx in columns)

    return [
        [
            [largest(y, column, c) for c in range(len(x[0][0]))]
            for column in range(places(width, size, stride, p))
        ]
        for y in range(places(height, size, stride, p))
    ]


def run_flatten(net, layer, x):
    del net
    row = [value for line in x for pixel in line for value in pixel]
    return row if layer["axes"] == 1 else [[row]]


def run_average(net, layer, x):
    del net
    sums = [sum(pixel[c] for row in x for pixel in row) for c in range(len(x[0][0]))]
    if layer["shift"] is None:
        return sums
    return [clip(even(s, layer["shift"]), -128, 127) for s in sums]


def run_dense(net, layer, x):
    bias = net.numbers[f"{layer['name']}.bias"]
    return [
        sum(weight(net, layer["name"], o, i) * x[i] for i in range(layer["shape"][0])) + bias[o]
        for o in range(layer["shape"][1])
    ]


RUN = {
    "conv": run_conv,
    "add": run_add,
    "max_pool": run_max_pool,
    "average": run_average,
    "dense": run_dense,
    "conv_window": run_conv,
    "max_window": run_max_window,
    "flatten": run_flatten,
}
CONVS = ("conv", "conv_window")


def fan_in(layer):
    count = 1
    for axis in layer["shape"][:-1]:
        count *= axis
    return count


def bits(*numbers):
    """The least n >= 1 of two's complement that holds all of them."""
    return 1 + max(max(number, -number - 1).bit_length() for number in numbers)


def certify(net):
    """The certificates of all layers, and reasons for which no certificate can be valid."""
    rows, v, wrong = {}, {}, []
    shapes = shapes_of(net)
    reach = {"image": [(-128, 127)] * shapes["image"][-1]}
    for layer in net.manifest["layers"]:
        name = layer["name"]
        given = [reach[source] for source in layer.get("inputs", [layer.get("input")])]
        if layer["kind"] in (*CONVS, "dense"):
            certified = [certify_filter(net, layer, o, given[0]) for o in range(layer["shape"][-1])]
            rows[name] = [row for row, _ in certified]
            v[name] = [(row[4], row[5]) for row in rows[name]]
            most = 31 if layer.get("output") in ("activation", "linear") else 32
            wrong += [f"{name}: {row}" for row in rows[name] if row[3] > 32 or row[6] > most]
            wrong += [f"{name}: product" for _, product in certified if bits(*product) > 32]
        if layer["kind"] == "add":
            rows[name], v[name] = [], []
            for o in range(shapes[name][-1]):
                ends = []
                for i in (0, 1):
                    lift = net.numbers.get(f"{name}.lift{i}")
                    scale = 1 if lift is None else 2 ** lift[o]
                    ends.append([end * scale for end in given[i][o]])
                low, high = ends[0][0] + ends[1][0], ends[0][1] + ends[1][1]
                rows[name].append([low, high, bits(low, high)])
                v[name].append((low, high))
                wrong += [f"{name}: v"] * (bits(low, high) > 31)
        if layer["kind"] == "average":
            height, width, _ = shapes[layer["input"]]
            scale = 2 ** max(0, -(layer["shift"] or 0))
            most = 32 if layer["shift"] is None else 31
            v[name] = [(low * height * width, high * height * width) for low, high in given[0]]
            too_wide = [pair for pair in v[name] if bits(*(end * scale for end in pair)) > most]
            wrong += [f"{name}: sums"] * len(too_wide)
        if layer["kind"] in ("max_pool", "max_window", "flatten"):
            height, width, _ = shapes[layer["input"]]
            reach[name] = given[0] * (height * width if layer["kind"] == "flatten" else 1)
        else:
            reach[name] = reach_of(net, layer, v[name])
    return rows, wrong


def reach_of(net, layer, v):
    """The least and the largest output of each channel, from those of v or of an average's sums."""
    shift = net.numbers.get(f"{layer['name']}.shift", layer.get("shift"))
    slope = slope_of(net, layer)
    if shift is None:  # sums
        return v
    if net.manifest["version"] == 1:
        return [(-128, 127)] * len(v)
    if layer["kind"] == "average":
        return [tuple(clip(even(end, shift), -128, 127) for end in ends) for ends in v]
    return [
        tuple(activate(end, s, slope) for end in ends) for ends, s in zip(v, shift, strict=True)
    ]


def certify_filter(net, layer, o, given):
    """The ten columns of a filter whose inputs have these ranges, and the bounds of the product."""
    name = layer["name"]
    inputs = layer["shape"][-2]
    if layer["kind"] in CONVS:
        first = inputs * group_of(layer, o)
        given = given[first : first + inputs]
        if padding_of(layer) > 0:
            given = [(min(low, 0), max(high, 0)) for low, high in given]
    spans = [given[index % inputs] for index in range(fan_in(layer))]  # of each tap
    weights = [weight(net, name, o, index) for index in range(fan_in(layer))]
    acc = [
        sum(pick(low * w, high * w) for w, (low, high) in zip(weights, spans, strict=True))
        for pick in (min, max)
    ]
    if layer["weights"] == "shift":
        rows = net.numbers[f"{name}.terms"][o]
        terms = [
            (sign * 2**shift, at)
            for row in rows
            for (sign, shift), at in zip(row, spans, strict=True)
        ]
        shifts = [shift for row in rows for _, shift in row] or [0]
    else:
        terms, shifts = list(zip(weights, spans, strict=True)), [0]
    if net.manifest["version"] == 1:
        partial = 128 * sum(abs(t) for t, _ in terms)
    else:
        ends = [(t * low, t * high) for t, (low, high) in terms]
        above, below = sum(max(0, *pair) for pair in ends), sum(min(0, *pair) for pair in ends)
        partial = max(above, -below)
    product, bias = acc, net.numbers[f"{name}.bias"][o]
    if layer["kind"] in CONVS:
        low, high, multiplier = (
            net.numbers[f"{name}.{column}"][o] for column in ("low", "high", "multiplier")
        )
        product = sorted(clip(a, low, high) * multiplier for a in acc)
    v = [end + bias for end in product]
    row = [*acc, partial, bits(-partial, partial), *v, bits(*v), int(partial < 2**24)]
    return [*row, min(shifts), max(shifts)], product


def shapes_of(net):
    """Shapes of what every layer hands on."""
    shapes = {"image": list(net.manifest["input_shape"])}
    for layer in net.manifest["layers"]:
        shape = shapes[layer.get("inputs", [layer.get("input")])[0]]
        if layer["kind"] in CONVS:
            numbers = layer["shape"][0], layer["stride"], padding_of(layer)
            shape = [*(places(n, *numbers) for n in shape[:2]), layer["shape"][3]]
        elif layer["kind"] == "max_window":
            numbers = layer["size"], layer["stride"], layer["padding"]
            shape = [*(places(n, *numbers) for n in shape[:2]), shape[2]]
        elif layer["kind"] == "flatten":
            shape = [1] * (layer["axes"] - 1) + [shape[0] * shape[1] * shape[2]]
        elif layer["kind"] == "max_pool":
            shape = [shape[0] // 2, shape[1] // 2, shape[2]]
        elif layer["kind"] == "average":
            shape = shape[2:]
        elif layer["kind"] == "dense":
            shape = layer["shape"][1:]
        shapes[layer["name"]] = shape
    return shapes


def signed_powers(n):
    """The fewest signed powers of two that sum to n: half of it, or one and half of a neighbour."""
    n = abs(n)
    if n < 2:
        return n
    if n % 2 == 0:
        return signed_powers(n // 2)
    return 1 + min(signed_powers((n - 1) // 2), signed_powers((n + 1) // 2))


def limits(net):
    """Numbers outside of the document's limits."""
    wrong, numbers = [], net.numbers
    for layer in net.manifest["layers"]:
        name, shift = layer["name"], numbers.get(f"{layer['name']}.shift", [])
        wrong += [f"{name}.shift" for s in shift if s + net.manifest["slope"] > 30]
        for lift in ("lift0", "lift1"):
            wrong += [f"{name}.{lift}" for n in numbers.get(f"{name}.{lift}", []) if n > 24]
        if layer["kind"] in CONVS:
            pairs = zip(numbers[f"{name}.low"], numbers[f"{name}.high"], strict=True)
            wrong += [f"{name}.low" for low, high in pairs if low > high]
            if net.manifest["affine"] == "shifts":
                most = net.manifest["affine_terms"]
                multipliers = numbers[f"{name}.multiplier"]
                wrong += [f"{name}.multiplier" for m in multipliers if signed_powers(m) > most]
        if layer["kind"] == "average" and layer["shift"] is None:
            output = net.manifest["output_exponent"]
            wrong += [f"{name}.exponent"] * (layer["exponent"] != output)
    return wrong


def digest_image(golden, seed, j):
    """Image j of a seed, from golden images as nested lists."""
    g, flat = golden[j // 4 % len(golden)], isinstance(golden[0][0], int)
    g = [[g]] if flat else g
    height, width, channels = len(g), len(g[0]), len(g[0][0])
    count = 8 + height * width * channels
    random = b""
    while len(random) < count:
        random += hashlib.sha256(f"{seed}/{j}/{len(random) // 32}".encode()).digest()
    h = random[:8]

    def noise(y, z, c):
        return random[8 + (y * width + z) * channels + c]

    def base(y, z, c):
        u = width - 1 - z if h[5] % 2 else z
        if j % 4 == 0:
            return g[(y + h[0]) % height][(u + h[1]) % width][c]
        if j % 4 == 1:
            return math.floor(Fraction((256 - h[2]) * g[y][u][c] + h[2] * noise(y, z, c), 256))
        if j % 4 == 2:
            return noise(y // 2 ** (h[2] % 5), z // 2 ** (h[2] % 5), c)
        down, right = math.floor(Fraction(256 * y, height)), math.floor(Fraction(256 * z, width))
        ramps = h[2] * down + h[3] * right
        return (math.floor(Fraction(ramps, 64)) + h[4] * c) % 256

    def pixel(y, z, c):
        contrast = Fraction((base(y, z, c) - 128) * (16 + h[6]), 64)
        return clip(math.floor(contrast) + 64 + h[7] // 2, 0, 255)

    image = [
        [[pixel(y, z, c) for c in range(channels)] for z in range(width)] for y in range(height)
    ]
    return image[0][0] if flat else image


def sums_before_rounding(net, image):
    """v of every layer that rounds it, by name: what it gives where it does not round."""
    values, found = run(net, image) | {"image": activations(image)}, {}
    for layer in net.manifest["layers"]:
        plain = layer | {"output": "sum", "shiftless": True}
        if layer["kind"] in CONVS and layer["output"] != "sum":
            found[layer["name"]] = run_conv(net, plain, values[layer["input"]])
        if layer["kind"] == "add":
            found[layer["name"]] = run_add(net, plain, *(values[name] for name in layer["inputs"]))
    return found


def is_sums(layer):
    """Whether a layer's outputs are sums."""
    average = layer["kind"] == "average" and layer["shift"] is None
    return layer["kind"] == "dense" or layer.get("output") == "sum" or average


def digests(net, golden, images, seed):
    """The digests of a network, as the manifest has them."""
    made = [digest_image(golden, seed, j) for j in range(images)]
    wide = {layer["name"]: is_sums(layer) for layer in net.manifest["layers"]}
    return {
        "images": images,
        "seed": seed,
        "outputs": digest_all([run(net, image) for image in made], wide),
        "sums": digest_all([sums_before_rounding(net, image) for image in made], {}),
    }


def digest_all(outputs, wide):
    """By name the digest of what a list of images gives; four bytes a number, or one."""
    data = dict.fromkeys(outputs[0], b"")
    for name in data:
        for one in outputs:
            for n in flatten(one[name]):
                data[name] += n.to_bytes(4 if wide.get(name, True) else 1, "little", signed=True)
    return {name: hashlib.sha256(numbers).hexdigest() for name, numbers in data.items()}


def flatten(nested):
    if isinstance(nested, int):
        return [nested]
    return [n for part in nested for n in flatten(part)]
