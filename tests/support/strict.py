"""A pytest plugin, loaded before everything else: tests are stricter than a user's run.

Eight devices are simulated on the CPU, adding arrays of different rank is an error, and so is
every warning (pyproject.toml). What one test compiled, a later one of the same process need not.
"""

import os
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
_compiled = tempfile.TemporaryDirectory()  # not shared: others could read what is half written
jax.config.update("jax_compilation_cache_dir", _compiled.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
