"""Integer networks by loops over Python's integers: what the interpreter is compared with.

Written from docs/integers.md, slow, and for tiny networks. Nothing of the library is imported. A
network is a `Net`: the manifest as a dictionary, and numbers as nested lists. Weights are not
codes here, but numbers["conv1.terms"][filter][term] = [(sign, shift), ..], or
numbers["conv1.integers"][filter] = [int, ..].
"""

import copy
import dataclasses
import itertools
from fractions import Fraction


@dataclasses.dataclass
class Net:
    manifest: dict
    numbers: dict

    def copy(self):
        return copy.deepcopy(self)


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
    if isinstance(image[0], int):
        values = {"image": [byte - 128 for byte in image]}
    else:
        values = {"image": [[[byte - 128 for byte in pixel] for pixel in row] for row in image]}
    for layer in net.manifest["layers"]:
        given = [values[name] for name in layer.get("inputs", [layer.get("input")])]
        values[layer["name"]] = RUN[layer["kind"]](net, layer, *given)
    return {layer["name"]: values[layer["name"]] for layer in net.manifest["layers"]}


def run_conv(net, layer, x):
    height, width = len(x), len(x[0])
    stride, (size, _, inputs, filters) = layer["stride"], layer["shape"]
    p = (size - 1) // 2
    out = []
    for y in range((height + stride - 1) // stride):
        out.append([])
        for column in range((width + stride - 1) // stride):
            out[-1].append([])
            for o in range(filters):
                acc = 0
                window = itertools.product(range(size), range(size), range(inputs))
                for index, (dy, dx, i) in enumerate(window):
                    yy, xx = stride * y + dy - p, stride * column + dx - p
                    if 0 <= yy < height and 0 <= xx < width:
                        acc += weight(net, layer["name"], o, index) * x[yy][xx][i]
                out[-1][-1].append(conv_output(net, layer, o, acc))
    return out


def conv_output(net, layer, o, acc):
    low, high, multiplier, bias = (
        net.numbers[f"{layer['name']}.{name}"][o] for name in ("low", "high", "multiplier", "bias")
    )
    v = clip(acc, low, high) * multiplier + bias
    if layer["output"] == "sum":
        return v
    return activate(v, net.numbers[f"{layer['name']}.shift"][o], net.manifest["slope"])


def run_add(net, layer, a, b):
    def pixel(a, b):
        out = []
        for o, parts in enumerate(zip(a, b, strict=True)):
            v = 0
            for i, part in enumerate(parts):
                lift = net.numbers.get(f"{layer['name']}.lift{i}")
                v += part if lift is None else part * 2 ** lift[o]
            shift = net.numbers[f"{layer['name']}.shift"][o]
            out.append(activate(v, shift, net.manifest["slope"]))
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
}


def fan_in(layer):
    count = 1
    for axis in layer["shape"][:-1]:
        count *= axis
    return count


def bits(*numbers):
    """The least n >= 1 of two's complement that holds all of them."""
    n = 1
    while not all(-(2 ** (n - 1)) <= number <= 2 ** (n - 1) - 1 for number in numbers):
        n += 1
    return n


def certify(net):
    """The certificates of all layers, and reasons for which no certificate can be valid."""
    rows, v, wrong = {}, {}, []
    shapes = shapes_of(net)
    for layer in net.manifest["layers"]:
        name = layer["name"]
        if layer["kind"] in ("conv", "dense"):
            certified = [certify_filter(net, layer, o) for o in range(layer["shape"][-1])]
            rows[name] = [row for row, _ in certified]
            v[name] = [(row[4], row[5]) for row in rows[name]]
            most = 31 if layer.get("output") == "activation" else 32
            wrong += [f"{name}: {row}" for row in rows[name] if row[3] > 32 or row[6] > most]
            wrong += [f"{name}: product" for _, product in certified if bits(*product) > 32]
        if layer["kind"] == "add":
            rows[name], v[name] = [], []
            for o in range(shapes[name][-1]):
                ends = []
                for i, source in enumerate(layer["inputs"]):
                    lift = net.numbers.get(f"{name}.lift{i}")
                    ends.append(
                        v[source][o] if lift is None else (-128 * 2 ** lift[o], 127 * 2 ** lift[o])
                    )
                low, high = ends[0][0] + ends[1][0], ends[0][1] + ends[1][1]
                rows[name].append([low, high, bits(low, high)])
                wrong += [f"{name}: v"] * (bits(low, high) > 31)
        if layer["kind"] == "average":
            height, width, _ = shapes[layer["input"]]
            scale = 2 ** max(0, -(layer["shift"] or 0))
            most = 32 if layer["shift"] is None else 31
            wrong += [f"{name}: sums"] * (bits(-128 * height * width * scale) > most)
    return rows, wrong


def certify_filter(net, layer, o):
    """The ten columns of a filter, and the bounds of the product."""
    name = layer["name"]
    weights = [weight(net, name, o, index) for index in range(fan_in(layer))]
    acc = [
        sum(min(-128 * w, 127 * w) for w in weights),
        sum(max(-128 * w, 127 * w) for w in weights),
    ]
    if layer["weights"] == "shift":
        terms = [term for row in net.numbers[f"{name}.terms"][o] for term in row]
        partial = 128 * sum(2**shift for _, shift in terms)
        shifts = [shift for _, shift in terms] or [0]
    else:
        partial, shifts = 128 * sum(abs(w) for w in weights), [0]
    product, bias = acc, net.numbers[f"{name}.bias"][o]
    if layer["kind"] == "conv":
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
        if layer["kind"] == "conv":
            stride = layer["stride"]
            shape = [-(-shape[0] // stride), -(-shape[1] // stride), layer["shape"][3]]
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
        if layer["kind"] == "conv":
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
