"""A pytest plugin, loaded before everything else: tests are stricter than a user's run.

Eight devices are simulated on the CPU, adding arrays of different rank is an error, and so is
every warning (pyproject.toml).

Compiling is what the tests spend their time on, so XLA hardly optimizes what they compile, which
takes a third of the time. FLIGHTNN_TESTS_OPTIMIZED=1 lets it, as launch/test.sh does for the tests
marked `optimized`: their subject is what XLA may make of floats, or they run more than they
compile. The same holds of commands that tests start, but for those of the README, which
tests/test_readme.py runs as a user does.

What one process compiled, no other need compile, if it took a tenth of a second: programs are kept
for a fortnight in the user's cache, tests/ in it, by JAX's key of the program, the flags, the
machine and the versions. Without that directory a run takes longer and says the same.

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
jax.config.update("jax_traceback_in_locations_limit", 0)  # writing them takes a tenth of the time
jax.config.update("jax_include_full_tracebacks_in_locations", False)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
jax.config.update("jax_persistent_cache_enable_xla_caches", "none")  # keys would have its path
OF_COMMANDS = "FLIGHTNN_TESTS_COMMANDS_COMPILED"
KEPT_SECONDS = 14 * 24 * 3600


_own = []  # of _Kept


@pytest.hookimpl(trylast=True)  # when coverage has begun, because it imports the library
def pytest_sessionstart(session):
    """Tells this process, and the commands that it will start, where programs are kept."""
    if session.config.getoption("numprocesses", None):
        return  # its processes compile
    from flightnn_jax import atomic

    kept = atomic.cache_dir() / "tests"
    _own[:] = [_Kept(kept / "tests"), _Kept(kept / "commands")]
    jax.config.update("jax_compilation_cache_dir", _own[0].directory.name)
    os.environ[OF_COMMANDS] = _own[1].directory.name


def pytest_runtest_teardown(item, nextitem):
    """Behind each module, when nothing is being written."""
    if nextitem is None or nextitem.path != item.path:
        for kept in _own:
            kept.exchange()


def pytest_sessionfinish():
    while _own:
        _own.pop().directory.cleanup()


class _Kept:
    """A directory for this process, in which it finds what others have compiled.

    JAX writes no file as a whole, so processes cannot share a directory: links of what is complete
    go from one's own to the shared one and back.
    """

    def __init__(self, shared):
        shared.mkdir(parents=True, exist_ok=True)
        self.shared, self.directory = shared, tempfile.TemporaryDirectory(prefix="run-", dir=shared)
        old = time.time() - KEPT_SECONDS
        for entry in os.scandir(shared):
            with contextlib.suppress(FileNotFoundError):  # another run removes them, too
                if entry.stat().st_mtime < old:
                    shutil.rmtree(entry) if entry.is_dir() else Path(entry).unlink()
        self.exchange()

    def exchange(self):
        """Links whatever one of the two directories lacks."""
        own = Path(self.directory.name)
        mine, theirs = (
            {entry.name for entry in os.scandir(place) if entry.is_file()}
            for place in (own, self.shared)
        )
        for name in mine ^ theirs:
            places = (own, self.shared) if name in mine else (self.shared, own)
            # Another run removes what is old, or was faster.
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                os.link(*(place / name for place in places))


def pytest_collection_finish():
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
