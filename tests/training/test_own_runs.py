"""Networks and data sets of users, from a config to integers and their costs."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from configs import own
from flightnn_jax import data, networks
from flightnn_jax.hardware import workload
from flightnn_jax.integer import files, verify
from flightnn_jax.networks import Conv, Dense, GlobalAverage, MaxPool, Network, Residual
from flightnn_jax.training import export, runlog, runs
from flightnn_jax.training.config import Config, network_of
from launch import options
from tests.support import prepared, training

slow = pytest.mark.slow  # they compile

# Gray and not square; a window of 5x5, two pools at once, no dense layer.
NETWORK = Network(
    "own",
    (12, 8, 1),
    3,
    (
        Conv(4, size=5),
        MaxPool(),
        MaxPool(),
        Residual(Conv(4), Conv(4)),
        Conv(3),
        GlobalAverage(),
    ),
)
NAMES = ("dark", "middle", "light")
CONFIG = Config(
    network=NETWORK,
    dataset="npz:own.npz",
    epochs=2,
    batch_size=24,
    learning_rate=3e-3,
    checkpoint_every=3,
    scheme="lightnn2",
)


def images_of(labels, shape):
    """Noise around a gray that tells the class."""
    noise = np.random.default_rng(0).integers(0, 80, (len(labels), *shape))
    return (noise + 80 * labels.reshape(-1, *[1] * len(shape))).astype(np.uint8)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The directory of own.npz."""
    directory = tmp_path_factory.mktemp("home")
    labels = np.arange(120) % 3
    images = images_of(labels, (12, 8))
    np.savez(
        directory / "own.npz",
        x_train=images[:90],
        y_train=labels[:90],
        x_test=images[90:],
        y_test=labels[90:],
        class_names=NAMES,
    )
    return directory


def prepare(workdir, config=CONFIG, **options):
    return runs.prepare(config, workdir, mesh=training.one_device(), **options)


def lowered_run(workdir, **options):
    return export.lower_run(workdir, mesh=training.one_device(), **options)


@pytest.fixture(scope="module")
def finished(home, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    return workdir, runs.train(prepare(workdir, data_dir=str(home)))


@pytest.fixture(scope="module")
def lowered(finished):
    return lowered_run(finished[0])


@slow
def test_the_workdir_says_what_was_trained_and_where_the_data_was(home, finished):
    workdir, record = finished
    read = Config.from_dict(runlog.read_json(workdir / "config.json"))
    assert read == CONFIG
    assert read.network == NETWORK
    assert runlog.read_json(workdir / "data.json") == {"data_dir": str(home)}
    assert Config.from_dict(record["config"]) == CONFIG


@slow
def test_a_run_goes_on_to_equal_bits(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "broken")
    last = max((tmp_path / "broken" / "checkpoints").glob("[0-9]*"), key=lambda p: int(p.name))
    shutil.rmtree(last)
    broken = prepare(tmp_path / "broken")  # it knows where its data is
    with broken.checkpoints() as checkpoints:
        assert checkpoints.find("last") == 3 < finished[1]["steps"]
    again = runs.train(broken)
    assert {k: again[k] for k in ("test", "train", "layers")} == {
        k: finished[1][k] for k in ("test", "train", "layers")
    }
    one, other = (prepare(w).last_state() for w in (tmp_path / "broken", finished[0]))
    for name, arrays in one.params.items():
        for part, array in arrays.items():
            assert_array_equal(array, other.params[name][part])


@slow
def test_a_run_is_evaluated_where_its_data_was_or_is_now(home, finished, tmp_path):
    workdir, record = finished
    for where in ({}, {"data_dir": str(home)}):
        evaluation = runs.evaluate(workdir, mesh=training.one_device(), **where)
        assert {k: evaluation[k] for k in record["test"]} == record["test"]
    moved = tmp_path / "run"
    shutil.copytree(workdir, moved)
    (tmp_path / "new").mkdir()
    shutil.copy(home / "own.npz", tmp_path / "new")
    runlog.write_json(moved / "data.json", {"data_dir": str(tmp_path / "gone")})
    with pytest.raises(data.DataError, match=r"gone, where the data of the run in .*--data_dir=D"):
        prepare(moved)
    prepare(moved, data_dir=str(tmp_path / "new"))
    runlog.write_json(moved / "data.json", {"data_dir": str(tmp_path)})
    with pytest.raises(data.DataError, match=r"own.npz: no such data set.*--data_dir=DIR"):
        prepare(moved)


@slow
def test_integers_have_the_classes_names(finished, lowered, tmp_path):
    network = lowered.network
    assert network.labels == NAMES
    assert network.input_shape == (12, 8, 1)
    assert network.provenance["config.network.name"] == "own"
    assert network.provenance["config.dataset"] == "npz:own.npz"
    assert lowered.accuracy == finished[1]["test"]["top1"]
    files.save(network, tmp_path / "own.safetensors")
    assert files.load(tmp_path / "own.safetensors").labels == NAMES


@slow
def test_every_path_computes_the_same_integers(lowered):
    paths = [path for path in verify.PATHS if path not in verify.unavailable()]
    images, labels = lowered.test.read(np.arange(6))
    paths.append(verify.TRAINED)
    report = verify.verify(
        lowered.network, [(images, labels)], paths=paths, trained=lowered.trained
    )
    assert (report.images, report.mismatches) == (6, 0)
    assert report.layers == 8
    assert set(paths) < set(report.paths)


@slow
def test_what_it_costs(lowered):
    from_record = workload.from_network(NETWORK, "lightnn2")
    from_file = workload.from_integers(lowered.network)
    by_hand = 96 * 25 * 4 + 2 * 6 * 36 * 4 + 6 * 36 * 3
    for work in (from_record, from_file):
        assert sum(layer.multiplications for layer in work.layers) == by_hand


# Starts a command where importing what only training needs fails.
WITHOUT = """
import runpy, sys
for name in ("flax", "optax", "orbax", "tensorflow_datasets", "grain", "PIL", "tensorboardX"):
    sys.modules[name] = None
sys.argv = [sys.argv[1], *sys.argv[2:]]
runpy.run_module("launch." + sys.argv[0], run_name="__main__")
"""


def command(name, *arguments, cwd=None):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, name, *map(str, arguments)],
        cwd=cwd,
        env={"PYTHONPATH": str(prepared.ROOT), "PATH": "", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@slow
def test_a_file_is_verified_without_what_trains(home, lowered, tmp_path):
    path = tmp_path / "own.safetensors"
    files.save(lowered.network, path)
    flags = [f"--integers={path}", "--paths=independent", "--images=3"]
    code, out, errors = command("verify", *flags, cwd=home)  # its own data set, found here
    assert (code, errors) == (0, "")
    assert out.startswith("3 images, 8 layers, 0 mismatches")
    code, _, errors = command("verify", *flags, cwd=tmp_path)
    assert code == 2
    assert "own.npz: no such data set" in errors


def test_a_config_is_costed_without_what_trains(home):
    code, out, errors = command("estimate", f"--config=configs/own.py:{home / 'own.npz'}")
    assert (code, errors) == (0, "")
    assert out.startswith("own in flightnn on XC7Z045")


@pytest.mark.quick(0)
def test_the_example(tmp_path):
    own.write_digits(tmp_path / "digits.npz")
    config = options.load_config(f"configs/own.py:{tmp_path / 'digits.npz'}")
    run = prepare(tmp_path / "run", config)
    assert run.model.network is config.network
    assert run.train_split.dataset.labels[:3] == ("zero", "one", "two")
    assert (len(run.train_split), len(run.validation_split)) == (1294, 143)
    assert run.train_split.images.max() == 255
    with pytest.raises(ValueError, match=r"has no get_config\(arguments\): see configs/own.py"):
        options.load_config(str(prepared.ROOT / "configs/__init__.py"))


@pytest.mark.exhaustive
@slow
def test_a_folder_and_images_of_five_by_five_pixels(tmp_path):
    for row, label in enumerate(labels := np.arange(60) % 2):
        image = Image.fromarray(images_of(labels, (5, 5, 3))[row])
        (tmp_path / "train" / NAMES[label]).mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "train" / NAMES[label] / f"{row}.png")
    layers = [Conv(2, size=5, stride=2), GlobalAverage(), Dense(2)]
    tiny = Network("tiny", (5, 5, 3), 2, layers)
    config = dataclasses.replace(
        CONFIG, network=tiny, dataset=f"folder:{tmp_path}", batch_size=8, epochs=1
    )
    workdir = tmp_path / "run"
    runs.train(prepare(workdir, config))
    lowered = lowered_run(workdir)
    assert lowered.network.labels == NAMES[:2]
    images, labels = lowered.test.read(np.arange(4))
    report = verify.verify(lowered.network, [(images, labels)], paths=["independent"])
    assert report.mismatches == 0


def test_a_record_that_does_not_fit_its_data(home, tmp_path):
    wide = dataclasses.replace(NETWORK, input_shape=(12, 12, 1))
    message = (
        r"'own' takes images of shape \(12, 12, 1\) and tells 3 classes apart, but npz:own.npz"
    )
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path, Config(network=wide, dataset="npz:own.npz"), data_dir=str(home))
    config = Config(network="net4", width=8, dataset="npz:own.npz")
    named = network_of(config, data_dir=str(home))
    assert (named.input_shape, named.classes) == ((12, 8, 1), 3)
    with pytest.raises(ValueError, match="pool2: a 2x2 pool on 5x3: height and width must be even"):
        network_of(Config(network="net4", dataset="npz:a"), five_by_three())
    assert network_of(Config(network=NETWORK, dataset="npz:none")) is NETWORK


def five_by_three():
    return dataclasses.replace(data.find("digits"), image_shape=(10, 6, 1))


def test_configs_with_a_record():
    assert Config.from_dict(json.loads(json.dumps(CONFIG.to_dict()))) == CONFIG
    assert Config.from_dict(Config(network="net4").to_dict()).network == "net4"  # as ever
    assert CONFIG.override({"network": "net2"}).network == "net2"
    assert CONFIG.override({"epochs": "7"}).network is NETWORK
    other = dataclasses.replace(CONFIG, network=dataclasses.replace(NETWORK, slope_exponent=-2))
    assert other.decisive() != CONFIG.decisive()
    with pytest.raises(
        ValueError, match="width=8 with the network record 'own', whose layers have"
    ):
        CONFIG.override({"width": "8"})
    with pytest.raises(
        ValueError, match=r"network=3: give a name, net1 to net8, or a networks.Net"
    ):
        Config(network=3)
    with pytest.raises(ValueError, match="unknown fields depth: another version of this program"):
        Config.from_dict({"depth": 3})
    assert networks.to_dict(NETWORK) == CONFIG.to_dict()["network"]
