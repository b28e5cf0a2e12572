"""What was trained is what runs: evaluation against integers that loops over NumPy compute."""

import dataclasses
import functools

import jax
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from flightnn_jax import quantize_params
from flightnn_jax.data import Batch
from flightnn_jax.integer import Convolution, certificate, verify
from flightnn_jax.training import evaluation, runs
from flightnn_jax.training.models import Model
from flightnn_jax.training.step import data_mesh
from tests.support import brute_force, training
from tests.support.networks_at_random import with_layer
from tests.support.variables import NETWORKS, images_of, state_of

pytestmark = [pytest.mark.slow, pytest.mark.optimized]


def model_of(name):
    return Model(NETWORKS[name])


@pytest.mark.whole(3)
@pytest.mark.parametrize("extreme", [False, True], ids=["usual", "extreme"])
@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("vgg", "flightnn"),  # tests/integer/test_schemes_by_paths.py has every scheme
        ("resnet", "flightnn"),
        ("resnet", "fp4"),
        ("net8", "flightnn"),
    ],
)
def test_the_models_own_activations_are_the_integers(name, scheme, extreme):
    model = model_of(name)
    state = state_of(NETWORKS[name], scheme, seed=len(scheme), extreme=extreme)
    images = images_of(model.network, 2 if name == "net8" else 6)
    own = evaluation.layer_outputs(model, state)(images)
    wanted = brute_force.layer_outputs(evaluation.lowered(model, state), images)
    assert set(own) == set(wanted)
    for layer, output in own.items():
        assert_array_equal(output, wanted[layer], err_msg=layer)


def metrics_by_hand(model, state, images, labels):
    """Loss, top 1 and top 5 of the integers, in float64."""
    network = evaluation.lowered(model, state)
    logits = brute_force.layer_outputs(network, images)[network.layers[-1].name]
    real = logits * 2.0**network.output_exponent
    own = real[np.arange(len(labels)), labels]
    loss = np.log(np.exp(real - own[:, None]).sum(axis=1)).mean()
    order = np.argsort(-logits, axis=1, kind="stable")
    return loss, np.mean(order[:, 0] == labels), np.mean((order[:, :5] == labels[:, None]).any(1))


@pytest.mark.parametrize("devices", [1, 8])
def test_an_evaluation_counts_every_image_once(tmp_path, devices):
    run = training.prepare(tmp_path, data_mesh(jax.devices()[:devices]))
    state = state_of(run.model.network, "flightnn")
    split = run.validation_split  # 180 images in batches of 240
    loss, top1, top5 = metrics_by_hand(run.model, state, split.images, split.labels)
    got = run.evaluate(state, split)
    assert (got.top1, got.top5, got.float_reason) == (top1, top5, None)
    assert_allclose(got.loss, loss, rtol=1e-5)


def batch_of(net, seed=0):
    labels = np.arange(16, dtype=np.int32) % net.classes
    return Batch(images_of(net, 16, seed), labels, np.ones(16, bool))


@pytest.mark.parametrize("name", ["vgg", "resnet"])
def test_one_program_serves_every_state(name):
    """Weights, statistics, ranges, filters' terms: none of them compiles anything anew."""
    model = model_of(name)
    mesh, compiled = data_mesh(jax.devices()[:1]), []

    def listen(event, *_, **_kwargs):
        compiled.extend([event] if "backend_compile" in event else [])

    net = model.network
    evaluation.evaluate(model, mesh, state_of(net, "flightnn"), [batch_of(net)])
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        results = [
            evaluation.evaluate(model, mesh, state_of(net, "flightnn", *how), [batch_of(net)])
            for how in ((1, False), (2, False), (3, True))
        ]
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len({result.loss for result in results}) == 3
    assert not any(result.float_reason for result in results)
    assert not compiled


def test_what_has_no_integers_is_evaluated_on_floats():
    model = model_of("resnet")
    mesh, batch = data_mesh(jax.devices()[:1]), batch_of(model.network)
    state = state_of(NETWORKS["resnet"], "lightnn2")
    state = dataclasses.replace(state, ranges=state.ranges | {"average": np.float32(0)})
    got = evaluation.evaluate(model, mesh, state, [batch])
    assert "average: its range 0.0 against" in got.float_reason
    trees = {
        "params": quantize_params(state.params, state.spec),
        "batch_stats": state.batch_stats,
        "ranges": state.ranges,
    }
    in_floats = jax.jit(functools.partial(model.apply, floats=True))
    logits = in_floats(trees, batch.images)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
    assert_allclose(got.loss, losses.mean(), rtol=1e-5)
    full = evaluation.evaluate(Model(model.network, activation_bits=None), mesh, state, [batch])
    assert "activations of float bits" in full.float_reason
    assert np.isfinite(full.loss)


def test_a_run_without_integers_goes_on_and_says_so(tmp_path, capsys):
    """Ranges that are never measured."""
    record = runs.train(training.prepare(tmp_path, epochs=1, track=0.0, scheme="lightnn1"))
    assert record["test"]["float_reason"] == record["validation"]["float_reason"]
    assert "conv2: steps of 2**-126" in record["test"]["float_reason"]
    lines = [line for line in capsys.readouterr().err.splitlines() if "on floats" in line]
    assert len(lines) == 1


def test_equal_logits_are_ranked_in_the_order_of_classes():
    logits = np.array([[3, 7, 7, 1], [7, 7, 7, 7]], np.int32)
    assert evaluation.rank_of_label(logits, np.array([2, 3])).tolist() == [1, 3]
    assert evaluation.rank_of_label(logits, np.array([1, 0])).tolist() == [0, 0]


@pytest.fixture(scope="module")
def verified():
    """A network, a function of its outputs as trained, and batches on which they are the same."""
    model = model_of("vgg")
    state = state_of(NETWORKS["vgg"], "flightnn")
    network, trained = evaluation.lowered(model, state), evaluation.layer_outputs(model, state)
    batches = [(images_of(model.network, 20), None)]
    report = verify.verify(network, batches, paths=["trained", "fast"], trained=trained)
    assert report.mismatches == 0
    assert list(report.paths) == ["shifts", "trained", "fast", "fast, logits"]
    assert report.paths["trained"].layers == len(network.layers)
    return network, trained, batches


@pytest.mark.parametrize("part", ["bias", "multiplier"])
def test_verify_finds_a_file_that_is_not_what_was_trained(verified, part):
    network, trained, batches = verified
    layer = next(layer for layer in network.layers if isinstance(layer, Convolution))
    changed = getattr(layer.affine, part).copy()
    changed[1] += 1 << int(layer.shift[1]) if part == "bias" else 5
    affine = dataclasses.replace(layer.affine, **{part: changed})
    wrong = certificate.certified(with_layer(network, layer.name, affine=affine))
    report = verify.verify(wrong, batches, paths=["trained", "float"], trained=trained)
    assert report.paths["float"].mismatches == 0
    first = report.paths["trained"].first
    assert (first.layer, first.channel) == (layer.name, 1)


def test_trained_needs_a_run():
    model = model_of("vgg")
    network = evaluation.lowered(model, state_of(NETWORKS["vgg"], "fp4"))
    with pytest.raises(ValueError, match=r"path 'trained' without a training run: name one \(--"):
        verify.runners(network, ["trained"])
