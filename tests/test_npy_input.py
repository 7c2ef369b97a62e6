# test_npy_input.py -- the same points as .csv, .npy of f4 and .npy of f8 give the same score.
# test_npy_input.py TWO_MOONS
import json
import subprocess
import sys
import tempfile

import numpy as np

with tempfile.TemporaryDirectory() as folder:

    def run(*arguments):
        command = [sys.argv[1], "--quiet", "--json", f"--picture={folder}/picture.png", *arguments]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    model = f"{folder}/model.safetensors"
    run("--layers=2", "--width=8", "--steps=20", "--points=500", "--test-points=500", f"--model={model}")
    points = np.random.default_rng(1).normal(size=(300, 2)).astype("f4")  # exact in either type
    np.save(folder + "/f4.npy", points)
    np.save(folder + "/f8.npy", points.astype("f8"))
    np.savetxt(folder + "/text.csv", points, delimiter=",", header="a,b", comments="", fmt="%.17g")
    nll = {name: run(f"--load={model}", f"--data={folder}/{name}")["test_nll"] for name in ("f4.npy", "f8.npy", "text.csv")}
    print(nll)
    assert len(set(nll.values())) == 1, nll
