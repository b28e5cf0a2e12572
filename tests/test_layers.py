"""The shape of the package: which module may import which, and what a new format costs.

Imports are read from the source, those inside functions too, so nothing has to be run.
"""

import ast
import dataclasses
import doctest
import functools
import graphlib
import importlib
import inspect
import struct
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import flightnn_jax
from flightnn_jax import (
    Codes,
    Format,
    Shift,
    count_shifts,
    decode_params,
    encode_params,
    init_thresholds,
    make_spec,
    quantize_params,
    residual_group_lasso,
    storage_bits,
)
from flightnn_jax.formats import base, packing
from flightnn_jax.integer import LoweringError

PACKAGE = Path(flightnn_jax.__file__).parent
TABLE = flightnn_jax._TABLE
CHECKING = "TYPE_CHECKING"
SOURCES = {
    ".".join(p for p in path.relative_to(PACKAGE).with_suffix("").parts if p != "__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imports(source, name=""):
    """Absolute names of everything that a source imports, whatever the form of the statement."""
    package = ["flightnn_jax", *name.split(".")[:-1]]  # a package of ours imports by full names
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def modules_of(names):
    """The modules of ours among imported names: a.b.C is module a.b, or the package alone."""
    found = set()
    for name in names:
        if name.split(".")[0] == "flightnn_jax":
            inner = name.split(".")[1:]
            while ".".join(inner) not in SOURCES:
                inner.pop()
            found.add(".".join(inner))
    return found


OURS = {name: modules_of(imports(path.read_text(), name)) for name, path in SOURCES.items()}


def test_reads_every_form_of_import():
    source = """
import os.path, jax.numpy as jnp
from flightnn_jax.formats import base, window as windows
from flightnn_jax import Shift
from . import packing
from ..spec import match
def later():
    from flightnn_jax.penalty import residual_group_lasso
"""
    found = imports(source, "formats.shift")
    assert {"os.path", "jax.numpy", "flightnn_jax.formats.packing"} <= found
    expected = {"", "formats.base", "formats.window", "formats.packing", "spec", "penalty"}
    assert modules_of(found) == expected
    assert {"numerics", "filters", "spec", "formats", "formats.shift", ""} <= set(SOURCES)


# What `pip install .` does not install, and who may need it.
EXTRAS = {
    "training.models": {"flax"},
    "penalty": {"optax"},  # when add_residual_group_lasso is called
    "training.step": {"optax"},
    "training.optimizer": {"optax"},
    "training.checkpoint": {"orbax", "absl"},
    "training.runlog": {"tensorboardX"},
    "data.feed": {"grain"},
    "data.records": {"tensorflow_datasets"},
    "data.images": {"PIL"},
    "data.photographs": {"PIL"},
    "data.digits": {"sklearn"},
    "integer.export.onnx": {"onnx", "onnxruntime"},
    "explore.plots": {"matplotlib"},
}
# What runs where JAX is not installed.
WITHOUT_JAX = (
    "lazy",
    "atomic",
    "networks",
    "schemes",
    "pareto",
    "hardware",
    "paper",
    "checker",
    "explore",
    "integer:",
    "integer.limits",
    "integer.codes",
    "integer.weights",
    "integer.network",
    "integer.shapes",
    "integer.certificate",
    "integer.invariants",
    "integer.manifest",
    "integer.files",
    "integer.affine",
    "integer.inference.int8_columns",
    "integer.export.onnx",
    *(f"data.{name}" for name in ("catalog", "dataset", "digits", "npz", "folder", "records")),
    *(f"data.{name}" for name in ("splits", "images", "photographs", "cache", "order")),
    "training.config",
    "training.runlog",
)


def within(name, places):
    """Whether a module is one of these places or lies inside of one.

    "integer:" is that package's __init__ alone.
    """
    return any(name == place.rstrip(":") or name.startswith(place + ".") for place in places)


@pytest.mark.parametrize("name", SOURCES)
def test_needs_nothing_but_jax_and_numpy(name):
    tops = {module.split(".")[0] for module in imports(SOURCES[name].read_text(), name)}
    jax_too = set() if within(name, WITHOUT_JAX) else {"jax", "jaxlib"}
    allowed = {"numpy", "flightnn_jax"} | jax_too | EXTRAS.get(name, set())
    assert tops - sys.stdlib_module_names <= allowed


def reached_from(name):
    """All modules that come with one."""
    waiting, reached = [name], {name}
    while waiting:
        waiting += OURS[waiting.pop()] - reached
        reached |= set(waiting)
    return reached


def test_the_core_needs_nothing_of_training():
    reached = set().union(*(reached_from(TABLE[name]) for name in flightnn_jax.__all__))
    assert {"formats.shift", "numerics"} <= reached
    assert not [m for m in reached if within(m, ("training", "data", "networks"))]
    records = {f"integer.{name}" for name in ("weights", "codes", "limits")}  # what codes become
    assert {m for m in reached if within(m, ["integer"])} == records
    assert reached & set(EXTRAS) == {"penalty"}


def test_inference_needs_nothing_of_training():
    code = """
import sys
from flightnn_jax.integer import files, inference, verify
from flightnn_jax.integer.export import onnx
assert not {"flax", "optax", "orbax", "tensorflow_datasets", "onnx.helper"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


def test_the_doors_of_integer_networks_need_no_jax():
    code = """
import sys
from flightnn_jax import integer
assert integer.IntegerNetwork and integer.export.to_onnx and integer.export.__all__
assert not {"jax", "onnx"} & set(sys.modules)
assert integer.lower.lower and integer.inference.make_inference and integer.export.to_stablehlo
assert integer.verify.PATHS and integer.switching.collect and "jax" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


def test_the_checker_starts_without_jax():
    code = "import sys, launch.check; assert not {'jax', 'safetensors'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


def test_a_config_and_the_records_of_runs_need_no_jax():
    code = """
import sys
from flightnn_jax.training import config, runlog
config.Config(dataset="digits")
assert not {"jax", "PIL", "grain", "flax"} & set(sys.modules)
from flightnn_jax import data
assert data.augment is data.augment and data.Batch and "jax" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


@pytest.mark.parametrize("name", ["integer.files", "integer.affine", "hardware.report"])
def test_integer_networks_and_their_costs_need_numpy_alone(name):
    reached = reached_from(name)
    assert {"integer.network", "integer.certificate"} < reached
    assert all(within(module, WITHOUT_JAX) for module in reached)


# What a module may import of ours: one row for every module, or for a package whose modules all
# follow one rule. `within` reads both sides: "formats" is that package and all that it holds.
RECORDS = ["integer.limits", "integer.weights", "integer.network", "integer.shapes"]
NUMPY_HALF = ["integer:", *RECORDS, "integer.certificate", "integer.invariants", "integer.files"]
LIBRARY = ["formats", "numerics", "filters", "spec", "thresholds", "quantize", "penalty"]
ARROWS = {
    "lazy": [],
    "": [name for name in SOURCES if name],  # where names are, for type checkers
    "numerics": [],
    "filters": [],
    "atomic": [],
    "activations": ["numerics"],
    "formats": ["numerics", "filters", "formats", "integer.weights"],
    "spec": ["formats"],
    "thresholds": ["formats", "spec"],
    "quantize": ["formats", "spec"],
    "penalty": ["formats", "spec"],
    "encoding": ["formats", "spec"],
    "budget": ["formats", "spec"],
    "schemes": [],
    "pareto": [],
    "networks": ["networks"],
    "data": ["data", "atomic", "lazy"],
    "training.layers": ["activations", "filters", "numerics"],
    "training.models": ["networks", "training.layers"],
    "training.config": ["networks", "schemes", "data"],
    "training.summary": ["formats", "quantize", "spec"],
    "training.quantization": ["formats", "penalty", "schemes", "spec", "thresholds"],
    "training.optimizer": ["penalty", "training.config", "training.quantization"],
    "training.step": [
        "budget",
        "quantize",
        "schemes",
        "data",
        "training.config",
        "training.optimizer",
        "training.quantization",
    ],
    "training.checkpoint": ["training.config"],
    "training.runlog": ["data", "atomic"],
    "training.loop": [
        "data",
        "training.config",
        "training.optimizer",
        "training.step",
        "training.checkpoint",
        "training.runlog",
        "training.summary",
    ],
    "training.runs": ["atomic", "schemes", "data", "training"],
    "training.export": ["networks", "quantize", "data", "integer", "training"],
    "training": [],
    "integer.limits": [],
    "integer.codes": ["integer.limits"],
    "integer.weights": ["integer.limits", "integer.codes"],
    "integer.network": ["integer.limits", "integer.weights"],
    "integer.shapes": ["integer.limits", "integer.network"],
    "integer.certificate": RECORDS,
    "integer.invariants": [*RECORDS, "integer.certificate"],
    "integer.manifest": [*RECORDS, "integer.invariants"],
    "integer.files": ["atomic", *RECORDS, "integer.invariants", "integer.manifest"],
    "integer.affine": ["integer.network", "integer.certificate"],
    "integer.lower": [
        *RECORDS,
        "integer.certificate",
        "integer.invariants",
        "integer.affine",
        "activations",
        "encoding",
        "formats.base",
        "networks",
    ],
    "integer.inference.operations": RECORDS,
    "integer.inference.shifts": [*RECORDS, "integer.inference.operations"],
    "integer.inference.float32": [
        *RECORDS,
        "integer.certificate",
        "integer.inference.operations",
        "numerics",
    ],
    "integer.inference.int8_columns": [],
    "integer.inference.int8": [
        *RECORDS,
        "integer.certificate",
        "integer.inference.int8_columns",
        "integer.inference.operations",
    ],
    "integer.inference.native_build": ["atomic"],
    "integer.inference.native": [
        *RECORDS,
        "integer.inference.int8",
        "integer.inference.native_build",
        "integer.inference.operations",
    ],
    "integer.inference.paths": ["integer.network", "integer.inference"],
    "integer.inference": ["lazy", "integer.inference.paths"],
    "integer.export": ["lazy", *RECORDS, "integer.inference", "integer.export"],
    "integer.switching": [*RECORDS, "integer.inference"],
    "integer.verify": [*RECORDS, "integer.files", "integer.inference", "integer.export", "checker"],
    "integer": ["lazy", *NUMPY_HALF],
    "checker": ["checker"],
    "hardware": ["lazy", "hardware", "networks", "schemes", "pareto", *NUMPY_HALF],
    "paper": ["lazy", "paper", "hardware", "networks", "schemes"],
    "explore.results": [],
    "explore.plots": ["atomic", "explore.results"],
    "explore": ["explore.results", "explore.plots"],
}


def row_of(name):
    """The row that holds for a module: its own, or that of the nearest package."""
    parts = name.split(".")
    while ".".join(parts) not in ARROWS:
        parts.pop()
        assert parts, f"{name} is in no row of ARROWS"
    return ".".join(parts)


def test_every_row_is_of_a_module_that_exists():
    assert set(ARROWS) <= set(SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_arrows(name):
    row = row_of(name)
    # a package with rows for its modules has a row of its own for its __init__ alone
    assert row == name or not any(other.startswith(row + ".") for other in ARROWS), name
    wrong = [module for module in OURS[name] if not within(module, ARROWS[row])]
    assert not wrong, f"{name} imports {wrong}"


def test_no_cycles():
    order = list(graphlib.TopologicalSorter(OURS).static_order())
    assert not [m for m in OURS if "" in OURS[m]], "nothing inside imports the package itself"
    assert order.index("numerics") < order.index("formats.shift") < order.index("quantize")


def test_no_drawer_for_everything():
    assert not [name for name in SOURCES if name.rsplit(".")[-1] in ("utils", "util", "helpers")]


PUBLIC = {name: getattr(flightnn_jax, name) for name in flightnn_jax.__all__}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_explained(name):
    thing = PUBLIC[name]
    own = thing.__dict__.get("__doc__") if inspect.isclass(thing) else thing.__doc__
    assert own
    assert not own.startswith(f"{name}(")  # what a record writes when it has none
    if inspect.isfunction(thing) or (issubclass(thing, Format) and thing is not Format):
        assert "Example:" in own
        examples = doctest.DocTestParser().get_examples(own)
        assert any(f"{name}(" in example.source for example in examples)
        assert any(example.want for example in examples)


def test_type_checkers_see_what_the_table_says():
    tree = ast.parse(SOURCES[""].read_text())
    (block,) = (n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == CHECKING)
    seen = {
        alias.asname: f"{node.module}.{alias.name}".removeprefix("flightnn_jax.")
        for node in block.body
        for alias in node.names
    }
    assert seen == {n: m if n == m else f"{m}.{n}" for n, m in TABLE.items()}


def test_the_table_has_every_module_of_the_root():
    modules = {name for name in SOURCES if "." not in name} - {"", "lazy"}
    assert {name for name, module in TABLE.items() if name == module} == modules
    assert set(flightnn_jax.__all__) | set(TABLE) <= set(dir(flightnn_jax))
    assert not set(flightnn_jax.__all__) & set(SOURCES)


@pytest.mark.parametrize("name", TABLE)
def test_every_name_of_the_table_answers(name):
    thing = getattr(flightnn_jax, name)
    if name == TABLE[name]:
        assert thing is importlib.import_module(f"flightnn_jax.{name}")
    else:
        assert thing.__module__ == f"flightnn_jax.{TABLE[name]}"


def test_the_package_starts_without_jax():
    code = """
import sys, flightnn_jax as fl
assert fl.networks.NAMES and fl.hardware and fl.integer and fl.checker and fl.__version__
assert "jax" not in sys.modules
assert not hasattr(fl, "no_such_name")
assert fl.quantize.quantize_params is fl.quantize_params
assert fl.Shift(k=1).k == 1 and "jax" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


# A format of its own file, as a user would write it: the sign of each weight times the mean
# magnitude of the layer. Nothing in the library knows of it.


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["negative", "scale"], meta_fields=["dtype"]
)
@dataclasses.dataclass(frozen=True)
class BinaryCodes(Codes):
    negative: np.ndarray
    scale: np.ndarray
    dtype: str

    def check(self):
        if self.negative.dtype != bool or self.scale < 0:
            raise ValueError("negative must be bool, and the scale not negative")

    def decode(self):
        return jnp.where(self.negative, -self.scale, self.scale).astype(self.dtype)

    def to_bytes(self):
        header = packing.pack_array_header(self.negative.shape, self.dtype, 0)
        bits = packing.pack_integers(self.negative, 1)
        return packing.frame(200, header + struct.pack("<f", self.scale) + bits)


@functools.partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=["filter_axis"])
@dataclasses.dataclass(frozen=True)
class Binary(Format):
    filter_axis: int = -1

    def problem_with(self, shape, dtype):
        del dtype
        return base.problem_with_axis(self.filter_axis, shape)

    def quantize(self, w):
        return binarize(w)

    def encode(self, w):
        return BinaryCodes(np.asarray(w < 0), np.asarray(jnp.abs(w).mean()), w.dtype.name)

    def storage_bits(self, w):
        return w.size


@jax.custom_vjp
def binarize(w):
    return jnp.where(w < 0, -1, 1) * jnp.abs(w).mean()


binarize.defvjp(lambda w: (binarize(w), w), lambda w, g: (jnp.where(jnp.abs(w) <= 1, g, 0),))

W = jnp.array([[0.5, -2.0], [-1.0, 0.5]])
PARAMS = {"binary": W, "shift": W, "float": W}
SPEC = {"binary": Binary(), "shift": Shift(k=1, thresholds=jnp.zeros(1)), "float": None}


def test_a_new_format_quantizes():
    got = quantize_params(PARAMS, SPEC)
    assert got["binary"].tolist() == [[1.0, -1.0], [-1.0, 1.0]]
    assert got["shift"].tolist() == W.tolist()  # powers of two
    assert got["float"] is W


def test_a_new_format_has_its_own_gradient():
    cotangent = jnp.array([[1.0, 2.0], [3.0, 4.0]])

    def loss(params, spec):
        return sum(jnp.sum(q * cotangent) for q in quantize_params(params, spec).values())

    params, spec = jax.jit(jax.grad(loss, argnums=(0, 1)))(PARAMS, SPEC)
    assert params["binary"].tolist() == [[1.0, 0.0], [3.0, 4.0]]  # |-2| > 1
    assert params["shift"].tolist() == params["float"].tolist() == cotangent.tolist()
    assert jax.tree.structure(spec) == jax.tree.structure(SPEC)
    assert np.all(spec["shift"].thresholds != 0)


def test_a_new_format_is_stored():
    encoded = encode_params(PARAMS, SPEC)
    encoded["binary"].check()
    for decode in (decode_params, jax.jit(decode_params)):
        jax.tree.map(assert_array_equal, decode(encoded), quantize_params(PARAMS, SPEC))
    # 18 bytes of frame, 3 + 16 of array header, 4 of scale, 1 of signs
    body = packing.unframe(200, encoded["binary"].to_bytes())
    assert len(body) == 3 + 16 + 4 + 1
    assert body[-1] == 0b0110
    assert storage_bits(PARAMS, SPEC) == (4 + 16, 128)


def test_a_new_format_beside_shifts():
    counts = count_shifts(PARAMS, SPEC)
    assert counts["binary"] is counts["float"] is None
    assert counts["shift"].k.tolist() == [1, 1]
    penalty = residual_group_lasso(PARAMS, SPEC, [2.0])
    assert_allclose(penalty, 2 * (np.sqrt(1.25) + np.sqrt(4.25)), rtol=1e-6)
    with_thresholds = init_thresholds(PARAMS, SPEC, per="network")
    assert with_thresholds.spec["binary"] == Binary()
    assert make_spec(PARAMS, Binary()) == dict.fromkeys(PARAMS, Binary())


def test_a_new_formats_problems_are_reported():
    with pytest.raises(ValueError, match=r"\['binary'\]: filter_axis=2 is not an axis"):
        quantize_params(PARAMS, SPEC | {"binary": Binary(filter_axis=2)})


def test_a_new_format_without_a_form_in_integers_says_so():
    with pytest.raises(LoweringError, match="BinaryCodes have no form in integer networks: train"):
        Binary().encode(W).to_weights()
