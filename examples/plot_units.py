"""The fit does not depend on the units of the columns.

Grams or kilograms, the maximum of the likelihood is the same. Each column of the wine data is multiplied by
its own power of ten; the farther the units are spread, the worse a solver fares that works in them.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from sklearn_mle import SoftmaxMLEClassifier
from sklearn_mle.metrics import nll

SPREADS = np.arange(0, 7)  # columns are multiplied by powers of ten between -spread and spread


def main():
    """Fit at each spread of units, and draw the nats that are left to gain."""
    X, y = load_wine(return_X_y=True)
    X = X[:, :5]
    best = SoftmaxMLEClassifier().fit(X, y).nll_
    exponents = np.linspace(-1, 1, X.shape[1])
    models = {
        "SoftmaxMLEClassifier()": SoftmaxMLEClassifier(),
        "LogisticRegression(C=inf)": LogisticRegression(C=np.inf),
        "LogisticRegression(C=inf, solver='newton-cholesky')": LogisticRegression(C=np.inf, solver="newton-cholesky"),
    }
    figure, ax = plt.subplots(layout="constrained")
    for name, model in models.items():
        gaps = []
        for spread in SPREADS:
            scaled = X * 10.0 ** (spread * exponents)
            with warnings.catch_warnings():
                # That it falls short is what the figure shows, at s = 0 already: the columns have units of their own.
                if isinstance(model, LogisticRegression):
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    warnings.simplefilter("ignore", RuntimeWarning)
                gaps.append(nll(y, model.fit(scaled, y).predict_proba(scaled)) - best)
        print(f"{name}: nats short of the maximum, at worst: {max(gaps):.2g}")
        ax.plot(SPREADS, np.maximum(gaps, 1e-10), marker="o", label=name)
    ax.set(
        yscale="log",
        xlabel="columns multiplied by powers of ten from -s to s: s",
        ylabel="nats short of the maximum (at least 1e-10)",
    )
    figure.legend(loc="outside upper center")
    plt.show()


if __name__ == "__main__":
    main()
