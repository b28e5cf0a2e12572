"""The library of native.cc: compiled once for this machine, kept in the user's cache.

The name of its file is a digest of all that decides what is in it, so a new compiler, processor,
jaxlib or source makes a new one. It is written as a whole: two processes that build at once make
the same file twice.
"""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import jax
import jaxlib.version

from flightnn_jax import atomic

TARGET = "flightnn_jax_convolve"  # by which XLA knows the function
_SYMBOL = "FlightnnConvolve"
_SOURCE = Path(__file__).with_name("native.cc")
_COMPILERS = ("c++", "g++", "clang++")
_FLAGS = ("-O3", "-march=native", "-std=c++17", "-fwrapv", "-shared", "-fPIC")
_SECONDS = 300  # that a compiler may take
_LINES = 15  # of what it says
_log = logging.getLogger(__name__)


class NativeError(RuntimeError):
    """The native library cannot be made or loaded: what was tried, why not, and what to do."""


def compilers() -> list[list[str]]:
    """The command lines to try: that of $CXX alone where it is set, else what is on the path."""
    if os.environ.get("CXX"):
        return [shlex.split(os.environ["CXX"])]
    return [[name] for name in _COMPILERS if shutil.which(name)]


def unavailable() -> str | None:
    """Why the native path cannot run here, as far as one can tell without compiling; or None."""
    if jax.default_backend() != "cpu":
        return f"JAX runs on {jax.default_backend()}, and the native path on a CPU alone"
    if not any(shutil.which(command[0]) for command in compilers()):
        tried = os.environ.get("CXX") or ", ".join(_COMPILERS)
        return f"there is no C++ compiler (tried {tried}): install one, or set CXX"
    return None


@functools.cache
def load() -> None:
    """Registers the library's function with XLA, as `TARGET`, and compiles it first if need be.

    Raises:
      NativeError: if that is not possible.
    """
    why_not = unavailable()
    if why_not is not None:
        raise NativeError(f'path="native": {why_not}; or use path="fast", which needs no compiler')
    if "avx512_vnni" not in _processor():
        _log.warning(
            'this processor has no AVX-512 VNNI: path="native" is right, but path="fast" is faster'
        )
    file = _built()
    if (why_not := atomic.distrust(file)) is not None:
        raise NativeError(f'path="native" runs no code that others may have written: {why_not}')
    library = ctypes.CDLL(str(file))
    function = jax.ffi.pycapsule(getattr(library, _SYMBOL))
    jax.ffi.register_ffi_target(TARGET, function, platform="cpu")


def _built() -> Path:
    """The library's file, by the first compiler that makes it."""
    failures = []
    for command in compilers():
        try:
            version = _run([*command, "--version"])
            file = atomic.cache_dir() / f"native-{_digest(command, version)}.so"
            if not file.exists():
                _compile(command, file)
            return file
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or str(error)
            last = "\n".join(said.strip().splitlines()[-_LINES:])
            failures.append(f"{shlex.join(command)}: {last or error}")
    raise NativeError(
        "integer/inference/native.cc cannot be compiled:\n"
        + "\n".join(failures)
        + '\nset CXX to a C++17 compiler (GCC 9, Clang 12 or newer), or use path="fast"'
    )


def _compile(command: list[str], file: Path) -> None:
    _log.info("compiling %s with %s: a few seconds, once", _SOURCE.name, shlex.join(command))
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as inside:
        made = Path(inside) / file.name
        include = str(jax.ffi.include_dir())
        _run([*command, *_FLAGS, f"-I{include}", str(_SOURCE), "-o", str(made)])
        atomic.write(file, made.read_bytes(), mode=0o600)


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, errors="replace", timeout=_SECONDS
    )
    return done.stdout


def _digest(command: list[str], version: str) -> str:
    parts = [_SOURCE.read_text(), version, _processor(), jaxlib.version.__version__]
    sha = hashlib.sha256(repr([*parts, command, _FLAGS]).encode())
    return sha.hexdigest()[:32]


def _processor() -> str:
    """What -march=native depends on: the processor's model and all that it can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.version()}"
    keys = ("model", "vendor", "cpu family", "stepping", "flags", "Features", "CPU ")
    return "\n".join(sorted({line for line in lines if line.startswith(keys)}))
