"""Mutated files of integer networks: bytes, entries of the manifest, and tensors.

A function takes a generator of NumPy and the bytes of a file, and gives the bytes of another.
"""

import copy
import json

import numpy as np

from tests.support import integer_files

ODD = [
    None, True, -1, 0, 1, 2, 3, 8, 255, 65536, 1 << 31, -(1 << 63), 10**50, 0.5, 1e300, "",
    "image", "conv1", "\ud800", "\0", "x" * 1000, [], [[]], [0], [-1, 3], [1 << 40] * 4, {},
    {"kind": "conv"},
]  # fmt: skip


def mutated_bytes(rng, data):
    """Bits, bytes, blocks and lengths changed, without a new digest."""
    data = bytearray(data)
    header = int.from_bytes(data[:8], "little")
    for _ in range(rng.integers(1, 4)):
        # Half of them in the header, for almost nothing else is read before the digest.
        at = int(rng.integers(8 + header if rng.random() < 0.5 else len(data)) % len(data))
        block = bytes(data[at : at + int(rng.integers(1, 64))])
        choice = rng.integers(7)
        if choice == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif choice == 1:
            data[at] = int(rng.integers(256))
        elif choice == 2:
            data[at : at + len(block)] = block[::-1]
        elif choice == 3:
            del data[at : at + len(block)]
        elif choice == 4:
            data[at:at] = block
        elif choice == 5:
            del data[max(at, 1) :]
        else:
            data[:8] = int(rng.integers(1 << 62) >> rng.integers(62)).to_bytes(8, "little")
        if not data:
            break
    return bytes(data)


def mutated_parts(rng, data):
    """The manifest or the tensors changed, under a digest that fits them."""
    manifest, tensors = integer_files.parts(data)
    for _ in range(rng.integers(1, 3)):
        if rng.random() < 0.5:
            change_value(rng, manifest)
        else:
            change_tensor(rng, tensors)
    return integer_files.sealed(json.dumps(manifest), tensors)


def change_value(rng, manifest):
    """Replaces, removes or adds one value somewhere in a tree of dicts and lists."""
    node = manifest
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = keys[rng.integers(len(keys))]
        inner = node[key]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.85:
            node = inner
            continue
        choice = rng.integers(4)
        if choice == 0:
            del node[key]
        elif choice == 1 and isinstance(inner, int):
            node[key] = inner + int(rng.integers(-3, 4))
        elif choice == 2 and isinstance(node, dict):
            node[str(ODD[rng.integers(len(ODD))])[:20].encode("ascii", "replace").decode()] = inner
        else:
            node[key] = copy.deepcopy(ODD[rng.integers(len(ODD))])
        return


def change_tensor(rng, tensors):
    names = sorted(tensors)
    name = names[rng.integers(len(names))]
    array = tensors[name]
    choice = rng.integers(6)
    if choice == 0:
        del tensors[name]
    elif choice == 1:
        tensors[name] = array.astype(rng.choice(["int8", "uint8", "int32"]))
    elif choice == 2:
        tensors[name] = np.ascontiguousarray(array[:-1])
    elif choice == 3:
        tensors[f"{name}x"] = array
    elif choice == 4 and array.size:
        flat = array.reshape(-1).view(np.uint8)
        flat[rng.integers(flat.size)] ^= 1 << rng.integers(8)
    else:
        limits = np.iinfo(array.dtype)
        tensors[name] = rng.integers(
            limits.min, limits.max, array.shape, array.dtype, endpoint=True
        )
