"""Small layers of random weights."""

import shutil

import numpy as np
import pytest

from flightnn_jax.integer.certificate import Range

KINDS = ("shift1", "shift2", "shift3", "integer")


def needs(tool):
    """Skips a test where a program is not installed."""
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


def weights_of(kind, shape, seed):
    """[taps, filters] integers of a kind; one filter in four is empty, where there are four."""
    rng = np.random.default_rng(seed)
    if kind == "integer":
        weights = rng.integers(-8, 8, shape)
    else:
        terms = (int(kind[-1]), *shape)
        weights = (rng.choice([-1, 1], terms) << rng.integers(0, 8, terms)).sum(axis=0)
    weights[:, 3::4] = 0
    return weights


def any_of(taps, seed):
    """Ranges of inputs, of which some cannot be negative and some are narrow."""
    rng = np.random.default_rng(seed)
    low = np.where(rng.random(taps) < 0.3, 0, rng.integers(-128, 1, taps))
    return Range(low, rng.integers(1, 128, taps))
