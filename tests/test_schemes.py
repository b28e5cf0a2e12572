"""The schemes, and the config that chooses one of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flightnn_jax import (
    Binary,
    Codebook,
    FixedPoint,
    Shift,
    networks,
    quantize_params,
    schemes,
    storage_bits,
)
from flightnn_jax.training import models, quantization
from flightnn_jax.training.config import Config

NETWORK = networks.network("net2", width=16)
PARAMS = jax.eval_shape(models.Model(NETWORK).init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))[
    "params"
]
KERNELS = [step.name for step in networks.walk_weights(NETWORK)]


def spec_of(name, *args):
    return quantization.spec_of(schemes.find(name), *args)


@pytest.mark.parametrize("scheme", schemes.SCHEMES, ids=lambda scheme: scheme.name)
def test_quantizes_all_kernels_and_nothing_else(scheme):
    spec = quantization.spec_of(scheme, PARAMS, layers=KERNELS)
    ends = {KERNELS[0]: scheme.first, KERNELS[-1]: scheme.last}
    for layer, arrays in spec.items():
        of_ends = FixedPoint(bits=4) if ends.get(layer) else quantization.format_of(scheme)
        assert arrays.pop("kernel") == of_ends or scheme.flexible
        assert set(arrays.values()) == {None}, layer
    assert set(spec) == set(KERNELS)


def test_the_table():
    formats = {
        scheme.name: (quantization.format_of(scheme), scheme.activation_bits)
        for scheme in schemes.SCHEMES
    }
    assert formats == {
        "full": (None, None),
        "fp4": (FixedPoint(bits=4), 8),
        "lightnn2": (Shift(k=2), 8),
        "lightnn1": (Shift(k=1), 8),
        "flightnn": (Shift(k=2), 8),
        "binaryconnect": (Binary(), 8),
        "bnn": (Binary(), 8),
        "bnn_dl": (Binary(), 8),
        "codebook5": (Codebook(5), 8),
        "codebook10": (Codebook(10), 8),
        "table40": (Codebook(5), 8),
        "table320": (Codebook(10), 8),
    }


def test_ends_of_their_own_need_the_order_of_layers():
    with pytest.raises(ValueError, match="the scheme bnn has ends of its own, so name the layers"):
        spec_of("bnn", PARAMS)
    assert [quantization.significant_bits(schemes.find(n)) for n in ("full", "bnn")] == [None, 4]


@pytest.mark.parametrize(("per", "shape"), [("layer", (2,)), ("filter", (2, 2))])
def test_a_flightnn_starts_with_thresholds_of_zero(per, shape):
    thresholds = spec_of("flightnn", PARAMS, per)["conv1"]["kernel"].thresholds
    assert thresholds.shape == shape
    assert not thresholds.any()


@pytest.mark.quick(0)
def test_a_new_flightnn_is_a_lightnn2():
    key = jax.random.key(0)
    params = {"kernel": jax.random.normal(key, (3, 3, 4, 8))}
    flexible, fixed = (spec_of(name, params) for name in ("flightnn", "lightnn2"))
    np.testing.assert_array_equal(
        quantize_params(params, flexible)["kernel"], quantize_params(params, fixed)["kernel"]
    )
    assert storage_bits(params, flexible) == storage_bits(params, fixed)


def test_an_unknown_scheme_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'lightnn3' is unknown: .*lightnn2, lightnn1, flightnn"):
        schemes.find("lightnn3")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"network": "net9"}, "'net9' is unknown: choose one of net1"),
        ({"dataset": "mnist"}, "'mnist' is unknown: choose one of cifar10"),
        ({"scheme": "binary"}, "'binary' is unknown: choose one of full"),
        ({"mode": "magic"}, "mode 'magic' is unknown: choose one of paper, budget"),
        ({"schedule": "linear"}, "schedule 'linear' is unknown: choose one of cosine"),
        ({"budget_cost": "area"}, "'area' is unknown: choose one of filter, storage"),
        ({"budget": 2.5}, "budget=2.5: a filter takes 0 to 2 terms"),
        ({"lambda1": -1.0}, "lambda1=-1.0: choose a finite number that is not negative"),
        ({"lambda0": float("nan")}, "lambda0=nan: the field takes a number"),
        ({"epochs": 0}, "epochs=0: choose 1 or more"),
        ({"track": 1.5}, "parts of the training, 0 to 1: 1.5"),
        ({"decay_at": (0.5, -1.0)}, "parts of the training, 0 to 1: -1.0"),
    ],
)
def test_a_config_checks_itself(fields, message):
    with pytest.raises(ValueError, match=message):
        Config(**fields)


def test_a_config_reads_what_a_command_line_says():
    changed = Config().override(
        {"lambda1": "1e-4", "width": "32", "lambda0": "none", "clamp": "false", "decay_at": ".1,.2"}
    )
    assert changed == Config(lambda1=1e-4, width=32, clamp=False, decay_at=(0.1, 0.2))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"lamda1": "1"}, "unknown fields lamda1: choose one of network"),
        ({"lambda1": "small"}, "lambda1='small': the field takes a number"),
        ({"clamp": "maybe"}, "clamp='maybe': the field takes true or false"),
        ({"decay_at": "a,b"}, "decay_at='a,b': the field takes numbers between commas"),
        ({"width": "1.5"}, "width='1.5': the field takes a whole number"),
    ],
)
def test_a_config_refuses_other_texts(texts, message):
    with pytest.raises(ValueError, match=message):
        Config().override(texts)


def test_a_config_survives_json():
    config = Config(decay_at=(0.2, 0.4), lambda0=1e-6)
    assert Config.from_dict(config.to_dict()) == config
    assert config.to_dict()["decay_at"] == [0.2, 0.4]


def test_only_fields_that_decide_weights_tell_runs_apart():
    assert Config(keep=5, checkpoint_every=3).decisive() == Config().decisive()
    assert Config(seed=1).decisive() != Config().decisive()


def test_lambda0_is_a_third_unless_given():
    assert Config(lambda1=3e-5).lambdas == (1e-5, 3e-5)
    assert Config(lambda1=3e-5, lambda0=0.0).lambdas == (0.0, 3e-5)


def test_schemes_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        schemes.SCHEMES[0].name = "other"
