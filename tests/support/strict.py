"""A pytest plugin, loaded before everything else: tests are stricter than a user's run.

Eight devices are simulated on the CPU, adding arrays of different rank is an error, and so is
every warning (pyproject.toml). What one test compiled, no later one of the same run need compile.

Compiling is what the tests spend their time on, so XLA hardly optimizes what they compile, which
takes a third of the time. FLIGHTNN_TESTS_OPTIMIZED=1 lets it, as launch/test.sh does for the tests
marked `optimized`: their subject is what XLA may make of floats, or they run more than they
compile. Commands that tests start compile as a user's do.
"""

import os
import tempfile

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

jax.config.update("jax_numpy_rank_promotion", "raise")
# A directory for each process of a run (pytest-xdist starts them with this environment): a cache
# that processes share needs a lock, and for that JAX wants a limit, for which it looks at all files
# whenever it adds one. Programs that tests start do not use it: they have other devices.
_DIRECTORY = "FLIGHTNN_TESTS_COMPILED"
if _DIRECTORY not in os.environ:
    _compiled = tempfile.TemporaryDirectory()
    os.environ[_DIRECTORY] = _compiled.name
jax.config.update("jax_compilation_cache_dir", f"{os.environ[_DIRECTORY]}/{os.getpid()}")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
