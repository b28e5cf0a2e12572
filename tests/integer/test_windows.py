"""Groups, padding, pools and flat inputs: every path gives what the document says."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.checker import checker, interpreter, reader
from flightnn_jax.hardware import workload
from flightnn_jax.integer import (
    Convolution,
    IntegerNetworkError,
    MaxPool,
    check,
    from_bytes,
    inference,
    manifest,
    switching,
    to_bytes,
    verify,
)
from tests.support import brute_force
from tests.support.networks_at_random import (
    of_linear,
    random_images,
    random_network,
    with_layer,
)

CASES = [("shift2", None, False), ("integer", None, True), ("shift1", 1, True)]


def network_of(case=0, **options):
    weights, terms, extreme = CASES[case]
    network = random_network(case, "mobile", weights, terms, extreme, **options)
    return of_linear(network) if case == 2 else network


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("size", [8, 12])
def test_the_checker_runs_what_the_document_says(case, size):
    network = network_of(case, size=size, width=2)
    read = reader.read(to_bytes(network))
    assert checker.check(read) == []
    images = random_images(network, 3)
    want = brute_force.layer_outputs(network, images)
    for name, output in interpreter.run(read, images).items():
        assert_array_equal(output, want[name], name)


def test_the_fast_path_and_files():
    network = network_of(1)
    data = to_bytes(network)
    again = from_bytes(data)
    assert to_bytes(again) == data
    assert b'"version\\":5' in data
    images = random_images(network, 3)
    want = brute_force.layer_outputs(network, images)
    for name, output in inference.make_layer_outputs(again)(images).items():
        assert_array_equal(output, want[name], name)


@pytest.mark.whole(1)
@pytest.mark.slow
@pytest.mark.parametrize("case", range(len(CASES)))
def test_every_path(case):
    network = network_of(case)
    paths = {k: path for k, path in verify.PATHS.items() if k not in verify.unavailable()}
    runners = {"brute force": lambda x: brute_force.layer_outputs(network, x)}
    runners |= {name: path.runner(network) for name, path in paths.items()}
    assert verify.compare(network, runners, [(random_images(network, 4), None)]).mismatches == 0


@pytest.mark.quick(0)
def test_wide_groups_have_products_of_their_own(monkeypatch):
    """Groups of 8 channels and more on one hand, a channel after the other on the other."""
    network = network_of(0)
    images = random_images(network, 2)
    want = brute_force.layer_outputs(network, images)["conv7"]
    module = inference.int8
    for least in (1, 1000):
        monkeypatch.setattr(module, "_MIN_OF_GROUP", least)
        found = inference.make_layer_outputs(network)(images)["conv7"]
        assert_array_equal(found, want)


BROKEN = {
    "linear sums": ("conv5", {"linear": True}, "sums are not said to be linear"),
    "linear": ("conv4", {"linear": 1}, "linear=1: True or False"),
    "groups": ("conv4", {"groups": 3}, "16 filters in 3 groups"),
    "no group": ("conv4", {"groups": 0}, "groups=0"),
    "padding": ("conv4", {"padding": 3}, "padding=3"),
    "usual padding": ("conv4", {"padding": 1}, "None says that"),
    "pool": ("pool1", {"size": 11, "padding": 0}, "window of 11x11 on 10x10"),
    "axes": ("flat1", {"axes": 2}, "axes=2"),
    "channels": ("conv2", {"groups": 1}, "on 8 channels"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_rules_are_named(name):
    layer, changes, message = BROKEN[name]
    with pytest.raises(IntegerNetworkError, match=message):
        check(with_layer(network_of(), layer, **changes))


def test_a_kind_that_is_not_needed_is_refused_by_both():
    """A conv under the name of conv_window, in a file with other new layers."""
    network = network_of()
    fields, tensors = manifest.describe(network)
    plain = next(layer for layer in fields["layers"] if layer["kind"] == "conv")
    plain |= {"kind": "conv_window", "groups": 1, "padding": None}
    with pytest.raises(IntegerNetworkError, match="it is of the kind conv"):
        manifest.build(fields, tensors, 1 << 20)
    with pytest.raises(reader.FileError, match="it is a conv"):
        reader.manifest.parse(fields)


def test_linear_outputs_have_a_version_of_their_own():
    """Both readers refuse the output in older files, and the version in others."""
    linear, older = (manifest.describe(network_of(case)) for case in (2, 1))
    assert (linear[0]["version"], older[0]["version"]) == (6, 5)
    for (fields, tensors), version in ((linear, 5), (older, 6)):
        wrong = fields | {"version": version}
        with pytest.raises(IntegerNetworkError, match=f"version {version} with weights that ask"):
            manifest.build(wrong, dict(tensors), 1 << 20)
        with pytest.raises(reader.FileError, match=f"version {version}, and its weights and"):
            reader.manifest.parse(wrong)


def test_what_has_no_activity_is_told():
    network = network_of()
    with pytest.raises(ValueError, match=r"conv1, conv2, .* without its activity"):
        switching.collect(network, random_images(network, 1))


def test_costs_count_the_taps_of_a_group():
    network = network_of()
    work = {layer.name: layer for layer in workload.from_integers(network).layers}
    assert work["conv2"].taps == 9
    assert work["conv2"].multiplications == 9 * 8 * 100
    assert {x.name for x in network.layers if isinstance(x, Convolution | MaxPool)} >= {"pool1"}
    assert np.prod(work["conv7"].kernel_shape) == 9 * 8 * 32


def test_a_manifest_without_layers_is_refused():
    fields, tensors = manifest.describe(network_of())
    with pytest.raises(IntegerNetworkError, match="0 layers"):
        manifest.build(fields | {"layers": [], "version": 2}, tensors, 1 << 20)
