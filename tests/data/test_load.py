"""Data sets by name: what is read, from where, and what is said when it cannot be."""

import json
import pickle

import numpy as np
import pytest

from flightnn_jax import data
from flightnn_jax.data import records
from tests.support import prepared


def load(root, split="train", name="cifar10", **kwargs):
    return data.load(name, split, data_dir=root, cache_dir="", **kwargs)


@pytest.mark.parametrize("shards", [1, 3])
def test_splits_are_the_records_in_order(tmp_path, shards):
    _, images, labels = prepared.write_cifar10(tmp_path, shards=shards)
    parts = {"train": slice(0, 36), "validation": slice(36, 40), "test": slice(40, 50)}
    for split, part in parts.items():
        opened = load(tmp_path, split)
        np.testing.assert_array_equal(opened.images, images[part])
        np.testing.assert_array_equal(opened.labels, labels[part])
        assert opened.images.dtype == np.uint8
        assert opened.labels.dtype == np.int32
        assert opened.dataset == data.find("cifar10", data_dir=tmp_path)
        assert opened.dataset.image_shape == (32, 32, 3)


def test_the_test_split_is_not_touched_by_the_others(tmp_path):
    directory, _, _ = prepared.write_cifar10(tmp_path)
    for file in directory.glob("cifar10-test*"):
        file.unlink()
    assert len(load(tmp_path, "train")) == 36
    assert len(load(tmp_path, "validation")) == 4
    with pytest.raises(data.DataError, match=r"split 'test' in .* has 0 files instead of 1"):
        load(tmp_path, "test")


def test_the_newest_version_is_read(tmp_path):
    prepared.write_cifar10(tmp_path, version="3.0.9", train=10)
    prepared.write_cifar10(tmp_path, version="3.0.10", train=20)
    assert len(load(tmp_path)) == 18


def test_the_directory_may_come_from_the_environment_and_be_read_only(tmp_path, monkeypatch):
    directory, _, _ = prepared.write_cifar10(tmp_path / "data")
    for path in [*directory.iterdir(), directory, directory.parent, tmp_path / "data"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    before = sorted((tmp_path / "data").rglob("*"))
    kept = tmp_path / "cache"
    assert len(data.load("cifar10", "test", cache_dir=kept)) == 10
    assert len(list(kept.iterdir())) == 1
    assert sorted((tmp_path / "data").rglob("*")) == before  # root may write there
    directory.chmod(0o755)


def test_digits_are_split_once_and_for_all():
    splits = {name: data.load("digits", name) for name in ("train", "validation", "test")}
    assert [len(split) for split in splits.values()] == [1257, 180, 360]
    everything = np.concatenate([s.images[:, ::4, ::4, 0].reshape(-1, 64) for s in splits.values()])
    labels = np.concatenate([split.labels for split in splits.values()])
    from sklearn import datasets

    original = datasets.load_digits()
    expected = np.rint(original.data * (255 / 16)).astype(np.uint8)
    together = np.column_stack([everything, labels])
    np.testing.assert_array_equal(
        together[np.lexsort(together.T)],
        (whole := np.column_stack([expected, original.target]))[np.lexsort(whole.T)],
    )
    # These very examples, in every version of NumPy.
    assert splits["test"].labels[:12].tolist() == [6, 2, 4, 2, 4, 1, 9, 3, 0, 5, 7, 4]
    for split in splits.values():
        assert split.images.min() == 0
        assert split.images.max() == 255
        assert np.bincount(split.labels).min() >= 10


@pytest.mark.parametrize("size", [8, 28, 64])
def test_digits_take_any_size(size):
    images = data.load("digits", "validation", image_size=size).images
    assert images.shape == (180, size, size, 3)
    nearest = np.arange(size) * 8 // size
    eight = data.load("digits", "validation", image_size=8).images
    np.testing.assert_array_equal(images, eight[:, nearest][:, :, nearest])


def test_unknown_names():
    with pytest.raises(ValueError, match=r"'mnist' is unknown: choose one of cifar10, .*digits"):
        data.load("mnist", "train")
    with pytest.raises(ValueError, match=r"split 'dev' is unknown: choose one of train, valid"):
        data.load("digits", "dev")


def test_sizes_that_cannot_be():
    with pytest.raises(ValueError, match=r"image_size=64 for cifar10, whose images have 32"):
        data.load("cifar10", "train", image_size=64)
    with pytest.raises(ValueError, match=r"image_size=7: images that are resized have 8 pix"):
        data.load("digits", "train", image_size=7)


def test_missing_data_says_how_to_get_it(tmp_path, monkeypatch):
    build = r"tfds build cifar10 --file_format=array_record --data_dir=DIR"
    with pytest.raises(data.DataError, match=rf"nowhere does not exist. .*{build}"):
        load(tmp_path / "nowhere")
    with pytest.raises(data.DataError, match=rf"holds no prepared cifar10\. .*{build}"):
        load(tmp_path)
    with pytest.raises(data.DataError, match=r"--manual_dir=DOWNLOADS, .*image-net\.org"):
        load(tmp_path, name="imagenet2012")
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(data.DataError, match=r"home/tensorflow_datasets does not exist"):
        data.load("cifar10", "train", cache_dir="")


def test_a_split_that_was_not_prepared(tmp_path):
    prepared.write(tmp_path, "cifar10", {"train": [(b"", 0)] * 10})
    with pytest.raises(data.DataError, match=r"has the splits train but not 'test'"):
        load(tmp_path, "test")


def test_data_prepared_for_tensorflow(tmp_path):
    directory, _, _ = prepared.write_cifar10(tmp_path)
    info = json.loads((directory / "dataset_info.json").read_text())
    info["fileFormat"] = "tfrecord"
    (directory / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(data.DataError, match=r"as tfrecord, .*convert_format .*cifar10/1.0.0`"):
        load(tmp_path)
    info["alternativeFileFormats"] = ["array_record"]  # as tfds convert_format leaves it
    (directory / "dataset_info.json").write_text(json.dumps(info))
    assert len(load(tmp_path)) == 36


def test_a_description_that_cannot_be_read(tmp_path):
    directory, _, _ = prepared.write_cifar10(tmp_path)
    (directory / "dataset_info.json").write_text("{")
    with pytest.raises(data.DataError, match=r"not a data set that TFDS can open .*anew"):
        load(tmp_path)


def corrupted(tmp_path, row, image, label=3):
    pairs = [(prepared.encode(p), 0) for p in prepared.random_images(40)]
    pairs[row] = (image, label)
    prepared.write(tmp_path, "cifar10", {"train": pairs, "test": pairs[:5]})


@pytest.mark.parametrize(
    ("image", "label", "reason"),
    [
        (b"not an image", 3, "cannot identify image file"),
        (prepared.encode(prepared.random_images(1)[0])[:1500], 3, "truncated"),
        (prepared.encode(prepared.random_images(1, size=16)[0]), 3, "16x16 pixels instead of 32"),
        (prepared.encode(prepared.random_images(1)[0]), 10, "label 10 of 10 classes"),
    ],
)
def test_a_damaged_example_is_named(tmp_path, image, label, reason):
    corrupted(tmp_path, 38, image, label)
    assert len(load(tmp_path, "train")) == 36
    with pytest.raises(
        data.DataError, match=rf"record 38 of split 'train' in .*cifar10/1.0.0 .*{reason}"
    ):
        load(tmp_path, "validation")


def test_a_damaged_file_names_the_record(tmp_path):
    directory, _, _ = prepared.write_cifar10(tmp_path, train=400)
    (file,) = directory.glob("cifar10-train*")
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    file.write_bytes(content)
    with pytest.raises(
        data.DataError, match=r"record (1[89]\d|2[0-2]\d) of split 'train' .*Riegeli"
    ):
        load(tmp_path)


def test_a_file_that_was_cut_short(tmp_path):
    directory, _, _ = prepared.write_cifar10(tmp_path, train=400)
    (file,) = directory.glob("cifar10-train*")
    file.write_bytes(file.read_bytes()[:-70000])
    with pytest.raises(data.DataError, match=r"record \d+ of split 'train'"):
        load(tmp_path)


def test_records_travel_between_processes(tmp_path):
    prepared.write_cifar10(tmp_path)
    dataset = data.find("cifar10", data_dir=tmp_path)
    opened = records.Records(dataset, dataset.source, "validation")
    again = pickle.loads(pickle.dumps(opened))
    assert again.read([2, 0]) == opened.read([2, 0])


needs_shared = pytest.mark.skipif(
    not (prepared.SHARED / "tfds").is_dir(),
    reason=f"no real data sets at {prepared.SHARED}/tfds (FLIGHTNN_SHARED names the folder)",
)


@pytest.mark.whole(1)
@needs_shared
@pytest.mark.parametrize(
    ("name", "classes", "sizes"),
    [
        ("svhn_cropped", 10, {"train": 3991, "validation": 443, "test": 10000}),
        # What trains is decoded as what validates is, and that is a part of it.
        ("cifar10", 10, {"validation": 5000, "test": 10000}),
        ("cifar100", 100, {"validation": 5000}),
    ],
)
@pytest.mark.slow
def test_real_data_sets(name, classes, sizes, tmp_path):
    where = {"data_dir": prepared.SHARED / "tfds", "cache_dir": tmp_path}
    for split, size in sizes.items():
        loaded = data.load(name, split, **where)
        assert len(loaded) == size
        assert np.unique(loaded.labels).size == classes
        assert 80 < loaded.images.mean() < 150
    again = data.load(name, split, **where)
    np.testing.assert_array_equal(again.images, loaded.images)


@needs_shared
def test_real_photographs():
    split = data.load("imagenet2012", "test", data_dir=prepared.SHARED / "tfds", image_size=64)
    images, labels = split.read(np.arange(20))
    assert images.shape == (20, 64, 64, 3)
    assert 60 < images.mean() < 190
    assert labels.max() < 1000
