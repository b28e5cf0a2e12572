"""How every command starts and ends: flags, errors in one line, exit codes.

A command imports what an extra has inside of `main`, where a missing one is told in one line too;
so its --help is there at once.
"""

import contextlib
import errno
import sys
from collections.abc import Callable, Iterator, Sequence

from . import extras

try:
    from absl import app, flags, logging
except ModuleNotFoundError as missing:
    extras.exit_if_extra(missing)
    raise

UsageError = app.UsageError
__all__ = ["UsageError", "flags", "logging", "plain_errors", "quiet", "run"]

_FULL = (errno.ENOSPC, errno.EDQUOT)


def run(main: Callable[..., int | None], arguments: str = "") -> None:
    """Parses the flags, calls `main`, and ends the process with the exit code that it returns.

    Args:
      main: takes nothing, or what stands on the command line besides flags.
      arguments: what these are, for a command that needs some.
    """

    def start(argv: Sequence[str]) -> int | None:
        if len(argv) > 1 and not arguments:
            raise UsageError(f"unexpected arguments {argv[1:]}: flags start with --")
        if len(argv) == 1 and arguments:
            raise UsageError(f"give {arguments}")
        with plain_errors():
            return main(argv[1:]) if arguments else main()

    app.run(start)


def quiet() -> None:
    """Warnings only, unless --verbosity is given: JAX and Orbax log much as INFO."""
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """What a user can mend is told in one line, not as a traceback.

    Wrong input and a missing extra end with the exit code 2, a training that diverged with 1, and
    Ctrl-C with 130.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        extras.exit_if_extra(error)
        raise
    except OSError as error:
        room = "; make room and give the same command: it goes on from the latest checkpoint"
        sys.exit(_tell(f"{error}{room if error.errno in _FULL else ''}", 2))
    except ValueError as error:  # those of checkpoints and integer networks, too
        sys.exit(_tell(error, 2))
    except FloatingPointError as error:  # loop.DivergedError
        sys.exit(_tell(error, 1))
    except KeyboardInterrupt:
        sys.exit(_tell("interrupted; the same command goes on from the latest checkpoint", 130))


def _tell(error: Exception | str, code: int) -> int:
    logging.debug("where it came from:", exc_info=True)  # --verbosity=1 shows it
    print(f"error: {error}", file=sys.stderr)
    return code
