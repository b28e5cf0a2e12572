"""One run at a time in a workdir.

The kernel holds the lock and releases it when the process ends, however it ends. The file only says
who holds it, for people, so one that a killed run has left behind is taken over.
"""

import contextlib
import datetime
import errno
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

NAME = "lock"  # the file in a workdir, while a run trains there
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)  # of some file systems
_LOG = logging.getLogger(__name__)  # not absl's, so that nothing of an extra is needed
_MAX_BYTES = 1000
_TRIES = 3  # `holder` holds it for an instant, too
_SECONDS_BETWEEN_TRIES = 0.02


class LockedError(ValueError):
    """A workdir in which another run trains."""


@contextlib.contextmanager
def held(workdir: Path) -> Iterator[None]:
    """Holds the lock of a workdir.

    Raises:
      LockedError: if another run holds it. It says which.
      OSError: if the workdir cannot be written.
    """
    path = workdir / NAME
    descriptor = _acquire(path)
    try:
        own = {"host": socket.gethostname(), "pid": os.getpid(), "since": _now()}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, (json.dumps(own) + "\n").encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def holder(workdir: Path) -> str | None:
    """Who trains in a workdir, in words; None if nobody does."""
    try:
        descriptor = os.open(workdir / NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # it is held; or there are no locks here, and nobody knows
        return _holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def _acquire(path: Path) -> int:
    """The open, locked file. A holder removes it at its end, so it may be gone once it is ours."""
    tries = 0
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            told = _holder(descriptor)
            os.close(descriptor)
            if (tries := tries + 1) < _TRIES:
                time.sleep(_SECONDS_BETWEEN_TRIES)
                continue
            raise LockedError(
                f"another run trains in {path.parent} ({told}): wait for its end, stop it, or "
                "choose another workdir"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
            _LOG.warning("%s: no locks here, so a second run is not noticed", path.parent)
            return descriptor
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                if os.fstat(descriptor).st_size:
                    left = _holder(descriptor)
                    _LOG.warning("%s: the lock of a run that is dead (%s)", path.parent, left)
                return descriptor
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, _MAX_BYTES, 0).decode(errors="replace")
    try:
        record = json.loads(text)
        return f"host {record['host']}, pid {record['pid']}, since {record['since']}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"holder unknown, {text!r:.60}"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
