#!/usr/bin/env python3
"""compare.py -- a workload of ours and the same of a peer, run in turn, round by round; medians, spread and their ratio.

    compare.py --ours 'build/tests/bench/bench --workload W1 --threads 2' --peer 'python3 peer.py W1 2' --rounds 5

Each command prints one JSON object in its last line, with milliseconds a step under "ms_median" or "ms".  Standard
library only.  A machine's speed drifts by more than most differences that one looks for, so ratios are taken within a
round and it is their median that counts."""
import argparse
import json
import shlex
import statistics
import subprocess
import sys


def fail(message):
    sys.exit("compare.py: " + message)


def run(command, timeout):
    """Milliseconds a step that a command reports."""
    try:
        done = subprocess.run(shlex.split(command), stdout=subprocess.PIPE, text=True, timeout=timeout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        fail(f"{command}: {error}")
    if done.returncode != 0:
        fail(f"{command}: exit code {done.returncode}")
    lines = done.stdout.strip().splitlines()
    try:
        report = json.loads(lines[-1])
        ms = float(report["ms_median"] if "ms_median" in report else report["ms"])
    except (IndexError, ValueError, KeyError, TypeError):
        fail(f"{command}: the last line is no JSON object with a number \"ms_median\" or \"ms\"")
    if not ms > 0:
        fail(f"{command}: {ms} ms a step")
    return ms


def summary(values):
    """Median, least and most."""
    return statistics.median(values), min(values), max(values)


def parse():
    p = argparse.ArgumentParser(description="Runs two benchmarks in turn and compares what they report.")
    p.add_argument("--ours", required=True, help="command that prints a JSON line with ms_median or ms")
    p.add_argument("--peer", required=True, help="command of the peer, likewise")
    p.add_argument("--rounds", type=int, default=5, help="times that each runs (5)")
    p.add_argument("--timeout", type=float, default=600, help="seconds that one run may take (600)")
    p.add_argument("--json", action="store_true", help="print one JSON line")
    o = p.parse_args()
    if o.rounds < 1:
        p.error("--rounds must be at least 1")
    return o


def main():
    o = parse()
    times = {"ours": [], "peer": []}
    for r in range(o.rounds):
        # The order changes from round to round, so that neither always runs on the warmer machine.
        for who in ("ours", "peer") if r % 2 == 0 else ("peer", "ours"):
            times[who].append(run(getattr(o, who), o.timeout))
        print(f"round {r + 1}: ours {times['ours'][-1]:.4g} ms, peer {times['peer'][-1]:.4g} ms", file=sys.stderr)
    times["ratio"] = [peer / ours for ours, peer in zip(times["ours"], times["peer"])]
    if o.json:
        print(json.dumps({who: dict(zip(("median", "min", "max"), summary(v))) for who, v in times.items()}))
        return
    for who, unit in (("ours", "ms"), ("peer", "ms"), ("ratio", "peer / ours")):
        median, least, most = summary(times[who])
        print(f"{who:6} {median:10.4g}   ({least:.4g} to {most:.4g}) {unit}")


if __name__ == "__main__":
    main()
