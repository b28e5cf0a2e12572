"""The two functions that users call: what they promise whatever the path."""

import chex
import jax
import jax.numpy as jnp
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.integer import inference, verify
from flightnn_jax.integer.inference import paths
from tests.support import brute_force
from tests.support.networks_at_random import random_images, random_network

NETWORK = random_network(weights="shift1")
IMAGES = random_images(NETWORK, 5)
WANT = brute_force.layer_outputs(NETWORK, IMAGES)
LAST = NETWORK.layers[-1].name


def skip_where_it_cannot_run(path):
    if path in (why_not := verify.unavailable()):
        pytest.skip(why_not[path])


@pytest.mark.quick(0)
@pytest.mark.whole(3)
@pytest.mark.parametrize("path", list(paths.PATHS))
def test_compiles_once_for_each_size_of_batch(path, monkeypatch):
    skip_where_it_cannot_run(path)
    chex.clear_trace_counter()  # it counts by name, so those of the other paths, too
    traced = chex.assert_max_traces(paths.PATHS[path](NETWORK, "cpu"), n=2)
    monkeypatch.setitem(paths.PATHS, "traced", lambda *_: traced)
    infer = inference.make_inference(NETWORK, "traced")
    for count in (1, 5, 1, 5):
        for images in (IMAGES[:count], jnp.asarray(IMAGES[:count])):
            logits = infer(images)
            chex.assert_shape(logits, (count, len(NETWORK.labels)))
            chex.assert_type(logits, jnp.int32)
            assert_array_equal(logits, WANT[LAST][:count])
    with pytest.raises(AssertionError, match="traced > 2 times"):
        infer(IMAGES[:2])


@pytest.mark.parametrize("path", ["fast", "native"])
def test_layer_outputs_within_another_program(path):
    """Under a caller's own jit and vmap they are the same tree of the same integers."""
    skip_where_it_cannot_run(path)
    outputs = inference.make_layer_outputs(NETWORK, path)
    made = jax.jit(jax.vmap(lambda image: outputs(image[None])))(IMAGES[:2])
    chex.assert_trees_all_equal(
        jax.tree.map(lambda x: x[:, 0], made), {name: value[:2] for name, value in WANT.items()}
    )
