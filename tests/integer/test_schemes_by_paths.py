"""Every scheme by every path: one network of each row of schemes.py, and all that computes it.

What is right says a reader and interpreter that was written from docs/integers.md alone, of the
network's file. Weights are at random, as no path knows of training.
"""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax import integer, networks, schemes
from flightnn_jax.integer import LoweringError, inference, verify
from flightnn_jax.integer.export import stablehlo
from flightnn_jax.networks import Conv, Dense, GlobalAverage, Network
from flightnn_jax.training import evaluation
from flightnn_jax.training.models import Model
from tests.support import second_reader
from tests.support.variables import images_of, state_of

LAYERS = (Conv(4), networks.MaxPool(), Conv(4), Conv(4), GlobalAverage(), Dense(3))
NET = Network("small", (4, 4, 2), 3, LAYERS)
IMAGES = images_of(NET, 3)
FLOAT = "full"  # which has no integers
# Whose networks are those of another scheme, bit by bit: what is trained differs.
SAME = {"bnn_dl": "bnn"}
# Paths that are for some schemes alone, and compute others as `shifts` does, and these schemes.
ONLY = {"popcount": ("bnn",), "tables": ("codebook5", "codebook10", "table40", "table320")}
# StableHLO is the path `shifts` in other clothes, and costs most: these have every kind of weights
# and of activations among them. Simulators have tests/rtl.
STABLEHLO = ("flightnn", "bnn", "table40")
# Their kinds of weights are those of another scheme, of a smaller k or of more levels.
ALIKE = ("lightnn1", "lightnn2", "fp4", "binaryconnect", "codebook5", "codebook10", "table320")


def trained(name, extreme=False):
    """A model, a state that training might leave, its integers, and what these have to give."""
    scheme = schemes.find(name)
    model = Model(NET, signs=scheme.signs, levels=scheme.levels)
    state = state_of(NET, name, seed=3, extreme=extreme)
    network = evaluation.lowered(model, state)
    file = second_reader.check(integer.to_bytes(network))
    wanted, _ = second_reader.run(file, IMAGES)
    return model, state, network, wanted


def cases():
    names = {scheme.name for scheme in schemes.SCHEMES} - {FLOAT, *SAME, *ALIKE}
    yield from sorted(names)
    yield from (pytest.param(name, marks=pytest.mark.exhaustive) for name in ALIKE)


def compare(path, found, wanted):
    assert found.keys() == wanted.keys() - {"image"}
    for layer, values in found.items():
        assert_array_equal(values, wanted[layer], err_msg=f"{path}, {layer}")


@pytest.mark.quick(0)
@pytest.mark.parametrize("name", list(cases()))
def test_every_path_gives_the_integers_of_the_document(name):
    model, state, network, wanted = trained(name)
    assert len(np.unique(wanted["conv3"])) > 1
    compare("trained", evaluation.layer_outputs(model, state)(IMAGES), wanted)
    runners = {"shifts": inference.make_layer_outputs(network, "shifts")}
    for path, interpreter in {**verify.PATHS, **verify.ON_REQUEST}.items():
        here = path not in verify.SIMULATORS and name in ONLY.get(path, (name,))
        if here and interpreter.unavailable() is None:
            runners[path] = interpreter.runner(network)
    for path, run in runners.items():
        compare(path, run(IMAGES), wanted)
    if name in STABLEHLO:
        infer = stablehlo.from_stablehlo(stablehlo.to_stablehlo(network))
        assert_array_equal(infer(IMAGES), wanted["dense"])
    # Filters of all kinds: no slope, steep, negative. The program is that of the first state.
    model, state, network, wanted = trained(name, extreme=True)
    compare("trained", evaluation.layer_outputs(model, state)(IMAGES), wanted)
    compare("independent", verify.PATHS["independent"].runner(network)(IMAGES), wanted)


@pytest.mark.parametrize("name", SAME)
def test_schemes_that_differ_in_training_alone_have_one_network(name):
    first, second = (integer.to_bytes(trained(n)[2]) for n in (name, SAME[name]))
    assert first == second


def test_full_precision_is_refused():
    with pytest.raises(LoweringError, match=r"float weights .* have no integers"):
        trained(FLOAT)
