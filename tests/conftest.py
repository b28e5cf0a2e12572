"""The longest modules come first, so that processes which take one after the other end together.

Slow tests run without coverage, which would take them half as long again: quick tests, and what
fixtures run, reach the lines.
"""

from pathlib import Path

import pytest

# By the seconds that they take, in everything or in a quick run.
LONGEST = (
    "launch/test_launch.py",
    "test_transforms.py",
    "training/test_step.py",
    "test_trees.py",
    "training/test_export.py",
    "training/test_evaluation.py",
    "formats/test_quantizer.py",
    "test_budget.py",
    "training/test_checkpoint.py",
    "training/test_models.py",
    "integer/test_lower.py",
    "training/test_own_runs.py",
    "training/test_scaling.py",
    "integer/test_mutations.py",
    "integer/test_checker_agrees.py",
    "integer/inference/test_native.py",
    "rtl/test_hardwired.py",
    "rtl/test_wired.py",
    "checker/test_mutations.py",
    "launch/test_bad_input.py",
    "test_packaging.py",
    "test_readme.py",
    "data/test_load.py",
    "docs/test_site.py",
    "explore/test_plots.py",
    "test_gradients.py",
)
_RANK = {Path(__file__).parent / name: rank for rank, name in enumerate(LONGEST)}


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: _RANK.get(item.path, len(_RANK)))
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.no_cover)
