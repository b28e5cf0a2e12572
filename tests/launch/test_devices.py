"""What launch/devices.py sets up in a process."""

import platform
import subprocess
import sys

import pytest

from tests.support import prepared

_FAULTS = """
import ctypes, resource
from launch import devices

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.memset.argtypes, libc.free.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t], [
    ctypes.c_void_p
]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(40 << 20)
    libc.memset(block, 1, 40 << 20)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
plain = faults()
devices.keep_freed_memory()
faults()
print(plain, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc")
def test_a_block_that_was_freed_keeps_its_pages():
    run = [sys.executable, "-c", _FAULTS]
    out = subprocess.run(run, check=True, cwd=prepared.ROOT, capture_output=True, text=True).stdout
    plain, kept = map(int, out.split())
    assert kept < plain / 10
