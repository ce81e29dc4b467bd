"""``python -m benchmarks.deep``: networks with hidden layers, time to one training objective.

For each seed, `MLPClassifier(solver="lbfgs", max_iter=200)` says the objective. Its time is that of its fit;
this package's is that of a fit of as many iterations as reach it, which an untimed fit finds out. Adam is
listed with the objective that it ends at. Standardised columns, tanh, alpha = 1 = 1 / C; medians over seeds.

``--held-out`` compares what they predict instead: the log-loss over five folds with the strength of the penalty
tuned on them by GridSearchCV, and the standard error of the difference over the folds; 200 iterations each.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
import warnings

import numpy as np

from benchmarks import measure, objective, problems

LAYERS = {"digits": (64,), "mnist": (128,), "diamonds": (32, 32)}
ALPHA = 1.0


def timed(model, X, y):
    """Seconds of one fit, and the fitted model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        model.fit(X, y)
        return time.perf_counter() - start, model


class MLP:
    """scikit-learn's, by one of its solvers."""

    def __init__(self, solver, **options):
        self.name = f"MLPClassifier({solver})"
        self.options = {"solver": solver, "alpha": ALPHA, "activation": "tanh", **options}

    def run(self, X, y, hidden, seed, target):
        """Seconds, mean objective, iterations."""
        from sklearn.neural_network import MLPClassifier

        seconds, model = timed(MLPClassifier(hidden, random_state=seed, **self.options), X, y)
        return seconds, mean_objective(model, X, y), model.n_iter_


class Ours:
    """This package, solver="auto", to the target and no further."""

    name = "sklearn_mle"

    def run(self, X, y, hidden, seed, target):
        """Seconds, mean objective, iterations."""
        from sklearn_mle import SoftmaxMLEClassifier

        model = SoftmaxMLEClassifier(hidden_layer_sizes=hidden, C=1 / ALPHA, random_state=seed, max_iter=200)
        _, model = timed(model, X, y)
        reached = np.flatnonzero(np.array(model.loss_curve_) <= target)
        if not len(reached):
            return float("nan"), mean_objective(model, X, y), model.n_iter_
        seconds, model = timed(model.set_params(max_iter=int(reached[0]) + 1), X, y)
        return seconds, mean_objective(model, X, y), model.n_iter_


def mean_objective(model, X, y):
    """Mean NLL plus alpha ||W||^2 / (2 n), from the probabilities."""
    proba = model.predict_proba(X)[np.arange(len(y)), y]
    penalty = 0.5 * ALPHA * sum(np.sum(W**2) for W in model.coefs_)
    return float((penalty - np.log(proba).sum()) / len(y))


# Adam at the best of 1e-3, 3e-3, 1e-2 on digits and MNIST.
RUNS = (MLP("lbfgs", max_iter=200), Ours(), MLP("adam", learning_rate_init=3e-3))


def report(names, seeds, runs):
    """Print one line for each problem and library."""
    print("| problem | layers | library | seconds | objective | iterations | of lbfgs' time |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in names:
        X, y = problems.load(problems.cached(problems.PROBLEMS[name]))
        X = objective.standardise(X)[0]
        records = {run.name: [] for run in runs}
        for seed in range(seeds):
            target = np.inf
            for run in runs:
                records[run.name].append(run.run(X, y, LAYERS[name], seed, target))
                if run.name == runs[0].name:
                    target = records[run.name][-1][1]
        base = records[runs[0].name]
        for run in runs:
            seconds, values, iterations = (statistics.median(column) for column in zip(*records[run.name], strict=True))
            ratio = statistics.median(own[0] / other[0] for own, other in zip(records[run.name], base, strict=True))
            line = f"| {name} | {LAYERS[name]} | {run.name} | {seconds:.3g} | {values:.6f} | {iterations:.0f} |"
            print(f"{line} {ratio:.2f} |", flush=True)


STRENGTHS = (0.01, 0.1, 1.0, 10.0)


def searched(model, grid, X, y):
    """The best parameters of a grid search, and their log-loss in each fold."""
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    step = type(model).__name__.lower()
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    grid = {f"{step}__{name}": values for name, values in grid.items()}
    search = GridSearchCV(make_pipeline(StandardScaler(), model), grid, scoring="neg_log_loss", cv=folds, refit=False)
    _, search = timed(search, X, y)
    results, best = search.cv_results_, search.best_index_
    return search.best_params_, -np.array([results[f"split{i}_test_score"][best] for i in range(5)])


def report_held_out(names):
    """Print one line for each problem: both log-losses, and their difference with its standard error."""
    from sklearn.neural_network import MLPClassifier

    from sklearn_mle import SoftmaxMLEClassifier

    print("| problem | library | best | log-loss | less MLPClassifier's |")
    print("| --- | --- | --- | --- | --- |")
    for name in names:
        X, y = problems.load(problems.cached(problems.PROBLEMS[name]))
        options = {"hidden_layer_sizes": LAYERS[name], "activation": "tanh", "random_state": 0}
        alphas = [1 / C for C in STRENGTHS]
        base = None
        for model, grid in (
            (MLPClassifier(solver="lbfgs", max_iter=200, **options), {"alpha": alphas}),
            (SoftmaxMLEClassifier(max_iter=200, **options), {"C": STRENGTHS}),
        ):
            best, losses = searched(model, grid, X, y)
            base = losses if base is None else base
            difference = losses - base
            error = difference.std(ddof=1) / np.sqrt(len(losses))
            shown = ", ".join(f"{key.split('__')[1]} = {value:g}" for key, value in best.items())
            print(
                f"| {name} | {type(model).__name__} | {shown} | {losses.mean():.4f} "
                f"| {difference.mean():+.4f} +- {error:.4f} |",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deep", description=__doc__)
    parser.add_argument("--problems", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-adam", action="store_true", help="it takes longest by far")
    parser.add_argument("--held-out", action="store_true", help="compare predictions, not time")
    args = parser.parse_args()
    # thread pools take their size when they are loaded
    if os.environ.get("OMP_NUM_THREADS") != str(args.threads):
        command = [sys.executable, "-m", "benchmarks.deep", *sys.argv[1:]]
        environment = measure.child_environment(args.threads)
        raise SystemExit(subprocess.run(command, env=environment).returncode)
    if args.held_out:
        report_held_out(args.problems)
        return
    report(args.problems, args.seeds, RUNS[:2] if args.no_adam else RUNS)


if __name__ == "__main__":
    main()
