"""The eight networks are those of the design's table, to the digit, and misfits say why."""

import dataclasses
import itertools
import json
import subprocess
import sys

import pytest

from flightnn_jax import networks
from flightnn_jax.networks import Conv, Dense, GlobalAverage, MaxPool, Network, Residual, network

# parameters, megabytes in float32, convolutions with their shortcuts and
# the dense layer, filters of the widest layer, last shape before the average.
TABLE = {
    "net1": (77_616, 0.310, 7, 64, (8, 8, 10)),
    "net2": (699_056, 2.796, 21, 128, (4, 4, 128)),
    "net3": (4_620_672, 18.48, 7, 512, (8, 8, 10)),
    "net4": (29_232, 0.117, 4, 64, (8, 8, 10)),
    "net5": (104_544, 0.418, 4, 128, (8, 8, 10)),
    "net6": (710_576, 2.842, 21, 128, (4, 4, 128)),
    "net7": (2_815_840, 11.26, 21, 256, (4, 4, 256)),
    "net8": (1_827_424, 7.31, 13, 256, (7, 7, 256)),
}


def test_the_table_is_complete():
    assert tuple(TABLE) == networks.NAMES


@pytest.mark.parametrize("name", networks.NAMES)
def test_shapes_and_parameters(name):
    parameters, megabytes, arrays, width, before_average = TABLE[name]
    net = network(name)
    assert networks.weight_count(net) == parameters
    assert networks.weight_storage_bits(net) == 32 * parameters
    assert networks.weight_storage_bits(net) / 8e6 == pytest.approx(megabytes, rel=2e-3)
    steps = list(networks.walk_weights(net))
    assert len(steps) == arrays
    assert max(s.layer.filters for s in steps if isinstance(s.layer, Conv)) == width
    (average,) = (s for s in networks.walk(net) if isinstance(s.layer, GlobalAverage))
    assert average.input_shape == before_average
    assert average.output_shape == (before_average[-1],)


@pytest.mark.parametrize("name", networks.NAMES)
def test_names_are_unique_and_shapes_are_handed_on(name):
    steps = list(networks.walk(network(name)))
    for step, following in itertools.pairwise(steps):
        assert step.output_shape == following.input_shape
    names = [s.name for s in steps] + [s.name for s in networks.walk_weights(network(name))]
    assert len(set(names)) == len({s.name for s in steps} | set(names))
    for block in (s for s in steps if isinstance(s.layer, Residual)):
        first, second, *shortcut = block.inside
        assert first.input_shape == block.input_shape
        assert first.output_shape == second.input_shape
        assert second.output_shape == block.output_shape
        assert all(s.output_shape == block.output_shape for s in shortcut)
        assert bool(shortcut) == (block.input_shape != block.output_shape)


def test_shortcuts_are_1x1_in_resnet_18_and_3x3_in_resnet_10():
    def sizes(name):
        return {
            s.kernel_shape[0]
            for s in networks.walk_weights(network(name))
            if s.name.endswith("_shortcut")
        }

    assert sizes("net2") == sizes("net6") == sizes("net7") == {1}
    assert sizes("net8") == {3}


def test_multiplications_of_network_4():
    by_hand = 1024 * 27 * 16 + 256 * 144 * 32 + 64 * 288 * 64 + 64 * 576 * 10
    assert sum(s.multiplications for s in networks.walk(network("net4"))) == by_hand
    net = network("net2")
    assert sum(s.multiplications for s in networks.walk(net)) == sum(
        s.multiplications for s in networks.walk_weights(net)
    )


@pytest.mark.parametrize("name", [7, "7", "net7"])
def test_a_network_has_a_name_and_a_number(name):
    assert network(name).name == "net7"


@pytest.mark.parametrize("width", [8, 16, 64, 512])
def test_width_scales_every_stage(width):
    net = network("net6", width=width)
    widths = [s.output_shape[-1] for s in networks.walk(net) if isinstance(s.layer, Residual)]
    assert widths == [width // 8] * 2 + [width // 4] * 2 + [width // 2] * 2 + [width] * 2
    assert networks.weight_count(network("net6", width=128)) == TABLE["net6"][0]


def test_sizes_can_be_changed():
    net = network("net1", classes=100, input_shape=(8, 8, 1), slope_exponent=-4)
    assert (net.classes, net.input_shape, net.slope_exponent) == (100, (8, 8, 1), -4)
    assert [s.output_shape for s in networks.walk(net)][-2:] == [(2, 2, 100), (100,)]


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match=r"'net9' is unknown: choose one of net1, net2, .*net8"):
        network("net9")
    with pytest.raises(ValueError, match="unknown"):
        network(0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 12}, "multiple of 8"),
        ({"width": 4}, "multiple of 8"),
        ({"classes": 1}, "two classes or more"),
        ({"input_shape": (32, 32)}, "height, width, channels"),
        ({"slope_exponent": 0}, "must be negative"),
    ],
)
def test_sizes_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        network("net2", **options)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((Conv(10), Dense(10)), r"dense: a dense layer on the shape .*put GlobalAverage\(\) bef"),
        ((GlobalAverage(), Conv(10)), r"conv1: it needs \(height, width, .*Dense layer only"),
        ((GlobalAverage(), Dense(10), Dense(10)), "dense: its outputs are the logits, so it must"),
        ((Conv(10, size=2),), "conv1: .*a window has an odd size"),
        ((Conv(0),), "conv1: .*are whole numbers above 0"),
        ((Conv(10, stride=0),), "conv1: .*are whole numbers above 0"),
        ((Conv(10.0),), r"conv1: Conv\(filters=10.0, .*are whole numbers above 0"),
        ((GlobalAverage(), Dense("10")), r"dense: Dense\(units='10'\): .*whole numbers above 0"),
        ((Conv(10, stride=2), MaxPool(), MaxPool()), "pool2: a 2x2 pool on 3x3.*stride=2 instead"),
        ((Residual(Conv(4), Conv(4)),), "block1: the shortcut leaves"),
        ((Residual(Conv(3, stride=2), Conv(3), Conv(3)),), "block1: the shortcut leaves"),
        ((Residual(Conv(3), MaxPool()),), r"block1: MaxPool.* in a Residual: its parts are Conv"),
        ((Residual(Conv(3), None),), "block1: None in a Residual: its parts are Conv"),
        ((Conv(10),), r"leave the shape \(12, 12, 10\), not \(10,\)"),
        ((Conv(9), GlobalAverage()), r"leave the shape \(9,\), not \(10,\): end with Global"),
        ((), r"leave the shape \(12, 12, 3\), not \(10,\)"),
        ((Conv(10), Conv, GlobalAverage()), "layer 2 is <class .*a layer is a record of Conv, Max"),
    ],
)
def test_layers_that_do_not_fit(layers, message):
    with pytest.raises(ValueError, match=message):
        Network("odd", (12, 12, 3), 10, layers)


def test_a_network_is_frozen_hashable_and_checked_again_when_replaced():
    net = network("net1")
    assert hash(net) == hash(network("net1"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        net.classes = 3
    with pytest.raises(ValueError, match="a 2x2 pool on 7x7"):
        dataclasses.replace(net, input_shape=(14, 14, 3))


OWN = Network(
    "own",
    (10, 6, 1),
    3,
    [
        Conv(4, size=5),
        MaxPool(),
        Residual(Conv(6, stride=3), Conv(6), Conv(6, size=1, stride=3)),
        GlobalAverage(),
        Dense(3),
    ],
    slope_exponent=-4,
)


def test_a_network_of_a_users_own():
    shapes = [step.output_shape for step in networks.walk(OWN)]
    assert shapes == [(10, 6, 4), (5, 3, 4), (2, 1, 6), (6,), (3,)]
    assert type(OWN.layers) is tuple
    assert hash(OWN)


@pytest.mark.parametrize("net", [OWN, *map(network, networks.NAMES)], ids=lambda net: net.name)
def test_a_network_survives_json(net):
    text = json.dumps(networks.to_dict(net))
    assert networks.from_dict(json.loads(text)) == net


def test_a_record_that_json_shows():
    first, _, block, *_ = networks.to_dict(OWN)["layers"]
    assert first == {"kind": "conv", "filters": 4, "size": 5, "stride": 1}
    assert block["shortcut"] == {"kind": "conv", "filters": 6, "size": 1, "stride": 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("layers"), "the network: missing 'layers': its fields are name, input"),
        (lambda f: f.update(depth=3), "the network: unknown 'depth': its fields are name"),
        (lambda f: f.update(layers={}), "a network's layers are a list"),
        (lambda f: f.update(name=3), "name=3: a network's name is a text"),
        (lambda f: f.update(classes="3"), "classes=3, input_shape=.*two classes or more"),
        (lambda f: f.update(input_shape=[8, 8]), "images of .height, width, channels"),
        (lambda f: f.update(slope_exponent=-3.0), "slope_exponent=-3.0: .*must be negative"),
        (lambda f: f["layers"].append("conv"), "layer 6 is 'conv': its kind must be of conv, pool"),
        (lambda f: f["layers"][0].update(kind="con"), "layer 1 is .*its kind must be of conv"),
        (lambda f: f["layers"][0].update(width=3), "layer 1, conv: unknown 'width': its fields"),
        (lambda f: f["layers"][0].pop("filters"), "layer 1, conv: missing 'filters'"),
        (lambda f: f["layers"][0].update(size=4), "conv1: .*a window has an odd size"),
        (lambda f: f["layers"][2]["first"].pop("filters"), "layer 3, conv: missing 'filters'"),
        (lambda f: f["layers"][2].update(second=None), "block1: None in a Residual"),
        (lambda f: f["layers"][2].update(shortcut=[]), r"block1: .*\[\] in a Residual"),
    ],
)
def test_records_that_are_no_network(change, message):
    fields = networks.to_dict(OWN)
    change(fields)
    with pytest.raises(ValueError, match=message):
        networks.from_dict(fields)
    with pytest.raises(ValueError, match="the network is 'net1': it must be an object of name"):
        networks.from_dict("net1")


def test_networks_needs_no_jax():
    code = (
        "import sys\n"
        "from flightnn_jax import networks\n"
        "assert networks.weight_count(networks.network(1)) == 77616\n"
        "assert not {'jax', 'numpy', 'flax'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
