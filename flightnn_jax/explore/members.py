"""The finished runs below a directory, each with the work by which its hardware is costed.

A run whose network was lowered brings its integers: the k of each filter and certified widths.
Others are costed as planned: the k of result.json, and sums as wide as the worst weights need.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from flightnn_jax import atomic, integer, networks, schemes
from flightnn_jax.explore import results
from flightnn_jax.explore.results import Result, ResultError
from flightnn_jax.hardware import workload
from flightnn_jax.hardware.workload import Workload
from flightnn_jax.integer import certificate
from flightnn_jax.training.config import Config, network_of

INTEGERS = "integers.safetensors"
WIDTHS = ("acc_width", "v_width")
"""Of a certificate: bits of a layer's sums, and of what its affine map makes of them."""

_MAX_DATA_BYTES = 1 << 20
# What members that are compared share. Everything else is what a sweep varies.
_SETTING = ("network", "width", "dataset", "image_size", "epochs", "affine_terms")
_OF_EACH_RUN = ("seed", "evaluate_every", "checkpoint_every", "keep")


@dataclasses.dataclass(frozen=True)
class Member:
    """A finished run of a sweep.

    Invariants: `widths` is empty unless `lowered`; a member without `work` has a note that says
    why.

    Attributes:
      name: its directory, as seen from that of the sweep.
      run: what its files say.
      scheme: of `schemes.SCHEMES`.
      seed: of the training.
      setting: network, data and length of the training, in words; members that are compared have
        the same.
      group: what members that differ in the seed alone share.
      data_dir: where its data was, if that was given.
      work: by which hardware is costed; None where it is not known.
      lowered: whether `work` is that of an integer network.
      widths: {layer: the widest of each of `WIDTHS`}.
      notes: what could not be read, a line each.
    """

    name: str
    run: Result
    scheme: schemes.Scheme
    seed: int
    setting: str
    group: str
    data_dir: str | None
    work: Workload | None
    lowered: bool
    widths: dict[str, tuple[int, ...]]
    notes: tuple[str, ...]

    @property
    def judged(self) -> float:
        """The accuracy by which it is chosen: of validation, of the test where there is none."""
        return self.run.top1 if self.run.validation is None else self.run.validation

    @property
    def integers(self) -> Path:
        """The file of its integer network, whether it is there or not."""
        return self.run.workdir / INTEGERS

    @property
    def title(self) -> str:
        """Its scheme and its budget, for people."""
        budget, bounds = self.run.budget, self.run.config.get("budget")
        if budget is None:
            asked = self.scheme.flexible and isinstance(bounds, str)
            return f"{self.run.name}, budget {bounds}" if asked else self.run.name
        return f"{self.run.name}, budget {budget:g}"


def find(directory: str | Path) -> tuple[list[Member], list[str]]:
    """The finished runs below a directory, by name.

    Args:
      directory: every folder below it, or it itself, with a result.json is a run.

    Returns:
      The members, and a line for each run or file that cannot be read.

    Raises:
      ValueError: if no run is there.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise ValueError(f"{directory} is no directory: name one with runs that are done")
    members, notes = [], []
    for place, folders, files in os.walk(directory):
        if "result.json" in files:
            folders.clear()  # checkpoints, pictures
            workdir = Path(place)
            name = workdir.relative_to(directory).as_posix()
            try:
                members.append(_member(workdir.resolve().name if name == "." else name, workdir))
            except (OSError, ResultError) as error:
                notes.append(str(error))
    if not members:
        told = "".join(f"; {note}" for note in notes)
        raise ValueError(
            f"{directory} holds no run that is done, which is a folder with a result.json: train "
            f"some, or name another{told}"
        )
    members.sort(key=lambda member: member.name)
    return members, notes + [note for member in members for note in member.notes]


def _member(name: str, workdir: Path) -> Member:
    run = results.read(workdir)
    fields = run.config
    try:
        scheme = schemes.find(str(fields.get("scheme")))
    except ValueError as error:
        raise ResultError(f"{workdir / 'result.json'} is no record of a run: {error}") from None
    data_dir = _data_dir(workdir)
    work, widths, notes = _work(run, scheme, data_dir)
    return Member(
        name=name,
        run=run,
        scheme=scheme,
        seed=fields["seed"] if isinstance(fields.get("seed"), int) else 0,
        setting=_setting(fields),
        group=json.dumps({k: v for k, v in sorted(fields.items()) if k not in _OF_EACH_RUN}),
        data_dir=data_dir,
        work=work,
        lowered=bool(widths),
        widths=widths,
        notes=tuple(notes),
    )


def _data_dir(workdir: Path) -> str | None:
    try:
        told = json.loads(atomic.read(workdir / "data.json", _MAX_DATA_BYTES))["data_dir"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return told if isinstance(told, str) else None


def _setting(fields: dict[str, Any]) -> str:
    """Network, data and length of the training in words."""
    network, width, dataset, size, epochs, terms = (fields.get(name) for name in _SETTING)
    words = [str(network.get("name") if isinstance(network, dict) else network)]
    words += [f"of width {width}"] * (width is not None)
    words += [f"on {dataset}"] + [f"at {size}x{size}"] * (size is not None)
    words[-1] += ","
    words += [f"{epochs} epochs"]
    return " ".join(words) + f", {terms} affine terms" * (terms is not None)


_Widths = dict[str, tuple[int, ...]]


def _work(
    run: Result, scheme: schemes.Scheme, data_dir: str | None
) -> tuple[Workload | None, _Widths, list[str]]:
    """The work of a run, the widths of its certificate, and what could not be read."""
    path, notes = run.workdir / INTEGERS, []
    if path.exists():
        try:
            network = integer.load(path)
            work = workload.from_integers(network)
        except (OSError, ValueError) as error:
            notes.append(f"{path}: {error}; costed as planned")
        else:
            bits = sum(layer.weight_bits for layer in work.layers)
            if bits == run.storage_bits:
                return work, _widths(network), notes
            notes.append(
                f"{path} has weights of {bits} bits, the run of {run.storage_bits}: it holds "
                "another state, so lower the run again; costed as planned"
            )
    try:
        record = network_of(Config.from_dict(run.config), data_dir=data_dir)
        k = _k_of_filters(run, record) if scheme.flexible else None
        return workload.from_network(record, scheme.name, k=k), {}, notes
    except (OSError, TypeError, ValueError, ModuleNotFoundError) as error:
        notes.append(f"{run.workdir}: no costs but storage: {error}")
        return None, {}, notes


def _k_of_filters(run: Result, network: networks.Network) -> list[list[int]]:
    """The k of each filter, layer by layer, in ascending order, on which no cost depends."""
    layers = {layer.label: layer for layer in run.layers}
    rows = []
    for step in networks.walk_weights(network):
        layer = layers.get(step.name)
        counts = [round(part * layer.filters) for part in layer.share] if layer else []
        if layer is None or sum(counts) != layer.filters:
            raise ValueError(f"result.json does not tell the k of the filters of {step.name}")
        rows.append([k for k, count in enumerate(counts) for _ in range(count)])
    return rows


def _widths(network: integer.IntegerNetwork) -> _Widths:
    columns = [certificate.COLUMNS.index(name) for name in WIDTHS]
    return {
        layer.name: tuple(int(layer.certificate[:, column].max()) for column in columns)
        for layer in network.weighted
    }
