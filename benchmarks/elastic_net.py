"""``python -m benchmarks.elastic_net``: time to the optimum of the elastic net, against saga.

Both get the same standardised columns, without which saga does not arrive. The yardstick
is the penalised mean negative log-likelihood; saga has the loosest tolerance of a grid
that is within 1e-6 nats of the best that either reached, this package its defaults.
"""

import argparse
import os
import subprocess
import sys
import time
import warnings

import numpy as np

from benchmarks import measure, problems
from benchmarks.objective import penalised_mean_nll, standardise

NAMES = ("wine", "digits")
C = 1.0
RATIOS = (0.5, 1.0)
TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
GAP = 1e-6  # nats a sample


def yardstick(model, X, y, l1_ratio):
    """(NLL + ((1 - l1_ratio) ||W||^2 / 2 + l1_ratio ||W||_1) / C) / n, in nats."""
    penalty = (1 - l1_ratio) * np.square(model.coef_).sum() / 2 + l1_ratio * np.abs(model.coef_).sum()
    return penalised_mean_nll(X, y, model.coef_, model.intercept_, np.inf) + penalty / C / len(X)


def timed(model, X, y):
    """Seconds of a fit."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    return time.perf_counter() - start


def race(X, y, l1_ratio, limit, repeats):
    """Rows of the table for one problem and mix."""
    from sklearn.linear_model import LogisticRegression

    from sklearn_mle import SoftmaxMLEClassifier

    ours = SoftmaxMLEClassifier(C=C, l1_ratio=l1_ratio)
    first = timed(ours, X, y)
    best = yardstick(ours, X, y, l1_ratio)
    saga = None
    for tol in TOLERANCES:
        saga = LogisticRegression(C=C, l1_ratio=l1_ratio, solver="saga", tol=tol, max_iter=100_000)
        took = timed(saga, X, y)
        short = yardstick(saga, X, y, l1_ratio) - best
        if short <= GAP or took > limit:
            break
    rows = {"sklearn_mle": (ours, [first]), f"saga {saga.tol:.0e}": (saga, [took])}
    for _ in range(repeats):
        for model, seconds in rows.values():
            if took <= limit or model is ours:
                seconds.append(timed(model, X, y))
    for name, (model, seconds) in rows.items():
        yield name, np.median(seconds), yardstick(model, X, y, l1_ratio), int((model.coef_ == 0).sum())


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.elastic_net")
    parser.add_argument("--problems", nargs="+", default=NAMES, metavar="NAME")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds after which no smaller tolerance is tried")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != str(args.threads):
        # Threads are counted when libraries are loaded.
        environment = measure.child_environment(args.threads)
        sys.exit(subprocess.call([sys.executable, "-m", "benchmarks.elastic_net", *sys.argv[1:]], env=environment))
    print("| problem | l1_ratio | library | seconds | objective, nats a sample | coefficients of zero |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in args.problems:
        X, y = problems.load(problems.cached(problems.PROBLEMS[name]))
        X = standardise(X)[0]
        for l1_ratio in RATIOS:
            for library, seconds, objective, zeros in race(X, y, l1_ratio, args.limit, args.repeats):
                print(f"| {name} | {l1_ratio:g} | {library} | {seconds:.3g} | {objective:.7f} | {zeros} |")


if __name__ == "__main__":
    main()
