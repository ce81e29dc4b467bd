"""From a narrow prior to the maximum of the likelihood.

C is the variance of a Gaussian prior on the weights. As it grows, the estimate goes to the maximum-likelihood
estimate, and the likelihood of the training data to its maximum; the likelihood of unseen data is best
somewhere in between.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_mle import SoftmaxMLEClassifier
from sklearn_mle.metrics import neg_cross_entropy_scorer

CS = np.logspace(-3, 5, 25)


def main():
    """Draw coefficients and cross-entropies against the variance of the prior."""
    wine = load_wine()
    X, y = StandardScaler().fit_transform(wine.data[:, :5]), wine.target
    mle = SoftmaxMLEClassifier().fit(X, y)
    fits = [SoftmaxMLEClassifier(C=C).fit(X, y) for C in CS]
    cv = StratifiedKFold(5, shuffle=True, random_state=0)
    unseen = [
        -cross_val_score(
            make_pipeline(StandardScaler(), SoftmaxMLEClassifier(C=C)),
            wine.data[:, :5],
            y,
            cv=cv,
            scoring=neg_cross_entropy_scorer,
        ).mean()
        for C in CS
    ]
    print(f"distance of coefficients at C = {CS[-1]:g} to the MLE: {np.abs(fits[-1].coef_ - mle.coef_).max():.1e}")
    print(f"unseen data are most likely at C = {CS[np.argmin(unseen)]:.3g}")

    _, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for j, name in enumerate(wine.feature_names[:5]):
        (line,) = left.plot(CS, [fit.coef_[0, j] for fit in fits], label=name)
        left.axhline(mle.coef_[0, j], color=line.get_color(), linestyle=":", linewidth=1)
    left.set(
        xscale="log",
        xlabel="C, columns standardised",
        ylabel=f"coefficient of {wine.target_names[0]} (dotted: C = inf)",
    )
    left.legend(loc="lower right", bbox_to_anchor=(1.0, 0.12))
    right.plot(CS, [fit.loss_ for fit in fits], label="training data")
    right.plot(CS, unseen, label="unseen data, 5 folds")
    right.axhline(mle.loss_, color="C0", linestyle=":", linewidth=1)
    right.set(xscale="log", xlabel="C, columns standardised", ylabel="cross-entropy (nats per sample)")
    right.legend(loc="upper right")
    plt.show()


if __name__ == "__main__":
    main()
