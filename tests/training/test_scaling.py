"""Slopes of batch norm that are powers of two: exact in integers, and one function everywhere."""

import dataclasses
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from flightnn_jax import quantize_params
from flightnn_jax.integer import Add, Convolution, inference, invariants, verify
from flightnn_jax.training import evaluation, export, runs, scaling
from flightnn_jax.training.config import Config
from flightnn_jax.training.models import Model
from tests.support import training
from tests.support.variables import NETWORKS, images_of, state_of

slow = pytest.mark.slow


def case(name, terms, extreme=False):
    """A model and a state of it at random."""
    net = NETWORKS[name]
    return Model(net, affine_terms=terms), state_of(net, "flightnn", terms, extreme)


@pytest.mark.parametrize("terms", [1, 2, 3])
def test_slopes_are_raised_to_the_next_of_the_grid(terms):
    """The grid by brute force: all sums of so few powers of two that it has room for."""
    steps = 4 ** (terms - 1)
    grid = [Fraction(n, steps) for n in range(steps, 2 * steps + 1)]
    assert invariants.powers_needed(np.arange(steps, 2 * steps + 1)).max() == terms
    rng = np.random.default_rng(terms)
    values = np.concatenate([rng.uniform(1, 2, 200), [float(n) for n in grid]]).astype(np.float32)
    for exponent in (-100, -3, 0, 20):
        raised = scaling.raised_to_powers(jnp.asarray(values * np.float32(2.0**exponent)), terms)
        wanted = [min(n for n in grid if n >= Fraction(float(v))) for v in values]
        assert_array_equal(raised, [float(n) * 2.0**exponent for n in wanted])


def test_without_terms_nothing_is_changed():
    model, state = case("vgg", 1)
    model = model.clone(affine_terms=None)
    assert scaling.scales_of(model, state) == {}
    folded = scaling.folded(model, state)
    assert folded.epsilon == model.epsilon
    jax.tree.map(assert_array_equal, folded[:2], (state.params, state.batch_stats))
    weights = scaling.quantized(state.params, state.spec, {})
    jax.tree.map(assert_array_equal, weights, quantize_params(state.params, state.spec))


@pytest.mark.slow
def test_weights_are_quantized_after_division_and_gradients_pass_straight():
    model, state = case("resnet", 1)
    quantized = jax.jit(scaling.quantized)
    scales_of = jax.jit(lambda state: scaling.scales_of(model, state))
    scales = scales_of(state)
    assert set(scales) == set(state.batch_stats)
    weights = quantized(state.params, state.spec, scales)
    inverse = {n: np.float32(1) / np.asarray(c) for n, c in scales.items()}
    alone = jax.jit(quantize_params)(
        {n: {"kernel": p["kernel"] * inverse.get(n, 1)} for n, p in state.params.items()},
        {n: {"kernel": fmt["kernel"]} for n, fmt in state.spec.items()},
    )
    upstream = np.random.default_rng(0).normal(size=weights["block1_first"]["kernel"].shape)
    for name, c in jax.device_get(scales).items():
        assert np.all((c >= 1) & (c < 2.0001))
        assert_allclose(weights[name]["kernel"], np.asarray(alone[name]["kernel"]) * c, rtol=1e-6)
    assert_array_equal(weights["dense"]["kernel"], alone["dense"]["kernel"])

    def product(params):
        weights = quantized(
            params, state.spec, scales_of(dataclasses.replace(state, params=params))
        )
        return jnp.sum(weights["block1_first"]["kernel"] * upstream)

    gradient = jax.jit(jax.grad(product))(state.params)["block1_first"]
    assert_allclose(gradient["kernel"], upstream, rtol=1e-5)
    assert_array_equal(gradient["scale"], 0)


@pytest.mark.whole(1)
@slow
@pytest.mark.parametrize(
    ("name", "terms", "extreme"),
    [("vgg", 1, False), ("vgg", 2, True), ("resnet", 1, True), ("resnet", 2, False)],
)
def test_the_integers_have_slopes_of_few_powers(name, terms, extreme):
    """Against float64: no slope is rounded, unless it is below one of a shared shift."""
    model, state = case(name, terms, extreme=extreme)
    network = evaluation.lowered(model, state)
    assert network.affine_terms == terms
    units, unrounded, filters = {"image": -7}, 0, 0
    adds = [layer for layer in network.layers if isinstance(layer, Add)]
    shifts = {source: layer.shift for layer in adds for source in layer.inputs}
    for layer in network.layers:
        units[layer.name] = getattr(layer, "exponent", units[layer.inputs[0]])
        if not isinstance(layer, Convolution):
            continue
        assert invariants.powers_needed(layer.affine.multiplier).max() <= terms
        stats, scale = state.batch_stats[layer.name], state.params[layer.name]["scale"]
        slope = np.abs(scale) / np.sqrt(np.float64(stats["variance"]) + model.epsilon)
        shift = shifts[layer.name] if layer.shift is None else layer.shift
        unit = layer.weight_exponent + units[layer.input] - layer.exponent
        real = np.abs(layer.affine.multiplier) * 2.0 ** -shift.astype(float) / 2.0**unit
        ratio = real / np.where(slope > 0, slope, 1)
        good = (ratio > 1 - 1e-6) & (ratio < 1 + 4.0 ** (1 - terms) + 1e-6)
        unrounded += np.sum(good | (slope == 0))
        filters += slope.size
    assert unrounded >= filters * (0.7 if extreme else 1)
    images = images_of(model.network, 6)
    own = evaluation.layer_outputs(model, state)(images)
    for layer, output in inference.make_layer_outputs(network, "shifts")(images).items():
        assert_array_equal(own[layer], output, err_msg=layer)


@slow
def test_a_fold_is_the_network_that_was_trained():
    """By the model in floats: the folded one with slopes r, and c Q(w / c) with batch norm's."""
    model, state = case("resnet", 1)
    scales = scaling.scales_of(model, state)
    fold = scaling.folded(model, state)
    images = images_of(model.network, 8)
    both = [
        dataclasses.replace(model, epsilon=epsilon).apply(
            {"params": params, "batch_stats": stats, "ranges": state.ranges}, images, floats=True
        )
        for params, stats, epsilon in (
            (scaling.quantized(state.params, state.spec, scales), state.batch_stats, model.epsilon),
            (quantize_params(fold.params, state.spec), fold.batch_stats, fold.epsilon),
        )
    ]
    close = np.isclose(*both, atol=1e-5)  # roundings may fall to the other side
    assert np.mean(close) > 0.5
    assert np.abs(both[0] - both[1]).max() < 0.05 * np.abs(both[0]).max()


def assert_slopes_stay_behind_the_step(number, run):
    """From where ranges are frozen: what else is trained moves."""
    (_, then), (last, now) = (run.state_at(which) for which in (str(number), "last"))
    assert math.ceil(run.config.track * run.steps) == number < last == run.steps
    jax.tree.map(assert_array_equal, (then.batch_stats, then.ranges), (now.batch_stats, now.ranges))
    for name in now.batch_stats:
        before, after = (state.params[name] for state in (then, now))
        assert_array_equal(before["scale"], after["scale"])
        assert np.all(before["bias"] != after["bias"])
        assert np.any(before["kernel"] != after["kernel"])


@slow
def test_a_run_is_scaled_wherever_it_is_read(tmp_path):
    """Training, counts, evaluation, file and reference agree, of a run that began with another."""
    fields = {"mode": "budget", "budget": 1.5, "affine_terms": 1, "epochs": 1}
    runs.train(training.prepare(tmp_path / "origin", **fields))
    run = training.prepare(tmp_path / "tuned", **fields, start_from=str(tmp_path / "origin"))
    record = runs.train(run)
    assert_slopes_stay_behind_the_step(3, run)
    assert record["test"]["float_reason"] is None
    lowered = export.lower_run(tmp_path / "tuned", mesh=training.one_device())
    network = lowered.network
    assert network.affine_terms == 1
    assert lowered.rounded_after_training is None
    assert lowered.accuracy == record["test"]["top1"]
    batch = lowered.test.read(np.arange(len(lowered.test)))
    report = verify.verify(network, [batch], paths=["trained"], trained=lowered.trained)
    assert report.mismatches == 0
    assert report.accuracy() == record["test"]["top1"]
    weights = [layer.weights for layer in network.weighted]
    codes = sum(int(w.passes.sum()) * math.prod(w.shape[:-1]) for w in weights)
    assert record["storage_bits"] == 4 * codes


def test_configs_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="affine_terms=5: choose 1 or more, at most 4"):
        Config(affine_terms=5)
    with pytest.raises(ValueError, match="affine_terms=1 with scheme 'full', which has no"):
        Config(scheme="full", affine_terms=1)
