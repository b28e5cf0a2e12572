"""Products for matrix units: the same sums as in float32, the same gradients, or another way."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core
from numpy.testing import assert_array_equal

import flightnn_jax as fl
from flightnn_jax import FixedPoint, Shift, Window, networks, schemes
from flightnn_jax.training import models, products, quantization, runs
from flightnn_jax.training.config import Config
from flightnn_jax.training.machine import Machine

TPU = Machine("tpu")


def operands(fmt, seed=0, inputs=16, filters=4):
    """Activations of 8 bits, all integers of which occur, and weights in a format."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (2, 6, 6, inputs)).astype(np.float32)
    x[0].flat[:256] = np.arange(-128, 128)
    w = jnp.asarray(rng.standard_t(2, (3, 3, inputs, filters)), jnp.float32)
    return jnp.asarray(x * 2.0**-5), fmt.quantize(w)


@pytest.mark.parametrize(
    "fmt", [Shift(k=0), Shift(k=1), Shift(k=2), FixedPoint(bits=4), FixedPoint(bits=8)], ids=str
)
def test_bfloat16_holds_the_operands_and_gives_the_sums_of_integers(fmt):
    assert products.products_for("tpu", 8, fmt.significant_bits) == "bfloat16"
    x, w = operands(fmt)
    assert_array_equal(x.astype(jnp.bfloat16).astype(jnp.float32), x)
    assert_array_equal(w.astype(jnp.bfloat16).astype(jnp.float32), w)
    narrow, wide = (products.convolve(x, w, 1, kind) for kind in ("bfloat16", "plain"))
    assert narrow.dtype == jnp.float32
    assert_array_equal(narrow, wide)
    exact = np.zeros(wide.shape)
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    for dy in range(3):
        for dx in range(3):
            exact += padded[:, dy : dy + 6, dx : dx + 6] @ np.asarray(w, np.float64)[dy, dx]
    assert_array_equal(narrow, exact)


def test_weights_of_three_terms_are_beyond_bfloat16():
    """2**7 + 2**7 + 1 = 257 takes 9 bits, so such layers stay with float32."""
    fmt = Shift(k=3, window=Window(top=7))
    w = fmt.quantize(jnp.full((1, 1), 257.0))
    assert w.tolist() == [[257]]
    assert w.astype(jnp.bfloat16).tolist() != [[257]]
    assert products.products_for("tpu", 8, fmt.significant_bits) == "float32"


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_are_those_of_float32(stride):
    """To the last bit, for any cotangent: what is kept is rounded nowhere."""
    x, w = operands(Shift(k=2))
    cotangent = jax.random.normal(jax.random.key(0), (2, 6 // stride, 6 // stride, 4))

    def gradients(kind):
        convolve = functools.partial(products.convolve, stride=stride, products=kind)
        return jax.vjp(convolve, x, w)[1](cotangent)

    for ours, plain in zip(gradients("bfloat16"), gradients("plain"), strict=True):
        assert ours.dtype == jnp.float32
        assert_array_equal(ours, plain)


def convolutions(model, images):
    """The types of the operands of each convolution in the forward pass, and its precision."""
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    mutable = ["batch_stats", "ranges"]
    apply = functools.partial(model.apply, train=True, mutable=mutable)
    jaxpr = jax.make_jaxpr(apply)(variables, images)
    found = []

    def walk(inner):
        for equation in inner.eqns:
            if equation.primitive.name == "conv_general_dilated":
                kinds = {str(v.aval.dtype) for v in equation.invars}
                found.append((*kinds, equation.params["precision"]))
            for sub in core.jaxprs_in_params(equation.params):
                walk(sub)

    walk(jaxpr.jaxpr)
    return found


HIGHEST = (jax.lax.Precision.HIGHEST,) * 2


@pytest.mark.quick(0)
@pytest.mark.parametrize(
    ("changes", "machine", "want"),
    [
        ({}, Machine("cpu"), ("float32", None)),
        ({}, TPU, ("bfloat16", None)),
        ({}, Machine("cuda"), ("bfloat16", None)),
        ({"scheme": "fp4"}, TPU, ("bfloat16", None)),
        ({"scheme": "full"}, TPU, ("float32", HIGHEST)),  # the image is not quantized either
        ({"filter_scales": True}, TPU, ("float32", HIGHEST)),
        ({"affine_terms": 1}, TPU, ("float32", HIGHEST)),  # weights times a number of each filter
    ],
    ids=str,
)
def test_the_platform_and_the_formats_decide(changes, machine, want):
    config = Config(network="net4", width=8, **changes)
    model = runs.build_model(config, machine=machine)
    images = jnp.zeros((2, *model.network.input_shape), jnp.uint8)
    count = sum(isinstance(s.layer, networks.Conv) for s in networks.walk(model.network))
    assert convolutions(model, images) == [want] * count


def test_activations_of_more_bits_stay_with_float32():
    model = models.Model(
        networks.network("net4", width=8), activation_bits=9, weight_bits=8, machine=TPU
    )
    images = jnp.zeros((2, 32, 32, 3), jnp.uint8)
    assert set(convolutions(model, images)) == {("float32", HIGHEST)}


@pytest.mark.whole(1)
@pytest.mark.parametrize("scheme", ["fp4", "flightnn"])
@pytest.mark.slow
def test_a_forward_pass_for_a_tpu_has_the_bits_of_a_cpu(scheme):
    """Where sums stay below 2**24, as in a narrow network: logits, statistics and ranges."""
    model = runs.build_model(Config(network="net4", width=8, image_size=8, scheme=scheme))
    images = jax.random.randint(jax.random.key(0), (4, 8, 8, 3), 0, 256).astype(jnp.uint8)
    variables = model.init(jax.random.key(1), images)
    fmt = quantization.format_of(schemes.find(scheme))
    if fmt is not None:
        params = variables["params"]
        spec = quantization.spec_of(schemes.find(scheme), params)
        variables["params"] = fl.quantize_params(params, spec)
    mutable = ["batch_stats", "ranges"]
    outputs = [
        jax.jit(functools.partial(m.apply, train=True, mutable=mutable))(variables, images)
        for m in (model, dataclasses.replace(model, machine=TPU))
    ]
    jax.tree.map(assert_array_equal, *outputs)
