"""Data sets of users: what is read of them, how it is split, and what is refused."""

import io
import os
import subprocess
import sys
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from flightnn_jax import data
from flightnn_jax.data import folder, npz
from tests.support import prepared

NAMES = ["left", "right", "up"]


def arrays(count=40, tests=9, shape=(6, 4), classes=3, seed=0):
    """What an .npz file holds: gray images by default."""
    rng = np.random.default_rng(seed)
    parts = {}
    for part, size in (("train", count), ("test", tests)):
        parts[f"x_{part}"] = rng.integers(0, 256, (size, *shape), np.uint8)
        parts[f"y_{part}"] = np.arange(size) % classes
    return parts


def write_npz(directory, **changes):
    """The file's path; an array that is None is left out."""
    path = directory / "own.npz"
    np.savez(path, **{k: v for k, v in (arrays() | changes).items() if v is not None})
    return path


def load(path, split="train", kind="npz", **options):
    return data.load(f"{kind}:{path}", split, cache_dir="", **options)


@pytest.mark.parametrize("mirror", [True, False])
def test_a_file_says_whether_its_images_are_mirrored(tmp_path, mirror):
    assert data.find(f"npz:{write_npz(tmp_path, mirror=mirror)}").flip is mirror


def test_mirror_is_one_truth_value(tmp_path):
    with pytest.raises(data.DataError, match=r"mirror is int64 of shape \(1,\): it must be True"):
        data.find(f"npz:{write_npz(tmp_path, mirror=[1])}")


@pytest.mark.parametrize("compressed", [False, True])
def test_an_npz_file(tmp_path, compressed):
    held = arrays()
    write = np.savez_compressed if compressed else np.savez
    write(tmp_path / "own.npz", class_names=NAMES, **held)
    train, validation, test = (load(tmp_path / "own.npz", split) for split in data.dataset.SPLITS)
    dataset = data.find(f"npz:{tmp_path / 'own.npz'}")
    assert (dataset.image_shape, dataset.labels, dataset.classes) == ((6, 4, 1), tuple(NAMES), 3)
    assert (dataset.pad, dataset.flip, dataset.photographs) == (0, False, False)
    np.testing.assert_array_equal(test.images, held["x_test"][..., None])
    np.testing.assert_array_equal(test.labels, held["y_test"])
    assert (len(train), len(validation)) == (36, 4)
    together = np.concatenate([train.images, validation.images])
    np.testing.assert_array_equal(
        np.unique(together, axis=0), np.unique(held["x_train"][..., None], axis=0)
    )
    for split in (train, validation, test):
        assert split.dataset == dataset
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int32)
        for image, label in zip(split.images, split.labels, strict=True):
            part = "test" if split is test else "train"
            (row,) = np.flatnonzero((held[f"x_{part}"][..., None] == image).all((1, 2, 3)))
            assert held[f"y_{part}"][row] == label


def test_the_validation_split_is_a_function_of_the_number_of_images(tmp_path):
    one = load(write_npz(tmp_path), "validation").labels
    other = load(write_npz(tmp_path, **arrays(seed=1)), "validation").labels
    np.testing.assert_array_equal(one, other)
    # These very rows, in every version of NumPy.
    rows = np.arange(40)
    assert load(write_npz(tmp_path, y_train=rows), "validation").labels.tolist() == ROWS
    assert len(load(write_npz(tmp_path, **arrays(2, classes=2)), "validation")) == 1


ROWS = [11, 3, 20, 13]


@pytest.mark.parametrize(
    ("shape", "expected", "pad"),
    [((5, 5), (5, 5, 1), 0), ((28, 20, 1), (28, 20, 1), 2), ((32, 48, 3), (32, 48, 3), 4)],
)
def test_shapes_of_all_kinds(tmp_path, shape, expected, pad):
    dataset = load(write_npz(tmp_path, **arrays(shape=shape))).dataset
    assert dataset.image_shape == expected
    assert (dataset.pad, dataset.labels) == (pad, ("0", "1", "2"))


X, Y = arrays()["x_train"], arrays()["y_train"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": X / 255}, r"x_train is float64: images are uint8, .*np.rint\(255 \* x\)"),
        ({"x_test": X[:9].astype(np.float16)}, "x_test is float16: images are uint8"),
        ({"x_train": X.astype(np.int32)}, r"x_train is int32 of shape \(40, 6, 4\): write it with"),
        ({"x_train": X[0]}, r"x_train is uint8 of shape \(6, 4\): write"),
        ({"x_train": X[:, :0]}, r"x_train is uint8 of shape \(40, 0, 4\): write"),
        ({"x_train": X[:1], "y_train": Y[:1]}, "x_train has one image, and one is kept"),
        (
            {"x_test": X[:9, :5]},
            r"x_train has images of shape \(6, 4, 1\) and x_test of \(5, 4, 1\): one is needed",
        ),
        ({"y_train": Y[:39]}, r"y_train is int64 of shape \(39,\): .*each of the 40 images"),
        ({"y_train": Y[:, None]}, r"y_train is int64 of shape \(40, 1\): it must be one whole"),
        ({"y_test": Y[:9] / 1}, r"y_test is float64 of shape \(9,\): it must be one whole"),
        ({"y_test": None}, "there is no array y_test among its arrays, x_train, y_train, x_test"),
        ({"y_test": Y[:9] - 1}, "y_test has the label -1: labels are 0, 1, ..."),
        ({"class_names": NAMES[:2]}, "y_train has the label 2, but there are 2 class_names"),
        ({"y_test": Y[:9] + 10**6}, "y_test has the label 1,000,002, but 65,536 classes are the"),
        ({"y_train": Y * 0, "y_test": Y[:9] * 0}, "all labels are 0: a classifier needs two"),
        ({"class_names": [1, 2, 3]}, "class_names is int64 of shape .3,.: it must be one text"),
        ({"x_train": X.astype(object)}, "x_train holds Python objects, which only unpickling"),
        ({"class_names": np.array(NAMES, object)}, "class_names cannot be read .*pickle"),
    ],
)
def test_files_that_are_refused(tmp_path, changes, message):
    path = write_npz(tmp_path, **changes)
    with pytest.raises(data.DataError, match=f"{path}: {message}"):
        data.find(f"npz:{path}")


@pytest.mark.parametrize("names", [["one", "one", "two"], ["one", "two", "\ud800"]])
def test_names_that_are_refused(tmp_path, names):
    with pytest.raises(data.DataError, match=r"has the classes .*: give each a printable name of"):
        data.find(f"npz:{write_npz(tmp_path, class_names=names)}")


def test_damaged_files(tmp_path):
    path = write_npz(tmp_path)
    whole = path.read_bytes()
    for cut in (0, 100, len(whole) - 30):
        path.write_bytes(whole[:cut])
        with pytest.raises(data.DataError, match=r"no .npz file that can be read .*np.savez"):
            load(path)
    place = whole.index(arrays()["x_train"].tobytes())
    path.write_bytes(whole[:place] + b"\0" + whole[place + 1 :])
    with pytest.raises(data.DataError, match=r"can be read .Bad CRC-32 for file 'x_train.npy'"):
        load(path)
    np.save(tmp_path / "one.npy", X)
    with pytest.raises(data.DataError, match=r"no \.npz file that can be read"):
        load(tmp_path / "one.npy")


def test_a_small_file_that_claims_much_is_refused_before_memory_is_taken(tmp_path):
    path = write_npz(tmp_path)
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 1000, 1000), }\n"
    claim = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x_train.npy", claim)
    with pytest.raises(data.DataError, match=r"x_train claims 1,000,000,000,000,\d+ bytes and has"):
        load(path)


@pytest.mark.quick(0)
@pytest.mark.parametrize("member", ["header", "images", "names"])
def test_bombs_in_npz_files_take_no_memory(tmp_path, monkeypatch, member):
    """200 kB that become 200 MB: as a header, as images of a small machine, as names."""
    path = write_npz(tmp_path, x_train=None, class_names=None)
    size, name = 200_000_000, "class_names" if member == "names" else "x_train"
    monkeypatch.setattr(npz, "_memory", lambda: 100_000_000 if member == "images" else 10**12)
    what = ("|u1", (size // 24, 6, 4)) if name == "x_train" else ("<U25000000", (2,))
    text = repr({"descr": what[0], "fortran_order": False, "shape": what[1]}).encode()
    length = size if member == "header" else len(text)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        if member == "names":
            archive.writestr("x_train.npy", npy(X))
        with archive.open(f"{name}.npy", "w") as file:
            file.write(b"\x93NUMPY\x02\x00" + length.to_bytes(4, "little") + text)
            for _ in range(200):
                file.write(bytes(size // 200))
    assert path.stat().st_size < 300_000
    rule = {"header": "EOF", "images": "memory for 100,000,000", "names": "1000 letters"}[member]
    tracemalloc.start()
    try:
        with pytest.raises(data.DataError, match=rule):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_where_a_users_data_is(tmp_path, monkeypatch):
    (tmp_path / "here" / "sub").mkdir(parents=True)
    path = write_npz(tmp_path / "here" / "sub")
    monkeypatch.chdir(tmp_path)
    source = data.find("npz:here/sub/own.npz").source
    assert (source.path, source.home) == (str(path), str(path.parent))
    monkeypatch.chdir("/")
    assert data.find("npz:sub/own.npz", data_dir=tmp_path / "here").source == source
    assert data.find("npz:here/sub/own.npz", data_dir=path.parent).source == source
    moved = path.rename(tmp_path / "own.npz")
    assert data.find(f"npz:{path}", data_dir=tmp_path).source.path == str(moved)
    with pytest.raises(data.DataError, match=r"sub/own.npz: no such data set. .*--data_dir=DIR"):
        data.find(f"npz:{path}")


def test_an_npz_file_takes_neither_tfds_nor_grain_nor_pillow(tmp_path):
    code = f"""
import sys
for name in ("tensorflow_datasets", "grain", "PIL", "sklearn", "absl", "flax", "optax", "orbax"):
    sys.modules[name] = None
from flightnn_jax import data
train = data.load("npz:{write_npz(tmp_path)}", "train")
order = data.TrainOrder(len(train), 8, 0)
assert next(data.train_batches(train, order)).images.shape == (8, 6, 4, 1)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=prepared.ROOT)


def write_folder(root, parts=("train", "test"), count=12, shape=(5, 7), classes=NAMES[:2]):
    """Images of noise, and what was written: {(part, class, file): pixels}."""
    rng = np.random.default_rng(0)
    written = {}
    for part in parts:
        for name in classes:
            (root / part / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = rng.integers(0, 256, shape, np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{number}.png")
                written[part, name, f"{number}.png"] = pixels
    return written


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_a_folder_of_images(tmp_path, shape):
    written = write_folder(tmp_path, shape=shape)
    (tmp_path / "train" / ".hidden").mkdir()
    splits = {split: load(tmp_path, split, "folder") for split in data.dataset.SPLITS}
    dataset = data.find(f"folder:{tmp_path}")
    assert (dataset.image_shape, dataset.labels) == ((*shape, 1)[:3], ("left", "right"))
    for split, opened in splits.items():
        files = dataset.source.files(split)
        assert opened.dataset == dataset
        assert len(files) == len(opened)
        for file, image, label in zip(files, opened.images, opened.labels, strict=True):
            expected = written[file.parts[-3], file.parts[-2], file.name]
            np.testing.assert_array_equal(image, expected.reshape(dataset.image_shape))
            assert dataset.labels[label] == file.parts[-2]
    assert len(splits["test"]) == 24
    assert len(splits["train"]) + len(splits["validation"]) == 24


@pytest.mark.parametrize("part", ["train", "."])
def test_without_a_test_folder_the_hash_of_a_name_decides(tmp_path, part):
    write_folder(tmp_path, parts=[part], count=40)
    files = {s: set(data.find(f"folder:{tmp_path}").source.files(s)) for s in data.dataset.SPLITS}
    assert [len(files[split]) for split in data.dataset.SPLITS] == SHARES
    assert len(set.union(*files.values())) == 80
    write_folder(tmp_path, parts=[part], count=60)
    for split, before in files.items():  # what was there stays where it was
        assert before < set(data.find(f"folder:{tmp_path}").source.files(split))


SHARES = [53, 10, 17]


def test_decoded_folders_are_kept_until_a_file_changes(tmp_path):
    write_folder(tmp_path / "data")
    kept = tmp_path / "cache"
    name = f"folder:{tmp_path / 'data'}"
    first = data.load(name, "test", cache_dir=kept)
    assert len(list(kept.iterdir())) == 1
    np.testing.assert_array_equal(data.load(name, "test", cache_dir=kept).images, first.images)
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(tmp_path / "data/test/left/0.png")
    assert not data.load(name, "test", cache_dir=kept).images[0].any()
    assert len(list(kept.iterdir())) == 2


def test_photographs_in_a_folder(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(40):
        size = rng.integers(20, 60, 2)
        (tmp_path / NAMES[number % 2]).mkdir(exist_ok=True)
        image = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))
        image.save(tmp_path / NAMES[number % 2] / f"{number}.jpg")
    train = load(tmp_path, "train", "folder", image_size=16)
    assert train.dataset.photographs
    images, labels = train.read(np.arange(3))
    assert images.shape == (3, 16, 16, 3)
    assert labels.tolist() == [0, 0, 0]
    order = data.TrainOrder(len(train), 8, 0)
    batch = next(data.train_batches(train, order, stop=1))
    assert batch.images.shape == (8, 16, 16, 3)
    with pytest.raises(data.DataError, match=r"pixels instead of .*With --config.image_size=N"):
        load(tmp_path, "train", "folder")
    with pytest.raises(ValueError, match="image_size=7: images that are resized have 8 pixels"):
        load(tmp_path, "train", "folder", image_size=7)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "train/left/notes.txt").touch(), "left holds 'notes.txt' and 0 more"),
        (lambda root: (root / "train/right/more").mkdir(), "right holds 'more' and 0 more: only"),
        (lambda root: (root / "train/up").mkdir(), "up holds nothing: only files that end in .png"),
        (lambda root: (root / "train/right").rename(root / "right"), "images of 1 classes: a clas"),
        (
            lambda root: (root / "test/left").rename(root / "test/down"),
            r"the classes \['down'\], wh",
        ),
        (lambda root: (root / "train/left/0.png").write_bytes(b"no"), "0.png: .*cannot identify"),
        (lambda root: cut(training_image(root)), "png: the image cannot be used .*truncated"),
        (lambda root: save(root, np.zeros((7, 5), np.uint8)), "7x5 pixels instead of 5x7"),
        (lambda root: save(root, np.zeros((5, 7, 3), np.uint8)), "mode RGB: a colored image among"),
        (lambda root: save(root, np.zeros((5, 7), np.uint16)), "more than 8 bits a channel"),
    ],
)
def test_folders_that_are_refused(tmp_path, spoil, message):
    write_folder(tmp_path)
    spoil(tmp_path)
    with pytest.raises(data.DataError, match=message):
        load(tmp_path, "train", "folder")


def huge(root):
    """A PNG that claims 9,000 x 9,000 pixels, and has one."""
    image = io.BytesIO()
    Image.new("L", (1, 1)).save(image, "PNG")
    whole = bytearray(image.getvalue())
    whole[16:24] = (9_000).to_bytes(4, "big") * 2
    whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
    training_image(root).write_bytes(whole)


def other_format(root):
    """Pillow would start Ghostscript for an EPS."""
    with training_image(root).open("wb") as file:
        Image.new("RGB", (7, 5)).save(file, "EPS")


def endless(root):
    file = training_image(root)
    file.unlink()
    os.mkfifo(file)


def sparse(root):
    with training_image(root).open("wb") as file:
        file.truncate(10**12)


@pytest.mark.parametrize(
    ("spoil", "message", "options"),
    [
        (huge, "9000x9000 pixels, and 67,108,864 are the most", {}),
        (huge, "9000x9000 pixels, and 67,108,864 are the most", {"image_size": 16}),
        (other_format, "cannot identify", {}),
        (endless, "only files", {}),
        (sparse, "at most 268,435,456 bytes", {}),
    ],
)
def test_images_that_would_take_the_machine(tmp_path, spoil, message, options):
    write_folder(tmp_path)
    spoil(tmp_path)
    with pytest.raises(data.DataError, match=message):
        read_all(load(tmp_path, "train", "folder", **options))


def read_all(split):
    split.read(np.arange(len(split)))


def cut(file):
    file.write_bytes(file.read_bytes()[:60])


def save(root, pixels):
    """In the place of a training image."""
    Image.fromarray(pixels).save(training_image(root))


def training_image(root):
    return data.find(f"folder:{root}").source.files("train")[3]


def test_folders_without_images(tmp_path):
    with pytest.raises(data.DataError, match=r"has no folders of images: the layout is PATH/train"):
        load(tmp_path, "train", "folder")
    with pytest.raises(data.DataError, match="none: no such data set"):
        load(tmp_path / "none", "train", "folder")
    write_folder(tmp_path, parts=["train"], count=1)
    empty = [s for s in data.dataset.SPLITS if s not in taken(tmp_path)]
    for split in empty:
        with pytest.raises(data.DataError, match=f"no image falls into the {split} split"):
            folder.Folder(str(tmp_path)).files(split)
    assert empty


def taken(root):
    parts = {folder.part_of(root / "train" / name / "0.png") for name in NAMES[:2]}
    names = {0: "validation", 1: "test", 2: "test"}
    return {names.get(part, "train") for part in parts}


def test_kinds_that_are_unknown():
    for name in ("zip:own.zip", "npz:", "mnist"):
        with pytest.raises(ValueError, match=rf"'{name}' is unknown: .*, npz:FILE, folder:FOLDER"):
            data.check_name(name)


def test_any_prepared_data_set(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (50, 12, 12, 3), np.uint8)
    pairs = [(prepared.encode(image), row % 4) for row, image in enumerate(images)]
    examples = {"train": pairs[:40], "validation": pairs[40:]}
    prepared.write(tmp_path, "shapes", examples, classes=4, size=12)
    train, test = (load("shapes", s, "tfds", data_dir=tmp_path) for s in ("train", "test"))
    assert train.dataset.image_shape == (12, 12, 3)
    assert train.dataset.labels == ("0", "1", "2", "3")
    assert train.dataset.source.home == str(tmp_path)
    np.testing.assert_array_equal(train.images, images[:36])
    np.testing.assert_array_equal(test.images, images[40:])
    with pytest.raises(ValueError, match="image_size=16 for tfds:shapes, whose images have 12"):
        load("shapes", "train", "tfds", data_dir=tmp_path, image_size=16)


def test_prepared_data_of_other_kinds(tmp_path):
    prepared.write_imagenet(tmp_path, train=20, validation=4)
    options = {"data_dir": tmp_path}
    with pytest.raises(ValueError, match=r"have sizes of their own: give .*--config.image_size=N"):
        load("imagenet2012", "train", "tfds", **options)
    assert load("imagenet2012", "train", "tfds", image_size=24, **options).dataset.photographs
    with pytest.raises(data.DataError, match=r"holds no prepared faces\. .*tfds build faces"):
        load("faces", "train", "tfds", **options)
    written = prepared.write(tmp_path, "odd", {"train": []})
    features = (written / "features.json").read_text()
    (written / "features.json").write_text(features.replace('"label"', '"species"'))
    with pytest.raises(
        data.DataError, match=r"odd has the features .*species.*it must have an `im"
    ):
        load("odd", "train", "tfds", **options)
    features = features.replace("tensorflow_datasets.core.features.image_", "antigravity.")
    (written / "features.json").write_text(features)
    with pytest.raises(data.DataError, match=r"names 'antigravity\.\S+, which is not TFDS's own"):
        load("odd", "train", "tfds", **options)
    assert "antigravity" not in sys.modules
