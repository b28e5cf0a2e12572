"""How every command starts and ends: flags, errors in one line, exit codes.

A command imports what an extra has inside of `main`, where a missing one is told in one line too;
so its --help is there at once.
"""

import contextlib
import errno
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

from . import extras, streams

try:
    from absl import app, flags, logging
except ModuleNotFoundError as missing:
    extras.exit_if_extra(missing)
    raise

UsageError = app.UsageError
__all__ = [
    "STOPPED_BY_SIGTERM",
    "UsageError",
    "flags",
    "logging",
    "plain_errors",
    "quiet",
    "run",
]

STOPPED_BY_SIGTERM = 143
"""Exit code of a training that it ended: 128 + 15, as a shell says it."""

_SMALLER = "choose a smaller batch_size, width or image_size"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run(main: Callable[..., int | None], arguments: str = "") -> None:
    """Parses the flags, calls `main`, and ends the process with the exit code that it returns.

    Args:
      main: takes nothing, or what stands on the command line besides flags.
      arguments: what these are, for a command that needs some.
    """

    def start(argv: Sequence[str]) -> int | None:
        with plain_errors(), streams.guarded():
            _refuse_empty_flags()
            if len(argv) > 1 and not arguments:
                raise UsageError(f"unexpected arguments {argv[1:]}: flags start with --")
            if len(argv) == 1 and arguments:
                raise UsageError(f"give {arguments}")
            return main(argv[1:]) if arguments else main()

    threading.excepthook = _of_thread
    sys.unraisablehook = lambda end: logging.debug("not raised: %r", end.exc_value)
    app.run(start, flags_parser=_parse)


def _of_thread(end: threading.ExceptHookArgs) -> None:
    """At a full disk threads of TensorBoard and Orbax meet what the main thread tells the user."""
    if isinstance(end.exc_value, OSError):
        logging.debug("in a thread: %r", end.exc_value)
    else:
        threading.__excepthook__(end)


def _parse(argv: Sequence[str]) -> Sequence[str]:
    """What is left beside flags. A wrong flag ends the process with 2, and --help with 0."""
    with plain_errors(), streams.guarded():
        for argument in argv:
            if any("\ud800" <= character <= "\udfff" for character in argument):
                raise UsageError(f"argument {argument!a} is not UTF-8: choose another name")
        try:
            return flags.FLAGS(argv)
        except flags.Error as error:
            raise UsageError(f"{' '.join(str(error).split())} --help lists the flags") from error
        except SystemExit as end:  # absl ends --help, which is no error, with 1
            sys.exit(0 if end.code == 1 else end.code)


def _refuse_empty_flags() -> None:
    """Of an empty value a command would make the current directory, or nothing to be done."""
    for module, own in flags.FLAGS.flags_by_module_dict().items():
        for flag in own if not module.startswith("absl.") else ():
            empty = flag.value == [] or (isinstance(flag.value, str) and not flag.value.strip())
            if flag.present and empty:
                raise UsageError(f"--{flag.name}= is empty: give a value, or leave the flag out")


def quiet() -> None:
    """Warnings only, and none of Orbax's, unless --verbosity is given: they are for developers."""
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
        logging.get_absl_handler().addFilter(lambda record: "/orbax/" not in record.pathname)


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
    except UsageError as error:
        sys.exit(_tell(error, 2))
    except OSError as error:
        room = "; make room and give the same command again: a training goes on"
        sys.exit(_tell(f"{error}{room if error.errno in _FULL else ''}", 2))
    except ValueError as error:  # those of checkpoints and integer networks, too
        sys.exit(_tell(error, 2))
    except MemoryError as error:
        sys.exit(_tell(f"not enough memory{f' ({error})' * bool(str(error))}: {_SMALLER}", 2))
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):  # of a JaxRuntimeError
            raise
        sys.exit(_tell(f"{str(error).splitlines()[0]:.200}: {_SMALLER}", 2))
    except FloatingPointError as error:  # loop.DivergedError
        sys.exit(_tell(error, 1))
    except KeyboardInterrupt:
        sys.exit(_tell("interrupted; the same command goes on from the latest checkpoint", 130))


def _tell(error: Exception | str, code: int) -> int:
    logging.debug("where it came from:", exc_info=True)  # --verbosity=1 shows it
    with contextlib.suppress(OSError):  # who reads nothing still gets the exit code
        print(f"error: {'; '.join(str(error).splitlines())}", file=sys.stderr, flush=True)
    return code
