"""``python -m benchmarks.kernel``: one evaluation against its two matrix products.

A loss and its gradient need X W' and R' X; everything else (exponentials, reductions,
the residual) is overhead, and the ratio says how much. Medians of rounds that alternate:
within a round calls follow one another, as they do in a fit. The threads of BLAS spin for
some 25 ms after a product, which would slow down whatever comes next: here they sleep at
once (OPENBLAS_THREAD_TIMEOUT).
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

import numpy as np

from benchmarks import measure

SHAPES = ((200_000, 54, 7), (50_000, 54, 7), (20_000, 784, 10))


def products(X, K):
    """The two products over all rows at once, in the faster of two layouts.

    Returns
    -------
    list of callable
        Row-major logits (n, K), and class-major (K, n).
    """
    n, p = X.shape
    W = np.full((K, p), 1e-3, dtype=X.dtype)
    rows, classes = np.empty((n, K), X.dtype), np.empty((K, n), X.dtype)
    grad = np.empty((K, p), X.dtype)

    def row_major():
        np.matmul(X, W.T, out=rows)
        np.matmul(rows.T, X, out=grad)

    def class_major():
        np.matmul(W, X.T, out=classes)
        np.matmul(classes, X, out=grad)

    return [row_major, class_major]


def evaluation(X, y, K, threads):
    """One evaluation of value and gradient of the package's objective."""
    from sklearn_mle._layout import Layout
    from sklearn_mle._network import Network
    from sklearn_mle._objective import NegativeLogLikelihood
    from sklearn_mle._samples import Samples

    layout = Layout((X.shape[1], K))
    samples = Samples(X, y, None, n_classes=K, n_threads=threads)
    objective = NegativeLogLikelihood(Network(layout), samples)
    theta = np.random.default_rng(1).normal(scale=0.1, size=layout.size)

    def evaluate(times):
        # a fit pins BLAS from start to end
        with samples.pinned():
            return [objective.value_and_grad(theta) for _ in range(times)]

    return evaluate


def repeated(call):
    """The call, so many times in a row."""
    return lambda times: [call() for _ in range(times)]


def medians(calls, rounds, in_a_row=4):
    """Median seconds of one call, over rounds that alternate, after one warm-up."""
    times = [[] for _ in calls]
    for index in range(rounds + 1):
        for call, record in zip(calls, times, strict=True):
            call(1)
            start = time.perf_counter()
            call(in_a_row)
            if index:
                record.append((time.perf_counter() - start) / in_a_row)
    return [statistics.median(record) for record in times]


def report(shapes, repeats, threads):
    """Print one line for each shape and dtype."""
    print("| n x p, K | dtype | products, ms | evaluation, ms | ratio |")
    print("| --- | --- | --- | --- | --- |")
    for n, p, K in shapes:
        for dtype in (np.float64, np.float32):
            rng = np.random.default_rng(0)
            X = rng.standard_normal((n, p), dtype=dtype)
            y = rng.integers(K, size=n)
            calls = [evaluation(X, y, K, threads), *map(repeated, products(X, K))]
            ours, *alone = medians(calls, repeats)
            least = min(alone)
            print(
                f"| {n:,} x {p}, {K} | {np.dtype(dtype).name} | {1e3 * least:.1f} "
                f"| {1e3 * ours:.1f} | {ours / least:.2f} |",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernel")
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, help="at most so many rows, to try it out")
    args = parser.parse_args()
    # thread pools take their size when they are loaded
    if os.environ.get("OMP_NUM_THREADS") != str(args.threads):
        command = [sys.executable, "-m", "benchmarks.kernel", *sys.argv[1:]]
        environment = measure.child_environment(args.threads) | {"OPENBLAS_THREAD_TIMEOUT": "4"}
        raise SystemExit(subprocess.run(command, env=environment).returncode)
    shapes = [(min(n, args.rows or n), p, K) for n, p, K in SHAPES]
    report(shapes, args.repeats, args.threads)


if __name__ == "__main__":
    main()
