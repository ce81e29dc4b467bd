"""Maximum likelihood with a softmax, on real data: which of three cultivars made the wine?

The classifier stands at the end of a Pipeline, a grid search chooses the width of the prior, with the
likelihood on unseen wines as the judge, and the equations that define the estimate are checked on the
fitted model. An equation that does not hold stops the script.
"""

import textwrap
import warnings

import numpy as np
from scipy.special import softmax
from sklearn.datasets import load_wine
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_mle import SeparationWarning, SoftmaxMLEClassifier
from sklearn_mle.metrics import cross_entropy, log_likelihood, neg_cross_entropy_scorer, nll

# Five of the thirteen measurements: with these the cultivars overlap, and the maximum exists.
FEATURES = ["alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium"]
CS = [0.01, 0.1, 1.0, 10.0, 100.0, np.inf]


def heading(text):
    """Print an underlined heading."""
    print(f"\n{text}\n{'-' * len(text)}")


def check(equation, difference, tolerance):
    """Print how well an equation holds, and stop where it does not."""
    assert difference <= tolerance, f"{equation}: off by {difference:.2g}, allowed {tolerance:.2g}"
    print(f"  holds   {equation:<62} |difference| = {difference:.1e}")


def search(X, y):
    """Choose C by the likelihood of unseen samples, judged by two scorers that must agree."""
    model = make_pipeline(StandardScaler(), SoftmaxMLEClassifier())
    folds = GridSearchCV(
        model,
        {"softmaxmleclassifier__C": CS},
        scoring={"sklearn": "neg_log_loss", "own": neg_cross_entropy_scorer},
        refit="own",
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
    ).fit(X, y)
    theirs, ours = (folds.cv_results_[f"mean_test_{name}"] for name in ("sklearn", "own"))
    print("  C         cross-entropy on unseen wines (nats)")
    for k, (C, score) in enumerate(zip(CS, ours, strict=True)):
        print(f"  {C:<9g} {-score:.6f}{'   <- chosen' if k == folds.best_index_ else ''}")
    check('own scorer = "neg_log_loss", for every C', np.abs(ours - theirs).max(), 1e-12)
    assert theirs.argmax() == ours.argmax() == folds.best_index_
    return folds


def check_worked_example():
    """One sample, four classes: the log-likelihood is the log-probability of the class that occurred."""
    y, proba = [0, 0, 1, 0], [0.2, 0.1, 0.65, 0.05]
    check("y' log yhat = log .65, for y = [0,0,1,0]", abs(log_likelihood(y, proba) - np.log(0.65)), 1e-15)


def check_equations(X, y):
    """Check on a fit without a prior what defines the maximum-likelihood estimate."""
    n = len(y)
    clf = SoftmaxMLEClassifier().fit(X, y)
    W, b = clf.coef_, clf.intercept_
    Y = (y[:, None] == clf.classes_).astype(float)
    proba = clf.predict_proba(X)

    check("yhat = softmax(W x + b)", np.abs(proba - softmax(X @ W.T + b, axis=1)).max(), 1e-12)
    check("yhat sums to one", np.abs(proba.sum(axis=1) - 1).max(), 1e-12)
    by_hand = float(np.sum(Y * np.log(proba)))
    check("log-likelihood = sum of y' log yhat", abs(log_likelihood(y, proba) - by_hand), 1e-10)
    check("NLL = N * cross-entropy", abs(nll(y, proba) - n * cross_entropy(y, proba)), 1e-10)
    check("cross-entropy = scikit-learn's log_loss", abs(cross_entropy(y, proba) - log_loss(y, proba)), 1e-12)
    check("loss_ = cross-entropy of the training data", abs(clf.loss_ - cross_entropy(y, proba)), 1e-12)
    check("nll_ = NLL of the training data", abs(clf.nll_ - nll(y, proba)), 1e-10)
    check("the logits sum to zero over the classes", np.abs((X @ W.T + b).sum(axis=1)).max(), 1e-8)

    # At the maximum the score, sum of (yhat - y)(x, 1)', is zero. What is left of it is worth
    # g' H^-1 g / 2 nats, with H the Hessian.
    with_one = np.c_[X, np.ones(n)]
    score = ((proba - Y).T @ with_one).ravel()
    hessian = sum(np.kron(np.diag(q) - np.outer(q, q), np.outer(x, x)) for q, x in zip(proba, with_one, strict=True))
    scale = np.tile(np.sqrt(np.mean(with_one**2, axis=0)), len(W))  # the units of the columns
    score, hessian = score / scale, hessian / np.outer(scale, scale)
    gain = score @ np.linalg.lstsq(hessian, score, rcond=1e-12)[0] / 2
    check("the score is zero: nats left to gain", abs(gain), 1e-9)

    one_hot = SoftmaxMLEClassifier().fit(X, Y)
    check("one-hot targets give the same fit as labels", np.abs(one_hot.coef_ - W).max(), 0.0)
    weighted = SoftmaxMLEClassifier().fit(X, y, sample_weight=np.full(n, 2.0))
    check("all weights 2: twice the NLL", abs(weighted.nll_ - 2 * clf.nll_), 1e-8)
    prior = SoftmaxMLEClassifier(C=1.0).fit(X, y)
    slope = (prior.predict_proba(X) - Y).T @ X + prior.coef_ / 1.0
    check("C = 1: dNLL/dW + W/C = 0 (relative to the data)", np.abs(slope / np.abs(X).sum(axis=0)).max(), 1e-8)
    return clf


def report_separation(X, y):
    """With all measurements a hyperplane parts the cultivars: say so, and fit with a prior."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        SoftmaxMLEClassifier().fit(X, y)
    messages = [str(w.message) for w in caught if issubclass(w.category, SeparationWarning)]
    assert len(caught) == len(messages) == 1, "separated classes are to be told by one warning"
    print(textwrap.fill(messages[0], 100, initial_indent="  ", subsequent_indent="  "))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finite = SoftmaxMLEClassifier(C=1.0).fit(X, y)
    print(f"  With C = 1 the estimate exists: cross-entropy {finite.loss_:.6f} nats on the training data.")


def main():
    """Run the whole tour."""
    wine = load_wine()
    columns = [wine.feature_names.index(name) for name in FEATURES]
    X, y = wine.data[:, columns], wine.target_names[wine.target]
    train_X, test_X, train_y, test_y = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
    print(f"{len(y)} wines, {len(FEATURES)} measurements, {len(wine.target_names)} cultivars")

    heading("Choosing C")
    folds = search(train_X, train_y)

    heading("The equations, on the model without a prior")
    check_worked_example()
    mle = check_equations(train_X, train_y)

    heading("All thirteen measurements")
    report_separation(wine.data, y)

    heading("Report")
    proba = folds.predict_proba(test_X)
    null = np.array([np.mean(train_y == name) for name in folds.classes_])
    print(f"  maximum log-likelihood     {-mle.nll_:.4f} nats on {len(train_y)} wines, {mle.n_iter_} iterations")
    print(f"  its coefficients, log-odds per unit against the mean of the {len(null)} classes:")
    print(f"  {'':<19}" + "".join(f"{name:>12}" for name in mle.classes_))
    for name, column in zip([*FEATURES, "intercept"], [*mle.coef_.T, mle.intercept_], strict=True):
        print(f"  {name:<19}" + "".join(f"{value:>12.4f}" for value in column))
    print(f"  on {len(test_y)} unseen wines, with C = {folds.best_params_['softmaxmleclassifier__C']:g}")
    print(f"    accuracy                 {np.mean(folds.predict(test_X) == test_y):.3f}")
    print(f"    cross-entropy            {cross_entropy(test_y, proba):.4f} nats a wine")
    print(f"    the same of class shares {cross_entropy(test_y, np.tile(null, (len(test_y), 1))):.4f} nats a wine")
    print("All equations hold.")


if __name__ == "__main__":
    main()
