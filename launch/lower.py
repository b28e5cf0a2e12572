"""Turns a trained run into an integer network, one file that stands alone.

    python -m launch.lower --workdir=/tmp/digits
    python -m launch.lower --workdir=/tmp/net1 --affine_terms=2 --out=net1.safetensors

docs/integers.md says what is in the file and what it computes. With --affine_terms the network
needs no multiplier at all.
"""

import os
import tempfile
from pathlib import Path

from flightnn_jax.hardware import workload
from flightnn_jax.integer import files

from . import bounds, command, devices, options
from .command import flags

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run.", required=True)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "last", "last, best (by validation), or the number of a step."
)
_TERMS = flags.DEFINE_integer(
    "affine_terms",
    None,
    "Makes each multiplier a sum of at most so many powers of two; none for any integers.",
    lower_bound=1,
    upper_bound=32,
)
_IMAGES = flags.DEFINE_integer(
    "images",
    None,
    "Says the accuracy of so many images, the first of the test split; of all by default.",
    lower_bound=1,
)
_OUT = flags.DEFINE_string("out", None, "The file; WORKDIR/integers.safetensors by default.")


def main() -> int:
    """Lowers what the flags describe; 3 if the network breaks its budget."""
    from flightnn_jax.training import export

    out = Path(_OUT.value or Path(_WORKDIR.value) / "integers.safetensors")
    _check_out(out)
    devices.initialize()
    lowered = export.lower_run(
        _WORKDIR.value,
        which=_CHECKPOINT.value,
        affine_terms=_TERMS.value,
        data_dir=options.DATA_DIR.value,
        images=_IMAGES.value,
    )
    files.save(lowered.network, out)
    print(export.summary(lowered, out.stat().st_size))
    print(out)
    return bounds.of_integers(workload.from_integers(lowered.network), lowered.network.provenance)


def _check_out(out: Path) -> None:
    """Raises ValueError if the file could not be written; before anything is compiled."""
    target = Path(os.path.realpath(out))
    if target.exists() and not target.is_file():
        raise ValueError(f"--out={out} is no regular file: choose another name")
    if not target.parent.is_dir():
        raise ValueError(f"--out={out}: there is no directory {target.parent}: make it first")
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise ValueError(
            f"--out={out}: {target.parent} cannot be written ({error.strerror}): choose another "
            "place with --out=FILE"
        ) from error


if __name__ == "__main__":
    command.run(main)
