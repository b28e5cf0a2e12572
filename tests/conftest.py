"""The longest modules come first, so that processes which take one after the other end together.

Coverage takes tests half as long again. So slow tests run without it, further cases, and long
modules that reach hardly a line that others do not: what is left, and what fixtures run, reach the
lines. Of tests that are marked quick(0) a quick run takes no case, but coverage counts them.
"""

import collections
from pathlib import Path

import pytest

# By the seconds that they take, in everything or in a quick run.
LONGEST = (
    "launch/test_launch.py",
    "training/test_evaluation.py",
    "training/test_step.py",
    "test_transforms.py",
    "training/test_own_runs.py",
    "formats/test_quantizer.py",
    "test_trees.py",
    "test_gradients.py",
    "test_budget.py",
    "test_encoding.py",
    "checker/test_mutations.py",
    "test_readme.py",
    "training/test_checkpoint.py",
    "explore/test_plots.py",
    "training/test_scaling.py",
    "rtl/test_simulate.py",
    "training/test_recipe.py",
    "training/test_models.py",
    "training/test_layer_kinds.py",
    "explore/test_kept.py",
    "integer/test_lower.py",
    "training/test_export.py",
    "integer/test_schemes_by_paths.py",
    "integer/test_digests.py",
    "rtl/test_prove.py",
    "training/test_stages.py",
    "checker/test_checker.py",
    "training/test_layers.py",
    "integer/export/test_export.py",
    "rtl/test_groups.py",
    "formats/test_codebook.py",
    "rtl/test_verilator.py",
    "integer/test_mutations.py",
    "launch/test_bad_input.py",
    "data/test_load.py",
    "docs/test_site.py",
)
# Together they alone reach 0.2 % of the lines, and take long.
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


@pytest.hookimpl(tryfirst=True)  # before a run leaves out what its marks say
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: _RANK.get(item.path, len(_RANK)))
    tests = collections.defaultdict(list)
    for item in items:
        tests[item.path, getattr(item, "originalname", item.name)].append(item)
        if item.path in _UNCOVERED or item.get_closest_marker("slow"):
            item.add_marker("no_cover")
    for cases in tests.values():
        quick, whole = (number_of(cases[0], mark) for mark in ("quick", "whole"))
        for i, item in enumerate(cases):
            if quick is not None and i >= quick:
                item.add_marker("slow")
                if quick:
                    item.add_marker("no_cover")
            if whole and i >= (quick or 0) and not begins_a_share(i, whole, len(cases)):
                item.add_marker("exhaustive")
            if item.get_closest_marker("exhaustive"):
                item.add_marker("slow")
                item.add_marker("no_cover")


def number_of(item, mark):
    """How many cases of its test a run takes; None for all."""
    found = item.get_closest_marker(mark)
    return found.args[0] if found else None


def begins_a_share(i, shares, count):
    """Whether the i-th of so many is the first of one of so many equal shares."""
    return i * shares // count > (i - 1) * shares // count
