#!/usr/bin/env python3
"""data_peer.py -- the work of bench/data in numpy or pandas, for compare.py: data_peer.py numpy|pandas|batches [FILE]

Prints one JSON line with the least and median milliseconds.  batches gathers shuffled rows of an array that is there."""
import json
import statistics
import sys
import time

import numpy


def run(work, reps):
    wall, cpu = [], []
    for _ in range(reps):
        start, begun = time.perf_counter(), time.process_time()
        work()
        wall.append(1e3 * (time.perf_counter() - start))
        cpu.append(1e3 * (time.process_time() - begun))
    return {"ms": min(wall), "ms_median": statistics.median(wall), "ms_cpu": min(cpu)}


def batches(dtype, rows, columns):
    """Milliseconds a batch of 256 rows as float32."""
    x = numpy.ones((rows, columns), dtype)
    order = numpy.random.default_rng(1).permutation(rows)
    steps = [order[i:i + 256] for i in range(0, 256 * min(2000, rows // 256), 256)]
    report = run(lambda: [x[s].astype(numpy.float32, copy=False) for s in steps], 7)
    return {k: v / len(steps) for k, v in report.items()}


def main():
    what, path = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    if what == "batches":
        print(json.dumps({"workload": "batches f4 x 64", **batches("f4", 1000000, 64)}))
        print(json.dumps({"workload": "batches u1 x 784", **batches("u1", 60000, 784)}))
        return
    if what == "pandas":
        import pandas
        work = lambda: pandas.read_csv(path, header=None, float_precision="round_trip").to_numpy()
    elif what == "pandas-fast":  # its default: not correctly rounded
        import pandas
        work = lambda: pandas.read_csv(path, header=None).to_numpy()
    else:
        work = lambda: numpy.loadtxt(path, delimiter=",")
    print(json.dumps({"workload": what, **run(work, 2 if what == "numpy" else 4)}))


if __name__ == "__main__":
    main()
