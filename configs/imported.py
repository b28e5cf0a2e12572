"""A network that launch.import made of another library's, trained on in a scheme of this one.

    python -m launch.import --onnx=model.onnx --dataset=npz:own.npz --workdir=/tmp/imported
    python -m launch.train --config=configs/imported.py:/tmp/imported,flightnn --workdir=/tmp/own

ARGUMENTS: the directory and the scheme, flightnn by default.
"""

import dataclasses
import json
from pathlib import Path

from flightnn_jax.training.config import Config


def get_config(arguments: str = "") -> Config:
    """The config for an imported network and a scheme."""
    directory, _, scheme = arguments.partition(",")
    if not directory:
        raise ValueError("configs/imported.py: say which network: configs/imported.py:DIRECTORY")
    config = Config.from_dict(json.loads((Path(directory) / "config.json").read_text()))
    return dataclasses.replace(config, scheme=scheme or "flightnn", start_from=directory)
