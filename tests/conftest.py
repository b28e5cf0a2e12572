"""The longest modules come first, so that processes which take one after the other end together.

Coverage takes tests half as long again. So slow tests run without it, and long modules that reach
hardly a line that others do not: quick tests of the rest, and what fixtures run, reach the lines.
"""

import collections
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
# Together they alone reach 0.2 % of the lines, and take a third of a quick run.
WITHOUT_COVERAGE = (
    "data/test_augment.py",
    "data/test_cache.py",
    "data/test_load.py",
    "data/test_own_data.py",
    "formats/test_fixed_point.py",
    "integer/inference/test_paths.py",
    "launch/test_estimate.py",
    "launch/test_launch.py",
    "rtl/test_lint.py",
    "test_activations.py",
    "test_encoding.py",
    "test_layers.py",
    "test_penalty.py",
    "test_storage.py",
    "test_trees.py",
    "training/test_layers.py",
)
_FOLDER = Path(__file__).parent
_UNCOVERED = {_FOLDER / name for name in WITHOUT_COVERAGE}
_RANK = {_FOLDER / name: rank for rank, name in enumerate(LONGEST)}


@pytest.hookimpl(tryfirst=True)  # before a quick run leaves out what is slow
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: _RANK.get(item.path, len(_RANK)))
    cases = collections.Counter()
    for item in items:
        if item.path in _UNCOVERED or item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.no_cover)
        few = item.get_closest_marker("quick")
        if few:
            test = item.path, item.originalname
            cases[test] += 1
            if cases[test] > few.args[0]:
                item.add_marker(pytest.mark.slow)
