"""``python -m benchmarks.passes``: passes over the data, raw columns and standardised.

At C = inf the estimate does not depend on the scale of a column, and neither should
the work.
"""

import argparse

from benchmarks import problems
from benchmarks.objective import standardise

NAMES = ("diamonds", "flights", "late", "tall", "latent")


def passes(X, y, tol):
    """``optimize_result_.n_passes`` of a fit at C = inf."""
    from sklearn_mle import SoftmaxMLEClassifier

    return float(SoftmaxMLEClassifier(tol=tol).fit(X, y).optimize_result_.n_passes)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.passes")
    parser.add_argument("--problems", nargs="+", default=NAMES, metavar="NAME")
    parser.add_argument("--tol", type=float, nargs="+", default=[1e-3, 1e-6])
    args = parser.parse_args()
    print("| problem | tol, nats | raw columns | standardised | raw / standardised |")
    print("| --- | --- | --- | --- | --- |")
    for name in args.problems:
        X, y = problems.load(problems.cached(problems.PROBLEMS[name]))
        scaled = standardise(X)[0]
        for tol in args.tol:
            raw, hand = passes(X, y, tol), passes(scaled, y, tol)
            print(f"| {name} | {tol:g} | {raw:.1f} | {hand:.1f} | {raw / hand:.2f} |")


if __name__ == "__main__":
    main()
