"""The Flax model: shapes, grids, statistics, ranges, devices."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from numpy.testing import assert_allclose, assert_array_equal

from flightnn_jax import Shift, activation_exponent, make_spec, networks, quantize_params
from flightnn_jax.networks import Conv, Dense, GlobalAverage, Network, Residual
from flightnn_jax.training.models import Model

pytestmark = pytest.mark.slow

MUTABLE = ["batch_stats", "ranges"]
VGG = networks.network("net4", width=8, input_shape=(8, 8, 3))
RESNET = Network(
    "small",
    (8, 8, 3),
    10,
    (
        Conv(8),
        Residual(Conv(8), Conv(8)),
        Residual(Conv(8, stride=2), Conv(8), Conv(8, 1, 2)),
        GlobalAverage(),
        Dense(10),
    ),
)
WHOLE = {
    "vgg": VGG,
    "resnet": RESNET,
    "net8": networks.network("net8", width=8, classes=5, input_shape=(64, 64, 3)),
}


def images_of(net, batch=8, seed=0):
    shape = (batch, *net.input_shape)
    return jnp.asarray(np.random.default_rng(seed).integers(0, 256, shape), jnp.uint8)


@functools.cache
def started(net):
    """The model and its variables after three batches of training statistics."""
    model = Model(net)
    variables = jax.jit(model.init)(jax.random.key(0), images_of(net))
    for seed in range(3):
        _, updates = train(model, variables, images_of(net, seed=seed))
        variables = {**variables, **updates}
    return model, variables


@pytest.mark.whole(4)
@pytest.mark.parametrize("name", networks.NAMES)
def test_all_eight_have_the_parameters_and_shapes_of_their_table(name):
    net = networks.network(name)
    model = Model(net)
    images = jax.ShapeDtypeStruct((2, *net.input_shape), jnp.uint8)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    kernels = {s.name: s.kernel_shape for s in networks.walk_weights(net)}
    params = variables["params"]
    assert {name: layer["kernel"].shape for name, layer in params.items()} == kernels
    spec = make_spec(params, Shift(k=2))
    sizes = jax.tree.map(lambda f, w: w.size if f else 0, spec, params, is_leaf=_is_leaf)
    assert sum(jax.tree.leaves(sizes)) == networks.weight_count(net)
    logits = jax.eval_shape(lambda v, x: model.apply(v, x, floats=True), variables, images)
    assert (logits.shape, logits.dtype) == ((2, net.classes), jnp.float32)


def _is_leaf(node):
    return node is None or isinstance(node, Shift)


@pytest.mark.parametrize("width", [8, 16, 24])
def test_the_width_can_be_swept(width):
    net = networks.network("net6", width=width, input_shape=(8, 8, 3))
    params = jax.eval_shape(Model(net).init, jax.random.key(0), images_of(net))["params"]
    assert params["dense"]["kernel"].shape == (width, 100)


def test_full_precision_has_no_ranges_and_no_grid():
    model = Model(VGG, activation_bits=None)
    variables = jax.jit(model.init)(jax.random.key(0), images_of(VGG))
    assert set(variables) == {"params", "batch_stats"}
    logits = evaluate(model, variables, images_of(VGG))
    assert np.unique(np.asarray(logits) * 2**12 % 1).size > 10


@functools.partial(jax.jit, static_argnums=(0, 3))
def train(model, variables, images, track=True):
    mutable = MUTABLE if track else ["batch_stats"]
    return model.apply(variables, images, train=True, track=track, mutable=mutable)


@functools.partial(jax.jit, static_argnums=0)
def evaluate(model, variables, images):
    return model.apply(variables, images, floats=True)


def by_hand(net, variables, images):
    """Network 4 in evaluation, written out in Flax's own layers and NumPy's rounding."""
    x = (images.astype(jnp.float32) - 128) / 128
    for i, step in enumerate(networks.walk_weights(net)):
        arrays, stats = (variables[c][step.name] for c in ("params", "batch_stats"))
        conv = nn.Conv(step.layer.filters, (3, 3), use_bias=False)
        x = conv.apply({"params": {"kernel": arrays["kernel"]}}, x)
        norm = nn.BatchNorm(use_running_average=True, epsilon=1e-5)
        with jax.numpy_rank_promotion("allow"):
            x = norm.apply(
                {
                    "params": {"scale": arrays["scale"], "bias": arrays["bias"]},
                    "batch_stats": {"mean": stats["mean"], "var": stats["variance"]},
                },
                x,
            )
        x = nn.leaky_relu(x, 1 / 8)
        step_size = 2.0 ** int(activation_exponent(variables["ranges"][step.name]))
        x = jnp.asarray(np.clip(np.round(np.asarray(x) / step_size), -128, 127) * step_size)
        if i < 2:
            x = nn.max_pool(x, (2, 2), (2, 2))
    return x.mean((1, 2))


def test_floats_equal_the_network_by_hand():
    model, variables = started(VGG)
    images = images_of(VGG, seed=9)
    found, wanted = evaluate(model, variables, images), by_hand(VGG, variables, images)
    # A rounding of one activation may fall to the other side: a step of the last layer / 4.
    assert_allclose(found, wanted, atol=0.02)
    assert np.mean(np.asarray(found) == np.asarray(wanted)) > 0.8


def test_uint8_images_are_exact_on_the_grid():
    model, variables = started(VGG)
    images = images_of(VGG)
    floats = (images.astype(jnp.float32) - 128) / 128
    assert_array_equal(evaluate(model, variables, images), evaluate(model, variables, floats))
    # What lies between two steps is rounded to the nearest.
    assert_array_equal(
        evaluate(model, variables, images), evaluate(model, variables, floats + 0.4 * 2**-7)
    )


@pytest.mark.parametrize("net", [VGG, RESNET], ids=["vgg", "resnet"])
def test_logits_lie_on_the_grid_of_the_last_activation(net):
    model, variables = started(net)
    params = quantize_params(variables["params"], make_spec(variables["params"], Shift(k=1)))
    if "dense" in params:
        size = net.classes
        params["dense"] = {"kernel": jnp.eye(8, size), "bias": jnp.zeros(size)}
    logits = evaluate(model, {**variables, "params": params}, images_of(net, seed=5))
    last = "average" if "dense" in params else "conv4"
    exponent = int(activation_exponent(variables["ranges"][last]))
    exponent -= 0 if "dense" in params else 2  # the sum over 2x2 positions, shifted by 2
    integers = np.asarray(logits) * 2.0**-exponent
    assert_array_equal(integers, np.round(integers))
    assert np.abs(integers).max() <= 128 * 4


def test_training_uses_the_batch_and_evaluation_what_was_stored():
    model, variables = started(RESNET)
    images = images_of(RESNET, seed=7)
    trained, updates = train(model, variables, images)
    evaluated = evaluate(model, variables, images)
    assert not np.allclose(trained, evaluated)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), updates, _mutable(variables))
    assert all(jax.tree.leaves(moved))
    # Evaluation looks at each image by itself; training at the batch.
    assert_array_equal(evaluate(model, variables, images[:2]), evaluated[:2])


def _mutable(variables):
    return {name: variables[name] for name in MUTABLE}


def test_frozen_ranges_stay_and_statistics_move_on():
    model, variables = started(RESNET)
    images = images_of(RESNET, seed=7)
    frozen, updates = train(model, variables, images, False)
    assert set(updates) == {"batch_stats"}
    tracked, moved = train(model, variables, images)
    assert frozen.shape == tracked.shape
    jax.tree.map(assert_array_equal, moved["batch_stats"]["conv1"], updates["batch_stats"]["conv1"])
    names = set(variables["ranges"])
    assert names == {
        "conv1",
        "block1_first",
        "block1",
        "block2_first",
        "block2",
        "average",
    }


def test_the_first_range_is_the_largest_output():
    model, images = Model(VGG), images_of(VGG)
    variables = jax.jit(model.init)(jax.random.key(0), images)
    assert_array_equal(jax.tree.leaves(variables["ranges"]), 0)
    _, updates = train(model, variables, images)
    x = (images.astype(jnp.float32) - 128) / 128
    y = jax.lax.conv_general_dilated(
        x,
        variables["params"]["conv1"]["kernel"],
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    y = (y - y.mean((0, 1, 2), keepdims=True)) / jnp.sqrt(y.var((0, 1, 2), keepdims=True) + 1e-5)
    largest = jnp.abs(jnp.where(y >= 0, y, y / 8)).max()
    assert_allclose(updates["ranges"]["conv1"], largest, rtol=1e-5)


def loss_of(model, track=True):
    def loss(params, rest, images, labels):
        logits, updates = model.apply(
            {"params": params, **rest}, images, train=True, track=track, mutable=MUTABLE
        )
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), updates

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


@pytest.mark.parametrize(
    "name", ["vgg", "resnet", pytest.param("net8", marks=pytest.mark.exhaustive)]
)
def test_every_parameter_gets_a_finite_gradient(name):
    net = WHOLE[name]
    model = Model(net)
    images = images_of(net)
    variables = jax.jit(model.init)(jax.random.key(0), images)
    params = variables.pop("params")
    labels = jnp.arange(8) % net.classes
    (loss, _), gradient = loss_of(model)(params, variables, images, labels)
    assert np.isfinite(loss)
    for leaf in jax.tree.leaves(gradient):
        assert np.isfinite(leaf).all()
        assert (leaf != 0).any()


@pytest.mark.whole(1)
@pytest.mark.parametrize(
    ("bits", "close"), [(None, 1e-5), pytest.param(8, 2e-2, marks=pytest.mark.slow)]
)
def test_a_batch_over_eight_devices_gives_what_one_device_gives(bits, close):
    """Within float order; a rounding that falls to the other side adds a step of the grid."""
    mesh = jax.make_mesh((8,), ("batch",))
    split = NamedSharding(mesh, PartitionSpec("batch"))
    everywhere = NamedSharding(mesh, PartitionSpec())
    images, labels = images_of(VGG, batch=16), jnp.arange(16) % 10
    model = Model(VGG, activation_bits=bits)
    variables = jax.jit(model.init)(jax.random.key(0), images)
    params = variables.pop("params")
    step = loss_of(model)
    alone = step(params, variables, images, labels)
    spread = step(
        *jax.device_put((params, variables), everywhere),
        *jax.device_put((images, labels), split),
    )
    assert len(jax.tree.leaves(spread)[0].sharding.device_set) == 8
    jax.tree.map(functools.partial(assert_allclose, atol=close, rtol=close), alone, spread)


def test_steps_do_not_compile_again():
    model = Model(VGG)
    images, labels = images_of(VGG), jnp.arange(8)
    variables = jax.jit(model.init)(jax.random.key(0), images)
    params = variables.pop("params")
    step = loss_of(model)
    for seed in range(4):
        (_, variables), gradient = step(params, variables, images_of(VGG, seed=seed), labels)
        params = jax.tree.map(lambda w, g: w - 0.01 * g, params, gradient)
    assert step._cache_size() == 1


def test_images_that_do_not_fit():
    model, variables = started(VGG)
    with pytest.raises(ValueError, match=r"images of shape \(2, 9, 8, 3\) for net4: .*8, 8, 3"):
        model.apply(variables, jnp.zeros((2, 9, 8, 3), jnp.uint8), floats=True)
    with pytest.raises(TypeError, match="int32: pass uint8"):
        model.apply(variables, jnp.zeros((2, 8, 8, 3), jnp.int32), floats=True)


def test_floats_are_not_taken_for_the_trained_network():
    model, variables = started(VGG)
    with pytest.raises(ValueError, match=r"train=False with .* 8 bits: .*\.evaluation runs"):
        model.apply(variables, images_of(VGG))


@pytest.mark.whole(1)
@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, None])
def test_it_learns(bits):
    """Eight images by heart in 100 steps, and evaluation agrees with training."""
    model = Model(RESNET, activation_bits=bits)
    images, labels = images_of(RESNET), jnp.arange(8)
    variables = jax.jit(model.init)(jax.random.key(0), images)
    params = variables.pop("params")
    optimizer = optax.adam(1e-2)
    state = optimizer.init(params)
    step = loss_of(model)
    for _ in range(100):
        (loss, variables), gradient = step(params, variables, images, labels)
        updates, state = optimizer.update(gradient, state)
        params = optax.apply_updates(params, updates)
    assert loss < 0.1
    logits = evaluate(model, {"params": params, **variables}, images)
    assert_array_equal(logits.argmax(1), labels)
