"""Commands as a user types them, all of them in one process, which imports JAX once."""

import functools
import json
import os
import subprocess
import sys
from typing import NamedTuple

from tests.support import strict
from tests.support.prepared import ROOT

# It forks for each command, while nothing has started a thread, and says how a command ended.
_SERVER = """
import json, os, runpy, signal, sys, tempfile, traceback
import jax, numpy, absl.app, flightnn_jax.hardware.search, flightnn_jax.training.runs
nothing = os.open(os.devnull, os.O_RDONLY)
files = {}
for line in sys.stdin:
    verb, *given = json.loads(line)
    if verb == "start":
        cwd, environment, (name, *arguments) = given
        own = [tempfile.TemporaryFile() for _ in range(2)]
        child = os.fork()
        if not child:
            signal.alarm(300)
            for number, file in enumerate([nothing, *(file.fileno() for file in own)]):
                os.dup2(file, number)
            os.chdir(cwd)
            os.environ.update(environment)
            jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
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
        files[child] = own
        answer = child
    elif verb == "runs":
        answer = os.waitid(os.P_PID, given[0], os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    else:
        answer = [os.waitstatus_to_exitcode(os.waitpid(given[0], 0)[1])]
        for file in files.pop(given[0]):
            file.seek(0)
            answer.append(file.read().decode(errors="replace"))
    print(json.dumps(answer), flush=True)
"""


ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": os.environ.get("HOME", "/"),
    "JAX_PLATFORMS": "cpu",
    "JAX_TRACEBACK_IN_LOCATIONS_LIMIT": "0",
    "JAX_INCLUDE_FULL_TRACEBACKS_IN_LOCATIONS": "0",
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


class Running:
    """A command that was started, and that a signal may end."""

    def __init__(self, name, *arguments, cwd=ROOT, **environment):
        self._pid = self._ask("start", str(cwd), environment, [name, *map(str, arguments)])

    def _ask(self, *words):
        server = _server()
        print(json.dumps(words), file=server.stdin, flush=True)
        return json.loads(server.stdout.readline())

    def runs(self):
        return self._ask("runs", self._pid)

    def send_signal(self, which):
        os.kill(self._pid, which)

    def end(self):
        """Waits for it; to be called once."""
        return Ended(*self._ask("end", self._pid))


def run(commands, cwd=ROOT):
    """Runs each list of words, such as ["train", "--workdir=/tmp/run"], one after the other."""
    return [Running(*words, cwd=cwd).end() for words in commands]
