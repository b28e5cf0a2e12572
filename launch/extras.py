"""What each command needs besides JAX and NumPy, and which extra of the package has it.

Nothing here imports another package, so that what is missing can be said whatever is missing.
"""

import sys

# {command: the extra with which it starts}, in the order in which a user meets them.
COMMANDS = {
    "tour": None,
    "import": "train",
    "train": "train",
    "sweep": "train",
    "evaluate": "train",
    "compare": "cli",
    "explore": "cli",
    "pick": "cli",
    "lower": "train",
    "verify": "cli",
    "check": None,
    "export": "cli",
    "rtl": "cli",
    "estimate": "cli",
    "designs": "cli",
    "schemes": "cli",
    "audit": "cli",
}
# {module of another package: the smallest extra that has it}
MODULES = {
    "absl": "cli",
    "flax": "train",
    "optax": "train",
    "orbax": "train",
    "sklearn": "train",
    "tensorboardX": "train",
    "PIL": "data",
    "array_record": "data",
    "grain": "data",
    "importlib_resources": "data",
    "tensorflow_datasets": "data",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "qonnx": "qonnx",
    "flatbuffers": "stablehlo",
    "matplotlib": "plots",
    "submitit": "slurm",
}


def exit_if_extra(error: ModuleNotFoundError) -> None:
    """Ends the process with a line and the exit code 2, if an extra has the missing module."""
    module = (error.name or "").partition(".")[0]
    if module not in MODULES:
        return
    spec = sys.modules["__main__"].__spec__
    command = spec.name.rpartition(".")[2] if spec else ""
    extra = MODULES[module]
    if extra == "cli":  # part of what a training command needs
        extra = COMMANDS.get(command) or extra
    name = f"'{command}' needs" if command in COMMANDS else "this needs"
    print(
        f"error: {name} the extra '{extra}' ({module} is not installed): "
        f"pip install 'flightnn-jax[{extra}]'",
        file=sys.stderr,
    )
    sys.exit(2)
