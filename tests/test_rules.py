"""Rules give formats by paths, whatever the library; what they miss is told."""

import jax.numpy as jnp
import numpy as np
import pytest

import flightnn_jax as fl
from flightnn_jax import rules

KERNEL, BIAS = jnp.ones((3, 4)), jnp.zeros(4)


def layer():
    return {"kernel": KERNEL, "bias": BIAS}


def params():
    return {"block1": {"conv": layer(), "skip": layer()}, "block10": layer(), "head": [layer()]}


def chosen(tree, given):
    """By path, what the formats of the kernels are; formats are told apart by k."""
    spec = fl.spec_from_rules(tree, given)
    return {w.path: w.format.k for w in fl.spec.match(tree, spec) if w.format is not None}


def test_the_first_match_counts():
    given = [("block1/conv", fl.Shift(k=1)), ("block.*", fl.Shift(k=2)), (".*", fl.Shift(k=3))]
    assert chosen(params(), given) == {
        "['block1']['conv']['kernel']": 1,
        "['block1']['skip']['kernel']": 2,
        "['block10']['kernel']": 2,
        "['head'][0]['kernel']": 3,
    }


def test_a_pattern_is_for_a_whole_path_or_a_parent():
    rest = (".*", None)
    for pattern, count in (("block1", 2), ("block1.*", 3), (".*kernel", 4), ("head/0", 1)):
        assert len(chosen(params(), [(pattern, fl.Shift()), rest])) == count
    for pattern in ("block", "conv", "kernel", "block1/", "/block1", ""):
        with pytest.raises(
            ValueError, match="decides nothing: no path matches, and they are block1/"
        ):
            fl.spec_from_rules(params(), [(pattern, fl.Shift()), rest])


def test_the_rule_of_all_is_that_of_make_spec():
    tree = params() | {"table": {"embedding": jnp.ones((5, 3)), "count": jnp.arange(3)}}
    spec, same = (
        fl.spec_from_rules(tree, [(".*", fl.Shift(k=1))]),
        fl.make_spec(tree, fl.Shift(k=1)),
    )
    assert fl.spec.match(tree, spec) == fl.spec.match(tree, same)
    assert fl.spec_from_rules({}, []) == {}
    assert fl.spec_from_rules(BIAS, []) is None
    assert fl.spec_from_rules(KERNEL, [("", fl.Shift(k=1))]).k == 1


def test_other_trees():
    nnx = pytest.importorskip("flax.nnx", reason="it comes with the extra train")
    state = nnx.state(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), nnx.Param)
    spec = fl.spec_from_rules(state, [("kernel", fl.Shift(k=1))])
    assert [w.format.k for w in fl.spec.match(state, spec) if w.format is not None] == [1]
    haiku = {"net/~/linear": {"w": KERNEL, "b": BIAS}}
    assert len(chosen(haiku, [("net/~/linear/w", fl.Shift())])) == 1
    equinox = pytest.importorskip("equinox", reason="it comes with the extra dev")
    linear = equinox.nn.Linear(3, 4, key=np.array([0, 0], np.uint32))
    assert fl.spec_from_rules(linear, [("weight", fl.Shift(filter_axis=0))]).weight.k == 2


WRONG = {
    "missed": (
        [("block.*", fl.Shift())],
        ValueError,
        r"no rule is there for head/0/kernel: give one",
    ),
    "hidden": (
        [("block.*", fl.Shift()), ("block1/conv", None), (".*", None)],
        ValueError,
        r"rule 1, 'block1/conv', decides nothing: earlier rules match all",
    ),
    "biases": (
        [("head/0/bias", fl.Shift()), (".*", None)],
        ValueError,
        r"rule 0, 'head/0/bias', decides nothing: head/0/bias are no kernels",
    ),
    "no expression": (
        [("(", None)],
        ValueError,
        r"rule 0, '\(', is no regular expression \(missing",
    ),
    "no pair": ([fl.Shift()], TypeError, "rule 0 is Shift.*give a pair of a pattern and a format"),
    "no text": ([(3, None)], TypeError, "give a pair of a pattern"),
    "no format": ([(".*", 2)], TypeError, r"rule 0, '\.\*', has 2: give a format"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_rules_are_told(name):
    given, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        fl.spec_from_rules(params(), given)


def test_long_lists_are_cut():
    many = {f"layer{i:02}": KERNEL for i in range(12)}
    with pytest.raises(ValueError, match="layer09 and 2 more"):
        fl.spec_from_rules(many, [("layer", None)])
    assert rules._listed(["a", "b"]) == "a, b"
