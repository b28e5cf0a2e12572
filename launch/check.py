"""Checks an integer network: its digest, every rule and bound of docs/integers.md, golden images.

    python -m launch.check /tmp/net1.safetensors

Needs Python and NumPy only. The exit code is 0 if the file is valid, 1 if it breaks a rule, with
each reason on a line, and 2 if it cannot be read as an integer network at all.
"""

import argparse
import sys
from collections.abc import Sequence

from flightnn_jax.checker.checker import check
from flightnn_jax.checker.container import FileError
from flightnn_jax.checker.reader import load

from . import streams


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks the file that is named, and returns the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", help="an integer network")
    path = parser.parse_args(arguments).file
    try:
        network = load(path)
    except FileError as error:
        print(f"cannot be read: {error}", file=sys.stderr)
        return 2
    reasons = check(network)
    if reasons:
        print("\n".join(reasons))
        return 1
    manifest = network.manifest
    print(f"valid: {manifest.name}, {len(manifest.layers)} layers, {manifest.golden} golden images")
    return 0


if __name__ == "__main__":
    with streams.guarded():
        sys.exit(main())
