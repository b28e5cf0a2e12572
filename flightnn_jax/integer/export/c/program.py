"""The C of a network compiled and run, for tests and `launch.verify`."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from flightnn_jax.integer import shapes
from flightnn_jax.integer.export.c.source import Program, to_c
from flightnn_jax.integer.limits import IMAGE
from flightnn_jax.integer.network import IntegerNetwork

FLAGS = ("-std=c99", "-O2")
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
_COMPILERS = ("cc", "gcc", "clang")
_SECONDS = 600  # that a compiler, or a batch of images, may take


class CompilerError(ValueError):
    """A C program that cannot be made or run here: why, and what to do."""


def compiler() -> list[str] | None:
    """The command line of $CC where it is set, else the first compiler on the path; or None."""
    tried = [shlex.split(os.environ["CC"])] if os.environ.get("CC") else [[c] for c in _COMPILERS]
    return next((command for command in tried if shutil.which(command[0])), None)


def unavailable() -> str | None:
    """Why no C can be compiled here, or None."""
    if compiler() is not None:
        return None
    tried = os.environ.get("CC") or ", ".join(_COMPILERS)
    return f"there is no C compiler (tried {tried}): install one, or set CC"


def write(program: Program, folder: str | Path) -> Path:
    """Writes both files into a directory that is there, and returns the path of NAME.c."""
    source = Path(folder) / f"{program.name}.c"
    source.with_suffix(".h").write_text(program.header)
    source.write_text(program.source)
    return source


def compiled(source: Path, flags: Sequence[str] = FLAGS) -> Path:
    """The self-test of a source that `write` wrote, beside it.

    Raises:
      CompilerError: if there is no compiler, or it fails.
    """
    command = compiler()
    if command is None:
        raise CompilerError(str(unavailable()))
    out = source.with_suffix("")
    _run([*command, *flags, "-DFLIGHTNN_MAIN", "-o", str(out), str(source)])
    return out


def run(executable: Path, network: IntegerNetwork, images: np.ndarray) -> dict[str, np.ndarray]:
    """What every layer gives for some images, by a self-test that `compiled` made.

    Args:
      executable: of this very network.
      network: whose layers it computes.
      images: [batch, *input_shape] uint8.

    Raises:
      CompilerError: if it fails.
    """
    known = shapes.outputs(network)
    del known[IMAGE]
    fields = [(name, "<i4" if x.sums else "<i1", x.shape) for name, x in known.items()]
    data = _run([str(executable), "-"], np.ascontiguousarray(images, np.uint8).tobytes())
    rows = np.frombuffer(data, np.dtype(fields))
    return {name: rows[name] for name in known}


def make_runner(network: IntegerNetwork) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """The network's C as a function of images that returns {layer: output}.

    Raises:
      CompilerError: if it cannot be compiled.
      CExportError: if there is no C of it.
    """
    with tempfile.TemporaryDirectory() as folder:
        built = compiled(write(to_c(network), folder))
        program = built.read_bytes()

    def function(images: np.ndarray) -> dict[str, np.ndarray]:
        with tempfile.TemporaryDirectory() as place:
            executable = Path(place) / "network"
            executable.write_bytes(program)
            executable.chmod(0o700)
            return run(executable, network, images)

    return function


def _run(words: list[str], data: bytes = b"") -> bytes:
    try:
        done = subprocess.run(words, input=data, capture_output=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompilerError(f"{words[0]}: {error}: set CC to another C99 compiler") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        lines = [line for line in said if "error" in line.lower()] or said
        what = "; ".join(lines[:3]) or f"exit code {done.returncode}"
        raise CompilerError(f"{words[0]} fails: {what}: set CC to another C99 compiler")
    return done.stdout
