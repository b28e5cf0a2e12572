"""Spec trees from rules: patterns of paths, each with a format; the first that matches counts."""

import re
from collections.abc import Sequence
from typing import Any

import jax

from flightnn_jax import spec
from flightnn_jax.formats import base
from flightnn_jax.spec import PyTree

_MAX_LISTED = 10


def spec_from_rules(params: PyTree, rules: Sequence[tuple[str, base.Format | None]]) -> PyTree:
    """A spec tree for `params` from patterns of paths.

    A path is the names on the way to an array with slashes between them: "block1/conv/kernel". A
    pattern is a regular expression that a whole path matches, or the beginning of one up to a
    slash: "block.*/conv" is all that is in conv of these blocks. Of the rules that match an array
    the first one counts. Its format goes to kernels alone, by the rule of `make_spec`; biases stay
    float, and so does everything under None.

    Args:
      params: as those of `make_spec`.
      rules: pairs of a pattern and a format, or None for arrays that stay float.

    Returns:
      A tree like `params`, with a format or None in place of each array.

    Raises:
      TypeError: if a rule is no such pair; and as `make_spec` does.
      ValueError: if a pattern is no regular expression, a rule decides nothing, or a kernel has no
        rule; the message lists paths. And as `make_spec` does.

    Example:
      >>> import jax.numpy as jnp
      >>> from flightnn_jax import FixedPoint, Shift
      >>> layer = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}
      >>> params = {"block1": {"conv": layer}, "block2": {"conv": layer}, "head": layer}
      >>> rules = [("block2", None), ("block.*/conv", Shift(k=2)), (".*", FixedPoint(bits=8))]
      >>> spec = spec_from_rules(params, rules)
      >>> spec["block1"]["conv"]["kernel"].k, spec["block2"]["conv"]["kernel"]
      (2, None)
      >>> spec["head"]["kernel"].bits, spec["head"]["bias"]
      (8, None)
    """
    patterns = [_pattern(i, rule) for i, rule in enumerate(rules)]
    formats = [fmt for _, fmt in rules]
    matched: list[list[str]] = [[] for _ in rules]  # by each rule, first of all
    given = [0] * len(patterns)  # to so many arrays
    without: list[str] = []
    paths: list[str] = []
    kernels = next((spec.for_kernels(fmt) for fmt in formats if fmt is not None), None)

    def choose(path: tuple[Any, ...], leaf: Any) -> base.Format | None:
        paths.append(jax.tree_util.keystr(path, simple=True, separator="/"))
        number = next((i for i, p in enumerate(patterns) if _matches(p, paths[-1])), None)
        if number is None:
            if kernels is not None and kernels(path, leaf) is not None:
                without.append(paths[-1])
            return None
        matched[number].append(paths[-1])
        rule = formats[number]
        fmt = None if rule is None else spec.for_kernels(rule)(path, leaf)
        given[number] += rule is None or fmt is not None
        return fmt

    made = spec.make_spec(params, choose)
    for i, pattern in enumerate(patterns):
        if not given[i]:
            why = _idle(pattern, matched[i], paths)
            raise ValueError(f"rule {i}, {pattern.pattern!r}, decides nothing: {why}")
    if without:
        raise ValueError(
            f"no rule is there for {_listed(without)}: give one, or end the rules with "
            '(".*", None) if they are to stay float'
        )
    return made


def _pattern(number: int, rule: Any) -> re.Pattern[str]:
    pair = isinstance(rule, tuple | list) and len(rule) == 2
    if not pair or not isinstance(rule[0], str):
        raise TypeError(
            f"rule {number} is {rule!r:.80}: give a pair of a pattern and a format, such as "
            '("block.*/conv", Shift(k=2)), or None for arrays that stay float'
        )
    if not (rule[1] is None or isinstance(rule[1], base.Format)):
        raise TypeError(
            f"rule {number}, {rule[0]!r}, has {rule[1]!r:.80}: give a format, such as Shift(k=2), "
            "or None"
        )
    try:
        return re.compile(rule[0])
    except re.error as error:
        raise ValueError(
            f"rule {number}, {rule[0]!r}, is no regular expression ({error}): mend it"
        ) from error


def _matches(pattern: re.Pattern[str], path: str) -> bool:
    """Whether a pattern matches the whole of a path, or of its beginning up to a slash."""
    ends = [i for i, letter in enumerate(path) if letter == "/"]
    return any(pattern.fullmatch(path, 0, end) for end in [*ends, len(path)])


def _idle(pattern: re.Pattern[str], first: list[str], paths: list[str]) -> str:
    """Why a rule decides nothing."""
    if first:
        return f"{_listed(first)} are no kernels, which alone are given formats: leave it out"
    if any(_matches(pattern, path) for path in paths):
        return "earlier rules match all that it does: put it before them, or leave it out"
    return f"no path matches, and they are {_listed(paths)}: mend it, or leave it out"


def _listed(paths: list[str]) -> str:
    more = f" and {len(paths) - _MAX_LISTED} more" if len(paths) > _MAX_LISTED else ""
    return ", ".join(paths[:_MAX_LISTED]) + more
