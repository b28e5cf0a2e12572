"""The kernel in C++ against brute force, and how it is compiled."""

import dataclasses
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.integer import IMAGE, Affine, Convolution, ShiftWeights, inference, verify
from flightnn_jax.integer.inference import native, native_build
from tests.integer.inference.test_shifts import check_every_layer, extreme_images
from tests.integer.test_verify import FIRST, check_fault
from tests.support import brute_force
from tests.support.networks_at_random import random_images, random_network, random_networks
from tests.support.prepared import ROOT

WHY_NOT = native_build.unavailable()
compiles = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


def check_network(network):
    images = extreme_images(network)
    check_every_layer(network, inference.make_layer_outputs(network, "native"), images)
    last = network.layers[-1].name
    want = brute_force.layer_outputs(network, images)[last]
    infer = inference.make_inference(network, "native")
    for count in (1, 5):  # another program: pools and additions are part of convolutions
        assert_array_equal(infer(images[:count]), want[:count])


@compiles
@pytest.mark.parametrize("kind", ["vgg", "resnet"])
def test_equals_brute_force(kind):
    check_network(random_network(3, kind, "shift3", extreme=True))


@pytest.mark.whole(13)
@compiles
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, _ in random_networks()])
def test_networks_of_every_kind(name):
    check_network(dict(random_networks())[name])


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_wide_networks(seed):
    check_network(random_network(seed, ("vgg", "resnet")[seed], "shift3", width=35, size=16))


def one_layer(rng, size, stride, inputs, filters, most, often=0.01):
    """A convolution of random weights, `often` of 128 and more, and of random numbers."""
    k = rng.integers(0, most + 1, filters).astype(np.uint8)  # of 0 terms, too
    terms = (most, size, size, inputs, filters)
    there = np.arange(most).reshape(-1, 1, 1, 1, 1) < k
    sign = (rng.choice([-1, 1], terms) * there).astype(np.int8)
    shift = np.where(rng.random(terms) < often, 7, rng.integers(0, 7, terms)) * there
    shift = shift.astype(np.uint8)
    reach = 384 * 128 * size * size * inputs
    multiplier = rng.integers(-(1 << 10), 1 << 10, filters) // (1 + reach // (1 << 20))
    bias = rng.integers(-(1 << 28), 1 << 28, filters)
    low, high = np.sort(rng.integers(-reach, reach, (2, filters)) // 100, axis=0)
    low = np.where(rng.random(filters) < 0.5, -(1 << 18), np.maximum(low, -(1 << 18)))
    high = np.maximum(low, high)
    numbers = (np.asarray(part, np.int32) for part in (multiplier, bias, low, high))
    out_shift = rng.integers(0, 28, filters).astype(np.uint8)
    none = np.zeros((filters, 10), np.int32)
    weights = ShiftWeights(sign, shift, k)
    return Convolution("conv1", IMAGE, stride, weights, 0, Affine(*numbers), out_shift, 0, none)


def v_of(layer, x):
    acc = brute_force.convolve(x, brute_force.integers(layer.weights), layer.stride)
    a = layer.affine
    return np.clip(acc, a.low, a.high) * a.multiplier.astype(np.int64) + a.bias


def pooled(x):
    return np.stack([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]).max(axis=0)


def check_layer(rng, size, stride, inputs, filters, shape):
    """All that a convolution can end with: sums, an activation, a pool, an addition."""
    native_build.load()
    slope = int(rng.integers(1, 3))
    layer = one_layer(
        rng, size, stride, inputs, filters, int(rng.integers(1, 4)), rng.choice([0.003, 0.05])
    )
    x = rng.integers(-128, 128, (*shape, inputs))
    x[0] = rng.choice([-128, 127, 0])
    v = v_of(layer, x)
    packed = native._Packed.of(layer)
    sums = dataclasses.replace(packed, shift=None)
    activations = brute_force.activate(v, layer.shift, slope)
    other = rng.integers(-(1 << 28), 1 << 28, v.shape)
    lift = rng.integers(0, 21, filters).astype(np.uint8)
    little = rng.integers(-128, 128, v.shape)
    lifted = packed.with_add(layer.shift, lift)
    even = v.shape[1] % 2 == v.shape[2] % 2 == 0

    @jax.jit  # one program to compile, not one for each operation of each output
    def every(x, other, little):
        return {
            "sums": sums(x, slope),
            "activations": packed(x, slope),
            **({"pooled": packed(x, slope, pool=True)} if even else {}),
            "added": packed(x, slope, other=other),
            "lifted": lifted(x, slope, other=little),
        }

    outputs = every(x.astype(np.int8), other.astype(np.int32), little.astype(np.int8))
    assert_array_equal(outputs["sums"], v)
    assert_array_equal(outputs["activations"], activations)
    if even:
        assert_array_equal(outputs["pooled"], pooled(activations))
    assert_array_equal(outputs["added"], brute_force.activate(v + other, layer.shift, slope))
    wanted = brute_force.activate(v + (little << lift.astype(np.int64)), layer.shift, slope)
    assert_array_equal(outputs["lifted"], wanted)


# size of the window, stride, inputs, filters, (batch, height, width)
SHAPES = [
    (3, 1, 3, 16, (2, 4, 8)),
    (3, 1, 33, 47, (1, 5, 7)),
    (3, 2, 16, 32, (3, 7, 9)),
    (1, 1, 5, 1, (1, 1, 1)),
    (1, 2, 64, 65, (2, 4, 6)),
    (5, 3, 2, 17, (1, 10, 3)),
    (7, 2, 3, 10, (2, 16, 12)),
    (3, 1, 1, 31, (33, 2, 2)),
    (9, 9, 7, 48, (1, 2, 20)),
    (3, 1, 100, 33, (1, 3, 3)),
]


@compiles
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.quick(3)
def test_layers(shape):
    check_layer(np.random.default_rng(0), *shape)


@pytest.mark.whole(30)
@compiles
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_layers_at_random(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.choice([1, 3, 3, 3, 5, 7]))
    stride, inputs, filters = (int(rng.integers(1, most)) for most in (4, 70, 70))
    check_layer(rng, size, stride, inputs, filters, rng.integers(1, 12, 3))


def test_weights_are_parted():
    rng = np.random.default_rng(0)
    weights = rng.integers(-384, 385, (3, 3, 5, 20))
    parts = native._parts(weights)
    assert_array_equal(sum(part.astype(np.int64) for part in parts), weights)
    steps = native._steps(weights)
    assert steps.shape == (2, 3 * 4, 16, 4)  # rows of 15 bytes take 4 steps
    assert (
        steps[1, 5, 3].tolist() == weights[1, 0, 4:5, 19].tolist() + weights[1, 1, :3, 19].tolist()
    )
    assert not steps[1, :, 4:].any()


@compiles
@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("weights", lambda a: a[:, 1:]),
        ("more", lambda a: a[1:]),
        ("order", lambda a: a + 1000),
        ("order", lambda a: a - 1000),
        ("which", lambda a: a + 1000),
        ("which", lambda a: a - 1000),
        ("first", lambda a: a[::-1]),
        ("first", lambda a: a[1:]),
        ("shift", lambda a: a + 31),
        ("lift", lambda a: a + 25),
        ("filters", lambda a: a + 16),
        ("size", lambda a: a + 1),
        ("size", lambda a: a + 2),
        ("stride", lambda a: a - 1),
    ],
)
def test_the_kernel_leaves_no_buffer(part, change):
    native_build.load()
    rng = np.random.default_rng(0)
    packed = native._Packed.of(one_layer(rng, 3, 1, 16, 20, 2))
    assert len(packed.more)
    assert packed.order.max() >= packed.order.shape[1]  # both copies are read
    packed = packed.with_add(packed.shift, np.zeros(20, np.uint8))
    wrong = dataclasses.replace(packed, **{part: change(getattr(packed, part))})
    x = jnp.zeros((1, 4, 4, 16), jnp.int8)
    other = jnp.zeros((1, 4, 4, 20), jnp.int8)
    with pytest.raises((jax.errors.JaxRuntimeError, ValueError, ZeroDivisionError)):
        wrong(x, 3, other=other).block_until_ready()
    packed(x, 3, other=other).block_until_ready()


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("kind", FIRST)
def test_a_planted_bit_is_found(kind):
    check_fault(kind, "native")


load = native_build.load.__wrapped__  # anew, whatever is loaded


def in_one_line(reason):
    """An error that says what to do, and that verify knows without running anything."""
    with pytest.raises(native_build.NativeError, match=reason) as error:
        load()
    assert "\n" not in str(error.value)
    assert 'path="fast"' in str(error.value) or "XDG_CACHE_HOME" in str(error.value)
    with pytest.raises(ValueError, match=f"path 'native' cannot run here: .*{reason}"):
        verify.runners(random_network(), ["fast", "native"])
    assert list(verify.runners(random_network()))[:3] == ["shifts", "fast", "fast, logits"]
    assert "native" not in verify.runners(random_network())


@pytest.fixture
def anew(monkeypatch, tmp_path):
    """An empty cache, and a library that is not loaded yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native_build, "load", load)
    return tmp_path


def test_a_broken_compiler_is_told(monkeypatch, anew):
    monkeypatch.setenv("CXX", "false")
    in_one_line(r"cannot be compiled \(false: .*\): set CXX")
    compiler = anew / "compiler"
    compiler.write_text("#!/bin/sh\n[ $2 = --version ] || { echo error: no flag >&2; exit 1; }\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", f"{compiler} -flag")
    in_one_line(r"compiler -flag: error: no flag\)")
    compiler.write_text(  # it writes what is no library
        "#!/bin/sh\n[ $2 = --version ] && exit\nwhile [ $# -gt 1 ]; do shift; done; : > $1\n"
    )
    in_one_line("cannot load .*: file too short|cannot load .*invalid ELF")
    assert [file.suffix for file in (anew / "flightnn_jax").iterdir()] == [".so"]


@compiles
def test_a_cache_that_cannot_be_written_is_told(monkeypatch, anew):
    (anew / "file").write_text("in the place of a directory")
    monkeypatch.setenv("XDG_CACHE_HOME", str(anew / "file"))
    monkeypatch.setattr(native_build, "_compile", lambda command: b"library")
    in_one_line(r"keeps its library in .*file/flightnn_jax, which is not possible \(.*Not a dir")


@compiles
@pytest.mark.parametrize("damage", [lambda d: d[:0], lambda d: d[:5000], lambda d: b"\1" + d[1:]])
def test_a_damaged_library_is_made_again(monkeypatch, anew, damage):
    """Loading the half of one could end the process."""
    assert not list(anew.iterdir())
    whole = b"library" * 1000
    monkeypatch.setattr(native_build, "_compile", lambda command: whole)
    file = native_build._built()
    kept = file.read_bytes()
    assert kept.startswith(whole)
    file.write_bytes(damage(kept))
    assert native_build._built() == file
    assert file.read_bytes() == kept


@compiles
def test_a_library_planted_in_a_shared_cache_is_not_loaded(monkeypatch, anew):
    monkeypatch.setattr(native_build, "_compile", lambda command: b"library")
    (anew / "flightnn_jax").mkdir()
    (anew / "flightnn_jax").chmod(0o777)
    native_build._built()
    in_one_line("has mode 777, .* chmod go-w")


def test_no_compiler_is_told(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        native_build.NativeError, match=r"no C\+\+ compiler \(tried no-such-compiler\)"
    ):
        load()
    assert "no-such-compiler" in verify.unavailable()["native"]
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", "")
    assert "tried c++, g++, clang++" in native_build.unavailable()


@compiles
def test_a_library_that_others_may_have_written_is_not_loaded(monkeypatch, tmp_path):
    library = tmp_path / "native.so"
    library.write_text("no library: loading it would be another error")
    library.chmod(0o666)
    monkeypatch.setattr(native_build, "_built", lambda: library)
    with pytest.raises(native_build.NativeError, match=r"has mode 666, .* chmod go-w .*native.so"):
        load()


def test_another_platform_is_told():
    message = r'the program is for cuda.* on a CPU alone; or use path="fast"'
    with pytest.raises(native_build.NativeError, match=message):
        inference.make_inference(random_network(), "native", platform="gpu")


@compiles
@pytest.mark.slow
def slow_compiler(command):
    if "-o" in command:
        time.sleep(0.2)
        Path(command[-1]).write_bytes(b"library")
    return ""


def test_compilers_at_once(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native_build, "_run", slow_compiler)
    with caplog.at_level("INFO"), ThreadPoolExecutor(2) as pool:
        files = list(pool.map(lambda _: native_build._built(), range(2)))
    assert files[0] == files[1]
    assert "a few seconds, once" in caplog.text
    assert list((tmp_path / "flightnn_jax").iterdir()) == files[:1]
    assert native_build._built() == files[0]


WITHOUT_VNNI = """
from tests.integer.inference.test_native import *
for shape in SHAPES[:6]:
    check_layer(np.random.default_rng(0), *shape)
"""


@pytest.mark.exhaustive
@compiles
@pytest.mark.slow
def test_processors_without_vnni(tmp_path):
    command = " ".join(native_build.compilers()[0]) + " -U__AVX512VNNI__"
    env = os.environ | {"CXX": command, "XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", WITHOUT_VNNI], check=True, cwd=ROOT, env=env)
    assert len(list((tmp_path / "flightnn_jax").iterdir())) == 1


@compiles
def test_many_images_on_many_threads():
    network = random_network(1, "vgg", "shift2", size=32, width=8)
    images = random_images(network, 65)
    want = inference.make_inference(network)(images)
    infer = inference.make_inference(network, "native")
    for _ in range(5):
        assert_array_equal(infer(images), want)
