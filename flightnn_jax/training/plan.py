"""A sweep on paper: its members, how far each is, and what came out. JAX is not needed.

    base config, axes --> members --plan.json--> a directory for each --> states, table

Nothing but the members' directories says what is done, so whatever trains them may be killed.
"""

import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flightnn_jax.data import DataError
from flightnn_jax.training import chain, lock, runlog
from flightnn_jax.training.config import Config

NAME = "plan.json"
FAILURE = "failed.json"
"""In a member's directory, after a training that ended with an error."""

_VERSION = 1
_MAX_MEMBERS = 100_000
_LONGEST_NAME = 150  # letters; file systems take 255 bytes


class Member(NamedTuple):
    """One training of a sweep.

    Attributes:
      name: of its directory in that of the sweep.
      config: what is trained.
    """

    name: str
    config: Config


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a sweep consists of.

    Invariant: names differ, and so do the decisive fields of the configs.

    Attributes:
      members: in the order in which axes and their values were given.
      data_dir: where the data is, absolute; None where none was given. See `data.find`.
    """

    members: tuple[Member, ...]
    data_dir: str | None = None


class Shard(NamedTuple):
    """Every `of_all`-th member from `first` on, which one process trains.

    Example:
      >>> list(Shard(1, 3).of(range(8)))
      [1, 4, 7]
    """

    first: int
    of_all: int

    def of(self, members: Sequence[Any]) -> Sequence[Any]:
        """Those of this shard."""
        return members[self.first :: self.of_all]


WHOLE = Shard(0, 1)
"""All members."""


class State(NamedTuple):
    """How far a member is.

    Attributes:
      name: "done", "running", "failed" or "waiting".
      detail: who trains it, why it failed, where it goes on, or which bounds of its budget it does
        not keep; "" if there is nothing to say.
      record: its result.json, if it is done.
    """

    name: str
    detail: str = ""
    record: dict[str, Any] | None = None


def axis(text: str) -> tuple[str, list[str]]:
    """A field and its values from FIELD=VALUE,VALUE; or with ";" where a value has commas.

    Example:
      >>> axis("budget=1,1.5"), axis("decay_at=0.5,0.75;0.9")
      (('budget', ['1', '1.5']), ('decay_at', ['0.5,0.75', '0.9']))
    """
    field, equals, values = text.partition("=")
    parts = [part.strip() for part in values.split(";" if ";" in values else ",")]
    if not (field.strip() and equals and all(parts)):
        raise ValueError(f"over {text!r:.80}: give FIELD=VALUE,VALUE, such as budget=1,1.5,2")
    return field.strip(), parts


def make(base: Config, over: Sequence[tuple[str, list[str]]], data_dir: str | None = None) -> Plan:
    """The plan of every combination of values.

    A field that a member's scheme or mode does not read keeps the value of `base`, so LightNNs are
    not trained once for each budget.

    Args:
      base: has the fields that all members share.
      over: fields and their values as texts, see `axis`.
      data_dir: see `Plan`.

    Raises:
      ValueError: if a field is unknown or given twice, or a value or a combination is wrong.

    Example:
      >>> over = [("scheme", ["lightnn1", "flightnn"]), ("budget", ["1", "1.5"])]
      >>> [member.name for member in make(Config(mode="budget"), over).members]
      ['scheme=lightnn1', 'scheme=flightnn,budget=1', 'scheme=flightnn,budget=1.5']
    """
    fields = [field for field, _ in over]
    if twice := sorted({field for field in fields if fields.count(field) > 1}):
        raise ValueError(f"over {twice[0]!r} is given twice: give all its values at once")
    members: dict[str, Member] = {}
    for values in itertools.product(*(values for _, values in over)):
        texts = dict(zip(fields, values, strict=True))
        config = base.override(texts)
        idle = chain.unread(config)
        config = dataclasses.replace(config, **{name: getattr(base, name) for name in idle})
        name = _name({field: text for field, text in texts.items() if field not in idle})
        members.setdefault(json.dumps(config.decisive(), sort_keys=True), Member(name, config))
        if len(members) > _MAX_MEMBERS:
            raise ValueError(f"more than {_MAX_MEMBERS:,} members: leave some values out")
    return Plan(tuple(members.values()), _resolved(data_dir))


def of(members: Mapping[str, Config], data_dir: str | None = None) -> Plan:
    """The plan of members with names of their own.

    Args:
      members: their configs; a name is one of a directory.
      data_dir: see `Plan`.

    Raises:
      ValueError: if a name does not suit a directory, or two members would train the same.
    """
    known: dict[str, str] = {}
    for name, config in members.items():
        _checked(name)
        decisive = json.dumps(config.decisive(), sort_keys=True)
        if (other := known.setdefault(decisive, name)) != name:
            raise ValueError(f"members {other} and {name} train the same: leave one of them out")
    return Plan(tuple(Member(*each) for each in members.items()), _resolved(data_dir))


def _resolved(data_dir: str | None) -> str | None:
    return None if data_dir is None else str(Path(data_dir).resolve())


def _name(texts: Mapping[str, str]) -> str:
    """A directory for these values. What it may not hold is told apart by a digest."""
    told = ",".join(f"{field}={text}" for field, text in texts.items()) or "only"
    plain = re.sub(r"[^\w.,=+-]+", "-", told, flags=re.ASCII)[:_LONGEST_NAME]
    return plain if plain == told else f"{plain}-{hashlib.sha256(told.encode()).hexdigest()[:6]}"


def write(plan: Plan, workdir: Path) -> None:
    """Writes the plan of a sweep into its directory, which is made if need be.

    A plan that is there already may grow, and do no more.

    Raises:
      ValueError: if the directory holds a plan with other members.
      OSError: if it cannot be written.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    if (workdir / NAME).exists():
        old = read(workdir)
        if old == plan:
            return
        here = {member.name: member.config.decisive() for member in plan.members}
        for name, config in old.members:
            if here.get(name) != config.decisive():
                raise ValueError(
                    f"{workdir / NAME} has the member {name}, which this sweep "
                    f"{'trains with another config' if name in here else 'lacks'}: a sweep may "
                    "only grow, so choose another workdir; without --over it goes on as planned"
                )
    members = [{"name": name, "config": config.to_dict()} for name, config in plan.members]
    record = {"version": _VERSION, "data_dir": plan.data_dir, "members": members}
    runlog.write_json(workdir / NAME, record)


def read(workdir: Path) -> Plan:
    """The plan in a directory.

    Raises:
      DataError: if there is none, or it is damaged.
    """
    path = workdir / NAME
    if not path.exists():
        raise DataError(f"{path} does not exist: say what the sweep is over, --over=FIELD=VALUES")
    record = runlog.read_json(path)
    if record.get("version") != _VERSION:
        raise DataError(f"{path} has version {record.get('version')!r:.40}: this reads {_VERSION}")
    try:
        members = tuple(
            Member(_checked(m["name"]), Config.from_dict(m["config"])) for m in record["members"]
        )
        data_dir = record["data_dir"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error!s:.200}): remove it, plan again") from error
    if not (data_dir is None or isinstance(data_dir, str)):
        raise DataError(f"{path} is damaged (data_dir is {data_dir!r:.40}): remove it, plan again")
    if len({member.name for member in members}) < len(members):
        raise DataError(f"{path} is damaged (two members of one name): remove it, plan again")
    return Plan(members, data_dir)


def _checked(name: Any) -> str:
    """A name that leads into the sweep's directory and nowhere else."""
    if not isinstance(name, str) or not re.fullmatch(r"[\w.,=+-]+", name, re.ASCII) or ".." in name:
        raise ValueError(f"{name!r:.80} is no name of a member")
    if name == chain.DIRECTORY:
        raise ValueError(f"{name!r} is no name of a member: the stages of all members are there")
    return name


def state_of(member: Member, workdir: Path) -> State:
    """How far a member of the sweep in `workdir` is, as its directory tells."""
    directory = workdir / member.name
    record = _record(directory / "result.json")
    if record is not None and _decisive(record) == member.config.decisive():
        return State("done", "; ".join(broken_bounds(record)), record)
    if (holder := lock.holder(directory)) is not None:
        return State("running", holder)
    failure = _record(directory / FAILURE)
    if failure is not None:
        return State("failed", str(failure.get("error", "no reason is told")))
    steps = [int(p.name) for p in directory.glob("checkpoints/*") if p.name.isdecimal()]
    return State("waiting", f"goes on from step {max(steps)}" if steps else "")


def broken_bounds(record: dict[str, Any]) -> list[str]:
    """A line for each bound of a budget that a run did not keep, from its result.json."""
    budgets = record.get("budgets", [])
    if not isinstance(budgets, list):
        return []
    return [f"broken bound: {b.get('line')}" for b in budgets if not b.get("kept")]


def _record(path: Path) -> dict[str, Any] | None:
    """None if it is missing or damaged: then the member has to be trained."""
    try:
        return runlog.read_json(path)
    except (DataError, OSError):
        return None


def _decisive(record: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return Config.from_dict(record["config"]).decisive()
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def count(states: Sequence[State]) -> str:
    """How many are in each state, in words.

    Example:
      >>> count([State("done"), State("done"), State("waiting")])
      '2 done, 1 waiting'
    """
    names = [state.name for state in states]
    kinds = ("done", "running", "failed", "waiting")
    return ", ".join(f"{names.count(kind)} {kind}" for kind in kinds if kind in names)


def table(plan: Plan, states: Sequence[State]) -> list[list[str]]:
    """A row for each member, with headings: what came out, or how far it is."""
    rows = [["member", "validation (%)", "test (%)", "mean k", "weights (kB)", "state"]]
    for member, state in zip(plan.members, states, strict=True):
        cells = [""] * 4
        if state.record is not None:
            cells = _cells(state.record)
        told = f"{state.name}: {state.detail}" if state.detail else state.name
        rows.append([member.name, *cells, told])
    return rows


def _cells(record: dict[str, Any]) -> list[str]:
    try:
        mean_k = record["mean_k"]
        return [
            f"{100 * record['validation']['top1']:.2f}",
            f"{100 * record['test']['top1']:.2f}",
            "" if mean_k is None else f"{mean_k:.3f}",
            f"{record['storage_bits'] / 8e3:.1f}",
        ]
    except (KeyError, TypeError, ValueError):
        return ["?"] * 4  # of another version
