"""launch.sweep as a user types it, where nothing has to be trained."""

import json
import subprocess
import sys

import pytest

from configs import number_systems, reproduction
from flightnn_jax.training import plan
from flightnn_jax.training.config import Config
from launch import shards
from tests.support import commands, prepared

SMOKE = "--config=configs/digits.py:smoke"


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A sweep whose only member is done, and how commands on it ended."""
    workdir = tmp_path_factory.mktemp("sweep")
    planned = plan.make(Config(), [plan.axis("seed=3")])
    plan.write(planned, workdir)
    directory = workdir / planned.members[0].name
    directory.mkdir()
    record = {"config": planned.members[0].config.to_dict(), "mean_k": 1.5, "storage_bits": 8000}
    record |= {"validation": {"top1": 0.5}, "test": {"top1": 0.25}}
    (directory / "result.json").write_text(json.dumps(record))
    words = {
        "status": ["--status"],
        "without": [SMOKE],
        "other": [SMOKE, "--over=seed=4"],
        "named": ["--config=configs/reproduction.py:net1,ablations"],
        "shard": ["--shard=4/4"],
        "several": ["--multihost"],
    }
    lines = [["sweep", f"--workdir={workdir}", *more] for more in words.values()]
    return dict(zip(words, commands.run(lines), strict=True))


def test_a_config_file_names_members():
    """Of tables: six rows, the seeds apart, of one length; of ablations: one field or more."""
    rows, options = (reproduction.get_members(f"net1{more}") for more in ("", ",ablations"))
    base = reproduction.get_config("net1")
    planned = plan.of({name: base.override(texts) for name, texts in rows.items()})
    assert len(planned.members) == 6 * len(reproduction.SEEDS)
    assert {member.config.epochs for member in planned.members} == {30}
    assert {member.config.dataset for member in planned.members} == {"cifar10"}
    ablations = plan.of({name: base.override(texts) for name, texts in options.items()})
    assert {"all-flightnn_b,seed=0", "plain-full,seed=2"} <= {m.name for m in ablations.members}
    paper = reproduction.get_config("net1,lambdas")
    assert (paper.mode, paper.epochs) == ("paper", 160)
    assert "lambda1=1e-5,seed=0" in reproduction.get_members("net1,lambdas")
    with pytest.raises(ValueError, match="members a and b train the same"):
        plan.of({"a": base, "b": base})
    with pytest.raises(ValueError, match=r"'\.\./a' is no name of a member"):
        plan.of({"../a": base})
    with pytest.raises(ValueError, match="the arguments are a network"):
        reproduction.get_members("net9")


def test_number_systems_are_members_of_one_sweep():
    members = number_systems.get_members("digits,kinds")
    base = number_systems.get_config("digits,kinds")
    planned = plan.of({name: base.override(texts) for name, texts in members.items()})
    assert len(planned.members) == 14 * number_systems.SEEDS == len(members)
    assert {m.config.epochs for m in planned.members} == {base.epochs}
    assert members["table40-laplace,seed=3"] == {
        "scheme": "table40",
        "codebook": "laplace",
        "seed": "3",
    }
    assert len(number_systems.get_members("net1")) == 8 * number_systems.SEEDS
    assert len(number_systems.get_members("net1,seeds=1")) == 8
    assert number_systems.get_config("net1").dataset == "cifar10"
    assert len(number_systems.get_members("net1,smoke")) == 8
    assert number_systems.get_config("net1,smoke").dataset == "digits"
    assert number_systems.get_members("digits,losses")["paper-sgd-0.1,seed=0"] == {
        "scheme": "bnn_dl",
        "distribution": "paper",
        "optimizer": "sgd",
        "learning_rate": "0.1",
        "seed": "0",
    }
    for wrong in ("net2", "digits,seeds=0", "digits,seeds=1,seeds=2", "digits,kinds,losses"):
        with pytest.raises(ValueError, match="the arguments are digits or a network"):
            number_systems.get_members(wrong)


def test_what_no_stage_reads_makes_no_members():
    over = [plan.axis("scheme=full,fp4,lightnn1"), plan.axis("rounding=log,linear")]
    over += [plan.axis("filter_scales=false,true"), plan.axis("temperature=2,4")]
    names = [member.name for member in plan.make(Config(), over).members]
    assert sum(name.startswith("scheme=full") for name in names) == 1
    assert sum(name.startswith("scheme=fp4") for name in names) == 2
    assert sum(name.startswith("scheme=lightnn1") for name in names) == 4
    over = [plan.axis("scheme=bnn,bnn_dl"), plan.axis("distribution=released,paper,fixed")]
    assert len(plan.make(Config(), over).members) == 4
    for optimizer, count in (("adam", 1), ("sgd", 2)):
        over = [plan.axis("momentum=0.5,0.9")]
        assert len(plan.make(Config(optimizer=optimizer, mode="paper"), over).members) == count
    budgets = [plan.axis("budget=1,2")]
    fixed = Config(mode="budget", scheme="lightnn1", stages="lightnn2:0.5", epochs=2)
    assert len(plan.make(fixed, budgets).members) == 1
    gated = Config(mode="budget", scheme="lightnn1", stages="flightnn:0.5", epochs=2)
    assert len(plan.make(gated, budgets).members) == 2


def test_status_is_a_table(ended):
    assert ended["status"].code == 0, ended["status"].errors
    row = ended["status"].out.splitlines()[1].split()
    assert row == ["seed=3", "50.00", "25.00", "1.500", "1.0", "done"]
    assert ended["status"].out.splitlines()[-1] == "1 done of 1"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("without", "--config without --over"),
        ("other", "has the member seed=3, which this sweep lacks"),
        ("named", "has the member seed=3, which this sweep lacks"),
        ("shard", "--shard=4/4"),
        ("several", "--multihost: a sweep trains each member in one process"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(ended, name, message):
    assert ended[name].code == 2
    [line] = [line for line in ended[name].errors.splitlines() if line.startswith("error: ")]
    assert message in line


def test_shards_of_arrays():
    slurm = {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "2", "SLURM_ARRAY_TASK_COUNT": "4"}
    assert shards.parse("auto", slurm) == (3, 4)
    assert shards.parse("1/3", slurm) == (1, 3)
    for text, environment in (
        ("auto", {}),
        ("auto/2", {}),
        ("auto", {"JOB_COMPLETION_INDEX": "1"}),
    ):
        with pytest.raises(ValueError, match="inside a Slurm array"):
            shards.parse(text, environment)


# A job of Slurm, with handlers as submitit sets them; the signal comes amid a training or before.
JOB = """
import signal, sys
from pathlib import Path
from flightnn_jax.training import loop, sweep

def requeue(number, frame):
    print("requeued")
    sys.exit(9)

def train(*_, **__):
    with loop.termination() as stop:
        signal.raise_signal(signal.SIGUSR2)
        print("saved" if stop.received else "lost")
    return sweep.Ended((), (), (), stop.received)

signal.signal(signal.SIGUSR2, requeue)
signal.signal(signal.SIGTERM, lambda *_: print("ignored"))
sweep.train = train
from launch import devices, slurm
if sys.argv[2] == "before":
    devices.initialize = lambda: signal.raise_signal(signal.SIGUSR2)
slurm.Job(Path(sys.argv[1]))("0/1")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("when", "said"), [("amid", ["ignored", "saved"]), ("before", [])])
def test_a_job_of_slurm_saves_before_it_waits_again(tmp_path, when, said):
    plan.write(plan.make(Config(), []), tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", JOB, str(tmp_path), when],
        cwd=prepared.ROOT,
        env=commands.ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 9, done.stderr
    assert (lines[: len(said)], lines[-1]) == (said, "requeued")
