"""The cache of decoded images: whatever happens to a file, what is read is right."""

import os
import signal
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest

from flightnn_jax import data
from flightnn_jax.data import cache
from tests.support import prepared

IMAGES = prepared.random_images(6, size=8)
LABELS = np.arange(6, dtype=np.int32)


class Builder:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return IMAGES, LABELS


def check(arrays):
    np.testing.assert_array_equal(arrays[0], IMAGES)
    np.testing.assert_array_equal(arrays[1], LABELS)


def test_is_built_once(tmp_path):
    build = Builder()
    for _ in range(3):
        check(cache.cached(tmp_path / "deep" / "er", "key", build))
    assert build.calls == 1
    assert [path.name for path in (tmp_path / "deep" / "er").iterdir()] == ["key.npz"]


def test_can_be_turned_off(tmp_path):
    build = Builder()
    for _ in range(2):
        check(cache.cached(None, "key", build))
    assert build.calls == 2
    assert not list(tmp_path.iterdir())


def test_every_truncation_is_noticed(tmp_path):
    build = Builder()
    cache.cached(tmp_path, "key", build)
    whole = (tmp_path / "key.npz").read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        (tmp_path / "key.npz").write_bytes(whole[:length])
        before = build.calls
        with pytest.warns(UserWarning, match=r"key.npz is damaged \(.*\): it is made again"):
            check(cache.cached(tmp_path, "key", build))
        assert build.calls == before + 1


def test_a_flipped_bit_is_never_read_as_data(tmp_path):
    build = Builder()
    cache.cached(tmp_path, "key", build)
    whole = (tmp_path / "key.npz").read_bytes()
    for place in range(0, len(whole), 7):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        (tmp_path / "key.npz").write_bytes(broken)
        with warnings.catch_warnings():  # bytes that mean nothing, as a time, may change
            warnings.simplefilter("ignore")
            check(cache.cached(tmp_path, "key", build))


def test_a_process_killed_while_writing_leaves_nothing_that_is_read(tmp_path):
    script = """
        import os, signal, sys
        import numpy as np
        from pathlib import Path
        from flightnn_jax.data import cache
        def fsync(_):  # all is written, and nothing renamed yet
            os.kill(os.getpid(), signal.SIGKILL)
        os.fsync = fsync
        wrong = np.zeros((6, 8, 8, 3), np.uint8), np.zeros(6, np.int32)
        cache.cached(Path(sys.argv[1]), "key", lambda: wrong)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), tmp_path],
        cwd=prepared.ROOT,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    build = Builder()
    check(cache.cached(tmp_path, "key", build))
    assert build.calls == 1
    assert left.exists()  # another process may be writing it
    os.utime(left, (0, 0))
    (tmp_path / "key.npz").unlink()
    check(cache.cached(tmp_path, "key", build))
    assert [path.name for path in tmp_path.iterdir()] == ["key.npz"]


def test_an_interrupted_write_cleans_up(tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.cached(tmp_path, "key", Builder())
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_a_warning(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(UserWarning, match=r"cannot be kept in .*No space left .*or '' for none"):
        check(cache.cached(tmp_path, "key", Builder()))
    assert not list(tmp_path.iterdir())


def test_a_cache_directory_that_cannot_be_is_a_warning(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match=r"cannot be kept in .*file/cache"):
        check(cache.cached(tmp_path / "file" / "cache", "key", Builder()))


def test_default_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data.default_cache_dir() == tmp_path / "flightnn_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.default_cache_dir() == tmp_path / ".cache" / "flightnn_jax"


def test_data_that_changed_is_decoded_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    directory, images, _ = prepared.write_cifar10(tmp_path / "one")
    first = data.load("cifar10", "train", data_dir=tmp_path / "one")
    np.testing.assert_array_equal(first.images, images[:36])
    assert len(list(data.default_cache_dir().iterdir())) == 1
    (file,) = directory.glob("*-train*")
    os.utime(file, (1, 1))
    data.load("cifar10", "train", data_dir=tmp_path / "one")
    data.load("cifar10", "validation", data_dir=tmp_path / "one")
    assert len(list(data.default_cache_dir().iterdir())) == 3
