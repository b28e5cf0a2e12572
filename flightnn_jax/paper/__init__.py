"""The paper's tables as data, fitted constants, trained networks beside them, and the audit.

Example:
  >>> from flightnn_jax import paper
  >>> paper.audit.summary(paper.audit.cells())["text"]
  {'reproduced': 8, 'contradicted': 1}
"""

from typing import TYPE_CHECKING

from flightnn_jax.lazy import getter

if not TYPE_CHECKING:
    __getattr__ = getter(
        __name__, {name: name for name in ("audit", "fit", "report", "reproduction", "tables")}
    )
