"""The library of native.cc: compiled once for this machine, kept in the user's cache.

The name of its file is a digest of all that decides what is in it, so a new compiler, processor,
jaxlib or source makes a new one. It is written as a whole: two processes that build at once make
the same file twice. Its last bytes are a digest of those before them, so a damaged file is made
again and never loaded.
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

from flightnn_jax import atomic, platforms

TARGET = "flightnn_jax_convolve"  # by which XLA knows the function
_SYMBOL = "FlightnnConvolve"
_SOURCE = Path(__file__).with_name("native.cc")
_COMPILERS = ("c++", "g++", "clang++")
_FLAGS = ("-O3", "-march=native", "-std=c++17", "-fwrapv", "-shared", "-fPIC")
_DIGEST_BYTES = 32
_SECONDS = 300  # that a compiler may take
_log = logging.getLogger(__name__)


class NativeError(RuntimeError):
    """The native library cannot be made or loaded: what was tried, why not, and what to do."""


def compilers() -> list[list[str]]:
    """The command lines to try: that of $CXX alone where it is set, else what is on the path."""
    if os.environ.get("CXX"):
        return [shlex.split(os.environ["CXX"])]
    return [[name] for name in _COMPILERS if shutil.which(name)]


def unavailable(platform: str | None = None) -> str | None:
    """Why the native path cannot run here, as far as one can tell without compiling; or None.

    Args:
      platform: where the program is to run; None for where JAX runs.
    """
    if (known := platforms.resolved(platform)) != "cpu":
        return f"the program is for {known}, and the native path runs on a CPU alone"
    if not any(shutil.which(command[0]) for command in compilers()):
        tried = os.environ.get("CXX") or ", ".join(_COMPILERS)
        return f"there is no C++ compiler (tried {tried}): install one, or set CXX"
    return None


def why_not() -> str | None:
    """Why the native path cannot run here, after it was tried; or None."""
    if (reason := unavailable()) is not None:
        return reason
    try:
        load()
    except NativeError as error:
        return str(error)
    return None


@functools.cache
def load(platform: str | None = None) -> None:
    """Registers the library's function with XLA, as `TARGET`, and compiles it first if need be.

    Args:
      platform: as in `unavailable`.

    Raises:
      NativeError: if that is not possible.
    """
    why_not = unavailable(platform)
    if why_not is not None:
        raise NativeError(f'path="native": {why_not}; or use path="fast", which needs no compiler')
    if "avx512_vnni" not in _processor():
        _log.warning(
            'this processor has no AVX-512 VNNI: path="native" is right, but path="fast" is faster'
        )
    file = _built()
    if (why_not := atomic.distrust(file)) is not None:
        raise NativeError(f'path="native" runs no code that others may have written: {why_not}')
    try:
        function = jax.ffi.pycapsule(getattr(ctypes.CDLL(str(file)), _SYMBOL))
    except (OSError, AttributeError) as error:
        raise NativeError(
            f'path="native" cannot load {file} ({error}): set CXX to another compiler, or '
            'XDG_CACHE_HOME to a directory from which programs may run, or use path="fast"'
        ) from error
    jax.ffi.register_ffi_target(TARGET, function, platform="cpu")


def _built() -> Path:
    """The library's file, by the first compiler that makes it."""
    failures = []
    for command in compilers():
        try:
            version = _run([*command, "--version"])
            file = atomic.cache_dir() / f"native-{_digest(command, version)}.so"
            if not _is_whole(file):
                _keep(_compile(command), file)
            return file
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip()
            _log.debug("%s says: %s", shlex.join(command), said)
            lines = [line for line in said.splitlines() if "error" in line] or said.splitlines()
            failures.append(f"{shlex.join(command)}: {lines[0] if lines else error}")
    raise NativeError(
        f"integer/inference/native.cc cannot be compiled ({'; '.join(failures)}): set CXX to a "
        'C++17 compiler (GCC 9, Clang 12 or newer), or use path="fast"'
    )


def _is_whole(file: Path) -> bool:
    """Whether a file is there and ends in the digest of what it holds."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _no_place(file, error) from error
    return hashlib.sha256(data[:-_DIGEST_BYTES]).digest() == data[-_DIGEST_BYTES:]


def _keep(library: bytes, file: Path) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A loader passes over what stands behind a library.
        atomic.write(file, library + hashlib.sha256(library).digest(), mode=0o600)
    except OSError as error:
        raise _no_place(file, error) from error


def _no_place(file: Path, error: OSError) -> NativeError:
    return NativeError(
        f'path="native" keeps its library in {file.parent}, which is not possible ({error}): set '
        'XDG_CACHE_HOME to a directory that you can write, or use path="fast"'
    )


def _compile(command: list[str]) -> bytes:
    _log.info("compiling %s with %s: a few seconds, once", _SOURCE.name, shlex.join(command))
    with tempfile.TemporaryDirectory() as inside:
        made = Path(inside) / "native.so"
        include = str(jax.ffi.include_dir())
        _run([*command, *_FLAGS, f"-I{include}", str(_SOURCE), "-o", str(made)])
        return made.read_bytes()


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
