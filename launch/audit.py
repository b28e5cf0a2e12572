"""Prints every cell of the paper's tables beside the cost model's, with error, verdict and reason.

python -m launch.audit [--verdict=contradicted] [--json]

Accuracies are judged by networks that were trained: the records below --results, which are those of
the repository in a checkout.
"""

import json
from pathlib import Path

from flightnn_jax.paper import audit, report, reproduction

from . import command
from .command import flags

_VERDICT = flags.DEFINE_enum(
    "verdict",
    None,
    [audit.REPRODUCED, audit.CONTRADICTED, audit.NOT_VERIFIABLE],
    "Print cells with this verdict only.",
)
_JSON = flags.DEFINE_boolean("json", False, "Print a JSON list of cells instead of a table.")
_RESULTS = flags.DEFINE_string(
    "results", None, "Directory of runs that are done; results/ of a checkout by default."
)
_OF_CHECKOUT = Path(__file__).parent.parent / "results"


def trained() -> list[reproduction.Trained]:
    """The rows of the paper's tables for which there are networks."""
    from flightnn_jax.explore import groups, members  # here: without records none is needed

    if _RESULTS.value is None and not _OF_CHECKOUT.is_dir():
        return []
    found, _ = members.find(_RESULTS.value or _OF_CHECKOUT)
    return reproduction.longest(groups.groups(found))


def main() -> None:
    """Prints the audit."""
    cells = [c for c in audit.cells(trained()) if _VERDICT.value in (None, c.verdict)]
    if _JSON.value:
        print(json.dumps([cell._asdict() for cell in cells], indent=1, allow_nan=False))
    else:
        print(report.audit_text(cells))


if __name__ == "__main__":
    command.run(main)
