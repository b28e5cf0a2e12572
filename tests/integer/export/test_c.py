"""Networks as C99: without a warning, without undefined behaviour, with the same integers."""

import dataclasses
import re
import subprocess

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.integer import Average, Golden, shapes, verify
from flightnn_jax.integer.export import c
from flightnn_jax.integer.export.c import layers, memory, program, source, text
from flightnn_jax.integer.limits import IMAGE
from tests.support import brute_force
from tests.support.networks_at_random import (
    of_linear,
    output_of,
    random_chain,
    random_images,
    random_network,
    random_networks,
    with_layer,
)

STRICT = (
    *("-std=c99", "-g0", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"),
    *("-fsanitize=undefined,address", "-fno-sanitize-recover=all"),
)
NETWORKS = dict(random_networks()) | {f"chain{seed}": random_chain(seed) for seed in range(12)}
NETWORKS["vector"] = random_chain(99, (7,))
NETWORKS["mobile"] = of_linear(random_network(2, "mobile", "shift2", width=2))
NETWORKS["binary"] = random_network(7, "resnet", "binary", affine_terms=1)
NETWORKS["codebook"] = random_network(8, "resnet", "codebook")
QUICK = (
    *("vgg-shift3-None-extreme", "vgg-integer-3", "resnet-shift2-1-extreme"),
    *("resnet-integer-None-extreme", "vector", "binary", "codebook", "mobile"),
)
needs_a_compiler = pytest.mark.skipif(c.unavailable() is not None, reason=str(c.unavailable()))


def with_golden(network, count=4):
    """The network with golden images, and what brute force says that they give."""
    images = random_images(network, count)
    want = brute_force.layer_outputs(network, images)
    typed = {name: value.astype(output_of(network, name)[1]) for name, value in want.items()}
    return dataclasses.replace(network, golden=Golden(images, typed)), want


def built(network, folder, flags=STRICT):
    return program.compiled(program.write(c.to_c(network), folder), flags)


@needs_a_compiler
@pytest.mark.quick(0)
@pytest.mark.whole(14)
@pytest.mark.parametrize("name", sorted(NETWORKS, key=lambda name: name not in QUICK))
def test_equals_brute_force_without_a_warning(name, tmp_path):
    network, want = with_golden(NETWORKS[name])
    executable = built(network, tmp_path)
    outputs = program.run(executable, network, network.golden.images)
    assert outputs.keys() == want.keys()
    for layer, values in want.items():
        assert_array_equal(outputs[layer], values, layer)
    done = subprocess.run([executable], capture_output=True, text=True, check=True)
    assert done.stdout == f"4 golden images, {len(want)} layers: equal\n"
    assert not done.stderr


@needs_a_compiler
def test_the_self_test_finds_the_layer(tmp_path):
    network, _ = with_golden(random_network(0, "vgg", "shift1"), count=2)
    outputs = network.golden.outputs | {"conv2": network.golden.outputs["conv2"].copy()}
    outputs["conv2"][1, 0, 0, 0] ^= 1
    wrong = dataclasses.replace(network, golden=Golden(network.golden.images, outputs))
    done = subprocess.run([built(wrong, tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "golden image 1 differs, first in layer conv2",
        "2 golden images, 5 layers: WRONG",
    ]


NAMES = ['a "b" */ int x; /*', "é ??/", "$name %s \\", "layer"]
DRIVER = """
#include <stdio.h>
static int layers;
#define FLIGHTNN_LAYER(name, values, count, is_sums) (layers += (values)[0] == (values)[0])
#include "layer.c"
int main(void)
{
    static int32_t workspace[FL_LAYER_WORKSPACE], logits[FL_LAYER_CLASSES];
    static const uint8_t image[FL_LAYER_IMAGE_BYTES];
    fl_layer_infer(image, logits, workspace);
    for (int i = 0; i < FL_LAYER_CLASSES; i++)
        printf("%s\\n", fl_layer_labels[i]);
    printf("%d %d\\n", layers, fl_layer_class(logits));
    return 0;
}
"""


@needs_a_compiler
def test_names_and_labels_are_data(tmp_path):
    """Whatever stands in a file, what a user compiles is no code of it."""
    network = random_network(0, "vgg", "shift1")
    names = ("int", "main", "OUTPUT", "infer", "x" * 64)
    new = {x.name: name for x, name in zip(network.layers, names, strict=True)}
    renamed = [
        dataclasses.replace(x, name=new[x.name], input=new.get(x.input, x.input))
        for x in network.layers
    ]
    labels = (*NAMES, "*/")
    network = dataclasses.replace(network, name="layer", layers=tuple(renamed), labels=labels)
    program.write(c.to_c(network), tmp_path)
    (tmp_path / "driver.c").write_text(DRIVER)
    program._run([*program.compiler(), *STRICT, "-o", f"{tmp_path}/driver", f"{tmp_path}/driver.c"])
    printed = program._run([f"{tmp_path}/driver"]).decode().splitlines()
    logits = brute_force.layer_outputs(network, np.zeros((1, *network.input_shape), np.uint8))
    assert printed == [*labels, f"5 {logits['x' * 64].argmax()}"]
    hostile = c.to_c(dataclasses.replace(network, name='*/ #error "x"'))
    assert hostile.name == "error_x"
    assert "*/" not in hostile.source.splitlines()[0]
    assert "#error" not in hostile.header


def code_of(network):
    """The source without comments."""
    return re.sub(r"/\*.*?\*/", "", c.to_c(network).source, flags=re.DOTALL)


def test_only_what_must_be_is_multiplied():
    for terms in (None, 2):
        for weights in ("shift2", "integer", "binary"):
            network = random_network(2, "resnet", weights, affine_terms=terms)
            products = re.findall(r"[\w\])] \* [\w(]+", code_of(network))
            expected = ["] * weight"] * (weights == "integer") + ["m * a"] * (terms is None)
            assert products == expected
            assert ("Nothing is multiplied" in c.to_c(network).source) == (not expected)


def test_only_the_functions_that_layers_need():
    network = NETWORKS["vector"]
    assert "convolve" not in code_of(network)
    assert "max_pool" not in code_of(network)
    assert set(source._FUNCTIONS) | {"record", "class", "self_test"} == {
        file.name.removesuffix(".c")
        for file in source.resources.files(c).iterdir()
        if file.name.endswith(".c")
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_that_are_needed_share_no_memory(name):
    network = NETWORKS[name]
    plan, known = memory.plan(network), shapes.outputs(network)
    places = {
        name: set(range(first, first + -(-memory.output_bytes(known[name]) // memory.WORD)))
        for name, first in plan.first.items()
    }
    assert known.keys() - places.keys() == {network.layers[-1].name}
    assert max(map(max, places.values())) == plan.words - 1
    for i, layer in enumerate(network.layers):
        later = {name for other in network.layers[i:] for name in other.inputs}
        earlier = {IMAGE, *(other.name for other in network.layers[:i])}
        there = [*(later & earlier), *({layer.name} & places.keys())]
        assert sum(len(places[x]) for x in there) == len(set().union(*(places[x] for x in there)))


def test_sizes_are_those_of_the_tables():
    network = NETWORKS["resnet-shift2-1-extreme"]
    made = c.to_c(network)
    bytes_of = {"uint8": 1, "int32": 4}
    tables = re.findall(r"^static const (\w+)_t \w+\[(\d+)\] = {$", made.source, re.MULTILINE)
    taken = sum(bytes_of[kind] * int(count) for kind, count in tables if kind in bytes_of)
    assert made.flash == taken == sum(size.flash for size in made.sizes)
    assert f"FLASH_BYTES {taken} " in made.header
    assert made.table() in made.header.replace("\n   ", "\n")


def test_what_is_too_large_is_told():
    sums = (Average("average", "image", None, -7),)
    network = dataclasses.replace(random_network(), layers=sums, labels=("x",) * 1024)
    large = dataclasses.replace(network, input_shape=(512, 512, 1024))
    with pytest.raises(c.CExportError, match=r"268,435,456 bytes of memory: C is made for 67,108,"):
        c.to_c(large)


def test_a_kind_of_weights_without_c_is_named(monkeypatch):
    monkeypatch.delitem(layers._DOTS, "integer")
    network = random_network(0, "vgg", "integer")
    with pytest.raises(c.CExportError, match=r"conv1: weights of kind 'integer'.*as ONNX"):
        c.to_c(network)


def test_texts_of_c():
    assert text.table("int32_t", "x", []) == "static const int32_t x[1] = {\n    0,\n};"
    assert max(map(len, text.table("int32_t", "x", range(999)).splitlines())) <= 100


def test_without_a_compiler(monkeypatch):
    monkeypatch.setenv("CC", "/no/such/compiler")
    network = random_network(0, "vgg", "shift1")
    reason = "there is no C compiler (tried /no/such/compiler): install one, or set CC"
    assert c.unavailable() == reason
    with pytest.raises(ValueError, match="path 'c' cannot run here: there is no C compiler"):
        verify.runners(network, ["c"])
    with pytest.raises(program.CompilerError, match="there is no C compiler"):
        c.make_runner(network)


@needs_a_compiler
def test_a_compiler_that_fails(monkeypatch):
    monkeypatch.setenv("CC", "false")
    with pytest.raises(program.CompilerError, match="false fails: exit code 1: set CC to another"):
        c.make_runner(random_network(0, "vgg", "shift1"))


@needs_a_compiler
def test_verify_finds_a_fault():
    network = random_network(0, "vgg", "shift2", width=2)
    conv = network.layers[0]
    bias = conv.affine.bias + np.int32(1 << 12)
    wrong = with_layer(network, "conv1", affine=dataclasses.replace(conv.affine, bias=bias))
    images = random_images(network, 3)
    right = lambda x: brute_force.layer_outputs(network, x)  # noqa: E731
    for other, faults in ((network, False), (wrong, True)):
        report = verify.compare(
            network, {"right": right, "c": c.make_runner(other)}, [(images, None)]
        )
        assert bool(report.mismatches) == faults
    assert report.paths["c"].first.layer == "conv1"
