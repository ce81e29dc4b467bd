"""``python -m benchmarks.separation``: what it takes to fit, and to say that no maximum exists.

Data whose classes a linear model separates, C infinite. This package runs with its defaults on the
raw columns, and its time holds the diagnosis, which is also shown alone; scikit-learn's solvers get
standardised columns and the loosest tolerance of a grid that is within 1e-6 nats a sample of where
this package stops. They say nothing of separation.
"""

import argparse
import time
import warnings

import numpy as np

from benchmarks import measure
from benchmarks.objective import penalised_mean_nll, standardise

NAMES = ("iris", "wine", "breast_cancer", "digits")
SOLVERS = ("newton-cholesky", "lbfgs")
TOLERANCES = tuple(10.0**-k for k in range(2, 10))
GAP = 1e-6  # nats a sample


def seconds_of(fit, repeats):
    """Median seconds of a fit, and what it returns."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = fit()
        seconds.append(time.perf_counter() - start)
    return np.median(seconds), result


def ours(X, y, repeats):
    """Seconds of a fit and of its diagnosis, the estimator, and what was found."""
    from sklearn_mle import SoftmaxMLEClassifier, _existence

    diagnose, diagnoses = _existence.diagnose_separation, []

    def timed(**question):
        start = time.perf_counter()
        finding = diagnose(**question)
        diagnoses.append((time.perf_counter() - start, finding))
        return finding

    _existence.diagnose_separation = timed
    try:
        seconds, model = seconds_of(lambda: SoftmaxMLEClassifier().fit(X, y), repeats)
    finally:
        _existence.diagnose_separation = diagnose
    return seconds, np.median([spent for spent, _ in diagnoses]), model, diagnoses[-1][1]


def best_peer(X, y, target, repeats):
    """The name and seconds of the solver that is first within the gap."""
    from sklearn.linear_model import LogisticRegression

    arrived = {}
    for solver in SOLVERS:
        for tol in TOLERANCES:
            peer = LogisticRegression(C=np.inf, solver=solver, tol=tol, max_iter=10_000)
            _, model = seconds_of(lambda peer=peer: peer.fit(X, y), 1)
            if penalised_mean_nll(X, y, model.coef_, model.intercept_, np.inf) <= target + GAP:
                arrived[f"{solver} {tol:.0e}"], _ = seconds_of(lambda peer=peer: peer.fit(X, y), repeats)
                break
    return min(arrived.items(), key=lambda item: item[1], default=("none", np.inf))


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.separation")
    parser.add_argument("--problems", nargs="+", default=NAMES, metavar="NAME", choices=NAMES)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    measure.pin("benchmarks.separation", args.threads)
    from sklearn import datasets

    print("| data | separated | features named | fit, ms | of it the diagnosis | best of scikit-learn, scaled | ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in args.problems:
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        seconds, diagnosis, model, finding = ours(X, y, args.repeats)
        target = penalised_mean_nll(X, y, model.coef_, model.intercept_, np.inf)
        peer, theirs = best_peer(standardise(X)[0], y, target, args.repeats)
        kind = finding.kind.name.lower().replace("_", "-")
        named, times = f"{len(finding.features)} of {X.shape[1]}", f"{1e3 * seconds:.1f} | {1e3 * diagnosis:.1f}"
        print(f"| {name} | {kind} | {named} | {times} | {peer} | {1e3 * theirs:.1f} |")


if __name__ == "__main__":
    main()
