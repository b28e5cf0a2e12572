"""The command that exports, and the path of `launch.verify` that runs what it writes."""

import dataclasses

import numpy as np
import pytest

from flightnn_jax.integer import files, proof
from flightnn_jax.integer.export import c
from tests.support import brute_force, commands
from tests.support.networks_at_random import random_images, random_network

pytestmark = pytest.mark.slow
pytest.importorskip("onnx", reason="it comes with the extra onnx")


@pytest.fixture(scope="module")
def network():
    """One that takes the images of digits, and gives more than 24 bits to QONNX's arithmetic."""
    return dataclasses.replace(random_network(4, "vgg", "shift2", extreme=True), name="Ex (1)")


@pytest.fixture(scope="module")
def ended(network, tmp_path_factory):
    place = tmp_path_factory.mktemp("export")
    files.save(network, place / "n.safetensors")
    given = f"--integers={place}/n.safetensors"
    (place / "file").write_text("")
    path = "c" if c.unavailable() is None else "independent"
    return place, commands.run(
        [
            ["export", given, "--to=c,onnx,c", f"--out={place}/a/b"],
            ["export", given, "--to=qonnx,stablehlo", "--qonnx_style=quant", f"--out={place}/a/b"],
            ["export", given, "--to=c", f"--out={place}/file"],
            ["verify", given, "--dataset=digits", "--batch=360", f"--paths={path}"],
        ]
    )


def test_writes_what_is_asked_for(network, ended):
    place, (first, second, *_) = ended
    assert (first.code, second.code) == (0, 0), (first.errors, second.errors)
    program = c.to_c(network)
    out = place / "a" / "b"
    assert {path.name for path in out.iterdir()} == {
        *("ex_1.c", "ex_1.h", "ex_1.onnx", "ex_1.qonnx.onnx", "ex_1.stablehlo"),
    }
    assert (out / "ex_1.c").read_text() == program.source
    assert (out / "ex_1.h").read_text() == program.header
    assert first.out.startswith(program.table())
    assert f"{out}/ex_1.c: {len(program.source):,} bytes" in first.out
    assert "note: conv1, conv2, conv3: more than the 24 bits of float32" in second.out


def test_what_is_written_gives_the_logits(network, ended):
    onnx = pytest.importorskip("onnxruntime", reason="it comes with the extra onnx")
    from flightnn_jax.integer.export import stablehlo

    out = ended[0] / "a" / "b"
    images = random_images(network, 3)
    want = brute_force.layer_outputs(network, images)["average"]
    session = onnx.InferenceSession((out / "ex_1.onnx").read_bytes())
    np.testing.assert_array_equal(session.run(None, {"images": images})[0], want)
    infer = stablehlo.from_stablehlo((out / "ex_1.stablehlo").read_bytes())
    np.testing.assert_array_equal(infer(images), want)


def test_a_file_is_no_directory(ended):
    place, (*_, third, _) = ended
    assert third.code == 2
    [line] = third.errors.splitlines()
    assert f"--out={place}/file" in line
    assert "choose another directory" in line


def test_c_gives_the_integers_of_a_whole_test_set(network, ended):
    assert proof.differences(network) == []
    *_, verified = ended[1]
    assert verified.code == 0, verified.errors
    assert "360 images, 5 layers, 0 mismatches" in verified.out
