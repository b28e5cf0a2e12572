"""The audit and the errors of the models as text for a terminal."""

from collections.abc import Sequence

from flightnn_jax.hardware.records import Number
from flightnn_jax.hardware.report import table
from flightnn_jax.hardware.styles import generated
from flightnn_jax.paper import audit, fit

_CHOSEN = """\
No model is the median of the scheme's rows of other networks. The model's structure was chosen by
people who had seen the tables, and every error is conditional on it: with other sizes of maps the
left-out median is 60 to 74 %. Table 6 is calibration: BRAM and DSP are met as they were fitted."""


def audit_text(cells: Sequence[audit.Cell]) -> str:
    """Every cell, then how many there are of each verdict, then the model's errors."""
    rows = [["table", "row", "column", "printed", "model", "error", "verdict"]]
    for c in cells:
        error = "" if c.error is None else f"{c.error:+.0%}"
        rows.append([c.table, c.row, c.column, c.printed, c.model, error, c.verdict])
    first, *rest = table(rows).split("\n")
    reasons = [f"  {c.reason}" if c.reason else "" for c in cells]
    body = [line + reason for line, reason in zip(rest, reasons, strict=True)]
    counts = [["table", audit.REPRODUCED, audit.CONTRADICTED, audit.NOT_VERIFIABLE]]
    for name, verdicts in audit.summary(list(cells)).items():
        counts.append([name, *(str(verdicts.get(verdict, 0)) for verdict in counts[0][1:])])
    parts = [first, *body, "", table(counts), "", errors_text(), "", generated_text()]
    return "\n".join(parts)


def generated_text() -> str:
    """The errors of what generated stages take: of stages that no constant saw."""
    rows = [["generated stage", "LUT", "FF", "BRAM", "DSP"]]
    for kind, errors in generated.ERRORS.items():
        rows.append([kind, *(Number(1, factor, "").bar for factor in errors)])
    return f"{table(rows)}\nnine of ten held-out stages, against Yosys 0.23"


def errors_text() -> str:
    """The throughput model's errors against the 46 published rows."""
    fitted, left_out, anchored = fit.fitted(), fit.left_out(), fit.anchored()
    rows = [["throughput", "rows", "median", "nine of ten", "worst", "in 1.25x", "in 2x"]]
    for name, predictions, keep in (
        ("fitted, all", fitted, None),
        ("left out, all", left_out, None),
        ("left out, quantized", left_out, fit.quantized),
        ("no model, all", fit.null(), None),
        ("given L-1, quantized", anchored, fit.quantized),
        ("given L-1, FLightNN", anchored, lambda row: row.scheme == "flightnn"),
    ):
        e = fit.errors(predictions, keep) if keep else fit.errors(predictions)
        factors = [f"{e.ninth:.2f}x", f"{e.worst:.2f}x"]
        shares = [f"{e.shares[factor]:.0%}" for factor in (1.25, 2.0)]
        rows.append([name, str(e.count), f"{e.median:.1%}", *factors, *shares])
    orders = [
        f"{name} {pairs.right} of {pairs.pairs} ({pairs.right / pairs.pairs:.1%})"
        for name, pairs in (
            ("fitted", fit.order(fitted)),
            ("left out", fit.order(left_out)),
            ("given L-1", fit.order(fit.with_anchors(anchored))),
        )
    ]
    constants = ", ".join(f"{kind} {c:.2f}" for kind, c in fit.constants().items())
    return (
        f"{table(rows)}\n"
        f"pairs of schemes in the published order: {'; '.join(orders)}\n"
        f"fitted constants, cycles for a term of a product: {constants}\n{_CHOSEN}"
    )
