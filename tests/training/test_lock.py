"""Two runs in one workdir."""

import os
import socket
import subprocess
import sys
import time

import pytest

from flightnn_jax.training import lock, loop
from tests.support import prepared, training

HOLDER = """
import pathlib, sys, time
from flightnn_jax.training import lock
with lock.held(pathlib.Path(sys.argv[1])):
    time.sleep(60)
"""


def test_the_second_is_told_who_holds_it(tmp_path):
    with lock.held(tmp_path), pytest.raises(lock.LockedError) as caught, lock.held(tmp_path):
        pass
    for words in (str(tmp_path), f"host {socket.gethostname()}, pid {os.getpid()}, since 20"):
        assert words in str(caught.value)
    assert not list(tmp_path.iterdir())
    with lock.held(tmp_path):
        assert (tmp_path / lock.NAME).exists()


def test_one_that_a_killed_run_left_is_taken_over(tmp_path, caplog):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], cwd=prepared.ROOT)
    path = tmp_path / lock.NAME
    while not (path.exists() and path.stat().st_size):
        assert process.poll() is None
        time.sleep(0.01)
    with pytest.raises(lock.LockedError, match=f"pid {process.pid}"), lock.held(tmp_path):
        pass
    process.kill()
    process.wait()
    assert path.exists()
    with lock.held(tmp_path):
        assert f"a run that is dead (host {socket.gethostname()}, pid {process.pid}" in caplog.text
    assert not path.exists()


def test_the_holder_of_a_damaged_file_is_not_known(tmp_path):
    with lock.held(tmp_path):
        (tmp_path / lock.NAME).write_text('["torn')
        with pytest.raises(lock.LockedError, match=r"\(holder unknown, '\[.torn'\)"):
            lock.held(tmp_path).__enter__()


def test_a_run_touches_nothing_of_another(tmp_path):
    run = training.prepare(tmp_path)
    with lock.held(tmp_path), pytest.raises(lock.LockedError):
        loop.fit(run)
    assert not list(tmp_path.iterdir())
