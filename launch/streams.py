"""Standard output and error that are closed, full, or a pipe that nobody reads."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_BROKEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EPIPE)
_ENDED_BY_SIGPIPE = 141  # 128 + 13, what a shell says of a program that wrote to a broken pipe


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Ends the process with the exit code 2 if what was printed could not be written.

    A reader that has read enough, such as `head`, ends it without a word.
    """
    for descriptor in range(3):  # else the next file that is opened takes the number
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for the rest of the process
    if sys.stdout is None:
        _end("standard output is closed: give >/dev/null if nothing is to be read")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None or error.errno not in _BROKEN:
            raise
        with contextlib.suppress(OSError):  # else Python writes the rest again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            sys.exit(_ENDED_BY_SIGPIPE)
        _end(f"standard output: {error.strerror}: make room, or write it to another place")


def _end(text: str) -> None:
    with contextlib.suppress(OSError):
        print(f"error: {text}", file=sys.stderr, flush=True)
    sys.exit(2)
