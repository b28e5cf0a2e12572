"""MobileNet, AlexNet and perceptrons have the sizes that their papers and other libraries give."""

import pytest

from configs import layers
from flightnn_jax import networks
from flightnn_jax.hardware import workload
from flightnn_jax.networks import alexnet, mobilenet, perceptron


def shapes(net):
    return [step.output_shape for step in networks.walk(net)]


def test_mobilenet_has_the_papers_operations():
    """Table 4 of Howard et al.: 569 million products and 4.2 million weights."""
    net = mobilenet()
    products = sum(step.multiplications for step in networks.walk(net))
    assert round(products / 1e6) == 569
    assert networks.weight_count(net) == 4_209_088  # 4,231,976 of Keras, less its 22,888 vectors
    work = workload.from_network(net, "lightnn1")
    assert sum(layer.multiplications for layer in work.layers) == products
    assert [layer.groups for layer in work.layers][:4] == [1, 32, 1, 64]


def test_small_images_keep_their_size_in_the_first_steps():
    net = mobilenet(0.25, classes=10, input_shape=(32, 32, 3))
    assert shapes(net)[0] == (32, 32, 8)
    assert shapes(net)[-3:] == [(4, 4, 256), (256,), (10,)]
    assert networks.from_dict(networks.to_dict(net)) == net
    with pytest.raises(ValueError, match=r"alpha=0: .*such as 0.25"):
        mobilenet(0)


def test_alexnet_has_the_shapes_of_its_paper():
    net = alexnet()
    assert shapes(net)[:4] == [(55, 55, 96), (27, 27, 96), (27, 27, 256), (13, 13, 256)]
    assert networks.weight_count(net) == 62_367_776
    assert networks.weight_count(net) < 1 << 26  # what a file of integers holds


def test_a_perceptron_is_dense_layers():
    net = perceptron(30, 20, classes=4, input_shape=(3, 4, 1))
    assert shapes(net) == [(1, 1, 12), (1, 1, 30), (1, 1, 20), (4,)]


def test_the_config_of_further_layers():
    """Every network that it names, where the images are large enough."""
    config = layers.get_config("mobilenet,cifar10,smoke")
    assert (config.network.name, config.epochs, config.filter_scales) == ("mobilenet_0.25", 2, True)
    assert layers.get_config("alexnet,imagenet2012").network.input_shape == (64, 64, 3)
    large = layers.get_config("alexnet,imagenet2012,224")
    assert (large.network, large.image_size, large.epochs) == (alexnet(), 224, 12)
    assert layers.get_config().network.input_shape == (16, 16, 3)
    assert layers.get_config("perceptron,digits").network.name == "perceptron_128_64"
    bottlenecks = layers.get_config("bottlenecks,digits").network.layers
    assert [x.activation for x in bottlenecks[1:4]] == ["relu6", "relu6", "none"]
    for arguments, message in (
        ("mobilenet,nothing", "with a data set of digits, cifar10"),
        ("mobilenet,digits,224", "224 with imagenet2012"),
        ("lenet,digits", "choose mobilenet, alexnet, perceptron or bottlenecks"),
        ("alexnet,cifar10", "a window of 3x3 on 1x1"),
    ):
        with pytest.raises(ValueError, match=message):
            layers.get_config(arguments)
