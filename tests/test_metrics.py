"""Likelihood scores and scorers against scikit-learn and against their definition.

Scorers are tried on scikit-learn's own estimators, so that what fails here is the
scorer.
"""

import copy
import math
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import check_scoring, get_scorer, log_loss
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_mle.metrics import (
    cross_entropy,
    log_likelihood,
    neg_cross_entropy_scorer,
    neg_nll_scorer,
    nll,
)

METRICS = [log_likelihood, nll, cross_entropy]
SCORERS = [neg_cross_entropy_scorer, neg_nll_scorer]


def distributions(rng, n, K):
    return rng.dirichlet(np.ones(K), size=n)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def classifier(iris):
    return LogisticRegression(max_iter=1000).fit(*iris)


# The definition


def test_is_the_dot_product_of_target_and_log_probability(rng):
    Y, P = distributions(rng, 20, 4), distributions(rng, 20, 4)
    w = rng.uniform(0.1, 3, 20)
    by_hand = sum(w[i] * sum(Y[i, k] * math.log(P[i, k]) for k in range(4)) for i in range(20))
    assert log_likelihood(Y, P, sample_weight=w) == pytest.approx(by_hand, rel=1e-13)
    assert nll(Y, P, sample_weight=w) == pytest.approx(-by_hand, rel=1e-13)
    assert cross_entropy(Y, P, sample_weight=w) == pytest.approx(-by_hand / w.sum(), rel=1e-13)


@pytest.mark.parametrize("metric", METRICS)
def test_returns_a_python_float(metric, rng):
    assert type(metric([0, 1], distributions(rng, 2, 2))) is float


def test_zero_log_zero_is_zero():
    assert nll([[0.0, 1.0]], [[0.0, 1.0]]) == 0.0
    assert nll([1, 0], [[0.0, 1.0], [1.0, 0.0]]) == 0.0
    assert math.copysign(1, nll([1, 0], [[0.0, 1.0], [1.0, 0.0]])) == 1.0
    assert math.copysign(1, cross_entropy([1, 0], [[0.0, 1.0], [1.0, 0.0]])) == 1.0


@pytest.mark.parametrize("y", [[0, 1], [[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5]] * 2])
def test_an_impossible_outcome_costs_infinitely_much(y):
    P = [[0.0, 1.0], [0.5, 0.5]]
    assert log_likelihood(y, P) == -np.inf
    assert nll(y, P) == np.inf
    assert cross_entropy(y, P) == np.inf


def test_a_sample_of_zero_weight_costs_nothing_even_if_impossible():
    P = [[0.0, 1.0], [0.5, 0.5]]
    assert nll([0, 1], P, sample_weight=[0, 2]) == pytest.approx(2 * np.log(2))
    assert cross_entropy([0, 1], P, sample_weight=[0, 2]) == pytest.approx(np.log(2))


def test_tiny_probabilities_are_not_clipped():
    # log_loss stops at -log(eps) = 36.04
    P = [[1e-300, 1.0], [1.0, 1e-300]]
    assert cross_entropy([0, 1], P) == pytest.approx(300 * math.log(10), rel=1e-14)
    assert log_loss([0, 1], P) == pytest.approx(-math.log(np.finfo(float).eps))


# scikit-learn as oracle


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "classes",
    [[0, 1], [-1, 1], [3, 7, 5], ["a", "c", "b"], [False, True], [1.0, 2.0, 10.0]],
    ids=str,
)
def test_cross_entropy_is_log_loss(classes, weighted, rng):
    K, n = len(classes), 60
    y = np.array(classes)[np.r_[np.arange(K), rng.integers(K, size=n - K)]]
    P = distributions(rng, n, K)
    w = rng.uniform(0, 3, n) if weighted else None
    expected = log_loss(y, P, sample_weight=w)
    assert cross_entropy(y, P, sample_weight=w) == pytest.approx(expected, abs=1e-12)
    # one-hot, and with a label that does not occur
    one_hot = (y[:, None] == np.sort(classes)).astype(int)
    assert cross_entropy(one_hot, P, sample_weight=w) == pytest.approx(expected, abs=1e-12)
    kept = y != classes[0]
    w = None if w is None else w[kept]
    labels = sorted(classes)
    expected = log_loss(y[kept], P[kept], sample_weight=w, labels=labels)
    assert cross_entropy(y[kept], P[kept], sample_weight=w, labels=labels) == pytest.approx(expected, abs=1e-12)


def test_cross_entropy_is_log_loss_on_a_real_fit(iris, classifier):
    X, y = iris
    P = classifier.predict_proba(X)
    assert cross_entropy(y, P) == pytest.approx(log_loss(y, P), abs=1e-12)
    names = load_iris().target_names[y]
    assert cross_entropy(names, P) == pytest.approx(log_loss(names, P), abs=1e-12)


def test_single_precision_is_summed_in_double(rng):
    P = distributions(rng, 50, 3).astype(np.float32)
    y = np.r_[0, 1, 2, rng.integers(3, size=47)]
    exact = -math.fsum(math.log(float(p)) for p in P[np.arange(50), y]) / 50
    assert cross_entropy(y, P) == pytest.approx(exact, rel=1e-14)
    assert cross_entropy(y, P) == pytest.approx(log_loss(y, P), rel=1e-5)


# Properties


@st.composite
def problems(draw):
    n, K = draw(st.integers(1, 8)), draw(st.integers(2, 5))
    logits = hnp.arrays(float, (n, K), elements=st.floats(-30, 30))

    def softmax():
        z = np.exp(draw(logits))
        return z / z.sum(axis=1, keepdims=True)

    weights = draw(hnp.arrays(int, n, elements=st.integers(0, 4)))
    weights[draw(st.integers(0, n - 1))] += 1
    return softmax(), softmax(), weights


@given(problems())
def test_integer_weights_repeat(problem):
    Y, P, w = problem
    repeated = log_likelihood(np.repeat(Y, w, axis=0), np.repeat(P, w, axis=0))
    assert log_likelihood(Y, P, sample_weight=w) == pytest.approx(repeated, rel=1e-12)


@given(problems(), st.randoms(use_true_random=False))
def test_permuting_classes_or_samples_changes_nothing(problem, random):
    Y, P, w = problem
    n, K = P.shape
    rows, columns = random.sample(range(n), n), random.sample(range(K), K)
    value = nll(Y, P, sample_weight=w)
    permuted = nll(Y[rows][:, columns], P[rows][:, columns], sample_weight=w[rows])
    assert permuted == pytest.approx(value, rel=1e-12)


@given(problems(), st.floats(1e-3, 1e3))
def test_a_scalar_weight_scales_the_sum_and_not_the_mean(problem, c):
    Y, P, _ = problem
    assert nll(Y, P, sample_weight=c) == pytest.approx(c * nll(Y, P), rel=1e-12)
    assert cross_entropy(Y, P, sample_weight=c) == pytest.approx(cross_entropy(Y, P), rel=1e-12)


@given(problems())
def test_gibbs_inequality(problem):
    # no distribution predicts Y better than Y itself: the excess is a KL divergence
    Y, P, w = problem
    assert nll(Y, P, sample_weight=w) >= nll(Y, Y, sample_weight=w) - 1e-12 * w.sum()


@given(problems())
def test_soft_targets_are_replicated_weighted_labels(problem):
    Y, P, _ = problem
    n, K = P.shape
    copies = nll(
        np.tile(np.arange(K), n),
        np.repeat(P, K, axis=0),
        sample_weight=Y.ravel(),
        labels=np.arange(K),
    )
    assert copies == pytest.approx(nll(Y, P), rel=1e-12)


# One sample


@pytest.mark.parametrize(
    "y, labels",
    [
        ([0, 0, 1, 0], None),
        ([[0, 0, 1, 0]], None),
        (2, None),
        ([2], None),
        (np.int64(2), None),
        ("c", list("abcd")),
        (["c"], list("abcd")),
        (30, [10, 20, 30, 40]),
    ],
    ids=repr,
)
def test_a_vector_is_the_distribution_of_one_sample(y, labels):
    P = np.array([0.2, 0.1, 0.65, 0.05])
    price = pytest.approx(-math.log(0.65), rel=1e-15)
    assert nll(y, P, labels=labels) == price
    assert cross_entropy(y, P, labels=labels, sample_weight=3) == price


def test_a_vector_of_targets_against_one_row():
    assert nll([0.5, 0.5], [[0.2, 0.8]]) == pytest.approx(-np.log(0.16) / 2)


def test_a_vector_is_never_the_positive_class():
    with pytest.raises(ValueError, match="pass both columns"):
        log_likelihood([0, 1, 1], [0.2, 0.9, 0.7])
    with pytest.raises(ValueError, match="neither a vector"):
        log_likelihood([0, 1, 1], [0.2, 0.8])


@pytest.mark.parametrize("y", [4, -1, "c", 0.5, True])
def test_one_label_without_classes_must_be_a_position(y):
    with pytest.raises(ValueError, match="labels="):
        nll(y, [0.2, 0.1, 0.65, 0.05])


# Labels and names


def test_columns_stand_in_sorted_order_of_labels_as_in_log_loss(rng):
    P = distributions(rng, 6, 3)
    y = ["b", "c", "b", "b", "c", "c"]
    expected = pytest.approx(log_loss(y, P, labels=["a", "b", "c"]), abs=1e-12)
    assert cross_entropy(y, P, labels=["a", "b", "c"]) == expected
    # another order says the same, as in log_loss, and both warn
    with pytest.warns(UserWarning, match=r"\['a', 'b', 'c'\]") as caught:
        assert cross_entropy(y, P, labels=["c", "a", "b"]) == expected
    assert len(caught) == 1
    assert caught[0].filename == __file__


def frames(values, columns):
    yield pd.DataFrame(values, columns=columns)
    yield pl.DataFrame(dict(zip(columns, np.transpose(values), strict=True)))


def test_targets_in_a_frame_are_aligned_by_name(rng):
    Y, P = distributions(rng, 10, 3), distributions(rng, 10, 3)
    expected = nll(Y, P)
    order = [2, 0, 1]
    for frame in frames(Y[:, order], [["a", "b", "c"][k] for k in order]):
        assert nll(frame, P) == pytest.approx(expected, rel=1e-14)
        assert nll(frame, P, labels=["a", "b", "c"]) == pytest.approx(expected, rel=1e-14)
        with pytest.raises(ValueError, match="are not the classes"):
            nll(frame, P, labels=["a", "b", "d"])
    # numbers sort as numbers
    names = [10, 9, 1]
    assert nll(pd.DataFrame(Y[:, [2, 1, 0]], columns=names), P) == pytest.approx(expected, rel=1e-14)


def test_predictions_in_a_frame_are_aligned_by_name(rng):
    y, P = ["a", "c", "b"], distributions(rng, 3, 3)
    expected = nll(y, P)
    for frame in frames(P[:, [1, 2, 0]], ["b", "c", "a"]):
        assert nll(y, frame) == pytest.approx(expected, rel=1e-14)
        # by name, so that the order of labels does not matter
        assert nll(y, frame, labels=["c", "b", "a"]) == pytest.approx(expected, rel=1e-14)
    for frame in frames(P, ["p_a", "p_b", "p_c"]):
        assert nll(y, frame) == pytest.approx(expected, rel=1e-14)
    for frame in frames(P, ["a", "b", "other"]):
        with pytest.raises(ValueError, match="are not the classes"):
            nll(y, frame)
    with pytest.raises(ValueError, match=r"distinct|unique"):
        nll(y, pd.DataFrame(P, columns=["a", "a", "b"]))


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(["a", "b", "c", "a"]),
        pd.Series(["a", "b", "c", "a"], dtype="category"),
        pl.Series(["a", "b", "c", "a"]),
        np.array(["a", "b", "c", "a"], dtype=object),
        ("a", "b", "c", "a"),
    ],
    ids=lambda y: type(y).__name__,
)
def test_containers_of_labels(y, rng):
    P = distributions(rng, 4, 3)
    assert nll(y, P) == pytest.approx(nll([0, 1, 2, 0], P), rel=1e-14)


def test_nullable_integers(rng):
    P = distributions(rng, 3, 3)
    y = pd.Series([3, 1, 2], dtype="Int64")
    assert nll(y, P) == pytest.approx(nll([2, 0, 1], P), rel=1e-14)
    assert nll(y, P, labels=[1, 2, 3]) == pytest.approx(nll([2, 0, 1], P), rel=1e-14)
    with pytest.raises(ValueError, match=r"NaN|missing"):
        nll(pd.Series([3, None, 2], dtype="Int64"), P)


def test_a_column_of_labels_warns_as_in_scikit_learn(rng):
    P = distributions(rng, 3, 3)
    with pytest.warns(DataConversionWarning):
        assert nll([[0], [1], [2]], P) == nll([0, 1, 2], P)


# Bad input


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "y, P, message",
    [
        ([0, 1], [[0.5, 0.4], [0.5, 0.5]], "row 0 sums to 0.9"),
        ([0, 1], [[0.5, 0.5], [0.5, 0.501]], "row 1 sums to 1.001"),
        ([0, 1], [[1.5, -0.5], [0.5, 0.5]], "negative"),
        ([0, 1], [[np.nan, 0.5], [0.5, 0.5]], "NaN"),
        ([0, 1], [[np.inf, 0.5], [0.5, 0.5]], "infinity"),
        ([0, 1], [["x", "y"], ["x", "y"]], "could not convert|dtype"),
        ([0, 1], [[[0.5, 0.5]]], "dim"),
        ([0, 1], np.empty((0, 2)), "0 sample"),
        ([[0.5, 0.6], [0.5, 0.5]], [[0.5, 0.5]] * 2, "y_true must sum to one"),
        ([[1.5, -0.5], [0.5, 0.5]], [[0.5, 0.5]] * 2, "y_true has negative"),
        ([[np.nan, 1], [0.5, 0.5]], [[0.5, 0.5]] * 2, "NaN"),
        ([[0.5, 0.5, 0.0]] * 2, [[0.5, 0.5]] * 2, "3 columns"),
        ([[0.5, 0.5]] * 3, [[0.5, 0.5]] * 2, "3 samples"),
        ([0, 1, 1], [[0.5, 0.5]] * 2, "3 samples"),
        ([0, 1], [[0.2, 0.3, 0.5]] * 2, "Pass all classes as labels="),
        ([0, 0], [[0.5, 0.5]] * 2, "Pass all classes as labels="),
        ([0.25, 0.75], [[0.5, 0.5]] * 2, "continuous"),
        ([0.0, np.nan], [[0.5, 0.5]] * 2, "NaN"),
        (["a", None], [[0.5, 0.5]] * 2, "missing"),
        (np.array(["a", 1], dtype=object), [[0.5, 0.5]] * 2, "one kind"),
    ],
)
def test_bad_targets_and_probabilities(metric, y, P, message):
    with pytest.raises(ValueError, match=message):
        metric(y, P)


@pytest.mark.parametrize("metric", METRICS)
def test_bad_labels(metric):
    P = [[0.5, 0.5]] * 2
    with pytest.raises(ValueError, match="labels names 3 classes"):
        metric([0, 1], P, labels=[0, 1, 2])
    with pytest.raises(ValueError, match=r"y_true holds \[2\]"):
        metric([0, 2], P, labels=[0, 1])
    with pytest.raises(ValueError, match="y_true holds"):
        metric(["0", "1"], P, labels=[0, 1])


BAD_WEIGHTS = [
    ([1.0, -1.0], "weight.*negative"),
    ([0.0, 0.0], "weight.*zero"),
    (0.0, "weight.*zero"),
    (-1.0, "weight.*negative"),
    ([1.0, np.nan], "weight.*NaN"),
    ([1.0, np.inf], "weight.*infinite"),
    ([1.0, 1.0, 1.0], "weight.*shape"),
    ([[1.0], [1.0]], "weight.*shape"),
    (["x", "y"], "weight.*numbers"),
]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("w, message", BAD_WEIGHTS)
def test_bad_weights(metric, w, message):
    with pytest.raises(ValueError, match=message):
        metric([0, 1], [[0.5, 0.5]] * 2, sample_weight=w)


def test_rounding_of_single_precision_is_no_error(rng):
    z = rng.normal(size=(200, 1000)).astype(np.float32)
    P = np.exp(z)
    P /= P.sum(axis=1, keepdims=True)
    y = rng.integers(1000, size=200)
    assert np.isfinite(nll(y, P.astype(float), labels=np.arange(1000)))


# Scorers


class Fixed(ClassifierMixin, BaseEstimator):
    """Predicts given log-probabilities, whatever X is."""

    def __init__(self, log_proba, classes=(0, 1)):
        self.log_proba = log_proba
        self.classes = classes

    def fit(self, X, y):
        self.classes_ = np.asarray(self.classes)
        return self

    def predict_log_proba(self, X):
        return np.asarray(self.log_proba)[: len(X)]


class FixedProba(Fixed):
    predict_log_proba = property()

    def predict_proba(self, X):
        return np.exp(np.asarray(self.log_proba))[: len(X)]


def test_scorers_are_the_metrics_of_the_predictions(iris, classifier, rng):
    X, y = iris
    P = classifier.predict_proba(X)
    for w in (None, rng.uniform(0, 2, len(y))):
        assert neg_cross_entropy_scorer(classifier, X, y, w) == pytest.approx(
            -log_loss(y, P, sample_weight=w), abs=1e-12
        )
        assert neg_nll_scorer(classifier, X, y, sample_weight=w) == pytest.approx(
            log_likelihood(y, P, sample_weight=w), rel=1e-13
        )
    assert type(neg_nll_scorer(classifier, X, y)) is float


@pytest.mark.parametrize("scoring", SCORERS, ids=repr)
def test_cross_validation_agrees_with_neg_log_loss(scoring, iris):
    X, y = iris
    expected = cross_val_score(LogisticRegression(max_iter=1000), X, y, scoring="neg_log_loss")
    scores = cross_val_score(LogisticRegression(max_iter=1000), X, y, scoring=scoring)
    scale = 30 if scoring is neg_nll_scorer else 1
    np.testing.assert_allclose(scores, scale * expected, rtol=1e-12)


def test_grid_search_finds_the_same_optimum():
    X, y = load_wine(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    grid = {"logisticregression__C": [0.01, 0.1, 1.0, 10.0]}
    theirs = GridSearchCV(model, grid, scoring="neg_log_loss").fit(X, y)
    ours = GridSearchCV(model, grid, scoring=neg_cross_entropy_scorer).fit(X, y)
    assert ours.best_params_ == theirs.best_params_
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"],
        theirs.cv_results_["mean_test_score"],
        rtol=1e-12,
    )
    # the search itself, and the pipeline in it, can be scored
    value = -log_loss(y, ours.predict_proba(X))
    assert neg_cross_entropy_scorer(ours, X, y) == pytest.approx(value, abs=1e-12)
    assert neg_cross_entropy_scorer(ours.best_estimator_, X, y) == pytest.approx(value, abs=1e-12)
    assert ours.score(X, y) == pytest.approx(value, abs=1e-12)


def test_many_metrics_at_once(iris):
    X, y = iris
    result = cross_validate(
        LogisticRegression(max_iter=1000),
        X,
        y,
        scoring={
            "sum": neg_nll_scorer,
            "mean": neg_cross_entropy_scorer,
            "sklearn": "neg_log_loss",
        },
    )
    np.testing.assert_allclose(result["test_mean"], result["test_sklearn"], rtol=1e-12)
    np.testing.assert_allclose(result["test_sum"], 30 * result["test_mean"])


def test_a_fold_that_lacks_a_class_is_scored_right(iris):
    X, y = iris
    every_third = [(np.flatnonzero(y != k), np.flatnonzero(y == k)) for k in range(3)]
    # train on everything, test on one class at a time
    cv = [(np.arange(150), test) for _, test in every_third]
    scores = cross_val_score(
        LogisticRegression(max_iter=1000),
        X,
        y,
        cv=cv,
        scoring=neg_cross_entropy_scorer,
    )
    P = LogisticRegression(max_iter=1000).fit(X, y).predict_proba(X)
    expected = [np.log(P[y == k, k]).mean() for k in range(3)]
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    # the mean over folds is what "neg_log_loss" has no number for
    with pytest.warns(UserWarning, match="labels"):
        theirs = cross_val_score(LogisticRegression(max_iter=1000), X, y, cv=cv, scoring="neg_log_loss")
    assert np.all(np.isnan(theirs))


@pytest.mark.parametrize("scorer", SCORERS, ids=repr)
def test_an_unseen_label_costs_everything_and_warns_once(scorer, iris):
    X, y = iris
    partial = LogisticRegression(max_iter=1000).fit(X[y < 2], y[y < 2])
    with pytest.warns(UserWarning, match=r"never saw in fit: \[2\]") as caught:
        assert scorer(partial, X, y) == -np.inf
    assert len(caught) == 1
    assert caught[0].filename == __file__
    # the right number where it does not count
    seen = y < 2
    assert scorer(partial, X, y, sample_weight=seen) == pytest.approx(scorer(partial, X[seen], y[seen]), rel=1e-13)


def test_unseen_between_the_seen_is_not_mistaken_for_one_of_them():
    # trained on {0, 1}, tested on {1, 2}: as many labels as columns
    model = Fixed(np.log([[0.2, 0.8]] * 4)).fit(None, None)
    with pytest.warns(UserWarning, match="never saw"):
        assert neg_nll_scorer(model, np.zeros((4, 1)), [1, 1, 2, 2]) == -np.inf


def test_classes_come_in_the_order_of_the_estimator():
    model = Fixed(np.log([[0.2, 0.8]] * 3), classes=["z", "a"]).fit(None, None)
    score = neg_nll_scorer(model, np.zeros((3, 1)), ["z", "z", "a"])
    assert score == pytest.approx(2 * np.log(0.2) + np.log(0.8), rel=1e-14)


def test_a_confident_wrong_answer_costs_its_true_price():
    model = Fixed([[0.0, -1e4], [-1e4, 0.0]]).fit(None, None)
    X = np.zeros((2, 1))
    assert neg_nll_scorer(model, X, [1, 0]) == -2e4
    assert neg_cross_entropy_scorer(model, X, [1, 0]) == -1e4
    assert neg_nll_scorer(model, X, [0, 1]) == 0.0


def test_log_of_zero_in_an_estimator_does_not_warn():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), np.arange(60) % 2
    forest = RandomForestClassifier(n_estimators=3, random_state=0).fit(X, y)
    assert np.any(forest.predict_proba(X) == 0)
    assert neg_nll_scorer(forest, X, 1 - y) == -np.inf


def test_predict_proba_serves_where_there_is_nothing_else():
    model = FixedProba(np.log([[0.2, 0.8], [0.7, 0.3]])).fit(None, None)
    assert not hasattr(model, "predict_log_proba")
    score = neg_nll_scorer(model, np.zeros((2, 1)), [1, 1])
    assert score == pytest.approx(np.log(0.8) + np.log(0.3), rel=1e-14)


def test_soft_targets(iris, classifier, rng):
    X, _ = iris
    Y = distributions(rng, len(X), 3)
    P = classifier.predict_proba(X)
    expected = log_likelihood(Y, P)
    assert neg_nll_scorer(classifier, X, Y) == pytest.approx(expected, rel=1e-13)
    for frame in frames(Y[:, [2, 0, 1]], ["two", "zero", "one"]):
        with pytest.raises(ValueError, match="None of the columns"):
            neg_nll_scorer(classifier, X, frame)
    frame = pd.DataFrame(Y[:, [2, 0, 1]], columns=[2, 0, 1])
    assert neg_nll_scorer(classifier, X, frame) == pytest.approx(expected, rel=1e-13)
    with pytest.raises(ValueError, match="2 columns"):
        neg_nll_scorer(classifier, X, distributions(rng, len(X), 2))


def test_soft_targets_in_cross_validation(rng):
    # fitted on labels, tested on distributions: what the scorer sees is a matrix
    class Soft(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            return super().fit(X, np.asarray(y).argmax(axis=1))

    X = rng.normal(size=(90, 3))
    Y = distributions(rng, 90, 3)
    cv = KFold(3)
    scores = cross_val_score(Soft(), X, Y, cv=cv, scoring=neg_cross_entropy_scorer)
    expected = [
        -cross_entropy(Y[test], Soft().fit(X[train], Y[train]).predict_proba(X[test])) for train, test in cv.split(X)
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


def test_soft_targets_by_name_may_lack_or_add_classes():
    model = Fixed(np.log([[0.2, 0.3, 0.5]] * 2), classes=["a", "b", "c"]).fit(None, None)
    X = np.zeros((2, 1))
    lacking = pd.DataFrame({"c": [1.0, 0.5], "a": [0.0, 0.5]})
    assert neg_nll_scorer(model, X, lacking) == pytest.approx(1.5 * np.log(0.5) + 0.5 * np.log(0.2), rel=1e-14)
    more = pd.DataFrame({"a": [1.0, 0.5], "d": [0.0, 0.5]})
    with pytest.warns(UserWarning, match="'d'") as caught:
        assert neg_nll_scorer(model, X, more) == -np.inf
    assert len(caught) == 1
    assert neg_nll_scorer(model, X, more, sample_weight=[1, 0]) == np.log(0.2)


@pytest.mark.parametrize("w, message", BAD_WEIGHTS)
def test_scorers_reject_bad_weights(w, message):
    model = Fixed(np.log([[0.2, 0.8]] * 2)).fit(None, None)
    for scorer in SCORERS:
        with pytest.raises(ValueError, match=message):
            scorer(model, np.zeros((2, 1)), [0, 1], sample_weight=w)


@pytest.mark.parametrize(
    "log_proba, message",
    [
        (np.log([[0.2, 0.7]] * 2), "sum to one"),
        ([[np.nan, 0.0]] * 2, "sum to one"),
        ([[800.0, 0.0]] * 2, "sum to one"),
        (np.log([[0.2, 0.3, 0.5]] * 2), "shape"),
    ],
)
def test_scorers_reject_what_is_no_distribution(log_proba, message):
    model = Fixed(log_proba).fit(None, None)
    with pytest.raises(ValueError, match=message):
        neg_nll_scorer(model, np.zeros((2, 1)), [0, 1])


def test_scorers_reject_targets_that_do_not_match(iris, classifier):
    X, y = iris
    with pytest.raises(ValueError, match="149 samples"):
        neg_nll_scorer(classifier, X, y[1:])
    with pytest.raises(ValueError, match="continuous"):
        neg_nll_scorer(classifier, X, y + 0.5)
    with pytest.raises(ValueError, match="NaN"):
        neg_nll_scorer(classifier, X, np.where(y == 0, np.nan, y))
    with pytest.raises(ValueError, match="sum to one"):
        neg_nll_scorer(classifier, X, np.ones((150, 3)))


def test_scorers_say_what_an_estimator_lacks(iris):
    X, y = iris
    with pytest.raises(AttributeError, match="predict_proba"):
        neg_nll_scorer(RidgeClassifier().fit(X, y), X, y)
    with pytest.raises(NotFittedError):
        neg_nll_scorer(LogisticRegression(), X, y)
    forest = RandomForestClassifier(n_estimators=2).fit(X, np.eye(3)[y])
    with pytest.raises(ValueError, match="several outputs"):
        neg_nll_scorer(forest, X, y)


# Scorers as scikit-learn's machinery sees them


@pytest.mark.parametrize("scorer", SCORERS, ids=repr)
def test_scorers_copy(scorer, iris, classifier):
    X, y = iris
    value = scorer(classifier, X, y)
    for other in (
        clone(scorer),
        copy.deepcopy(scorer),
        pickle.loads(pickle.dumps(scorer)),
    ):
        assert other is not scorer
        assert repr(other) == repr(scorer)
        assert other(classifier, X, y) == value
    assert get_scorer(scorer) is scorer
    assert check_scoring(classifier, scorer) is scorer


def test_scorers_in_other_places_of_scikit_learn(iris):
    X, y = iris
    model = CalibratedClassifierCV(LogisticRegression(max_iter=1000), cv=2).fit(X, y)
    assert neg_cross_entropy_scorer(model, X, y) == pytest.approx(-log_loss(y, model.predict_proba(X)), abs=1e-12)
    importance = permutation_importance(model, X, y, scoring=neg_nll_scorer, n_repeats=2, random_state=0)
    assert importance.importances_mean.argmax() in (2, 3)
    search = GridSearchCV(
        LogisticRegression(max_iter=1000),
        {"C": [0.1, 1.0]},
        scoring={"mean": neg_cross_entropy_scorer, "sum": neg_nll_scorer},
        refit="mean",
        n_jobs=2,
    )
    assert search.fit(X, y).best_params_ == {"C": 1.0}
    assert isinstance(clone(search), GridSearchCV)


def test_requests_need_routing():
    with pytest.raises(RuntimeError, match="enable_metadata_routing"):
        clone(neg_nll_scorer).set_score_request(sample_weight=True)


def test_weights_are_routed_to_the_scorer(iris, rng):
    X, y = iris
    w = rng.uniform(0.1, 3, len(y))
    cv = KFold(3, shuffle=True, random_state=0)
    model = LogisticRegression(max_iter=1000)
    with config_context(enable_metadata_routing=True):
        model.set_fit_request(sample_weight=False)
        scorer = clone(neg_cross_entropy_scorer)
        assert scorer.set_score_request(sample_weight=True) is scorer
        scores = cross_val_score(model, X, y, cv=cv, scoring=scorer, params={"sample_weight": w})
        many = cross_validate(
            model,
            X,
            y,
            cv=cv,
            scoring={
                "weighted": scorer,
                "plain": clone(scorer).set_score_request(sample_weight=False),
                "alias": clone(scorer).set_score_request(sample_weight="other"),
            },
            params={"sample_weight": w, "other": w**2},
        )
        # a request survives copies
        again = pickle.loads(pickle.dumps(clone(scorer)))
        search = GridSearchCV(model, {"C": [1.0]}, cv=cv, scoring=again)
        search.fit(X, y, sample_weight=w)
        # a weight that nobody asked for is an error, as for make_scorer
        with pytest.raises(ValueError, match="sample_weight"):
            cross_val_score(
                model,
                X,
                y,
                cv=cv,
                scoring=neg_cross_entropy_scorer,
                params={"sample_weight": w},
            )

    def expected(w):
        return [
            -log_loss(
                y[test],
                clone(model).fit(X[train], y[train]).predict_proba(X[test]),
                sample_weight=w[test],
            )
            for train, test in cv.split(X)
        ]

    np.testing.assert_allclose(scores, expected(w), rtol=1e-12)
    np.testing.assert_allclose(many["test_weighted"], expected(w), rtol=1e-12)
    np.testing.assert_allclose(many["test_plain"], expected(w**0), rtol=1e-12)
    np.testing.assert_allclose(many["test_alias"], expected(w**2), rtol=1e-12)
    assert search.best_score_ == pytest.approx(np.mean(expected(w)), rel=1e-12)


def test_weights_without_routing_do_as_for_neg_log_loss(iris, rng):
    X, y = iris
    w = rng.uniform(0.1, 3, len(y))
    model = LogisticRegression(max_iter=1000)
    for scoring, theirs in [
        (neg_cross_entropy_scorer, "neg_log_loss"),
        ({"a": neg_cross_entropy_scorer}, {"a": "neg_log_loss"}),
    ]:
        results = [
            GridSearchCV(model, {"C": [1.0]}, scoring=s, refit=False).fit(X, y, sample_weight=w).cv_results_
            for s in (scoring, theirs)
        ]
        key = "mean_test_score" if "mean_test_score" in results[0] else "mean_test_a"
        np.testing.assert_allclose(results[0][key], results[1][key], rtol=1e-12)


def test_nothing_warns_on_ordinary_input(iris, classifier):
    X, y = iris
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        neg_nll_scorer(classifier, X, y)
        nll(y, classifier.predict_proba(X))
