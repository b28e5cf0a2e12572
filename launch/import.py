"""Makes a network that another library exported as ONNX a run to start from.

    python -m launch.import --onnx=model.onnx --dataset=npz:own.npz --workdir=/tmp/imported
    python -m launch.train --config=configs/imported.py:/tmp/imported,flightnn --workdir=/tmp/own

The workdir has the network's record in config.json, and its weights and statistics as a checkpoint,
in full precision; the accuracy on the test split shows whether they came over. docs/training.md
says which nodes there may be. What a record cannot say ends with 2 and a line that names the node.
"""

from pathlib import Path

from . import command, options
from .command import flags

_ONNX = flags.DEFINE_string("onnx", None, "The model's file.", required=True)
_DATASET = flags.DEFINE_string("dataset", None, "See --config.dataset.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "A new directory for the run.", required=True)
_RELU = flags.DEFINE_boolean("relu", False, "A ReLU may become a leaky one of 1/8.")
_MAX_BYTES = 1 << 31  # more is no single file of ONNX


def main() -> None:
    """Imports what the flags describe."""
    from flightnn_jax.networks import from_onnx
    from flightnn_jax.training import importing

    path = Path(_ONNX.value)
    if not path.is_file() or path.stat().st_size >= _MAX_BYTES:
        raise ValueError(f"--onnx={path}: it is no regular file of less than 2 GB: name another")
    command.quiet()
    imported = from_onnx.from_onnx(path.read_bytes(), path.stem, relu=_RELU.value)
    result = importing.write(
        imported, _DATASET.value, _WORKDIR.value, data_dir=options.DATA_DIR.value
    )
    for note in imported.notes:
        print(f"note: {note}")
    layers = len(imported.network.layers)
    print(f"{_WORKDIR.value}: {layers} layers, as floats {100 * result.top1:.2f} % on test images")


if __name__ == "__main__":
    command.run(main)
