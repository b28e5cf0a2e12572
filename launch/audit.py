"""Prints every cell of the paper's tables beside the cost model's, with error, verdict and reason.

python -m launch.audit [--verdict=contradicted] [--json]
"""

import json

from flightnn_jax.paper import audit, report

from . import command
from .command import flags

_VERDICT = flags.DEFINE_enum(
    "verdict",
    None,
    [audit.REPRODUCED, audit.CONTRADICTED, audit.NOT_VERIFIABLE],
    "Print cells with this verdict only.",
)
_JSON = flags.DEFINE_boolean("json", False, "Print a JSON list of cells instead of a table.")


def main() -> None:
    """Prints the audit."""
    cells = [c for c in audit.cells() if _VERDICT.value in (None, c.verdict)]
    if _JSON.value:
        print(json.dumps([cell._asdict() for cell in cells], indent=1, allow_nan=False))
    else:
        print(report.audit_text(cells))


if __name__ == "__main__":
    command.run(main)
