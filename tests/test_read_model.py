# test_read_model.py -- a model file read with numpy alone: log_prob from the file's own description equals the library's.
# test_read_model.py TWO_MOONS
import json
import subprocess
import sys
import tempfile

import numpy as np


def read(path):
    """Tensors by name, and the metadata, of a safetensors file."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        body = file.read()
    meta = header.pop("__metadata__")
    kinds = {"F32": "<f4", "F64": "<f8"}
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(body[begin:end], kinds[entry["dtype"]]).reshape(entry["shape"]).astype("f8")
    return tensors, meta


def mlp(net, tensors, name, h):
    act = {"relu": lambda v: np.maximum(v, 0), "tanh": np.tanh, "leaky relu": lambda v: np.where(v > 0, v, 0.01 * v)}
    for i in range(net["layers"] + 1):
        h = h @ tensors[f"{name}.W{i}"].T + tensors[f"{name}.b{i}"]
        if i < net["layers"]:
            h = act[net["activation"]](h)
    return h


def affine(transformer, raw, v, inverse):
    """Of the scales that models have by default: log-scales, tanh-bounded; raw [P n]."""
    scale, shift = np.split(raw, 2, axis=1)
    if transformer["scale"] == "tanh":
        scale = transformer["bound"] * np.tanh(scale / transformer["bound"])
    if inverse:
        return (v - shift) * np.exp(-scale), -scale
    return v * np.exp(scale) + shift, scale


def coupling(layer, tensors, name, x):
    kept = layer["kept"]
    changed = [d for d in range(layer["features"]) if d not in kept]
    assert layer["transformer"]["type"] == "affine" and layer["kept_transformer"] is None
    raw = mlp(layer["net"], tensors, name + ".net", x[:, kept])
    z = x.copy()
    z[:, changed], log_det = affine(layer["transformer"], raw, x[:, changed], layer["inverse"])
    return z, log_det.sum(axis=1)


def normalize(layer, tensors, name, x):
    """z and log|det dz/dx|."""
    if layer["type"] == "chain":
        total = np.zeros(len(x))
        for i, inner in enumerate(layer["layers"]):
            x, log_det = normalize(inner, tensors, f"{name}.{i}", x)
            total += log_det
        return x, total
    if layer["type"] == "standardise":
        sd = tensors[name + ".sd"]
        return (x - tensors[name + ".mean"]) / sd, np.full(len(x), -np.log(sd).sum())
    if layer["type"] == "coupling":
        return coupling(layer, tensors, name, x)
    raise ValueError(layer["type"])


def log_prob(path, x):
    tensors, meta = read(path)
    model = json.loads(meta["flow_model"])
    assert model["version"] == 1 and model["base"]["type"] == "standard normal"
    z, log_det = normalize(model["layer"], tensors, "flow", x)
    return log_det - 0.5 * (z**2 + np.log(2 * np.pi)).sum(axis=1)


with tempfile.TemporaryDirectory() as folder:
    model, scores = folder + "/model.safetensors", folder + "/scores.npy"
    subprocess.run([sys.argv[1], "--quiet", "--layers=4", "--width=16", "--steps=200", "--points=2000",
                    "--test-points=10", f"--model={model}", f"--scores={scores}", f"--picture={folder}/picture.png"],
                   check=True)
    table = np.load(scores)
    assert table.shape == (10, 3), table.shape
    ours, theirs = log_prob(model, table[:, :2]), table[:, 2]
    worst = np.abs(ours - theirs).max()
    print("largest difference", worst)
    assert worst <= 1e-5, (ours, theirs)
