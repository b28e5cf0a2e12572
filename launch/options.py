"""The flag --config, and a flag --config.FIELD for each field of a config.

Nothing here imports JAX or what trains, so commands that need neither start without them.
"""

import contextlib
import dataclasses
import importlib.util
import traceback
import types
from collections.abc import Iterator
from pathlib import Path

from flightnn_jax.training.config import Config

from .command import flags

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
    "Directory in which TFDS has prepared data sets, $TFDS_DATA_DIR by default; or where the FILE "
    "of npz:FILE or the FOLDER of folder:FOLDER is, the current one by default. A run keeps it.",
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


def members() -> dict[str, Config]:
    """The members that the file of --config names for a sweep, changed as flags say; {} if none.

    Raises:
      ValueError: as `config`.
    """
    own = {name: flag.value for name, flag in _FIELDS.items() if flag.value is not None}
    path, module, arguments = _loaded(CONFIG.value)
    if not callable(getattr(module, "get_members", None)):
        return {}
    base = _config_of(path, module, arguments)
    with _errors_in(path):
        named = module.get_members(arguments)
        return {name: base.override({**texts, **own}) for name, texts in named.items()}


def load_config(name: str) -> Config:
    """What `get_config(ARGUMENTS)` of FILE returns, for the name FILE:ARGUMENTS."""
    return _config_of(*_loaded(name))


def _loaded(name: str) -> tuple[Path, types.ModuleType, str]:
    """The path of FILE, it as a module, and its ARGUMENTS."""
    file, _, arguments = name.partition(":")
    path = next((p for p in (Path(file), ROOT / file) if p.is_file()), None)
    if path is None:
        known = ", ".join(f"configs/{p.name}" for p in sorted(ROOT.glob("configs/[!_]*.py")))
        raise ValueError(f"config {file!r} does not exist: choose one of {known}, or a path")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"config {file!r} is no Python file: choose a path that ends in .py")
    module = importlib.util.module_from_spec(spec)
    with _errors_in(path):
        spec.loader.exec_module(module)
    return path, module, arguments


def _config_of(path: Path, module: types.ModuleType, arguments: str) -> Config:
    file = str(path)
    if not callable(getattr(module, "get_config", None)):
        raise ValueError(f"config {file!r} has no get_config(arguments): see configs/own.py")
    with _errors_in(path):
        config = module.get_config(arguments)
    if not isinstance(config, Config):
        raise ValueError(
            f"config {file!r}: get_config({arguments!r}) gives {config!r:.60}: it must return a "
            "flightnn_jax.training.config.Config"
        )
    return config


@contextlib.contextmanager
def _errors_in(path: Path) -> Iterator[None]:
    """Errors of a user's Python file as ValueErrors that name its line."""
    try:
        yield
    except (ValueError, OSError, ModuleNotFoundError):
        raise  # they tell the user what to do; a SyntaxError is neither
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame.lineno for frame in frames if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else own[-1] if own else None
        where = f"{path}, line {line}" if line else str(path)
        raise ValueError(
            f"{where}: {type(error).__name__}: {error}: mend the config, or choose another"
        ) from error
