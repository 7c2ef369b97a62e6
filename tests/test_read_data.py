# test_read_data.py -- real files, read by us and by numpy: the same types, shapes and values, to the bit.
# test_read_data.py READ_TABLE
# Reads what is under the folders that PULLBACK_DATA names (parted by colons). Without it there is nothing to compare.
import gzip
import os
import re
import struct
import subprocess
import sys
import tempfile

import numpy as np

folders = [f for f in os.environ.get("PULLBACK_DATA", "").split(":") if f]
if not folders:
    print("skipped: PULLBACK_DATA names no folders of real data")
    sys.exit(77)

IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
# Texts that are no tables of numbers alone: left out.
LEFT = r"\.summary\.csv$|\.data\.txt\.gz$|^LICEN|index_.*\.txt$"


def ours(path, argument=None):
    with tempfile.TemporaryDirectory() as folder:
        out = folder + "/out.npy"
        command = [sys.argv[1], path, out] + ([argument] if argument else [])
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 3:
            return done.stderr.strip()
        assert done.returncode == 0, (command, done)
        return np.load(out)


def idx(path):
    content = gzip.open(path).read()
    rank = content[3]
    shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    return np.frombuffer(content, IDX_TYPES[content[2]], offset=4 + 4 * rank).reshape(shape)


def text(path):
    opened = gzip.open(path, "rt") if path.endswith(".gz") else open(path)
    with opened as file:
        lines = file.read().splitlines()
    separator = "," if "," in lines[0] else None
    header = re.search("[a-df-zA-DF-Z]", lines[0]) is not None
    return np.loadtxt(lines[header:], delimiter=separator, ndmin=2)


def pairs(path, name):
    """What is to be compared: label, our reading, numpy's."""
    if name.endswith(".npz"):
        with np.load(path) as file:
            for array in file.files:
                yield array, ours(path, array), file[array]
    elif "-ubyte" in name:
        yield "", ours(path), idx(path)
    elif name.endswith(".u8.gz"):
        rows, shape = re.search(r"_(\d+)x([\dx]+)\.", name).groups()
        sides = [int(side) for side in shape.split("x")]
        yield "", ours(path, shape), np.frombuffer(gzip.open(path).read(), "u1").reshape(int(rows), *sides)
    elif re.search(r"\.(csv|tsv|txt)(\.gz)?$", name):
        yield "", ours(path), text(path)


compared = left = 0
for folder in folders:
    for base, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            path = os.path.join(base, name)
            if re.search(LEFT, name):
                left += 1
                continue
            for label, a, b in pairs(path, name):
                assert not isinstance(a, str), a
                assert a.dtype.newbyteorder("=") == b.dtype.newbyteorder("="), (path, label, a.dtype, b.dtype)
                assert a.shape == b.shape, (path, label, a.shape, b.shape)
                assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), (path, label)
                print(f"{path} {label}: {a.dtype} {a.shape}, the same")
                compared += 1
print(f"{compared} arrays are the same; {left} files left out")
assert compared > 0
