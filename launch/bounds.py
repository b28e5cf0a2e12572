"""How a command tells whether a network keeps its budgets in units of hardware.

A bound that is not kept ends the command with the exit code 3, and a line that says what helps.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from flightnn_jax.hardware import demands, device, limits
from flightnn_jax.hardware.workload import Workload

BROKEN = 3


def told(lines: Iterable[tuple[str, bool]], to: TextIO | None = None) -> int:
    """Prints a line for each bound; the exit code.

    Args:
      lines: of each bound, and whether it is kept.
      to: where kept ones are told; standard output by default.
    """
    broken = False
    for line, is_kept in lines:
        if is_kept:
            print(line, file=to)
            continue
        broken = True
        remedy = "train in a new workdir with a bound that is a few percent tighter"
        print(f"error: {line}; the bound is broken: {remedy}", file=sys.stderr)
    return BROKEN if broken else 0


def of_integers(work: Workload, provenance: Mapping[str, Any], to: TextIO | None = None) -> int:
    """The same for an integer network, whose file says which budget it was trained for.

    Args:
      work: of the network.
      provenance: the notes in its file.
      to: as for `told`.
    """
    text = provenance.get("config.budget")
    flexible = provenance.get("config.scheme") == "flightnn"
    if not isinstance(text, str) or not flexible:
        return 0
    try:
        asked = demands.parse(text)
        style = demands.style_of(asked, _text(provenance.get("config.style")))
        board = device.named(str(provenance.get("config.device")))
    except (ValueError, OSError) as error:
        print(f"note: whether the budget {text:.80} is kept is not known: {error}", file=to)
        return 0
    verdicts = limits.verdicts(work, asked, limits.Target(style, board))
    return told([(str(each), each.is_kept) for each in verdicts], to)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
