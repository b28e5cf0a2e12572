"""The commands as a user types them: in processes of their own, killed and started again."""

import errno
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from launch import command, options
from tests.support import commands, prepared
from tests.support.tiny import CONFIG


def launch(module, *arguments, **environment):
    """The command in a process that begins with it."""
    process = subprocess.run(
        [sys.executable, "-m", f"launch.{module}", *arguments],
        cwd=prepared.ROOT,
        env=commands.ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return process.returncode, process.stdout, process.stderr


def record(workdir):
    """A result without what may differ between runs that are equal."""
    result = json.loads((workdir / "result.json").read_text())
    return {k: v for k, v in result.items() if k not in ("git", "devices", "processes", "seconds")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    [(code, out, errors)] = commands.run([["train", CONFIG, f"--workdir={workdir}"]])
    assert code == 0, errors
    assert "FL: test accuracy" in out
    assert out.splitlines()[-1] == f"pictures: {workdir / 'plots'}"
    assert "epoch 2/2  loss" in errors
    return workdir


@pytest.mark.slow
def test_evaluates_what_was_trained(finished):
    [(code, out, errors)] = commands.run([["evaluate", f"--workdir={finished}"]])
    assert code == 0, errors
    result = json.loads(out)
    test = record(finished)["test"]
    assert {k: result[k] for k in test} == test
    assert result["step"] == record(finished)["steps"]


@pytest.mark.slow
def test_another_config_is_refused(finished):
    words = ["train", CONFIG, f"--workdir={finished}", "--config.lambda1=1"]
    [(code, _, errors)] = commands.run([words])
    assert code == 2
    assert "is of another config: lambda1 3e-05 there and 1.0 here" in errors
    assert "Traceback" not in errors


WRONG = {
    "--config=configs/none.py": "choose one of configs/digits.py, configs/imported.py",
    "--config=configs/paper.py:net9,full": "'net9' is unknown: choose one of net1, net2",
    "--config=configs/paper.py:net1,half": "'half' is unknown: choose one of full, fp4",
    "--config=configs/digits.py:half": "'half' is unknown: choose one of full, fp4",
    "--config.lambda1=-1": "lambda1=-1.0: choose a finite number that is not negative",
    "--config.width=wide": "width='wide': the field takes a whole number",
    "--config=configs/paper.py:net1,full --data_dir=/none": "tfds build cifar10",
    "--workdir=/proc/none": "/proc/none",
    "--coordinator=localhost:1": "--processes and --process go together",
    "--config.lamda1=1": "config.lambda1",
}


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    """How each of these ended."""
    workdir = f"--workdir={tmp_path_factory.mktemp('wrong')}"
    ended = commands.run([["train", workdir, *arguments.split()] for arguments in WRONG])
    return dict(zip(WRONG, ended, strict=True))


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_input_is_told_in_one_line(wrong, arguments):
    end = wrong[arguments]
    assert end.code == 2
    [line] = [line for line in end.errors.splitlines() if line.startswith("error: ")]
    assert WRONG[arguments] in line
    assert "Traceback" not in end.errors


@pytest.mark.quick(0)
def test_a_batch_that_does_not_divide(tmp_path):
    two = "--xla_force_host_platform_device_count=2"
    arguments = f"--workdir={tmp_path}", "--config.batch_size=129"
    code, _, errors = launch("train", *arguments, XLA_FLAGS=two)
    assert code == 2
    assert "batch_size=129 does not divide by the 2 devices" in errors
    assert "Traceback" not in errors


def test_help_tells_a_newcomer_what_to_do():
    _, out, _ = launch("train", "--help")
    for words in ("python -m launch.train --config=configs/digits.py", "--config.lambda1", "exit"):
        assert words in out


@pytest.mark.slow
def test_sigterm_saves_and_the_same_command_goes_on(tmp_path, finished):
    words = ["train", CONFIG, f"--workdir={tmp_path}"]
    process = commands.Running(*words)
    wait_for(tmp_path / "metrics.jsonl", process)
    process.send_signal(signal.SIGTERM)
    code, _, errors = process.end()
    if code == 0:
        pytest.skip("it was done before the signal came")
    assert code == 143
    assert "the same command goes on from there" in errors
    [(code, _, errors)] = commands.run([words])
    assert code == 0, errors
    assert "going on from step" in errors
    assert record(tmp_path) == record(finished)


def wait_for(path, process):
    while not path.exists() and process.runs():
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.usefixtures("finished")  # it has compiled what the runs here share
def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path):
    """Four times SIGKILL, some of them during a save: a checkpoint is begun in every step."""
    config = [CONFIG, "--config.checkpoint_every=1"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    process = commands.Running("train", *config, f"--workdir={whole}")
    wait_for(whole / "config.json", process)
    began = time.monotonic()
    code, _, errors = process.end()
    assert code == 0, errors
    longest = min(6.0, time.monotonic() - began)
    compiled = "JAX_COMPILATION_CACHE_DIR"  # a killed process may leave a part of a program
    copy = {compiled: str(tmp_path / "compiled")}
    shutil.copytree(commands.ENVIRONMENT[compiled], copy[compiled])
    moments, ends = random.Random(0), 0
    for quarter in moments.sample(range(4), 4):  # each part of a run is hit
        (broken / "config.json").unlink(missing_ok=True)
        process = commands.Running("train", *config, f"--workdir={broken}", **copy)
        wait_for(broken / "config.json", process)  # written when checkpoints are restored
        time.sleep((quarter + moments.random()) / 4 * longest)
        process.send_signal(signal.SIGKILL)
        process.end()
        if (broken / "result.json").exists():
            assert checksum(broken) == checksum(whole)
            shutil.rmtree(broken)
            ends += 1
    [(code, _, errors)] = commands.run([["train", *config, f"--workdir={broken}"]])
    assert code == 0, errors
    assert checksum(broken) == checksum(whole)
    assert ends < 4


def checksum(workdir):
    steps = sorted((workdir / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))
    return json.loads((steps[-1] / "about" / "metadata").read_text())["checksum"]


@pytest.mark.slow
def test_two_processes_train_together(tmp_path, finished):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"--coordinator=localhost:{free.getsockname()[1]}"
    words = ["train", CONFIG, f"--workdir={tmp_path}"]
    processes = [
        commands.Running(*words, coordinator, "--processes=2", f"--process={number}")
        for number in range(2)
    ]
    for process in processes:
        code, _, errors = process.end()
        assert code == 0, errors
    result, alone = record(tmp_path), record(finished)
    assert json.loads((tmp_path / "result.json").read_text())["processes"] == 2
    assert result["train"]["loss"] == pytest.approx(alone["train"]["loss"], rel=0.02)
    # The integers are the same, evaluated by two processes or by one.
    [(code, out, errors)] = commands.run([["evaluate", f"--workdir={tmp_path}"]])
    assert code == 0, errors
    evaluated = json.loads(out)
    assert [evaluated[k] for k in ("top1", "top5")] == [result["test"][k] for k in ("top1", "top5")]
    assert evaluated["loss"] == pytest.approx(result["test"]["loss"], rel=1e-5)
    assert evaluated["float_reason"] is None


@pytest.mark.parametrize("network", range(1, 9))
@pytest.mark.parametrize("scheme", ["full", "flightnn"])
def test_the_papers_configs(network, scheme):
    config = options.load_config(f"configs/paper.py:net{network},{scheme}")
    assert (config.network, config.scheme) == (f"net{network}", scheme)
    smoke = options.load_config(f"configs/paper.py:net{network},{scheme},smoke")
    assert (smoke.dataset, smoke.epochs) == ("digits", 1)


def test_a_full_disk_says_what_to_do(capsys):
    with pytest.raises(SystemExit, match="2"), command.plain_errors():
        raise OSError(errno.ENOSPC, "No space left on device", "/runs/1/metrics.jsonl")
    assert "metrics.jsonl'; make room and give the same command" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"), command.plain_errors():
        raise FileNotFoundError(errno.ENOENT, "No such file", "/none")
    assert "make room" not in capsys.readouterr().err
