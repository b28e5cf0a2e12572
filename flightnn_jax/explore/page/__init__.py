"""One HTML file with the points of a sweep, to be explored without a network or a library.

The file holds its data as JSON, its style and its script, and a policy that forbids everything
else. What it shows and how it is used: docs/explorer.md.
"""

from collections.abc import Sequence

from flightnn_jax.explore.commands import Program
from flightnn_jax.explore.members import Member
from flightnn_jax.explore.page import document, records
from flightnn_jax.hardware.device import Device

MAX_BYTES = 1_900_000
"""Of a page; `page` shows designs that are alike as one until it is no larger."""

# What designs may differ by and still be shown as one, in speed, latency and share of the device.
_ALIKE = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0, 1e9)


def page(
    title: str,
    members: Sequence[Member],
    devices: Sequence[Device],
    styles: Sequence[str],
    program: Program,
    notes: Sequence[str] = (),
) -> str:
    """The page of a sweep.

    Args:
      title: of the page, such as the directory of the sweep.
      members: of the sweep.
      devices: that a user can choose from; figures of the summary are for the first one.
      styles: of design, likewise.
      program: with which the commands are told.
      notes: what else to know, a line each.

    Raises:
      ValueError: if the page is larger than `MAX_BYTES` with one design of each network.
    """
    sheets = records.costed(members, devices, styles)
    sweep = records.Sweep(members, sheets, devices, styles, program, notes)
    for alike in _ALIKE:
        text = document.render(title, records.of(sweep, alike))
        if len(text.encode()) <= MAX_BYTES:
            return text
    raise ValueError(
        f"{len(members)} networks take {len(text.encode()):,} bytes with one design each, more "
        f"than the {MAX_BYTES:,} of a page: give fewer devices or styles, or a part of the sweep"
    )


__all__ = ["MAX_BYTES", "page"]
