"""Files of integer networks taken apart and put together again, right digest or not.

Written from docs/integers.md, with the safetensors library: nothing of integer/files.py.
"""

import hashlib
import json

import numpy as np
import safetensors.numpy

TYPES = {"uint8": "U8", "int8": "I8", "int32": "I32"}


def parts(data):
    """(manifest as a dict, tensors by name) of a file's bytes."""
    length = int.from_bytes(data[:8], "little")
    manifest = json.loads(data[8 : 8 + length])["__metadata__"]["manifest"]
    return json.loads(manifest), {k: v.copy() for k, v in safetensors.numpy.load(data).items()}


def sealed(manifest, tensors):
    """A file of these with the digest that it should have.

    Args:
      manifest: a dict, or the JSON text itself.
      tensors: arrays by name.
    """
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    sha = hashlib.sha256(text.encode() + b"\0")
    for name in sorted(tensors, key=str.encode):
        array = tensors[name]
        shape = ",".join(str(axis) for axis in array.shape)
        sha.update(f"{name}\0{TYPES[array.dtype.name]}\0{shape}\0".encode())
        sha.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    about = {"manifest": text, "sha256": sha.hexdigest()}
    return safetensors.numpy.save(tensors, about)


def raw(header, data=b""):
    """A file of this header, a dict or bytes, and these bytes behind it."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + data


def assert_same(first, second):
    """Records of arrays, texts and numbers that are equal, types included."""
    assert type(first) is type(second)
    if isinstance(first, np.ndarray):
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)
    elif hasattr(first, "__dataclass_fields__"):
        assert_same(vars(first), vars(second))
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert_same(a, b)
    else:
        assert first == second
