"""What a sweep costs, and whether it survives being killed.

    python -m benchmarks.sweeps cost [--members=8] [--epochs=6] [--config=FILE:ARGUMENTS]
    python -m benchmarks.sweeps alone [--members=8] [--config=FILE:ARGUMENTS]
    python -m benchmarks.sweeps front
    python -m benchmarks.sweeps kill [--kills=20] [--seed=0]

- `cost`: members that differ in the seed alone, as a multiple of the same trained and lowered one
  by one with the programs that the first one compiled; both in this process, seed by seed.
- `alone`: the same members as a multiple of those trained alone, each in a process of its own,
  which compiles; whether their records are equal.
- `front`: twelve members on the digits, front, pictures and explorer, as a user starts them.
- `kill` ends a sweep of six tiny members by SIGKILL at random moments until it was killed so often,
  lets it end, and compares its table and its weights with those of a sweep that nobody killed.
  Moments are counted in the CPU time of the process, so that they fall into the same work on a busy
  machine.

Times are in CPU seconds and by the clock.
"""

import argparse
import functools
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax

from flightnn_jax.integer import files
from flightnn_jax.training import export, plan, runs, sweep
from launch import options

# Two layers, so that most of a sweep's time is training, saving and evaluation.
_CONFIG = """
from flightnn_jax.networks import Conv, GlobalAverage, MaxPool, Network
from flightnn_jax.training.config import Config

def get_config(arguments=""):
    layers = (Conv(8), MaxPool(), Conv(10), GlobalAverage())
    return Config(
        network=Network("tiny", (8, 8, 3), 10, layers), dataset="digits", image_size=8,
        mode="budget", epochs=6, batch_size=32, checkpoint_every=20, learning_rate=3e-3,
    )
"""
_AXES = ("--over=scheme=lightnn1,flightnn", "--over=budget=1.25,1.5", "--over=seed=0,1")
_INTEGERS = "integers.safetensors"
_PART = 0.2  # of a sweep's work, the longest that one lives before it is killed
_TICK = 0.01  # seconds between looks at a process


class Time(NamedTuple):
    """Of a piece of work, in seconds."""

    cpu: float
    wall: float

    def __str__(self) -> str:
        return f"{self.cpu:.1f} s of CPU, {self.wall:.1f} s"


def main() -> None:
    """Runs what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=("cost", "alone", "front", "kill"))
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--config", default="configs/digits.py:lightnn1")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        if given.what == "cost":
            _cost(place, given.config, given.members, given.epochs)
        elif given.what == "alone":
            _alone(place, given.config, given.members)
        elif given.what == "front":
            _front(place)
        else:
            _kill(place, given.kills, random.Random(given.seed))


def _cost(directory: Path, config: str, members: int, epochs: int) -> None:
    """A sweep beside solo runs with the same programs."""
    compiled: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: compiled.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("jax")
    log.addHandler(handler)
    log.propagate = False
    jax.config.update("jax_log_compiles", True)

    def steps() -> int:
        return sum("Finished XLA compilation of jit(step)" in line for line in compiled)

    base = options.load_config(config).override({"epochs": str(epochs)})
    seeds = [str(seed) for seed in range(members + 1)]
    planned = plan.make(base, [("seed", seeds)])
    plan.write(planned, directory / "sweep")

    def swept(i: int) -> None:
        shard = plan.Shard(i, members + 1)
        ended = sweep.train(planned, directory / "sweep", shard, say=lambda text: None)
        assert len(ended.trained) == 1, ended

    def solo(i: int) -> None:
        workdir = directory / str(i)
        assert runs.train(runs.prepare(planned.members[i].config, workdir)) is not None
        files.save(export.lower_run(workdir).network, workdir / _INTEGERS)

    first = _timed(lambda: swept(members))
    before = steps()
    print(f"the first, which compiles {before} steps (two of training, one of evaluation): {first}")
    times: dict[str, list[Time]] = {"swept": [], "solo": []}
    for i in range(members):
        pair = [("swept", swept), ("solo", solo)]
        for name, train in pair[:: 1 if i % 2 else -1]:
            times[name].append(_timed(functools.partial(train, i)))
    swept_all, solo_all = (_total(times[name]) for name in ("swept", "solo"))
    print(f"{members} swept: {swept_all}; solo: {solo_all}")
    cpu, wall = swept_all.cpu / solo_all.cpu, swept_all.wall / solo_all.wall
    print(f"swept over solo: {cpu:.3f} in CPU time, {wall:.3f} by the clock")
    print(f"steps compiled after the first: {steps() - before}")


def _total(times: list[Time]) -> Time:
    return Time(sum(each.cpu for each in times), sum(each.wall for each in times))


def _timed(work: Callable[[], object]) -> Time:
    """Of this process, with all of its threads."""
    cpu, wall = time.process_time(), time.monotonic()
    work()
    return Time(time.process_time() - cpu, time.monotonic() - wall)


def _alone(directory: Path, config: str, members: int) -> None:
    """A sweep beside solo runs, each of which is a process of its own as a user starts it."""
    seeds = [str(seed) for seed in range(members)]
    solo = []
    for seed in seeds:
        words = [f"--config={config}", f"--config.seed={seed}"]
        solo.append(_command("train", [*words, f"--workdir={directory / seed}"]))
        print(f"alone, seed {seed}: {solo[-1]}", flush=True)
    over = f"--over=seed={','.join(seeds)}"
    words = [f"--config={config}", over, f"--workdir={directory / 'sweep'}"]
    swept = _command("sweep", words)
    every = _total(solo)
    print(f"{members} members: {swept}; {swept.cpu / every.cpu:.3f} times {every}")
    for seed in seeds:
        here = directory / "sweep" / f"seed={seed}"
        same = _record(here) == _record(directory / seed)
        print(f"seed {seed}: {'the same record' if same else 'ANOTHER RECORD'} as alone")


def _front(directory: Path) -> None:
    """What docs/sweeps.md begins with."""
    place = directory / "sweep"
    axes = ("scheme=lightnn1,lightnn2,flightnn", "budget=1.25,1.5", "seed=0,1,2")
    words = ["--config=configs/digits.py", *(f"--over={axis}" for axis in axes)]
    swept = _command("sweep", [*words, f"--workdir={place}"])
    members = len(plan.read(place).members)
    print(f"{members} members: {swept}", flush=True)
    explored = _command("explore", [str(place)])
    pictures = sorted(path.name for path in (place / "explorer").iterdir())
    print(f"front, {', '.join(pictures)} and explorer.html: {explored}")
    print(f"in all: {_total([swept, explored])}")


def _command(name: str, words: list[str]) -> Time:
    """Of a command, which must succeed."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", f"launch.{name}", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"launch.{name} {' '.join(words)} ended with {status}")
    return Time(used.ru_utime + used.ru_stime, time.monotonic() - began)


def _kill(directory: Path, kills: int, moments: random.Random) -> None:
    whole, again, broken = (directory / name for name in ("whole", "again", "broken"))
    (directory / "tiny.py").write_text(_CONFIG)
    # What one process compiled, the next one need not: kills come while members are trained.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(directory / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    subprocess.run(_sweep(whole), check=True, stderr=subprocess.DEVNULL)
    start, end = _lived(again)
    _compare(whole, again)
    print(f"CPU seconds of a sweep: {start:.1f} until the first member, {end:.1f} in all")
    done = 0
    while done < kills:
        moment = moments.uniform(0, start + _PART * (end - start))
        if _lives_until(moment, broken):
            print("it ended before it was killed often enough", flush=True)
            _compare(whole, broken)
            shutil.rmtree(broken)
            continue
        done += 1
        print(f"kill {done} of {kills}, after {moment:.1f} s: {_states(broken)}", flush=True)
    subprocess.run(_sweep(broken), check=True, stderr=subprocess.DEVNULL)
    _compare(whole, broken)


def _lived(workdir: Path) -> tuple[float, float]:
    """CPU seconds of a sweep until it begins with a member, and until its end."""
    process = subprocess.Popen(
        _sweep(workdir), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    process.stderr.readline()
    start = _used(process.pid)
    process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the sweep ended with {status}")
    return start, used.ru_utime + used.ru_stime


def _lives_until(moment: float, workdir: Path) -> bool:
    """Kills a sweep after so many CPU seconds; whether it ended before."""
    process = subprocess.Popen(
        _sweep(workdir), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        if _used(process.pid) >= moment:
            process.kill()
            process.wait()
            return False
        time.sleep(_TICK)
    return True


def _used(process: int) -> float:
    """CPU seconds of a process that lives, or has not been waited for."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _compare(whole: Path, broken: Path) -> None:
    """Prints whether two sweeps ended alike, and ends the process if they did not."""
    tables = [_table(place) for place in (whole, broken)]
    print("the tables are", "equal" if tables[0] == tables[1] else f"NOT EQUAL: {tables}")
    names = [member.name for member in plan.read(whole).members]
    same = [_record(whole / n) == _record(broken / n) for n in names]
    files = [(whole / n / _INTEGERS).exists() == (broken / n / _INTEGERS).exists() for n in names]
    print(f"records equal: {sum(same)} of {len(names)}; with integers alike: {sum(files)}")
    if tables[0] != tables[1] or not all(same + files):
        raise SystemExit(1)


def _sweep(workdir: Path) -> list[str]:
    config = workdir.with_name("tiny.py")
    words = [f"--config={config}", *_AXES, f"--workdir={workdir}"]
    return [sys.executable, "-m", "launch.sweep", *words]


def _states(workdir: Path) -> str:
    if not (workdir / plan.NAME).exists():
        return "no plan yet"
    return plan.count([plan.state_of(m, workdir) for m in plan.read(workdir).members])


def _table(workdir: Path) -> list[list[str]]:
    planned = plan.read(workdir)
    return plan.table(planned, [plan.state_of(m, workdir) for m in planned.members])


def _record(workdir: Path) -> dict[str, object]:
    """A result without what differs between runs that are equal."""
    record = json.loads((workdir / "result.json").read_text())
    return {name: value for name, value in record.items() if name not in ("seconds", "git")}


if __name__ == "__main__":
    main()
