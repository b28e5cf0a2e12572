"""The eight networks are those of the design's table, to the digit, and misfits say why."""

import dataclasses
import itertools
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
    with pytest.raises(ValueError, match=r"'net9' is unknown: choose of net1, net2, .*net8"):
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
        ((Conv(10), Dense(10)), "put GlobalAverage before it"),
        ((GlobalAverage(), Conv(10)), r"conv1: needs \(height, width, channels\)"),
        ((Conv(10, size=2),), "odd size"),
        ((Conv(10, stride=2), MaxPool(), MaxPool()), "pool2: a 2x2 pool on 3x3"),
        ((Residual(Conv(4), Conv(4)),), "block1: the shortcut leaves"),
        ((Residual(Conv(3, stride=2), Conv(3), Conv(3)),), "block1: the shortcut leaves"),
        ((Conv(10),), r"leave the shape \(12, 12, 10\), not \(10,\)"),
        ((Conv(9), GlobalAverage()), r"leave the shape \(9,\), not \(10,\)"),
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


def test_networks_needs_no_jax():
    code = (
        "import sys\n"
        "from flightnn_jax import networks\n"
        "assert networks.weight_count(networks.network(1)) == 77616\n"
        "assert not {'jax', 'numpy', 'flax'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
