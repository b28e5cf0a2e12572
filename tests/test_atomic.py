"""Files are there whole or not at all, and code is loaded only where nobody else can write it."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flightnn_jax import atomic
from tests.support import prepared

OLD, NEW = "old" * 1000, "new" * 5000


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_text_and_bytes(tmp_path):
    atomic.write(tmp_path / "text", "a line\nKürzel\n")
    assert (tmp_path / "text").read_bytes() == b"a line\nK\xc3\xbcrzel\n"
    atomic.write(str(tmp_path / "bytes"), b"\0\xff\r\n")
    atomic.write(tmp_path / "bytes", b"\r\n\xff")
    assert (tmp_path / "bytes").read_bytes() == b"\r\n\xff"
    assert names(tmp_path) == ["bytes", "text"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    atomic.write(tmp_path / "public", "")
    atomic.write(tmp_path / "private", "", mode=0o600)
    modes = [stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("plain", "public", "private")]
    assert modes == [modes[0], modes[0], 0o600]


@pytest.mark.parametrize("stops", [OSError("broken"), KeyboardInterrupt(), ValueError("wrong")])
def test_a_block_that_stops_leaves_the_old_file(tmp_path, stops):
    path = tmp_path / "file"
    path.write_text(OLD)

    def stopped():
        with atomic.replacing(path) as file:
            file.write(NEW.encode())
            file.flush()
            assert path.read_text() == OLD
            assert len(names(tmp_path)) == 2
            raise stops

    with pytest.raises(type(stops)) as caught:
        stopped()
    assert caught.value is stops
    assert path.read_text() == OLD
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_errors_name_the_users_file(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    path.write_text(OLD)

    def full(*files):
        names = files[:1] if call == "replace" else []  # of a descriptor it knows no name
        raise OSError(errno.ENOSPC, "No space left on device", *map(str, names))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left") as caught:
        atomic.write(path, NEW)
    assert str(caught.value) == f"[Errno 28] No space left on device: {str(path)!r}"
    assert path.read_text() == OLD
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("none/file", FileNotFoundError),
        ("plain/file", NotADirectoryError),
        ("directory", IsADirectoryError),
    ],
)
def test_places_where_no_file_can_be(tmp_path, place, kind):
    (tmp_path / "plain").touch()
    (tmp_path / "directory").mkdir()
    before = names(tmp_path)
    with pytest.raises(kind) as caught:
        atomic.write(tmp_path / place, NEW)
    assert str(caught.value).endswith(repr(str(tmp_path / place)))
    assert names(tmp_path) == before


def test_symbolic_links_are_followed(tmp_path):
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "file").write_text(OLD)
    (tmp_path / "link").symlink_to("else/file")
    (tmp_path / "dangling").symlink_to("else/other")
    for name, target in (("link", "file"), ("dangling", "other")):
        atomic.write(tmp_path / name, NEW)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "else" / target).read_text() == NEW
    assert names(tmp_path / "else") == ["file", "other"]


def test_a_device_and_a_pipe_stay_what_they_are(tmp_path):
    atomic.write("/dev/null", NEW)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    atomic.write(tmp_path / "pipe", NEW)
    reader.join()
    assert read == [NEW]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


KILLED = """
import os, signal, sys
from flightnn_jax import atomic
call = sys.argv[2]
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(os, call, kill)
atomic.write(sys.argv[1], "new" * 5000)
"""


@pytest.mark.parametrize("call", ["fsync", "replace", "close"])
def test_a_killed_process_leaves_one_whole_file(tmp_path, call):
    path = tmp_path / "file[1]"  # a pattern's characters are plain ones
    path.write_text(OLD)
    command = [sys.executable, "-c", KILLED, path, call]
    assert subprocess.run(command, cwd=prepared.ROOT, check=False).returncode == -signal.SIGKILL
    assert path.read_text() == (NEW if call == "close" else OLD)
    atomic.write(path, OLD)
    left = [name for name in names(tmp_path) if name != path.name]
    assert len(left) == (call != "close")  # it may be another process's that lives
    for name in left:
        os.utime(tmp_path / name, (0, 0))
    own = tmp_path / f".{path.name}.conf"  # a user's file of a similar name
    own.touch()
    os.utime(own, (0, 0))
    atomic.write(path, NEW)
    assert names(tmp_path) == [own.name, path.name]
    assert path.read_text() == NEW


def test_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "file"
    texts = [str(number) * 100_000 for number in range(8)]
    writers = [threading.Thread(target=atomic.write, args=(path, text)) for text in texts]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert not path.exists() or path.read_text() in texts
    for writer in writers:
        writer.join()
    assert path.read_text() in texts
    assert names(tmp_path) == ["file"]


def test_only_what_nobody_else_can_write_is_trusted(tmp_path):
    directory = tmp_path / "cache"
    directory.mkdir(mode=0o700)
    file = directory / "library.so"
    atomic.write(file, b"code", mode=0o600)
    (tmp_path / "link").symlink_to(file)
    assert atomic.distrust(file) is None
    for place in (file, directory):
        mode = stat.S_IMODE(place.stat().st_mode)
        for bit in (0o020, 0o002):
            place.chmod(mode | bit)
            for name in (file, tmp_path / "link"):
                assert f"give chmod go-w {place}, or set" in atomic.distrust(name)
        place.chmod(mode | 0o055)  # others may read
        assert atomic.distrust(file) is None


def test_files_of_other_users_are_not_trusted(tmp_path, monkeypatch):
    atomic.write(tmp_path / "library.so", b"code")
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert f"belongs to user {owner}, and this process" in atomic.distrust(tmp_path / "library.so")


def test_the_cache_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert atomic.cache_dir() == tmp_path / "flightnn_jax"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert atomic.cache_dir() == tmp_path / ".cache" / "flightnn_jax"
