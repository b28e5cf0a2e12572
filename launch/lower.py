"""Turns a trained run into an integer network, one file that stands alone.

    python -m launch.lower --workdir=/tmp/digits
    python -m launch.lower --workdir=/tmp/net1 --affine_terms=2 --out=net1.safetensors

docs/integers.md says what is in the file and what it computes. With --affine_terms the network
needs no multiplier at all.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from flightnn_jax.integer import files
from flightnn_jax.training import export
from launch import devices, options

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
_OUT = flags.DEFINE_string("out", None, "The file; WORKDIR/integers.safetensors by default.")


def main(argv: Sequence[str]) -> None:
    """Deploys what the flags describe."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: flags start with --")
    out = Path(_OUT.value or Path(_WORKDIR.value) / "integers.safetensors")
    with options.plain_errors():
        devices.initialize()
        deployed = export.deploy(
            _WORKDIR.value,
            which=_CHECKPOINT.value,
            affine_terms=_TERMS.value,
            data_dir=options.DATA_DIR.value,
        )
        files.save(deployed.network, out)
        print(export.summary(deployed, out.stat().st_size))
    print(out)


if __name__ == "__main__":
    app.run(main)
