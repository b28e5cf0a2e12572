"""A pytest plugin, loaded before everything else: tests are stricter than a user's run.

Eight devices are simulated on the CPU, adding arrays of different rank is an error, and so is
every warning (pyproject.toml).

Compiling is what the tests spend their time on, so XLA hardly optimizes what they compile, which
takes a third of the time. FLIGHTNN_TESTS_OPTIMIZED=1 lets it, as launch/test.sh does for the tests
marked `optimized`: their subject is what XLA may make of floats, or they run more than they
compile. Commands that tests start compile as a user's do.

What one run compiled, no later one need compile: programs are kept for a fortnight in the user's
cache, tests/ in it, by JAX's key of the program, the flags, the machine and the versions. Without
that directory a run takes twice the time and says the same.

The garbage collector passes over what the imports made, and comes more seldom: with JAX's objects
it took a tenth of the time.
"""

import contextlib
import gc
import os
import shutil
import tempfile
import time
from pathlib import Path

HARDLY_OPTIMIZED = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_cpu_use_fusion_emitters=false"
)
_flags = [os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8"]
if os.environ.get("FLIGHTNN_TESTS_OPTIMIZED") != "1":
    _flags.append(HARDLY_OPTIMIZED)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = " ".join(_flags)

import jax  # noqa: E402 - which reads the flags
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_enable_xla_caches", "none")  # keys would have its path
OF_COMMANDS = "FLIGHTNN_TESTS_COMMANDS_COMPILED"
KEPT_SECONDS = 14 * 24 * 3600


@pytest.hookimpl(trylast=True)  # when coverage has begun, because it imports the library
def pytest_sessionstart(session):
    """Tells this process, and the commands that it will start, where programs are kept."""
    if session.config.getoption("numprocesses", None):
        return  # its processes compile
    from flightnn_jax import atomic

    kept = atomic.cache_dir() / "tests"
    jax.config.update("jax_compilation_cache_dir", own_directory(kept / "tests", session.config))
    os.environ[OF_COMMANDS] = own_directory(kept / "commands", session.config)


def own_directory(shared, config):
    """A directory for this process, in which it finds what others have compiled.

    JAX writes no file as a whole, so processes cannot share a directory: links of what is complete
    go in, and new files are moved out when the run ends.
    """
    shared.mkdir(parents=True, exist_ok=True)
    own = tempfile.TemporaryDirectory(prefix="run-", dir=shared)
    old = time.time() - KEPT_SECONDS
    for entry in os.scandir(shared):
        with contextlib.suppress(FileNotFoundError):  # another run removes them, too
            if entry.stat().st_mtime < old:
                shutil.rmtree(entry) if entry.is_dir() else Path(entry).unlink()
            elif entry.is_file():
                os.link(entry, Path(own.name) / entry.name)

    def publish():
        for file in Path(own.name).iterdir():
            file.replace(shared / file.name)
        own.cleanup()

    config.add_cleanup(publish)
    return own.name


def pytest_collection_finish():
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
