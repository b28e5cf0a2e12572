"""Commands as a user types them, all of them in one process, which imports JAX once."""

import functools
import json
import os
import subprocess
import sys
from typing import NamedTuple

from tests.support import strict
from tests.support.prepared import ROOT

# For each line of words it forks, while nothing has started a thread, and runs the command.
_SERVER = """
import json, os, runpy, signal, sys, tempfile, traceback
import jax, numpy, absl.app, flightnn_jax.hardware.search, flightnn_jax.training.runs
nothing = os.open(os.devnull, os.O_RDONLY)
for line in sys.stdin:
    cwd, commands = json.loads(line)
    results = []
    for name, *arguments in commands:
        files = [tempfile.TemporaryFile() for _ in range(2)]
        child = os.fork()
        if not child:
            signal.alarm(300)
            for number, file in enumerate([nothing, *(file.fileno() for file in files)]):
                os.dup2(file, number)
            os.chdir(cwd)
            sys.argv = [name, *arguments]
            code = 70
            try:
                runpy.run_module(f"launch.{name}", run_name="__main__", alter_sys=True)
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1 if end.code else 0
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in files:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        results.append([code, *texts])
    print(json.dumps(results), flush=True)
"""


ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": os.environ.get("HOME", "/"),
    "JAX_PLATFORMS": "cpu",
    "PYTHONPATH": str(ROOT),
    # What one command compiled, the next one need not; a command that is killed gets a copy.
    "JAX_COMPILATION_CACHE_DIR": os.environ[strict.OF_COMMANDS],
    "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "XLA_FLAGS": strict.HARDLY_OPTIMIZED,
}


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    errors: str


@functools.cache
def _server():
    """It ends with this process, whose pipe it reads."""
    return subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=ENVIRONMENT,
        text=True,
    )


def run(commands, cwd=ROOT):
    """Runs each list of words, such as ["train", "--workdir=/tmp/run"]."""
    server = _server()
    print(json.dumps([str(cwd), [list(map(str, words)) for words in commands]]), file=server.stdin)
    server.stdin.flush()
    return [Ended(*ended) for ended in json.loads(server.stdout.readline())]
