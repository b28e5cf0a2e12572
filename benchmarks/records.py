"""Keeps the records of a sweep under results/, and its best integer networks in a zoo.

    python -m benchmarks.records /tmp/net4 --keep=results/net4 --zoo=results/zoo

Of each member that is done result.json and metrics.jsonl are kept, which is what `launch.compare`
and `launch.audit` read. The zoo gets, for each quantized recipe, the integers of the seed that was
the best in validation, and zoo.json says of each where it is from and which command trains it.
"""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from flightnn_jax import atomic
from flightnn_jax.explore import commands, groups, members
from flightnn_jax.explore.members import Member
from launch import program

_KEEP = flags.DEFINE_string("keep", None, "Directory of the records.", required=True)
_ZOO = flags.DEFINE_string("zoo", None, "Directory of the integer networks.")
_RECORDS = ("result.json", "metrics.jsonl")
ZOO = "zoo.json"


def keep(found: Sequence[Member], directory: Path) -> None:
    """Copies the records of members, by their names."""
    for member in found:
        place = directory / member.name
        place.mkdir(parents=True, exist_ok=True)
        for name in _RECORDS:
            shutil.copyfile(member.run.workdir / name, place / name)


def best(found: Sequence[Member]) -> list[Member]:
    """Of each recipe with integers the seed that validates best."""
    chosen = []
    for group in groups.groups(found):
        lowered = [member for member in group.members if member.lowered]
        if lowered:
            chosen.append(max(lowered, key=lambda member: member.judged))
    return chosen


def name_of(member: Member) -> str:
    """Of its file, such as "net4-flightnn-1.5"."""
    parts = [str(member.run.config["network"]), member.scheme.name]
    return "-".join([*parts, *([] if member.run.budget is None else [f"{member.run.budget:g}"])])


def fill(found: Sequence[Member], records: Path, zoo: Path) -> None:
    """Adds the best networks to the zoo, in place of those of the same names."""
    zoo.mkdir(parents=True, exist_ok=True)
    path = zoo / ZOO
    index = json.loads(path.read_text()) if path.exists() else {}
    for member in best(found):
        file = f"{name_of(member)}.safetensors"
        shutil.copyfile(member.integers, zoo / file)
        anywhere = dataclasses.replace(
            member,
            run=dataclasses.replace(member.run, workdir=Path("/tmp/run")),
            data_dir="/data",
        )
        index[file] = {
            "record": (records / member.name).as_posix(),
            "dataset": member.run.config["dataset"],
            "accuracy": member.run.top1,
            "mean_k": member.run.mean_k,
            "storage_kb": member.run.storage_bits / 8e3,
            "command": commands.made(anywhere, program.this())[0],
        }
    atomic.write(path, json.dumps(dict(sorted(index.items())), indent=1) + "\n")


def main(argv: Sequence[str]) -> None:
    """Keeps what the flags ask for."""
    (directory,) = argv[1:]
    found, notes = members.find(directory)
    for note in notes:
        print(f"note: {note}")
    keep(found, Path(_KEEP.value))
    if _ZOO.value:
        fill(found, Path(_KEEP.value), Path(_ZOO.value))
    print(f"{len(found)} members: {_KEEP.value}")


if __name__ == "__main__":
    app.run(main)
