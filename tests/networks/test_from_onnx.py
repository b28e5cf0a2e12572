"""Networks of other libraries, as ONNX: the same function, and what no record says is named."""

import jax
import numpy as np
import pytest

from flightnn_jax import networks
from flightnn_jax.networks import (
    AveragePool,
    Conv,
    Dense,
    Flatten,
    GlobalAverage,
    MaxPool,
    Residual,
    from_onnx,
)
from flightnn_jax.training import models

onnx = pytest.importorskip("onnx", reason="it comes with the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="it comes with the extra onnx")


class Builder:
    """An ONNX graph of random numbers, as another library exports it."""

    def __init__(self, seed=0):
        self.rng, self.nodes, self.constants = np.random.default_rng(seed), [], []

    def node(self, operator, *inputs, **attributes):
        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, *shape, low=-0.5, high=0.5):
        return self.array(self.rng.uniform(low, high, shape).astype(np.float32))

    def array(self, values):
        self.constants.append(onnx.numpy_helper.from_array(values, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def conv(self, x, inputs, filters, size=3, stride=1, bias=False, norm=True, **changes):
        more = [self.constant(filters)] if bias else []
        given = {"pads": [size // 2] * 4, "strides": [stride] * 2} | changes
        inputs //= given.get("group", 1)
        x = self.node("Conv", x, self.constant(filters, inputs, size, size), *more, **given)
        if norm:
            parts = [self.constant(filters, low=0.5, high=1.5) for _ in range(2)]
            rest = [self.constant(filters), self.constant(filters)]
            numbers = (parts[0], rest[0], rest[1], parts[1])
            x = self.node("BatchNormalization", x, *numbers, epsilon=1e-3)
        return x

    def leaky(self, x, alpha=0.125):
        return self.node("LeakyRelu", x, alpha=alpha)

    def model(self, x, shape=(1, 8, 6), classes=4):
        kind = onnx.TensorProto.FLOAT
        image = onnx.helper.make_tensor_value_info("image", kind, ["batch", *shape])
        logits = onnx.helper.make_tensor_value_info(x, kind, ["batch", classes])
        graph = onnx.helper.make_graph(self.nodes, "g", [image], [logits], self.constants)
        opset = [onnx.helper.make_opsetid("", 13)]
        return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def whole():
    """Both kinds of blocks, a pool, biases, no batch norm, 12 positions."""
    b = Builder()
    x = b.leaky(b.conv("image", 1, 8, size=5, bias=True))
    x = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("Identity", b.leaky(b.conv(x, 8, 8, norm=False, bias=True)))
    y = b.conv(b.leaky(b.conv(x, 8, 8)), 8, 8)
    x = b.leaky(b.node("Add", x, y))
    y = b.conv(b.leaky(b.conv(x, 8, 12, stride=1)), 12, 12)
    x = b.leaky(b.node("Add", y, b.conv(x, 8, 12, size=1)))
    x = b.node("Flatten", b.node("GlobalAveragePool", x))
    return b.model(b.node("Gemm", x, b.constant(4, 12), b.constant(4), transB=1))


def dense_less():
    """A strided network that ends with the average of 2x2 positions, by ReduceMean."""
    b = Builder(1)
    x = b.leaky(b.conv("image", 1, 4, stride=4, size=7), alpha=0.5)
    return b.model(b.node("ReduceMean", x, axes=[2, 3], keepdims=0), shape=(1, 8, 8))


def matmul():
    b = Builder(2)
    x = b.node("GlobalAveragePool", b.leaky(b.conv("image", 1, 6)))
    x = b.node("Reshape", x, b.array(np.array([-1, 6], np.int64)))
    return b.model(b.node("Add", b.constant(4), b.node("MatMul", x, b.constant(6, 4))))


def relu6(b, x):
    ends = (b.array(np.array(end, np.float32)) for end in (0, 6))
    return b.node("Clip", x, *ends)


def mobile():
    """A MobileNet as PyTorch writes it: depthwise and linear 1x1 ones, ReLU6 as a Clip."""
    b = Builder(3)
    x = relu6(b, b.conv("image", 2, 8, stride=2))
    for inputs, filters, stride in ((8, 12, 1), (12, 10, 2)):
        x = relu6(b, b.conv(x, inputs, inputs, stride=stride, group=inputs))
        x = b.conv(x, inputs, filters, size=1)
    x = b.node("Flatten", b.node("GlobalAveragePool", x), axis=1)
    return b.model(b.node("Gemm", x, b.constant(4, 10), b.constant(4), transB=1), shape=(2, 12, 12))


def alex():
    """Other padding, groups, pools of any window, dense layers with a ReLU or with batch norm."""
    b = Builder(4)
    x = b.node("Relu", b.conv("image", 1, 8, size=5, bias=True, pads=[1] * 4))
    x = b.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    x = b.node("Relu", b.conv(x, 8, 6, bias=True, norm=False, group=2, pads=[0] * 4))
    x = b.node("MaxPool", x, kernel_shape=[2, 2])
    x = b.node("Dropout", b.node("Reshape", x, b.array(np.array([-1, 12], np.int64))))
    x = b.node("Relu", b.node("Gemm", x, b.constant(5, 12), b.constant(5), transB=1))
    x = b.node("Gemm", x, b.constant(5, 7), b.constant(7))
    numbers = (b.constant(7, low=0.5, high=1.5) for _ in range(4))
    x = b.leaky(b.node("BatchNormalization", x, *numbers), 0.25)
    return b.model(b.node("Add", b.node("MatMul", x, b.constant(7, 4)), b.constant(4)), (1, 11, 9))


def flat():
    """A perceptron: the image itself is flat."""
    b = Builder(5)
    x = b.node("Relu", b.node("Gemm", b.node("Flatten", "image"), b.constant(96, 5)))
    return b.model(b.node("Gemm", x, b.constant(5, 4), b.constant(4)), shape=(2, 8, 6))


def averages():
    """Average pools, with padding that counts, of values of both signs."""
    b = Builder(6)
    x = b.conv("image", 2, 4)
    x = b.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    more = {"pads": [2] * 4, "count_include_pad": 1}
    x = b.node("AveragePool", x, kernel_shape=[4, 4], strides=[2, 2], **more)
    return b.model(b.node("Gemm", b.node("Flatten", x), b.constant(36, 4)), shape=(2, 8, 8))


LAYERS = {
    mobile: (
        Conv(8, 3, 2, "relu6"),
        *(Conv(8, 3, 1, "relu6", groups=8), Conv(12, 1, 1, "none")),
        *(Conv(12, 3, 2, "relu6", groups=12), Conv(10, 1, 1, "none")),
        *(GlobalAverage(), Dense(4)),
    ),
    alex: (
        *(Conv(8, 5, 1, "relu", padding=1), MaxPool(3, 2, 1)),
        *(Conv(6, 3, 1, "relu", norm=False, padding=0, groups=2), MaxPool(2, 1), Flatten()),
        *(Conv(5, 1, 1, "relu", norm=False), Conv(7, 1), Dense(4)),
    ),
    averages: (
        *(Conv(4, activation="none"), AveragePool(), AveragePool(4, 2, 2)),
        *(Flatten(), Dense(4)),
    ),
    flat: (Flatten(), Conv(5, 1, 1, "relu", norm=False), Dense(4)),
    whole: (
        *(Conv(8, size=5), MaxPool(), Conv(8, norm=False), Residual(Conv(8), Conv(8))),
        *(Residual(Conv(12), Conv(12), Conv(12, size=1)), GlobalAverage(), Dense(4)),
    ),
    dense_less: (Conv(4, size=7, stride=4), GlobalAverage()),
    matmul: (Conv(6), GlobalAverage(), Dense(4)),
}


@pytest.mark.whole(4)
@pytest.mark.parametrize("make", LAYERS, ids=lambda make: make.__name__)
@pytest.mark.quick(0)
def test_the_function_is_the_same(make):
    data = make()
    made = from_onnx.from_onnx(data, make.__name__)
    assert made.network.layers == LAYERS[make]
    images = np.random.default_rng(0).integers(0, 256, (5, *made.network.input_shape), np.uint8)
    model = models.Model(made.network, activation_bits=None)
    variables = {"params": made.params, "batch_stats": made.batch_stats}
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    assert jax.tree.map(np.shape, variables) == jax.tree.map(
        np.shape, {"batch_stats": {}, **shapes}
    )
    logits = model.apply(variables, images)
    real = ((images.astype(np.float32) - 128) / 128).transpose(0, 3, 1, 2)
    [want] = onnxruntime.InferenceSession(data).run(None, {"image": real})
    np.testing.assert_allclose(logits, want, rtol=2e-4, atol=2e-4)
    assert not made.notes
    assert networks.from_dict(networks.to_dict(made.network)) == made.network


def refused(make):
    """What is said of a model."""
    b = Builder()
    with pytest.raises(from_onnx.OnnxImportError) as error:
        from_onnx.from_onnx(b.model(make(b)))
    return str(error.value)


def end(b, x, channels=4):
    x = b.node("Flatten", b.node("GlobalAveragePool", x))
    return b.node("Gemm", x, b.constant(channels, 4))


def start(b, filters=4, **how):
    return b.leaky(b.conv("image", 1, filters, **how))


def relu_block(b):
    x = start(b)
    y = b.conv(b.leaky(b.conv(x, 4, 4)), 4, 4)
    return b.node("Relu", b.node("Add", x, y))


WRONG = {
    "relu behind a sum": (lambda b: end(b, relu_block(b)), "Relu 'relu9': behind an Add there are"),
    "clip": (
        lambda b: end(b, b.node("Clip", b.conv("image", 1, 4), b.array(np.float32(0)))),
        "it is from 0 to inf, and there is 0 to 6 alone",
    ),
    "slope": (
        lambda b: end(b, b.leaky(b.conv("image", 1, 4), 0.01)),
        "alpha=0.01, which is no power",
    ),
    "slopes": (lambda b: end(b, b.leaky(b.conv(start(b), 4, 4), 0.5)), r"2 to the powers [-3, -1]"),
    "groups": (
        lambda b: end(b, start(b, group=1, dilations=[2, 2])),
        "dilations=[2, 2], and there is [1",
    ),
    "padding": (
        lambda b: end(b, start(b, pads=[0, 0, 1, 1])),
        "Conv 'conv0': pads=[0, 0, 1, 1]: there are as many on each side, from 0 to 2",
    ),
    "even": (lambda b: end(b, start(b, size=2)), "weights of shape (4, 1, 2, 2)"),
    "pool": (
        lambda b: end(b, b.node("MaxPool", start(b), kernel_shape=[3, 2], strides=[2, 2])),
        "MaxPool 'maxpool3': kernel_shape=[3, 2] and strides=[2, 2]: windows are squares",
    ),
    "average": (
        lambda b: end(b, b.node("AveragePool", start(b), kernel_shape=[3, 3], strides=[2, 2])),
        "AveragePool 'averagepool3': an average is over all positions",
    ),
    "flatten": (
        lambda b: b.node("Flatten", start(b), axis=2),
        "Flatten 'flatten3': of a map there are all values in a row",
    ),
    "softmax": (
        lambda b: b.node("Softmax", end(b, start(b))),
        "Softmax 'softmax6': there is no such",
    ),
    "no activation": (
        lambda b: end(b, b.node("Sigmoid", b.conv("image", 1, 4))),
        "Sigmoid 'sigmoid2': a LeakyRelu, Relu or Clip is",
    ),
    "two ways": (
        lambda b: end(b, b.node("Add", *[start(b)] * 2)),
        "Add 'add3': there is no such layer",
    ),
    "logits": (lambda b: b.conv("image", 1, 4), "are logits of a convolution"),
    "positions": (lambda b: b.node("GlobalAveragePool", start(b)), "is no power of two: a Gemm"),
    "weights": (
        lambda b: end(b, b.leaky(b.node("Conv", "image", b.node("Abs", b.constant(4, 1, 1, 1))))),
        "its input 'abs0' is no constant",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_record_says_is_named(name):
    make, message = WRONG[name]
    assert message in refused(make)


def test_a_relu_may_become_a_leaky_one():
    b = Builder()
    data = b.model(end(b, b.node("Relu", b.conv("image", 1, 4))))
    made = from_onnx.from_onnx(data, relu=True)
    assert made.network.slope_exponent == -3
    assert "ReLU became LeakyRelu(1/8): train on" in made.notes
    assert networks.from_dict(networks.to_dict(made.network)) == made.network


def test_bytes_that_are_no_model():
    with pytest.raises(from_onnx.OnnxImportError, match="no ONNX model"):
        from_onnx.from_onnx(b"\x00\x01\x02 no model")
