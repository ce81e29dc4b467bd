"""``python -m benchmarks.growth``: time and peak memory against the number of rows.

p = 54 columns, K = 7 classes, default settings; each size in processes of its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import numpy as np

from benchmarks import measure

P, K = 54, 7


def generate(n, block=10_000):
    """X (n, 54) and labels from a softmax model, block by block."""
    rng = np.random.default_rng(0)
    W = rng.normal(scale=0.5, size=(P, K))
    X, y = np.empty((n, P)), np.empty(n, dtype=np.int64)
    for start in range(0, n, block):
        rows = X[start : start + block]
        rng.standard_normal(out=rows)
        logits = rows @ W + rng.gumbel(size=(len(rows), K))
        y[start : start + block] = logits.argmax(axis=1)
    return X, y


def measure_one(n):
    """Fit once in this process: seconds, peak beyond X and y as a share of X."""
    from sklearn_mle import SoftmaxMLEClassifier

    SoftmaxMLEClassifier().fit(*generate(1_000))  # warm-up
    X, y = generate(n)
    before = measure.reset_peak()
    start = time.perf_counter()
    model = SoftmaxMLEClassifier().fit(X, y)
    seconds = time.perf_counter() - start
    return {
        "n": n,
        "seconds": seconds,
        "share": (measure.peak_bytes() - before) / X.nbytes,
        "passes": float(model.optimize_result_.n_passes),
    }


def slope(sizes, seconds):
    """Exponent of growth: the slope of log seconds on log n."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure_one(args.one)))
        return
    records = {n: [] for n in args.sizes}
    for _ in range(args.repeats):
        for n, record in records.items():
            command = [sys.executable, "-m", "benchmarks.growth", "--one", str(n)]
            environment = measure.child_environment(args.threads)
            output = subprocess.check_output(command, env=environment, text=True)
            record.append(json.loads(output))
    print(f"| rows x {P}, {K} classes | s | passes | peak beyond X, share of X |")
    print("| --- | --- | --- | --- |")
    seconds = []
    for n, record in records.items():
        seconds.append(statistics.median(r["seconds"] for r in record))
        share = statistics.median(r["share"] for r in record)
        passes = record[0]["passes"]
        print(f"| {n:,} | {seconds[-1]:.3f} | {passes:.1f} | {100 * share:.1f} % |")
    if len(seconds) > 1:
        print(f"\nSlope of log seconds on log rows: {slope(args.sizes, seconds):.3f}")


if __name__ == "__main__":
    main()
