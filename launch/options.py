"""The flag --config, a flag --config.FIELD for each field of a config, and how errors are told.

Nothing here brings Flax, Optax or TFDS along, so that commands which need none start without them.
"""

import contextlib
import dataclasses
import errno
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from absl import flags, logging

from flightnn_jax.training.config import Config

_FULL = (errno.ENOSPC, errno.EDQUOT)
ROOT = Path(__file__).resolve().parent.parent

CONFIG = flags.DEFINE_string(
    "config",
    "configs/digits.py",
    "FILE or FILE:ARGUMENTS, such as configs/paper.py:net1,flightnn; the docstring of FILE says "
    "what it takes.",
)
DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Directory in which TFDS has prepared data sets; $TFDS_DATA_DIR by default. The data set "
    "digits needs none.",
)
_FIELDS = {
    field.name: flags.DEFINE_string(f"config.{field.name}", None, field.metadata["help"])
    for field in dataclasses.fields(Config)
}


def config() -> Config:
    """The config that the flags describe.

    Raises:
      ValueError: if there is no such file, or its arguments or a field are wrong.
    """
    given = {name: flag.value for name, flag in _FIELDS.items() if flag.value is not None}
    return load_config(CONFIG.value).override(given)


def given() -> list[str]:
    """The names of the flags of a config that stand on the command line."""
    return [flag.name for flag in (CONFIG, *_FIELDS.values()) if flag.present]


def load_config(name: str) -> Config:
    """What `get_config(ARGUMENTS)` of FILE returns, for the name FILE:ARGUMENTS."""
    file, _, arguments = name.partition(":")
    path = next((p for p in (Path(file), ROOT / file) if p.is_file()), None)
    if path is None:
        known = ", ".join(f"configs/{p.name}" for p in sorted(ROOT.glob("configs/[!_]*.py")))
        raise ValueError(f"config {file!r} does not exist: choose one of {known}, or a path")
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise ValueError(f"config {file!r} is no Python file: choose a path that ends in .py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.get_config(arguments)


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """What a user can mend is told in one line, not as a traceback.

    Wrong input ends with the exit code 2, a training that diverged with 1, and Ctrl-C with 130.
    """
    try:
        yield
    except OSError as error:
        room = "; make room and give the same command: it goes on from the latest checkpoint"
        sys.exit(_told(f"{error}{room if error.errno in _FULL else ''}", 2))
    except ValueError as error:  # those of checkpoints and integer networks, too
        sys.exit(_told(error, 2))
    except FloatingPointError as error:  # loop.DivergedError
        sys.exit(_told(error, 1))
    except KeyboardInterrupt:
        sys.exit(_told("interrupted; the same command goes on from the latest checkpoint", 130))


def _told(error: Exception | str, code: int) -> int:
    logging.debug("where it came from:", exc_info=True)  # --verbosity=1 shows it
    print(f"error: {error}", file=sys.stderr)
    return code
