"""``python -m benchmarks.path``: what a path of fits along C costs, warm and cold.

Raw columns, C from 1e-3 to 1 in equal ratios. A path counts where each of its fits is within 1e-6 nats a sample of the
best; scikit-learn's solvers, which get `warm_start=True`, have the loosest tolerance of a grid that is. `>` is the time
after which none had been.
"""

import argparse
import time
import warnings

import numpy as np

from benchmarks import measure, problems
from benchmarks.objective import penalised_mean_nll

NAMES = ("wine", "breast_cancer", "digits", "tall")
SOLVERS = ("newton-cholesky", "newton-cg", "lbfgs")
TOLERANCES = tuple(10.0**-k for k in range(1, 8))
GRID = np.geomspace(1e-3, 1.0, 13)
GAP = 1e-6  # nats a sample


def walk(model, X, y, limit=np.inf):
    """Seconds of the fits along the grid, and the objective at the end of each; fewer if the limit ends them."""
    seconds, objectives = 0.0, []
    for C in GRID:
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.set_params(C=C).fit(X, y)
        seconds += time.perf_counter() - start
        objectives.append(penalised_mean_nll(X, y, model.coef_, model.intercept_, C))
        if seconds > limit:
            break
    return seconds, objectives


def ours(X, y, warm, repeats):
    """Median seconds of a path of this package, its objectives, and passes over the data."""
    from sklearn_mle import SoftmaxMLEClassifier

    runs = [walk(SoftmaxMLEClassifier(warm_start=warm), X, y) for _ in range(repeats)]
    passes, model = 0.0, SoftmaxMLEClassifier(warm_start=warm)
    for C in GRID:
        passes += model.set_params(C=C).fit(X, y).optimize_result_.n_passes
    return np.median([seconds for seconds, _ in runs]), runs[-1][1], passes


def best_peer(X, y, targets, repeats, limit):
    """The name and seconds of the solver that is first at the end of the path; the limit where none was."""
    from sklearn.linear_model import LogisticRegression

    arrived = {}
    for solver in SOLVERS:
        for tol in TOLERANCES:
            how = {"solver": solver, "tol": tol, "max_iter": 10_000, "warm_start": True}
            seconds, objectives = walk(LogisticRegression(**how), X, y, limit)
            if len(objectives) == len(GRID) and np.all(np.asarray(objectives) <= np.asarray(targets) + GAP):
                runs = [walk(LogisticRegression(**how), X, y)[0] for _ in range(repeats if seconds < 1 else 0)]
                arrived[f"{solver} {tol:.0e}"] = np.median(runs) if runs else seconds
                break
            if seconds > limit:
                break
    return min(arrived.items(), key=lambda item: item[1], default=(None, limit))


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.path")
    parser.add_argument("--problems", nargs="+", default=NAMES, metavar="NAME", choices=NAMES)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=30.0, help="seconds of a path of a peer")
    args = parser.parse_args()
    measure.pin("benchmarks.path", args.threads)
    print("| problem | independent fits, s | warm, s | passes | passes, warm | fastest peer, warm | s | times faster |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in args.problems:
        X, y = load(name)
        cold, _, passes = ours(X, y, False, args.repeats)
        warm, targets, passes_warm = ours(X, y, True, args.repeats)
        peer, theirs = best_peer(X, y, targets, args.repeats, args.limit)
        more = "" if peer else "> "
        times = f"{cold:.3g} | {warm:.3g} | {passes:.0f} | {passes_warm:.0f}"
        print(f"| {name} | {times} | {peer or 'none'} | {more}{theirs:.3g} | {more}{theirs / warm:.1f} |", flush=True)


def load(name):
    """Data of a problem, as X and y."""
    from sklearn import datasets

    if name in problems.PROBLEMS:
        return problems.load(problems.cached(problems.PROBLEMS[name]))
    return getattr(datasets, f"load_{name}")(return_X_y=True)


if __name__ == "__main__":
    main()
