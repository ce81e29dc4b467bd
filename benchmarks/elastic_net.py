"""``python -m benchmarks.elastic_net``: time to the optimum of the elastic net, against those who offer one.

All get the same standardised columns, without which the others do not arrive. The yardstick
is the penalised mean negative log-likelihood; a peer has the loosest tolerance of a grid
that is within 1e-6 nats of the best that anyone reached, this package its defaults. Peers
are scikit-learn's saga; R's glmnet, where R has it, whose time is R's own; and, for two classes, scikit-learn's
liblinear (whose penalty is l1 alone) and glum's coordinate descent.
"""

import argparse
import subprocess
import time
import warnings
from dataclasses import dataclass, field

import numpy as np

from benchmarks import measure, problems
from benchmarks.libraries.r_multinom import run_script, version_of
from benchmarks.objective import penalised_mean_nll, standardise

NAMES = ("wine", "digits", "diamonds", "late", "tall", "plain", "genes", "genes-5")
C = 1.0
RATIOS = (0.5, 1.0)
TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
_UNITS_OF_GLMNET = 1e-5
_SECONDS_OF_GLMNET = 60.0  # after which it has not arrived
GAP = 1e-6  # nats a sample


def yardstick(model, X, y, l1_ratio):
    """(NLL + ((1 - l1_ratio) ||W||^2 / 2 + l1_ratio ||W||_1) / C) / n, in nats."""
    W, b = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    penalty = (1 - l1_ratio) * np.square(W).sum() / 2 + l1_ratio * np.abs(W).sum()
    return penalised_mean_nll(X, y, W, b, np.inf) + penalty / C / len(X)


def saga(l1_ratio, tol, n):
    """scikit-learn's stochastic average gradients."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=C, l1_ratio=l1_ratio, solver="saga", tol=tol, max_iter=100_000)


def liblinear(l1_ratio, tol, n):
    """scikit-learn's liblinear, which penalises the intercept too: next to nothing if it is scaled."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(
        C=C, l1_ratio=l1_ratio, solver="liblinear", tol=tol, max_iter=100_000, intercept_scaling=1e3
    )


def glum(l1_ratio, tol, n):
    """glum's iteratively reweighted least squares by coordinate descent."""
    from glum import GeneralizedLinearRegressor

    return GeneralizedLinearRegressor(
        family="binomial", alpha=1 / (C * n), l1_ratio=l1_ratio, gradient_tol=tol, max_iter=10_000
    )


class Glmnet:
    """R's glmnet, which has a convergence threshold of its own: 1e-7 as it comes."""

    def __init__(self, l1_ratio, thresh):
        self.l1_ratio, self.thresh = l1_ratio, thresh

    def fit(self, X, y):
        """Fit in a process of R's."""
        numbers = 1 / (C * len(X)), self.l1_ratio, self.thresh
        try:
            result = run_script("glmnet.R", X, y, *numbers, timeout=_SECONDS_OF_GLMNET)
        except subprocess.TimeoutExpired:
            n_outputs = len(np.unique(y)) if len(np.unique(y)) > 2 else 1
            result = {"seconds": _SECONDS_OF_GLMNET, "coef": np.zeros((n_outputs, X.shape[1] + 1))}
        self.seconds_ = result["seconds"]
        params = np.array(result["coef"]).reshape(-1, X.shape[1] + 1)
        self.intercept_, self.coef_ = params[:, 0], params[:, 1:]
        return self


def glmnet(l1_ratio, tol, n):
    """R's glmnet: coordinate descent along a path of penalties."""
    return Glmnet(l1_ratio, _UNITS_OF_GLMNET * tol)


def peers(n_classes, l1_ratio):
    """Those who take this number of classes and this mix."""
    found = [saga]
    try:
        version_of("glmnet")
    except ImportError:
        pass
    else:
        found.append(glmnet)
    if n_classes > 2:
        return found
    return [*found, liblinear, glum] if l1_ratio == 1 else [*found, glum]


def timed(model, X, y):
    """Seconds of a fit, by the model's own clock where it has one."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    return getattr(model, "seconds_", time.perf_counter() - start)


@dataclass
class Runner:
    """A model at its tolerance, seconds of its fits, and where it ended."""

    name: str
    model: object
    seconds: list = field(default_factory=list)
    objective: float = np.inf
    is_there: bool = True

    @property
    def median(self):
        """Seconds of the typical fit."""
        return float(np.median(self.seconds))


def at_best_tolerance(peer, X, y, l1_ratio, best, limit):
    """A peer at the loosest tolerance that is near enough to the best; at the last that was tried, if none is."""
    for tol in TOLERANCES:
        model = peer(l1_ratio, tol, len(X))
        runner = Runner(f"{peer.__name__} {getattr(model, 'thresh', tol):.0e}", model, [timed(model, X, y)])
        runner.objective = yardstick(model, X, y, l1_ratio)
        runner.is_there = runner.objective - best <= GAP
        if runner.is_there or runner.seconds[0] > limit:
            break
    return runner


def race(X, y, l1_ratio, limit, repeats):
    """Runners of one problem and mix, ours first."""
    from sklearn_mle import SoftmaxMLEClassifier

    model = SoftmaxMLEClassifier(C=C, l1_ratio=l1_ratio)
    ours = Runner("sklearn_mle", model, [timed(model, X, y)])
    ours.objective = yardstick(model, X, y, l1_ratio)
    best = ours.objective
    others = [at_best_tolerance(peer, X, y, l1_ratio, best, limit) for peer in peers(len(np.unique(y)), l1_ratio)]
    runners = [ours, *others]
    for _ in range(repeats):
        for runner in runners:
            if runner.seconds[0] <= limit:
                runner.seconds.append(timed(runner.model, X, y))
    return runners


def row(name, shape, l1_ratio, runners):
    """A line of the table."""
    ours, *others = runners
    there = [runner for runner in others if runner.is_there]
    fastest = min(there or others, key=lambda runner: runner.median)
    sign = "" if there else "> "
    zeros = int((ours.model.coef_ == 0).sum())
    return (
        f"| {name} | {shape} | {l1_ratio:g} | {ours.median:.3g} | {fastest.name} | {sign}{fastest.median:.3g} "
        f"| {sign}{fastest.median / ours.median:.1f} | {zeros} of {ours.model.coef_.size} |"
    )


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.elastic_net")
    parser.add_argument("--problems", nargs="+", default=NAMES, metavar="NAME")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds after which no smaller tolerance is tried")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    measure.pin("benchmarks.elastic_net", args.threads)
    print("| problem | n x p, K | l1_ratio | ours, s | fastest peer | s | times faster | coefficients of zero |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in args.problems:
        X, y = problems.load(problems.cached(problems.PROBLEMS[name]))
        X = standardise(X)[0]
        shape = f"{len(X):,} x {X.shape[1]}, {len(np.unique(y))}"
        for l1_ratio in RATIOS:
            print(row(name, shape, l1_ratio, race(X, y, l1_ratio, args.limit, args.repeats)), flush=True)


if __name__ == "__main__":
    main()
