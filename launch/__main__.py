"""The program `flightnn`: lists the commands, or runs one.

flightnn train --config=configs/paper.py:net1,flightnn --workdir=/tmp/net1 --data_dir=/data
"""

import ast
import difflib
import runpy
import sys
from pathlib import Path

from . import streams
from .extras import COMMANDS


def main() -> None:
    """Runs the command that is named, as `python -m` does."""
    command, *arguments = sys.argv[1:] or ["help"]
    if command in COMMANDS:
        sys.argv[:] = [command, *arguments]
        runpy.run_module(f"{__package__}.{command}", run_name="__main__", alter_sys=True)
    elif command in ("help", "--help", "-h"):
        with streams.guarded():
            print(listing())
    else:
        close = difflib.get_close_matches(command, COMMANDS, n=1) or COMMANDS
        print(f"error: no command {command!r}: choose of {', '.join(close)}", file=sys.stderr)
        sys.exit(2)


def listing() -> str:
    """A line for each command, of its docstring, without importing it."""
    lines = ["flightnn COMMAND, or python -m launch.COMMAND in a checkout; --help tells more", ""]
    for command, extra in COMMANDS.items():
        source = Path(__file__).with_name(f"{command}.py").read_text()
        purpose = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
        lines.append(f"  {command:9} {purpose}{f' [{extra}]' if extra else ''}")
    return "\n".join([*lines, "", "[EXTRA]: pip install 'flightnn-jax[EXTRA]'"])


if __name__ == "__main__":
    main()
