"""The shape of the package: which module may import which, and what a new format costs.

Imports are read from the source, those inside functions too, so nothing has to be run.
"""

import ast
import doctest
import functools
import graphlib
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import flightnn_jax
from flightnn_jax import (
    Format,
)

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
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def modules_of(names):
    """The modules of ours among imported names: a.b.C is module a.b, or the package alone."""
    modules = set()
    for name in names:
        if name.split(".")[0] == "flightnn_jax":
            inner = name.split(".")[1:]
            while ".".join(inner) not in SOURCES:
                inner.pop()
            modules.add(".".join(inner))
    return modules


@functools.cache
def ours():
    """The modules of ours that each imports, by its name."""
    return {name: modules_of(imports(path.read_text(), name)) for name, path in SOURCES.items()}


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
    names = imports(source, "formats.shift")
    assert {"os.path", "jax.numpy", "flightnn_jax.formats.packing"} <= names
    expected = {"", "formats.base", "formats.window", "formats.packing", "spec", "penalty"}
    assert modules_of(names) == expected
    assert {"numerics", "filters", "spec", "formats", "formats.shift", ""} <= set(SOURCES)


# What `pip install .` does not install, and who may need it.
EXTRAS = {
    "training.models": {"flax"},
    "penalty": {"optax"},  # when add_residual_group_lasso is called
    "training.step": {"optax"},
    "training.evaluation": {"optax"},
    "training.optimizer": {"optax"},
    "training.checkpoint": {"orbax", "absl"},
    "training.runlog": {"tensorboardX"},
    "data.feed": {"grain"},
    "data.records": {"tensorflow_datasets"},
    "data.images": {"PIL"},
    "data.photographs": {"PIL"},
    "networks.onnx_graph": {"onnx"},
    "integer.export.graph": {"onnx"},
    "integer.export.onnx": {"onnx", "onnxruntime"},
    "integer.export.qonnx": {"onnx", "qonnx"},
    "explore.plots": {"matplotlib"},
    "explore.front_plots": {"matplotlib"},
}
# What runs where JAX is not installed.
WITHOUT_JAX = (
    "lazy",
    "atomic",
    "networks",
    "schemes",
    "pareto",
    "fpga",
    "hardware",
    "paper",
    "rtl",
    "checker",
    "explore",
    "integer:",
    "integer.limits",
    "integer.codes",
    "integer.weights",
    "integer.codebook",
    "integer.kinds",
    "integer.network",
    "integer.shapes",
    "integer.certificate",
    "integer.tables",
    "integer.digests",
    "integer.invariants",
    "integer.manifest",
    "integer.files",
    "integer.affine",
    "integer.inference.int8_columns",
    "integer.export.c",
    "integer.export.graph",
    "integer.export.onnx",
    "integer.export.qonnx",
    "integer.export.thresholds",
    "integer.powers",
    *(f"data.{name}" for name in ("catalog", "dataset", "digits", "npz", "folder", "records")),
    *(f"data.{name}" for name in ("splits", "images", "photographs", "cache", "order")),
    "training.config",
    "training.chain",
    "training.fields",
    "training.lock",
    "training.plan",
    "training.runlog",
    "training.stages",
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
        waiting += ours()[waiting.pop()] - reached
        reached |= set(waiting)
    return reached


def test_the_core_needs_nothing_of_training():
    reached = set().union(*(reached_from(TABLE[name]) for name in flightnn_jax.__all__))
    assert {"formats.shift", "numerics"} <= reached
    assert not [m for m in reached if within(m, ("training", "data", "networks"))]
    records = {f"integer.{name}" for name in ("weights", "codebook", "codes", "limits")}
    assert {m for m in reached if within(m, ["integer"])} == records  # what codes become
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
assert integer.export.to_c and not {"jax", "onnx"} & set(sys.modules)
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
RECORDS = [
    *("integer.limits", "integer.weights", "integer.codebook", "integer.kinds"),
    *("integer.network", "integer.shapes"),
]
NUMPY_HALF = ["integer:", *RECORDS, "integer.certificate", "integer.invariants", "integer.files"]
LIBRARY = ["formats", "numerics", "filters", "spec", "thresholds", "quantize", "penalty"]
ARROWS = {
    "lazy": [],
    "": [name for name in SOURCES if name],  # where names are, for type checkers
    "numerics": [],
    "platforms": [],
    "filters": [],
    "atomic": [],
    "activations": ["numerics"],
    "formats": ["numerics", "filters", "formats", "integer.codebook", "integer.weights"],
    "spec": ["formats", "numerics"],
    "rules": ["formats", "spec"],
    "thresholds": ["formats", "numerics", "spec"],
    "quantize": ["formats", "spec"],
    "penalty": ["formats", "numerics", "spec"],
    "distribution": ["formats"],
    "encoding": ["formats", "spec"],
    "gates": ["formats", "filters", "spec"],
    "budget": ["formats", "gates", "numerics", "spec"],
    "limits": ["formats", "gates", "spec"],
    "schemes": [],
    "pareto": [],
    "fpga": [],
    "networks": ["networks"],
    "data": ["data", "atomic", "lazy"],
    "training.layers": ["activations", "filters", "networks", "numerics"],
    "training.machine": ["platforms"],
    "training.products": ["platforms"],
    "training.models": ["networks", "training.layers", "training.machine", "training.products"],
    "training.stages": ["schemes"],
    "training.fields": [],
    "training.config": [
        "networks",
        "schemes",
        "data",
        "hardware.demands",
        "training.fields",
        "training.stages",
    ],
    "training.chain": ["schemes", "training.config", "training.stages"],
    "training.summary": ["formats", "quantize", "spec"],
    "training.quantization": [
        "distribution",
        "formats",
        "penalty",
        "schemes",
        "spec",
        "thresholds",
    ],
    "training.optimizer": ["penalty", "training.config", "training.quantization"],
    "training.scaling": [
        "filters",
        "formats",
        "numerics",
        "quantize",
        "training.quantization",
    ],
    "training.distillation": ["training.scaling"],
    "training.state": ["training.quantization", "training.scaling"],
    "training.step": [
        "budget",
        "limits",
        "networks",
        "schemes",
        "data",
        "training.config",
        "training.distillation",
        "training.optimizer",
        "training.quantization",
        "training.scaling",
        "training.state",
    ],
    "training.checkpoint": ["training.config"],
    "training.runlog": ["data", "atomic"],
    "training.lock": [],
    "training.evaluation": [
        "networks",
        "quantize",
        "data",
        "integer:",
        "integer.lower",
        "integer.inference.float32",
        "training.models",
        "training.scaling",
        "training.state",
        "training.step",
    ],
    "training.statistics": [
        "data",
        "training.models",
        "training.scaling",
        "training.state",
        "training.step",
    ],
    "training.costs": [
        "hardware",
        "integer:",
        "limits",
        "networks",
        "quantize",
        "training.config",
        "training.evaluation",
        "training.models",
        "training.scaling",
        "training.state",
        "training.step",
    ],
    "training.loop": [
        "data",
        "training.config",
        "training.costs",
        "training.distillation",
        "training.evaluation",
        "training.lock",
        "training.optimizer",
        "training.progress",
        "training.scaling",
        "training.statistics",
        "training.state",
        "training.step",
        "training.checkpoint",
        "training.runlog",
        "training.summary",
        "training.termination",
    ],
    "training.termination": [],
    "training.population": ["data", "training.loop", "training.step"],
    "training.runs": ["schemes", "data", "training"],
    "training.importing": ["networks", "training"],
    "training.export": ["data", "integer", "training"],
    "training.progress": ["training.costs", "training.step"],
    "training.plan": [
        "data",
        "training.chain",
        "training.config",
        "training.lock",
        "training.runlog",
    ],
    "training.sweep": ["schemes", "integer.files", "training"],
    "training": [],
    "integer.limits": [],
    "integer.codes": ["integer.limits"],
    "integer.weights": ["integer.limits", "integer.codes"],
    "integer.codebook": ["integer.limits", "integer.codes", "integer.weights"],
    "integer.kinds": ["integer.codebook", "integer.weights"],
    "integer.network": ["integer.limits", "integer.weights"],
    "integer.powers": [],
    "integer.shapes": ["integer.limits", "integer.network"],
    "integer.certificate": RECORDS,
    "integer.digests": ["integer.limits", "integer.network"],
    "integer.proof": [*RECORDS, "integer.digests", "integer.inference", "integer.manifest"],
    "integer.invariants": [*RECORDS, "integer.certificate"],
    "integer.manifest": [*RECORDS, "integer.certificate", "integer.invariants"],
    "integer.files": ["atomic", *RECORDS, "integer.invariants", "integer.manifest"],
    "integer.affine": ["integer.network", "integer.certificate"],
    "integer.trained": [
        *RECORDS,
        "integer.certificate",
        "integer.affine",
        "activations",
        "encoding",
        "formats.base",
        "networks",
    ],
    "integer.lower": [
        *RECORDS,
        "integer.certificate",
        "integer.invariants",
        "integer.affine",
        "integer.trained",
        "encoding",
        "networks",
    ],
    "integer.inference.operations": RECORDS,
    "integer.inference.shifts": [*RECORDS, "integer.inference.operations", "integer.powers"],
    "integer.tables": [*RECORDS, "integer.certificate"],
    "integer.inference.tables": [*RECORDS, "integer.tables", "integer.inference.operations"],
    "integer.inference.popcount": [
        *RECORDS,
        "integer.certificate",
        "integer.inference.operations",
        "integer.inference.shifts",
    ],
    "integer.inference.float32": [
        *RECORDS,
        "integer.certificate",
        "integer.inference.operations",
        "numerics",
        "platforms",
    ],
    "integer.inference.int8_columns": [],
    "integer.inference.int8": [
        *RECORDS,
        "integer.certificate",
        "integer.inference.int8_columns",
        "integer.inference.operations",
        "platforms",
    ],
    "integer.inference.native_build": ["atomic", "platforms"],
    "integer.inference.native": [
        *RECORDS,
        "integer.certificate",
        "integer.inference.int8",
        "integer.inference.native_build",
        "integer.inference.operations",
        "platforms",
    ],
    "integer.inference.paths": ["integer.network", "integer.inference", "platforms"],
    "integer.inference": ["lazy", "integer.inference.paths"],
    "integer.export": [
        "lazy",
        *RECORDS,
        "integer.certificate",
        "integer.powers",
        "integer.inference",
        "integer.export",
        "platforms",
    ],
    "integer.switching": [*RECORDS, "integer.inference"],
    "integer.verify": [
        *RECORDS,
        "integer.files",
        "integer.inference",
        "integer.export",
        "checker",
        "rtl",
    ],
    "integer": ["lazy", *NUMPY_HALF],
    "checker": ["checker"],
    "hardware": [
        "atomic",
        "lazy",
        "fpga",
        "hardware",
        "rtl",
        "networks",
        "schemes",
        "pareto",
        *NUMPY_HALF,
    ],
    "paper": ["explore", "lazy", "paper", "hardware", "networks", "schemes"],
    "rtl": ["atomic", "lazy", "fpga", "pareto", "rtl", *NUMPY_HALF],
    "explore.results": ["atomic", "hardware.demands"],
    "explore.plots": ["atomic", "explore.results"],
    "explore.members": [
        "atomic",
        "explore.results",
        "hardware",
        "integer:",
        "integer.certificate",
        "networks",
        "schemes",
        "training.config",
    ],
    "explore.costs": ["explore.members", "hardware"],
    "explore.attainment": [],
    "explore.fronts": [
        "explore.attainment",
        "explore.costs",
        "explore.members",
        "hardware",
        "pareto",
    ],
    "explore.groups": ["explore.fronts", "explore.members", "hardware"],
    "explore.front_plots": [
        "explore.attainment",
        "explore.costs",
        "explore.fronts",
        "explore.members",
        "explore.plots",
        "hardware",
        "schemes",
    ],
    "explore.pick": ["explore.costs", "explore.members", "hardware"],
    "explore.commands": ["explore.members"],
    "explore.page": [
        "explore.commands",
        "explore.costs",
        "explore.fronts",
        "explore.members",
        "explore.page",
        "hardware",
        "schemes",
    ],
    "explore": [
        "lazy",
        "explore.results",
        "explore.plots",
        "explore.front_plots",
        "explore.members",
        "hardware",
    ],
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
    wrong = [module for module in ours()[name] if not within(module, ARROWS[row])]
    assert not wrong, f"{name} imports {wrong}"


def test_no_cycles():
    order = list(graphlib.TopologicalSorter(ours()).static_order())
    assert not [name for name, modules in ours().items() if "" in modules], (
        "nothing inside imports the package itself"
    )
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
