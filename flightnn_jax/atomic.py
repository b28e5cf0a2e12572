"""Files that are written as a whole or not at all, and the one directory for what can be remade.

A file is written beside its place, under a hidden name, and renamed when all of it is on the disk.
Whoever reads sees the old file or the new one, whenever the writer or the machine stops.
"""

import contextlib
import errno
import glob
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_ABANDONED_AFTER = 3600.0  # seconds without a write; a process that lives writes more often
_NO_DIRECTORY_SYNC = (errno.EINVAL, errno.ENOTSUP)  # of file systems that cannot, or need not


def write(path: str | Path, data: str | bytes, mode: int = 0o666) -> None:
    """Writes a file; text is stored as UTF-8.

    Args:
      path: of the file; one that is there is replaced, and a symbolic link is followed.
      data: all that the file holds.
      mode: the permissions of the file, less those that the umask takes.

    Raises:
      OSError: if that is not possible. It names `path`, which is then as it was.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     write(f"{directory}/note.txt", "whole")
      ...     Path(f"{directory}/note.txt").read_text()
      'whole'
    """
    with replacing(path, mode) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def replacing(path: str | Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A new file, which takes the place of `path` where the block ends without an error.

    What processes that were killed have left beside it goes after an hour. A device or a pipe
    is written directly. Arguments and errors are those of `write`.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            with target.open("wb") as file:
                yield file
            return
        _remove_abandoned(target)
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        _sync_directory(target.parent)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary), str(target)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def read(path: str | Path, max_bytes: int) -> str:
    """The text of a user's file, which must be a regular one and not too long.

    Raises:
      ValueError: if it is no such file, or not UTF-8.
      OSError: if it cannot be opened or read.
    """
    # Not blocking: to open a pipe to which nobody writes would take for ever.
    with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{path} is no regular file")
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"{path} has more than {max_bytes} bytes")
    return data.decode()


def _remove_abandoned(target: Path) -> None:
    for left in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 16}.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_AFTER:
                left.unlink()


def _sync_directory(directory: Path) -> None:
    """Puts the new name on the disk, too."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
    finally:
        os.close(descriptor)


def cache_dir() -> Path:
    """Where what can be made again is kept: $XDG_CACHE_HOME/flightnn_jax, else in ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "flightnn_jax"


def distrust(file: Path) -> str | None:
    """Why code in a file must not be run: someone else may have written it; None if nobody can.

    The file and its directory must belong to the user of this process, and nobody else may have
    the right to write them.
    """
    for place in (file.resolve().parent, file.resolve()):
        status = place.stat()
        if status.st_uid != os.geteuid():
            return (
                f"{place} belongs to user {status.st_uid}, and this process is of user "
                f"{os.geteuid()}: remove it, or set XDG_CACHE_HOME to a directory of your own"
            )
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return (
                f"{place} has mode {stat.S_IMODE(status.st_mode):o}, so others can write it: give "
                f"chmod go-w {place}, or set XDG_CACHE_HOME to a directory of your own"
            )
    return None
