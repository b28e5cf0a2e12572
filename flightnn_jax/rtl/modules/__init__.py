"""The library of Verilog modules of which every machine is made, and the benches that run one."""

from importlib import resources

GROUPS = "fl_group_"
"""How modules are called that machines have for groups, other padding and other pools alone."""


def library(groups: bool = True) -> dict[str, bytes]:
    """The texts of all modules, by the names of their files: NAME.v has the module NAME.

    Args:
      groups: whether those are among them whose names begin with `GROUPS`.
    """
    every = _read("fl_", ".v")
    return {name: text for name, text in every.items() if groups or not name.startswith(GROUPS)}


def benches() -> dict[str, bytes]:
    """What runs a machine in Verilator (bench.cc) and in Icarus (bench.v)."""
    return _read("bench.", "")


def _read(start: str, end: str) -> dict[str, bytes]:
    folder = resources.files(__package__)
    names = sorted(x.name for x in folder.iterdir())
    return {
        name: folder.joinpath(name).read_bytes()
        for name in names
        if name.startswith(start) and name.endswith(end)
    }
