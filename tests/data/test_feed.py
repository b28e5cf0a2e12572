"""Batches on devices: in order, from any step, over any number of devices and processes."""

import itertools
import json
import socket
import subprocess
import sys

import chex
import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flightnn_jax import data
from flightnn_jax.data import feed
from tests.support import prepared

ENVIRONMENT = {"PYTHONPATH": str(prepared.ROOT), "PATH": "", "JAX_PLATFORMS": "cpu"}


def spread(devices):
    mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
    return NamedSharding(mesh, PartitionSpec("data"))


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", "train", image_size=8)


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    root = tmp_path_factory.mktemp("imagenet")
    prepared.write_imagenet(root)
    return root


def same(one, two):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_are_the_rows_of_the_order(digits):
    order = data.TrainOrder(len(digits), batch_size=100, seed=0)
    batches = list(data.train_batches(digits, order, stop=30))
    assert len(batches) == 30
    chex.assert_trees_all_equal_shapes_and_dtypes(*batches)
    for step, batch in enumerate(batches):
        rows = order.rows(step)
        same(batch, (digits.images[rows], digits.labels[rows], np.ones(100, bool)))
        assert batch.images.dtype == np.uint8
        assert batch.labels.dtype == np.int32


@pytest.mark.parametrize("start", [0, 1, 11, 12, 25])
def test_a_run_goes_on_where_it_was(digits, start):
    order = data.TrainOrder(len(digits), batch_size=100, seed=4)
    whole = list(data.train_batches(digits, order, stop=start + 3))[start:]
    resumed = list(itertools.islice(data.train_batches(digits, order, start=start), 3))
    for one, two in zip(whole, resumed, strict=True):
        same(one, two)


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_batches_are_spread_over_devices(digits, devices):
    order = data.TrainOrder(len(digits), batch_size=16, seed=0)
    plain = next(data.train_batches(digits, order))
    batch = next(data.train_batches(digits, order, sharding=spread(devices)))
    same(batch, plain)
    assert batch.images.sharding == spread(devices)
    assert {shard.data.shape[0] for shard in batch.labels.addressable_shards} == {16 // devices}


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_read_parts_of_the_same_batch(digits, hosts):
    order = data.TrainOrder(len(digits), batch_size=16, seed=0)
    readers = [feed._Reader(digits, order, host, hosts) for host in range(hosts)]
    whole = feed._Reader(digits, order, 0, 1)
    for step in (0, 80):
        parts = [reader(step) for reader in readers]
        same([np.concatenate(part) for part in zip(*parts, strict=True)], whole(step))


@pytest.mark.parametrize("batch_size", [7, 8, 360, 1000])
def test_evaluation_counts_every_example_once(batch_size):
    test = data.load("digits", "test", image_size=8)
    batches = list(data.evaluation_batches(test, batch_size))
    assert {batch.images.shape for batch in batches} == {(batch_size, 8, 8, 3)}
    mask = np.concatenate([batch.mask for batch in batches])
    images = np.concatenate([batch.images for batch in batches])
    labels = np.concatenate([batch.labels for batch in batches])
    same((images[mask], labels[mask]), (test.images, test.labels))
    assert not images[~mask].any()
    assert not labels[~mask].any()


@pytest.mark.parametrize("devices", [1, 8])
def test_a_step_compiles_once_for_all_batches(digits, devices):
    chex.clear_trace_counter()  # it counts by name, so those of the other parameter, too

    @jax.jit
    @chex.assert_max_traces(n=1)
    def count(batch):
        return batch.mask.sum()

    test = data.load("digits", "test", image_size=8)
    batches = list(data.evaluation_batches(test, 104, sharding=spread(devices)))
    order = data.TrainOrder(len(digits), batch_size=104, seed=0)
    train = list(data.train_batches(digits, order, stop=14, sharding=spread(devices)))
    assert [int(count(batch)) for batch in batches + train] == [104, 104, 104, 48] + [104] * 14


def test_hosts_without_an_example_take_part_in_evaluation():
    test = data.load("digits", "test", image_size=8)
    order = data.EvaluationOrder(len(test), 240)
    images, labels, mask = feed._Reader(test, order, 3, 4)(1)
    assert images.shape == (60, 8, 8, 3)
    assert labels.shape == mask.shape == (60,)
    assert not mask.any()


def test_bad_input(digits):
    order = data.TrainOrder(len(digits), batch_size=12, seed=0)
    with pytest.raises(ValueError, match=r"batch_size=12 does not divide by the 8 devices: cho"):
        data.train_batches(digits, order, sharding=spread(8))
    with pytest.raises(ValueError, match=r"batch_size=9 does not divide by the 2 devices: choo"):
        data.evaluation_batches(digits, 9, sharding=spread(2))
    with pytest.raises(ValueError, match=r"an order of 50 examples for a split of 1257: make"):
        data.train_batches(digits, data.TrainOrder(50, 5, 0))


def test_several_processes_need_a_sharding(digits, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match=r"no sharding with 2 processes: .*NamedSharding"):
        data.evaluation_batches(digits, 8)


PROCESS = """
import sys
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from flightnn_jax import data

jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
sharding = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
assert len(jax.devices()) == 4
train = data.load("digits", "train", image_size=8)
order = data.TrainOrder(len(train), batch_size=16, seed=0)
whole = NamedSharding(sharding.mesh, PartitionSpec())
for step in (77, 78):
    (batch,) = data.train_batches(train, order, start=step, stop=step + 1, sharding=sharding)
    images = np.asarray(jax.jit(lambda x: x, out_shardings=whole)(batch.images))
    np.testing.assert_array_equal(images, train.images[order.rows(step)])
count = jax.jit(lambda mask: mask.sum(), out_shardings=whole)
masks = [b.mask for b in data.evaluation_batches(train, 100, sharding=sharding)]
assert sum(int(count(mask)) for mask in masks) == len(train)
"""


@pytest.mark.slow
def test_two_processes_make_one_batch():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, address, str(number)],
            env={**ENVIRONMENT, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    said = [process.communicate(timeout=200)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said


def test_photographs_for_training_and_evaluation(imagenet):
    train = data.load("imagenet2012", "train", data_dir=imagenet, image_size=32)
    held_out = data.load("imagenet2012", "validation", data_dir=imagenet, image_size=32)
    test = data.load("imagenet2012", "test", data_dir=imagenet, image_size=32)
    assert (len(train), len(held_out), len(test)) == (198, 2, 5)
    order = data.TrainOrder(len(train), batch_size=16, seed=0)
    batches = list(data.train_batches(train, order, stop=15, sharding=spread(8)))
    again = list(data.train_batches(train, order, start=13, stop=15))
    for one, two in zip(batches[13:], again, strict=True):
        same(one, two)
    # Another epoch crops the same photograph differently.
    first, second = order.rows(0), order.rows(12)
    _, labels = train.read(np.concatenate([first, second]))
    np.testing.assert_array_equal(np.concatenate([batches[0].labels, batches[12].labels]), labels)
    evaluated = list(data.evaluation_batches(test, 4))
    assert [batch.mask.tolist() for batch in evaluated] == [[True] * 4, [True] + [False] * 3]
    middle, _ = test.read(np.arange(5))
    np.testing.assert_array_equal(np.concatenate([batch.images for batch in evaluated])[:5], middle)


def test_hosts_crop_photographs_as_one_would(imagenet):
    train = data.load("imagenet2012", "train", data_dir=imagenet, image_size=16)
    order = data.TrainOrder(len(train), batch_size=8, seed=0)
    parts = [feed._Reader(train, order, host, 2)(5) for host in range(2)]
    whole = feed._Reader(train, order, 0, 1)(5)
    same([np.concatenate(part) for part in zip(*parts, strict=True)], whole)


def test_a_damaged_photograph_stops_with_its_name(tmp_path):
    pairs = [(prepared.encode(p, "JPEG"), 1) for p in prepared.random_images(20, size=40)]
    pairs[7] = (pairs[7][0][:300], 1)
    prepared.write(tmp_path, "imagenet2012", {"train": pairs}, classes=1000, size=-1)
    train = data.load("imagenet2012", "train", data_dir=tmp_path, image_size=16)
    with pytest.raises(data.DataError, match=r"record 7 of split 'train' (?i:.*truncated)"):
        list(data.train_batches(train, data.TrainOrder(20, 4, 0), stop=5))


WORKERS = """
import json, sys
import numpy as np
from absl import app
from flightnn_jax import data

def main(argv):
    train = data.load("imagenet2012", "train", data_dir=argv[1], image_size=16)
    order = data.TrainOrder(len(train), batch_size=8, seed=0)
    sums = [
        np.asarray(batch.images, np.int64).sum(axis=(1, 2, 3)).tolist()
        for batch in data.train_batches(train, order, start=3, stop=9, workers=2)
    ]
    print(json.dumps(sums))

if __name__ == "__main__":
    app.run(main)
"""


@pytest.mark.slow
def test_worker_processes_read_the_same_batches(imagenet, tmp_path):
    (tmp_path / "main.py").write_text(WORKERS)
    done = subprocess.run(
        [sys.executable, tmp_path / "main.py", imagenet],
        capture_output=True,
        text=True,
        check=True,
        env=ENVIRONMENT,
    )
    train = data.load("imagenet2012", "train", data_dir=imagenet, image_size=16)
    order = data.TrainOrder(len(train), batch_size=8, seed=0)
    expected = [
        np.asarray(batch.images, np.int64).sum(axis=(1, 2, 3)).tolist()
        for batch in data.train_batches(train, order, start=3, stop=9)
    ]
    assert json.loads(done.stdout) == expected
