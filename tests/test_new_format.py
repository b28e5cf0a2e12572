"""What a new format costs: one file of its own, and nothing in the library that knows of it.

Two formats, as users would write them, go the whole way: from a tree of parameters over training,
counts and storage to integers, their files, verification and hardware costs, or a clear refusal.
"""

import dataclasses
import functools
import struct
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from flightnn_jax import (
    Codes,
    Format,
    Shift,
    ShiftCounts,
    count_shifts,
    data,
    decode_params,
    encode_params,
    init_thresholds,
    make_spec,
    networks,
    quantize_params,
    residual_group_lasso,
    storage_bits,
)
from flightnn_jax.formats import base, packing
from flightnn_jax.hardware import device, estimate, workload
from flightnn_jax.integer import LoweringError, ShiftWeights, from_bytes, lower, to_bytes, verify
from flightnn_jax.integer.weights import Scaled
from flightnn_jax.numerics import exponent_of, power_of_two
from flightnn_jax.training import optimizer, runs, summary
from flightnn_jax.training.step import by_batch, make_train_step
from tests.support import training

# The sign of each weight times the mean magnitude of the layer, which no integer network holds.


@base.register("negative", "scale")
@dataclasses.dataclass(frozen=True)
class BinaryCodes(Codes):
    negative: np.ndarray
    scale: np.ndarray
    dtype: str

    def check(self):
        if self.negative.dtype != bool or self.scale < 0:
            raise ValueError("negative must be bool, and the scale not negative")

    def decode(self):
        return jnp.where(self.negative, -self.scale, self.scale).astype(self.dtype)

    def to_bytes(self):
        header = packing.pack_array_header(self.negative.shape, self.dtype, 0)
        bits = packing.pack_integers(self.negative, 1)
        return packing.frame(200, header + struct.pack("<f", self.scale) + bits)


@base.register()
@dataclasses.dataclass(frozen=True)
class Binary(Format):
    filter_axis: int = -1

    def problem_with(self, shape, dtype):
        del dtype
        return base.problem_with_axis(self.filter_axis, shape)

    def quantize(self, w):
        return binarize(w)

    def encode(self, w):
        return BinaryCodes(np.asarray(w < 0), np.asarray(jnp.abs(w).mean()), w.dtype.name)

    def storage_bits(self, w):
        return w.size


@jax.custom_vjp
def binarize(w):
    return jnp.where(w < 0, -1, 1) * jnp.abs(w).mean()


binarize.defvjp(lambda w: (binarize(w), w), lambda w, g: (jnp.where(jnp.abs(w) <= 1, g, 0),))

W = jnp.array([[0.5, -2.0], [-1.0, 0.5]])
PARAMS = {"binary": W, "shift": W, "float": W}
SPEC = {"binary": Binary(), "shift": Shift(k=1, thresholds=jnp.zeros(1)), "float": None}


def test_a_new_format_quantizes():
    got = quantize_params(PARAMS, SPEC)
    assert got["binary"].tolist() == [[1.0, -1.0], [-1.0, 1.0]]
    assert got["shift"].tolist() == W.tolist()  # powers of two
    assert got["float"] is W


def test_a_new_format_has_its_own_gradient():
    cotangent = jnp.array([[1.0, 2.0], [3.0, 4.0]])

    def loss(params, spec):
        return sum(jnp.sum(q * cotangent) for q in quantize_params(params, spec).values())

    params, spec = jax.jit(jax.grad(loss, argnums=(0, 1)))(PARAMS, SPEC)
    assert params["binary"].tolist() == [[1.0, 0.0], [3.0, 4.0]]  # |-2| > 1
    assert params["shift"].tolist() == params["float"].tolist() == cotangent.tolist()
    assert jax.tree.structure(spec) == jax.tree.structure(SPEC)
    assert np.all(spec["shift"].thresholds != 0)


@pytest.mark.quick(0)
def test_a_new_format_is_stored():
    encoded = encode_params(PARAMS, SPEC)
    encoded["binary"].check()
    for decode in (decode_params, jax.jit(decode_params)):
        jax.tree.map(assert_array_equal, decode(encoded), quantize_params(PARAMS, SPEC))
    # 18 bytes of frame, 3 + 16 of array header, 4 of scale, 1 of signs
    body = packing.unframe(200, encoded["binary"].to_bytes())
    assert len(body) == 3 + 16 + 4 + 1
    assert body[-1] == 0b0110
    assert storage_bits(PARAMS, SPEC) == (4 + 16, 128)


def test_a_new_format_beside_shifts():
    counts = count_shifts(PARAMS, SPEC)
    assert counts["binary"] is counts["float"] is None
    assert counts["shift"].k.tolist() == [1, 1]
    penalty = residual_group_lasso(PARAMS, SPEC, [2.0])
    assert_allclose(penalty, 2 * (np.sqrt(1.25) + np.sqrt(4.25)), rtol=1e-6)
    with_thresholds = init_thresholds(PARAMS, SPEC, per="network")
    assert with_thresholds.spec["binary"] == Binary()
    assert make_spec(PARAMS, Binary()) == dict.fromkeys(PARAMS, Binary())


def test_a_new_formats_problems_are_reported():
    with pytest.raises(ValueError, match=r"\['binary'\]: filter_axis=2 is not an axis"):
        quantize_params(PARAMS, SPEC | {"binary": Binary(filter_axis=2)})


# The same with a power of two, which is one shift a filter, and has a form in integers. Nothing
# here is named k or thresholds.


@base.register("negative", "exponent")
@dataclasses.dataclass(frozen=True)
class SignCodes(Codes):
    negative: np.ndarray
    exponent: np.ndarray
    dtype: str

    def check(self):
        assert self.negative.dtype == bool

    def decode(self):
        size = power_of_two(self.exponent, self.dtype)
        return jnp.where(self.negative, -size, size)

    def to_bytes(self):
        bits = packing.pack_integers(np.asarray(self.negative), 1)
        return packing.frame(201, struct.pack("<h", self.exponent) + bits)

    def to_weights(self):
        sign = np.where(self.negative, -1, 1).astype(np.int8)[None]
        k = np.ones(sign.shape[-1], np.uint8)
        weights = ShiftWeights(sign, np.zeros(sign.shape, np.uint8), k)
        return Scaled(weights, int(self.exponent))


@base.register()
@dataclasses.dataclass(frozen=True)
class Signs(Format):
    filter_axis: int = -1

    def problem_with(self, shape, dtype):
        del dtype
        return base.problem_with_axis(self.filter_axis, shape)

    def quantize(self, w):
        straight = w - jax.lax.stop_gradient(w)  # zeros, with the gradient of w
        return jax.lax.stop_gradient(self.encode(w).decode()) + straight

    def encode(self, w):
        return SignCodes(w < 0, exponent_of(jnp.abs(w).mean()), w.dtype.name)

    def storage_bits(self, w):
        return w.size

    def count_shifts(self, w):
        ones = jnp.ones(w.shape[self.filter_axis], jnp.int32)
        return ShiftCounts(ones, ones)


NETWORK = networks.Network(
    "tiny",
    (8, 8, 3),
    10,
    (networks.Conv(4), networks.MaxPool(), networks.GlobalAverage(), networks.Dense(10)),
)


def test_jax_tells_formats_with_the_same_static_fields_apart():
    structures = [jax.tree.structure(fmt) for fmt in (Binary(), Signs())]
    assert structures[0] != structures[1]
    assert structures[1] == jax.tree.structure(Signs())


@functools.cache
def trained(fmt):
    """A run, its state after some steps with this format, and the first and the last loss."""
    config = dataclasses.replace(training.TINY, network=NETWORK, width=None, scheme="lightnn1")
    config = dataclasses.replace(config, learning_rate=0.03)
    with tempfile.TemporaryDirectory() as workdir:
        run = runs.prepare(config, workdir, mesh=training.one_device())
    state, hyper = run.initial_state(), optimizer.hyperparameters(config)
    spec = make_spec(state.params, fmt)
    adam = optimizer.make_optimizer(config, run.steps, hyper)
    opt_state = adam.init({"weights": state.params, "thresholds": spec})
    state = dataclasses.replace(state, spec=spec, opt_state=opt_state)
    step = make_train_step(config, run.model, run.train_split.dataset, run.steps, run.mesh)
    losses = []
    sharding = by_batch(run.mesh)
    for batch in data.train_batches(run.train_split, run.order, stop=run.steps, sharding=sharding):
        state, metrics = step(state, batch, hyper, True)
        losses.append(float(metrics.loss))
    return run, jax.device_get(state), losses


def lowered(fmt):
    _, state, _ = trained(fmt)
    return lower.lower(NETWORK, state.params, state.spec, state.batch_stats, state.ranges)


@pytest.mark.whole(1)
@pytest.mark.parametrize("fmt", [Binary(), Signs()])
@pytest.mark.quick(0)
def test_trains(fmt):
    run, state, losses = trained(fmt)
    assert losses[-1] < losses[0]
    assert type(state.spec["conv1"]["kernel"]) is type(fmt)
    start = run.initial_state().params
    assert all(
        (start[name]["kernel"] != layer["kernel"]).any() for name, layer in state.params.items()
    )
    evaluation = run.evaluate(state, run.validation_split)
    assert np.isfinite(evaluation.loss)


@pytest.mark.quick(0)
@pytest.mark.parametrize(("fmt", "mean_k"), [(Binary(), None), (Signs(), 1.0)])
def test_is_counted(fmt, mean_k):
    _, state, _ = trained(fmt)
    counts = summary.count(state.params, state.spec)
    assert counts["mean_k"] == counts["mean_k_of_weights"] == mean_k
    assert counts["storage_bits"] == 3 * 3 * 3 * 4 + 4 * 10  # one bit a weight
    row = {"mean_k": 1.0, "share": [0.0, 1.0], "thresholds": None}
    rows = {"conv1/kernel": {"filters": 4, **row}, "dense/kernel": {"filters": 10, **row}}
    assert counts["layers"] == ({} if mean_k is None else rows)


def test_no_form_in_integers_is_said():
    with pytest.raises(LoweringError, match=r"conv1: .*BinaryCodes have no form in integer networ"):
        lowered(Binary())


def test_integers_files_verification_and_costs():
    run, state, _ = trained(Signs())
    network = lowered(Signs())
    quantized = quantize_params(state.params, state.spec)
    for layer in (network.layers[0], network.layers[-1]):
        real = layer.weights.integers() * 2.0**layer.weight_exponent
        assert_array_equal(real, quantized[layer.name]["kernel"])
    read = from_bytes(to_bytes(network))
    report = verify.verify(
        read,
        [run.validation_split.read(np.arange(20))],
        paths=["shifts", "independent"],
    )
    assert report.images == 20
    assert report.mismatches == 0
    work = workload.from_integers(read)
    assert [layer.k for layer in work.layers] == [(1,) * 4, (1,) * 10]
    assert estimate.estimate(work, device.named("XC7Z045"), "engine").cycles.value > 0
