"""Paths along C with an l1 and with a Gaussian penalty: what warm starts save, and how many coefficients enter when.

Run with ``python examples/regularisation_path.py``.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits

from sklearn_mle import SoftmaxMLEClassifier


def walk(X, y, grid, l1_ratio, warm):
    """Passes over the data at each C, coefficients that are not zero, and the last estimate."""
    passes, active = [], []
    model = SoftmaxMLEClassifier(l1_ratio=l1_ratio, warm_start=warm)
    for C in grid:
        model.set_params(C=C).fit(X, y)
        passes.append(model.optimize_result_.n_passes)
        active.append(int(np.count_nonzero(model.coef_)))
    return passes, active, model


def report(name, X, y, grid, l1_ratio):
    """Print the path, cold and warm."""
    cold, active, independent = walk(X, y, grid, l1_ratio, warm=False)
    warm, _, continued = walk(X, y, grid, l1_ratio, warm=True)
    apart = np.abs(independent.coef_ - continued.coef_).max()
    print(f"{name}, l1_ratio={l1_ratio}: {X.shape[0]} rows, {X.shape[1]} columns, {len(np.unique(y))} classes")
    print(f"{'C':>10} {'not zero':>10} {'passes, independent':>20} {'passes, warm':>14}")
    for row in zip(grid, active, cold, warm, strict=True):
        print("{:10.4g} {:10d} {:20.0f} {:14.0f}".format(*row))
    print(f"in all {sum(cold):.0f} passes or {sum(warm):.0f}; the last estimates agree to {apart:.0e}\n")


if __name__ == "__main__":
    X, y = load_breast_cancer(return_X_y=True)
    report("breast cancer", X, y, np.geomspace(1e-3, 1.0, 13), l1_ratio=1.0)
    X, y = load_digits(return_X_y=True)
    report("digits", X, y, np.geomspace(1e-3, 1.0, 13), l1_ratio=0.0)
