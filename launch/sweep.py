"""Trains every combination of some fields' values, and goes on where it was stopped.

    python -m launch.sweep --config=configs/digits.py --over=scheme=lightnn1,lightnn2,flightnn \
        --over=budget=1.25,1.5,1.75 --over=seed=0,1 --workdir=/tmp/sweep
    python -m launch.sweep --workdir=/tmp/sweep --status
    python -m launch.explore /tmp/sweep

A config file with a function get_members names its own members, see configs/reproduction.py: it
needs no --over. The plan is kept, so without either the command goes on with it. A member that is
done is never trained again, one that failed does not stop others. Exit codes are those of
launch.train: 1 if a member failed or is trained elsewhere, 3 if one breaks a bound of its budget.
docs/sweeps.md tells more, and of clusters.
"""

import sys
from pathlib import Path

from flightnn_jax.hardware import report
from flightnn_jax.training import plan

from . import bounds, command, devices, options, shards, slurm
from .command import flags

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the sweep.", required=True)
_OVER = flags.DEFINE_multi_string(
    "over",
    [],
    "FIELD=VALUE,VALUE of a config; or with semicolons, where a value has commas. Several are "
    "combined. A member ignores fields that its scheme or mode does not read.",
)
_STATUS = flags.DEFINE_bool("status", False, "Say how far each member is, and train nothing.")
_ENGINE = flags.DEFINE_enum(
    "engine",
    "loop",
    ["loop", "vmap"],
    "How members with one compiled step are trained: one after the other, with the bits of their "
    "runs alone; or --at_once of them as one, which fills a GPU with small networks.",
)
_AT_ONCE = flags.DEFINE_integer("at_once", 16, "For vmap: members that fit into memory.", 2)
_EXECUTOR = flags.DEFINE_enum(
    "executor", "local", ["local", "slurm"], "Train here, or submit --jobs to Slurm by submitit."
)


def main() -> int:
    """Plans, and trains or submits; the exit code."""
    workdir, shard = Path(_WORKDIR.value).resolve(), shards.shard()
    if _STATUS.value:
        _print(plan.read(workdir), workdir)
        return 0
    devices.refuse_several_processes("a sweep trains each member in one process: use --shard")
    planned = _planned(workdir)
    if _EXECUTOR.value == "slurm":
        if _ENGINE.present:
            raise command.UsageError("--engine with --executor=slurm, whose jobs train in the loop")
        print(slurm.submit(workdir))
        return 0
    from flightnn_jax.training import sweep

    devices.initialize()
    at_once = _AT_ONCE.value if _ENGINE.value == "vmap" else 1
    ended = sweep.train(planned, workdir, shard, say=_say, at_once=at_once)
    states = _print(planned, workdir)
    if ended.stopped:
        _say("stopped; the same command goes on from there")
        return command.STOPPED_BY_SIGTERM
    if ended.failed or ended.elsewhere:
        return 1
    mine = (state.record for state in shard.of(states))
    return bounds.BROKEN if any(plan.broken_bounds(record or {}) for record in mine) else 0


def _planned(workdir: Path) -> plan.Plan:
    """The plan that the flags describe, written; or without any, the one that is there."""
    if not _OVER.value and options.CONFIG.present and (named := options.members()):
        planned = plan.of(named, options.DATA_DIR.value)
        plan.write(planned, workdir)
        return planned
    if not _OVER.value:
        if given := options.given():
            raise command.UsageError(
                f"--{given[0]} without --over: say what the sweep is over, or leave it out to go "
                "on with the plan in the workdir"
            )
        return plan.read(workdir)
    over = [plan.axis(text) for text in _OVER.value]
    planned = plan.make(options.config(), over, options.DATA_DIR.value)
    plan.write(planned, workdir)
    return planned


def _print(planned: plan.Plan, workdir: Path) -> list[plan.State]:
    states = [plan.state_of(member, workdir) for member in planned.members]
    print(report.table(plan.table(planned, states)))
    print(f"{plan.count(states)} of {len(states)}")
    return states


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # where the progress of a member goes, too


if __name__ == "__main__":
    command.run(main)
