"""`SoftmaxMLEClassifier` from outside: the contract, one promise a test."""

import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import log_softmax, softmax
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_mle import SeparationWarning, SoftmaxMLEClassifier
from sklearn_mle._threads import single_threaded_blas
from sklearn_mle.metrics import cross_entropy, neg_cross_entropy_scorer

NAMES = np.array(["ant", "bee", "cow"])


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


def overlapping(K=3, n=150, p=4, seed=0):
    """Rows and labels of a softmax model with moderate weights: the maximum exists."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    proba = softmax(X @ rng.normal(size=(p, K)) + rng.normal(size=K) / 2, axis=1)
    y = (rng.random((n, 1)) < proba.cumsum(axis=1)).argmax(axis=1)
    return X, y


def both(clf):
    """Weights and intercepts side by side."""
    return np.column_stack([clf.coef_, clf.intercept_])


def assert_same_fit(one, other, rtol=1e-9, atol=1e-9):
    assert_allclose(both(one), both(other), rtol=rtol, atol=atol)
    assert_allclose(one.nll_, other.nll_, rtol=1e-11, atol=1e-11)


# The estimate: exact oracles


@pytest.mark.parametrize("K", [2, 3, 6])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
def test_the_replicated_model_is_its_own_estimate(K, fit_intercept, convert):
    """Each row K times with labels 0 .. K - 1, weighted by p_ik(theta*): the score is zero at theta* exactly."""
    rng = np.random.default_rng(K)
    X = rng.normal(size=(60, 3)) * [1e-3, 1.0, 1e3]
    logits = np.array(rng.normal(size=(K, 3)) / [1e-3, 1.0, 1e3])
    b = rng.normal(size=K) * fit_intercept
    logits, b = logits - logits.mean(axis=0), b - b.mean()
    proba = softmax(X @ logits.T + b, axis=1)
    clf = SoftmaxMLEClassifier(fit_intercept=fit_intercept)
    clf.fit(convert(np.repeat(X, K, axis=0)), np.tile(np.arange(K), 60), sample_weight=proba.ravel())
    if K == 2:
        logits, b = logits[1:] - logits[:1], b[1:] - b[:1]
    information = 1 / np.sqrt(60 / 4)
    assert_allclose(clf.coef_ * [1e-3, 1.0, 1e3], logits * [1e-3, 1.0, 1e3], atol=1e-6 * information)
    assert_allclose(clf.intercept_, b, atol=1e-6 * information)
    assert_allclose(clf.nll_, -(proba * np.log(proba)).sum(), rtol=1e-12)
    # Soft targets are the same thing.
    soft = SoftmaxMLEClassifier(fit_intercept=fit_intercept).fit(convert(X), proba)
    assert_allclose(both(soft), both(clf), rtol=1e-6, atol=1e-7)
    assert_allclose(soft.nll_, clf.nll_, rtol=1e-12)


@pytest.mark.parametrize("K", [2, 3, 5])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_score_is_zero_at_the_maximum(K, fit_intercept):
    X, y = overlapping(K)
    clf = SoftmaxMLEClassifier(fit_intercept=fit_intercept).fit(X, y)
    residual = clf.predict_proba(X) - np.eye(K)[y]
    assert_allclose(residual.T @ X, 0, atol=1e-5)
    if fit_intercept:
        assert_allclose(residual.sum(axis=0), 0, atol=1e-5)
    else:
        assert_array_equal(clf.intercept_, 0)
    if K > 2:
        assert_allclose(clf.coef_.sum(axis=0), 0, atol=1e-12)
        assert_allclose(clf.intercept_.sum(), 0, atol=1e-12)


@pytest.mark.parametrize("how", ["plain", "weighted", "class dict", "balanced", "no intercept", "all"])
@pytest.mark.parametrize("C", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("K", [2, 3])
def test_coefficients_of_logistic_regression(K, C, how):
    """The same C means the same prior, for two classes (one logit) and for more."""
    X, y = overlapping(K)
    parameters = {"C": C, "fit_intercept": how not in ("no intercept", "all")}
    weights = None
    if how in ("weighted", "all"):
        weights = np.random.default_rng(1).uniform(0, 3, size=len(y))
    if how in ("class dict", "all"):
        parameters["class_weight"] = {0: 2.0, 1: 0.5}
    if how == "balanced":
        parameters["class_weight"] = "balanced"
    other = LogisticRegression(solver="newton-cholesky", tol=1e-10, max_iter=1000, **parameters)
    other.fit(X, y, sample_weight=weights)
    for rows in (X, sparse.csr_array(X), sparse.csc_matrix(X)):
        clf = SoftmaxMLEClassifier(**parameters).fit(rows, y, sample_weight=weights)
        scale = np.abs(other.coef_).max()
        assert clf.coef_.shape == other.coef_.shape
        assert clf.intercept_.shape == other.intercept_.shape
        assert_allclose(clf.coef_, other.coef_, rtol=1e-5, atol=1e-6 * scale)
        assert_allclose(clf.intercept_, other.intercept_, rtol=1e-5, atol=1e-6 * (1 + scale))
        assert_allclose(clf.decision_function(rows), other.decision_function(X), atol=1e-5 * (1 + scale))
        assert_array_equal(clf.predict(rows), other.predict(X))


@pytest.mark.parametrize("C", [1e2, 1e5, 1e9])
def test_a_weak_prior_on_separated_classes_is_followed_to_the_end(iris, C):
    """The minimum is finite, however far out; nothing warns."""
    X, y = iris
    clf = SoftmaxMLEClassifier(C=C).fit(X, y)
    gradient = (clf.predict_proba(X) - np.eye(3)[y]).T @ X + clf.coef_ / C
    assert_allclose(gradient, 0, atol=1e-6)


def test_a_prior_of_no_variance_leaves_the_class_shares():
    X, y = overlapping()
    clf = SoftmaxMLEClassifier(C=1e-300).fit(X, y)
    assert_allclose(clf.coef_, 0, atol=1e-200)
    assert_allclose(clf.predict_proba(X[:1])[0], np.bincount(y) / len(y))


# Targets


LABELS = {
    "str": NAMES,
    "object": NAMES.astype(object),
    "int": np.array([-5, 3, 10]),
    "uint8": np.array([0, 7, 255], dtype=np.uint8),
    "float": np.array([-1.0, 0.0, 2.0]),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_labels_of_every_kind(iris, labels):
    X, codes = iris
    expected = SoftmaxMLEClassifier(C=1.0).fit(X, codes)
    y = labels[codes]
    for given_y in (y, y.tolist(), pd.Series(y), pl.Series(y.tolist())):
        clf = SoftmaxMLEClassifier(C=1.0).fit(X, given_y)
        assert_array_equal(clf.classes_, labels)
        assert_array_equal(both(clf), both(expected))
        assert_array_equal(clf.predict(X), labels[expected.predict(X)])
        assert clf.score(X, given_y) == expected.score(X, codes)
        assert clf.log_likelihood(X, given_y) == expected.log_likelihood(X, codes)


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(pd.Categorical(NAMES[[0, 1] * 40], categories=["zebra", "bee", "ant"])),
        pd.Series(NAMES[[0, 1] * 40], dtype="string"),
        pd.Series([0, 1] * 40, dtype="Int64"),
        pd.Series([False, True] * 40, dtype="boolean"),
        np.array([False, True] * 40),
        pl.Series(["ant", "bee"] * 40, dtype=pl.Categorical),
        pl.Series([False, True] * 40),
    ],
    ids=["category", "string", "Int64", "boolean", "bool", "polars categorical", "polars bool"],
)
def test_labels_of_two_classes(y):
    X, _ = overlapping(n=80)
    clf = SoftmaxMLEClassifier().fit(X, y)
    expected = SoftmaxMLEClassifier().fit(X, [0, 1] * 40)
    assert len(clf.classes_) == 2
    assert_array_equal(both(clf), both(expected))
    assert clf.coef_.shape == (1, 4)
    assert clf.decision_function(X).shape == (80,)
    assert_array_equal(clf.predict(X) == clf.classes_[1], expected.predict(X) == 1)
    assert clf.score(X, y) == expected.score(X, [0, 1] * 40)
    assert_allclose(clf.log_likelihood(X, y), -clf.nll_)


def test_a_column_of_labels_warns(iris):
    X, y = iris
    with pytest.warns(DataConversionWarning):
        clf = SoftmaxMLEClassifier(C=1.0).fit(X, y[:, None])
    assert_array_equal(clf.classes_, [0, 1, 2])


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("C", [np.inf, 1.0])
def test_one_hot_rows_give_the_fit_of_labels(K, C):
    X, y = overlapping(K)
    w = np.random.default_rng(0).uniform(size=len(y))
    expected = SoftmaxMLEClassifier(C=C).fit(X, y, sample_weight=w)
    for dtype in (float, np.float32, int, bool):
        clf = SoftmaxMLEClassifier(C=C).fit(X, np.eye(K, dtype=dtype)[y], sample_weight=w)
        assert_array_equal(both(clf), both(expected))
        assert_array_equal(clf.classes_, np.arange(K))
        assert clf.nll_ == expected.nll_


@pytest.mark.parametrize("K", [2, 4])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3.0, 1: 0.5}])
@pytest.mark.parametrize("C", [np.inf, 0.5])
def test_soft_rows_are_replicated_weighted_rows(K, class_weight, C):
    X, _ = overlapping(K, n=40)
    rng = np.random.default_rng(2)
    Y, w = rng.dirichlet(np.ones(K), size=40), rng.uniform(size=40)
    soft = SoftmaxMLEClassifier(C=C, class_weight=class_weight).fit(X, Y, sample_weight=w)
    if class_weight == "balanced":
        mass = w @ Y
        class_weight = dict(enumerate(w.sum() / (K * mass)))
    hard = SoftmaxMLEClassifier(C=C, class_weight=class_weight)
    hard.fit(np.repeat(X, K, axis=0), np.tile(np.arange(K), 40), sample_weight=(w[:, None] * Y).ravel())
    assert_same_fit(soft, hard, rtol=1e-7, atol=1e-8)
    assert_allclose(soft.loss_, hard.loss_, rtol=1e-10)
    assert_allclose(soft.log_likelihood(X, Y, w) if class_weight is None else -soft.nll_, -soft.nll_)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_columns_of_a_frame_of_probabilities_name_the_classes(frame):
    X, _ = overlapping(n=60)
    Y = np.random.default_rng(3).dirichlet(np.ones(3), size=60)
    given_y = frame({"cow": Y[:, 2], "ant": Y[:, 0], "bee": Y[:, 1]})
    clf = SoftmaxMLEClassifier().fit(X, given_y)
    assert_array_equal(clf.classes_, NAMES)
    assert_allclose(both(clf), both(SoftmaxMLEClassifier().fit(X, Y)), atol=1e-12)
    assert set(clf.predict(X)) <= set(NAMES)
    assert clf.score(X, given_y) == accuracy_score(NAMES[Y.argmax(axis=1)], clf.predict(X))
    assert_allclose(clf.log_likelihood(X, given_y), -clf.nll_)
    with pytest.raises(ValueError, match="columns of y"):
        clf.score(X, frame({"cow": Y[:, 2], "ant": Y[:, 0], "dog": Y[:, 1]}))


def test_the_score_of_a_matrix_is_the_accuracy_against_the_most_probable_class(iris):
    X, y = iris
    clf = SoftmaxMLEClassifier(C=1.0).fit(X, y)
    blurred = 0.8 * np.eye(3)[y] + 0.2 / 3
    w = np.random.default_rng(0).uniform(size=150)
    assert clf.score(X, blurred) == clf.score(X, y)
    assert clf.score(X, blurred, sample_weight=w) == clf.score(X, y, sample_weight=w)


# Rows of every kind


def converters():
    kinds = {
        "list": np.ndarray.tolist,
        "fortran": np.asfortranarray,
        "strided": lambda X: np.repeat(X, 2, axis=0)[::2],
        "reversed": lambda X: X[::-1].copy()[::-1],
        "pandas": pd.DataFrame,
        "polars": pl.DataFrame,
        "big-endian": lambda X: X.astype(">f8"),
        "object": lambda X: X.astype(object),
    }
    for name in ("csr", "csc", "coo", "lil", "dok", "bsr", "dia"):
        for kind in ("array", "matrix"):
            kinds[f"{name}_{kind}"] = getattr(sparse, f"{name}_{kind}")
    return kinds


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
@pytest.mark.parametrize("convert", converters().values(), ids=converters().keys())
@pytest.mark.parametrize("C", [np.inf, 1.0])
def test_rows_of_every_kind(convert, C):
    X, y = overlapping(n=60)
    X[X < -1] = 0.0
    expected = SoftmaxMLEClassifier(C=C).fit(X, y)
    rows = convert(X)
    clf = SoftmaxMLEClassifier(C=C).fit(rows, y)
    assert clf.coef_.dtype == np.float64
    assert_same_fit(clf, expected)
    assert_allclose(clf.predict_proba(rows), expected.predict_proba(X), rtol=1e-9, atol=1e-12)
    assert_allclose(clf.log_likelihood(rows, y), -clf.nll_)


def test_memory_maps_and_read_only_rows_are_left_alone(tmp_path):
    X, y = overlapping(n=300)
    expected = SoftmaxMLEClassifier().fit(X, y)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    weights, labels = np.ones(300), y.copy()
    for array in (weights, labels):
        array.setflags(write=False)
    clf = SoftmaxMLEClassifier().fit(mapped, labels, sample_weight=weights)
    assert_same_fit(clf, expected)
    assert_array_equal(np.asarray(mapped), X)
    frozen = sparse.csr_array(X)
    for array in (frozen.data, frozen.indices, frozen.indptr):
        array.setflags(write=False)
    assert_same_fit(SoftmaxMLEClassifier().fit(frozen, y), expected)


def test_a_fit_changes_none_of_its_arguments():
    X = overlapping(n=60)[0] + 1e6
    Y, w = np.random.default_rng(0).dirichlet(np.ones(3), size=60), np.ones(60)
    copies = X.copy(), Y.copy(), w.copy()
    SoftmaxMLEClassifier(class_weight="balanced").fit(X, Y, sample_weight=w)
    for array, copy in zip((X, Y, w), copies, strict=True):
        assert_array_equal(array, copy)


@pytest.mark.usefixtures("in_single")
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("C", [np.inf, 1.0])
def test_float32_stays_float32(K, convert, C):
    X, y = overlapping(K)
    double = SoftmaxMLEClassifier(C=C).fit(X, y)
    rows = convert(X.astype(np.float32))
    single = SoftmaxMLEClassifier(C=C).fit(rows, y)
    for array in (single.coef_, single.intercept_, single.predict_proba(rows), single.decision_function(rows)):
        assert array.dtype == np.float32
    assert_allclose(single.coef_, double.coef_, atol=1e-2)
    assert_allclose(single.predict_proba(rows), double.predict_proba(X), atol=2e-3)
    assert single.nll_ <= double.nll_ + 2e-3
    assert single.converged_


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array], ids=["dense", "csr"])
@pytest.mark.parametrize("how", [{}, {"C": 1.0}, {"C": 0.1, "l1_ratio": 1.0}, {"bounds": (0, np.inf), "C": 10.0}])
def test_few_float32_rows_are_fitted_in_float64(how, convert):
    """Entries over decades: probabilities of float32 logits would be rounding."""
    rng = np.random.default_rng(0)
    X = convert(np.exp(rng.normal(scale=4.0, size=(300, 3))).astype(np.float32))
    y = rng.integers(0, 3, 300)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        single = SoftmaxMLEClassifier(**how).fit(X, y)
        double = SoftmaxMLEClassifier(**how).fit(X.astype(float), y)
    assert single.coef_.dtype == single.intercept_.dtype == single.predict_proba(X).dtype == np.float32
    assert X.dtype == np.float32
    assert_allclose(single.nll_, double.nll_, rtol=1e-10)
    assert_allclose(single.coef_, double.coef_, rtol=1e-5, atol=1e-7 * np.abs(double.coef_).max())


def test_many_float32_rows_stay_in_float32(monkeypatch):
    X, y = overlapping(3)
    X = X.astype(np.float32)
    seen = []
    monkeypatch.setattr("sklearn_mle._samples._ENTRIES_IN_DOUBLE", X.size - 1)
    monkeypatch.setattr(
        "sklearn_mle._block.Block.outputs",
        lambda block, weights: seen.append(block.X.dtype) or weights.astype(block.X.dtype) @ block.X.T,
    )
    SoftmaxMLEClassifier().fit(X, y)
    assert set(seen) == {np.dtype(np.float32)}


@pytest.mark.usefixtures("in_single")
@pytest.mark.parametrize("seed", range(4))
def test_wide_float32_rows_of_many_classes_reach_the_supremum(seed):
    """Whitened rows say nothing in some directions, where a gradient in single precision is rounding."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(60, 100)).astype(np.float32), np.arange(60) % 20
    clf = SoftmaxMLEClassifier()
    with pytest.warns(SeparationWarning, match="completely separated"):
        clf.fit(X, y, sample_weight=rng.exponential(size=60))
    assert clf.converged_
    assert clf.nll_ <= 1.1 * clf.tol


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_feature_names(frame):
    X, y = overlapping(n=60)
    rows = frame(dict(zip("abcd", X.T, strict=True)))
    clf = SoftmaxMLEClassifier().fit(rows, y)
    assert_array_equal(clf.feature_names_in_, list("abcd"))
    assert clf.n_features_in_ == 4
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(frame(dict(zip("abdc", X.T, strict=True))))
    with pytest.warns(UserWarning, match="valid feature names"):
        clf.predict(X)
    clf.fit(X, y)
    assert not hasattr(clf, "feature_names_in_")


# Weights


@given(st.integers(0, 10**6), st.sampled_from([np.inf, 1.0]))
def test_an_integer_weight_is_a_repetition(seed, C):
    X, y = overlapping(n=50, p=2, seed=0)
    w = np.random.default_rng(seed).integers(0, 4, size=50)
    w[:6] = 1
    if len(np.unique(y[w > 0])) < 3:
        return
    weighted = SoftmaxMLEClassifier(C=C).fit(X, y, sample_weight=w)
    repeated = SoftmaxMLEClassifier(C=C).fit(np.repeat(X, w, axis=0), np.repeat(y, w))
    assert_same_fit(weighted, repeated, rtol=1e-6, atol=1e-7)
    assert_allclose(weighted.loss_, repeated.loss_)


def test_the_unit_of_weights_does_not_move_the_maximum():
    X, y = overlapping()
    w = np.random.default_rng(0).uniform(0.5, 2, size=len(y))
    expected = SoftmaxMLEClassifier().fit(X, y, sample_weight=w)
    for factor in (1e-4, 1e4):
        clf = SoftmaxMLEClassifier(tol=1e-3 * factor).fit(X, y, sample_weight=factor * w)
        assert_allclose(both(clf), both(expected), rtol=1e-5, atol=1e-6)
        assert_allclose(clf.loss_, expected.loss_, rtol=1e-10)


def test_one_number_weighs_all_rows():
    X, y = overlapping()
    heavy = SoftmaxMLEClassifier(C=1.0).fit(X, y, sample_weight=3)
    assert_allclose(both(heavy), both(SoftmaxMLEClassifier(C=3.0).fit(X, y)), rtol=1e-6, atol=1e-7)
    assert_allclose(heavy.nll_, -3 * heavy.log_likelihood(X, y))


def test_rows_of_weight_zero_do_not_matter():
    X, y = overlapping()
    w = np.ones(len(y))
    w[::7] = 0
    expected = SoftmaxMLEClassifier().fit(X[w > 0], y[w > 0])
    X[w == 0] *= 1e3
    assert_same_fit(SoftmaxMLEClassifier().fit(X, y, sample_weight=w), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("how", ["sample_weight", "class_weight", "soft column"])
@pytest.mark.parametrize("C", [np.inf, 1.0])
def test_a_class_of_no_weight_gets_no_probability(how, C):
    X, y = overlapping()
    w, class_weight, target = None, None, NAMES[y]
    if how == "sample_weight":
        w = (y != 1).astype(float)
    elif how == "class_weight":
        class_weight = {"bee": 0.0}
    else:
        w = (y != 1).astype(float)
        target = np.random.default_rng(0).dirichlet(np.ones(3), size=len(y))
        target[:, 1] = 0
        target = pd.DataFrame(target / target.sum(axis=1)[:, None], columns=NAMES)
    with pytest.warns(SeparationWarning, match=r"separated.*bee") as caught:
        clf = SoftmaxMLEClassifier(C=C, class_weight=class_weight).fit(X, target, sample_weight=w)
    assert len(caught) == 1
    assert_array_equal(clf.classes_, NAMES)
    assert clf.coef_.shape == (3, 4)
    assert clf.converged_
    proba = clf.predict_proba(X)
    assert (proba[:, 1] < 1e-12).all()
    assert (proba[:, 1] > 0).all()
    assert_allclose(clf.coef_.sum(axis=0), 0, atol=1e-12)
    if how != "soft column" and np.isinf(C):
        kept = y != 1
        expected = SoftmaxMLEClassifier().fit(X[kept], y[kept])
        assert_allclose(proba[:, 2], expected.predict_proba(X)[:, 1], atol=1e-7)


@pytest.mark.parametrize("K", [2, 3])
def test_only_one_class_with_weight_is_no_problem_for_a_classifier(K):
    X, y = overlapping(K)
    with pytest.raises(ValueError, match="class"):
        SoftmaxMLEClassifier().fit(X, y, sample_weight=(y == 1).astype(float))
    with pytest.raises(ValueError, match="class"):
        SoftmaxMLEClassifier().fit(X, np.eye(K)[np.zeros(len(y), dtype=int)])
    with pytest.raises(ValueError, match="class"):
        SoftmaxMLEClassifier().fit(X, np.full(len(y), "same"))


# Units, gauges, null spaces


@pytest.mark.parametrize("solver", ["auto", "lbfgs", "trust-ncg", "SLSQP"])
@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
def test_units_and_shifts_leave_the_probabilities(K, solver, convert):
    X, y = overlapping(K)
    units, shift = np.array([1e-6, 1e-2, 1e3, 1e6]), np.array([0.0, 1e3, -1e5, 1e9])
    expected = SoftmaxMLEClassifier(solver=solver).fit(X, y).predict_proba(X)
    for rows in (X * units, X + np.minimum(shift, 1e6), X * units + shift, X * units[::-1]):
        rows = convert(rows)
        clf = SoftmaxMLEClassifier(solver=solver).fit(rows, y)
        assert_allclose(clf.predict_proba(rows), expected, atol=1e-6)


@given(st.integers(0, 10**6))
def test_affine_maps_of_the_columns_leave_the_probabilities(seed):
    rng = np.random.default_rng(seed)
    X, y = overlapping(n=80, p=3)
    M = rng.normal(size=(3, 3)) * 10.0 ** rng.uniform(-3, 3, size=3)
    moved = X @ M + rng.normal(size=3) * 10.0 ** rng.uniform(-3, 3)
    expected = SoftmaxMLEClassifier().fit(X, y)
    clf = SoftmaxMLEClassifier().fit(moved, y)
    assert_allclose(clf.nll_, expected.nll_, rtol=1e-10)
    assert_allclose(clf.predict_proba(moved), expected.predict_proba(X), atol=1e-6)


@given(st.permutations(range(3)), st.sampled_from([np.inf, 0.7]))
def test_permuted_classes_have_permuted_coefficients(order, C):
    X, y = overlapping()
    order = np.array(order)
    expected = SoftmaxMLEClassifier(C=C).fit(X, y)
    clf = SoftmaxMLEClassifier(C=C).fit(X, order[y])
    assert_allclose(both(clf)[order], both(expected), rtol=1e-7, atol=1e-8)


def test_swapped_classes_of_two_have_the_negated_logit():
    X, y = overlapping(2)
    for C in (np.inf, 0.7):
        one, other = (SoftmaxMLEClassifier(C=C).fit(X, labels) for labels in (y, 1 - y))
        assert_allclose(both(one), -both(other), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("solver", ["auto", "lbfgs", "dogleg", "trust-exact"])
@pytest.mark.parametrize("K", [2, 3])
def test_collinear_columns_take_the_coefficients_of_least_norm(K, solver, convert):
    X, y = overlapping(K)
    n = len(y)
    wide = np.c_[X, X[:, 0], X[:, 1] - 2 * X[:, 2], np.full(n, 3.7), np.eye(3)[np.arange(n) % 3]]
    plain = SoftmaxMLEClassifier().fit(np.c_[X, np.eye(3)[np.arange(n) % 3][:, :2]], y)
    clf = SoftmaxMLEClassifier(solver=solver).fit(convert(wide), y)
    assert clf.converged_
    assert_allclose(clf.nll_, plain.nll_, rtol=1e-11)
    centred = wide - wide.mean(axis=0)
    null = np.linalg.svd(centred)[2][6:]
    assert_allclose(clf.coef_ @ null.T, 0, atol=1e-8)
    assert_allclose(clf.coef_[:, 6], 0, atol=1e-10)


def test_more_columns_than_rows_with_a_prior():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 100)), rng.integers(3, size=30)
    clf = SoftmaxMLEClassifier(C=0.1).fit(X, y)
    gradient = (clf.predict_proba(X) - np.eye(3)[y]).T @ X + clf.coef_ / 0.1
    assert_allclose(gradient, 0, atol=1e-6)


# Bounds


@pytest.mark.parametrize(
    "bounds",
    [
        (0.0, np.inf),
        (-np.inf, 0.5),
        (0.1, 0.4),
        (np.zeros(4), np.array([1.0, 0.2, np.inf, 0.0])),
        (np.array([[0.0], [-np.inf], [-1.0]]), np.inf),
        (np.full((3, 4), -0.3), np.linspace(0.0, 1.1, 12).reshape(3, 4)),
        [0, 1],
    ],
    ids=["positive", "one-sided", "interval", "a column each", "a class each", "matrix", "list"],
)
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
def test_bounds_broadcast_to_the_coefficients(bounds, convert):
    X, y = overlapping()
    clf = SoftmaxMLEClassifier(bounds=bounds).fit(convert(X), y)
    assert clf.converged_
    lower, upper = (np.broadcast_to(np.asarray(side, dtype=float), (3, 4)) for side in bounds)
    W = clf.coef_
    assert (lower <= W).all()
    assert (upper >= W).all()
    residual = clf.predict_proba(X) - np.eye(3)[y]
    gradient = residual.T @ X
    at = [(lower == W) & (upper > W), (upper == W) & (lower < W), (lower < W) & (upper > W)]
    # A column may be moved for all classes alike where that is within the bounds: no member has a lower norm.
    assert (gradient[at[0]] >= -1e-5).all()
    assert (gradient[at[1]] <= 1e-5).all()
    assert_allclose(gradient[at[2]], 0, atol=1e-5)
    assert_allclose(residual.sum(axis=0), 0, atol=1e-5)
    room = (lower - W).max(axis=0), (upper - W).min(axis=0)
    assert_allclose(np.clip(-W.mean(axis=0), *room), 0, atol=1e-12)


def test_bounds_that_do_not_bind_change_no_probability():
    X, y = overlapping()
    free = SoftmaxMLEClassifier().fit(X, y)
    for bounds in ((-np.inf, np.inf), (-1e3, 1e3), (0.0, np.inf)):
        clf = SoftmaxMLEClassifier(bounds=bounds).fit(X, y)
        assert_allclose(clf.predict_proba(X), free.predict_proba(X), atol=1e-6)
        if np.max(bounds[0]) < 0:
            assert_allclose(clf.coef_, free.coef_, atol=1e-6)


def test_bounds_of_two_classes_are_on_the_one_logit():
    X, y = overlapping(2)
    free = SoftmaxMLEClassifier().fit(X, y)
    limit = np.abs(free.coef_).max() / 2
    clf = SoftmaxMLEClassifier(bounds=(-limit, limit)).fit(X, y)
    assert clf.coef_.shape == (1, 4)
    assert np.abs(clf.coef_).max() == limit
    assert clf.nll_ > free.nll_


@pytest.mark.usefixtures("in_single")
@pytest.mark.parametrize("K", [2, 3])
def test_bounds_on_float32_rows(K):
    X, y = overlapping(K)
    expected = SoftmaxMLEClassifier(bounds=(0.0, 0.5)).fit(X, y)
    clf = SoftmaxMLEClassifier(bounds=(0.0, 0.5)).fit(X.astype(np.float32), y)
    assert clf.converged_
    assert_allclose(clf.coef_, expected.coef_, atol=1e-2)


def test_fixed_coefficients_stay():
    X, y = overlapping()
    clf = SoftmaxMLEClassifier(bounds=(0.25, 0.25)).fit(X, y)
    assert_array_equal(clf.coef_, 0.25)
    assert_allclose(clf.predict_proba(X).mean(axis=0), np.bincount(y) / len(y), atol=1e-6)


@pytest.mark.parametrize(
    "bounds",
    [
        3,
        (0,),
        (0, 1, 2),
        "ab",
        (1, 0),
        (np.nan, 1),
        (None, 1),
        ("low", 1),
        (np.zeros(3), 1),
        (np.zeros((4, 3)), 1),
        (np.zeros((2, 3, 4)), 1),
        (np.inf, np.inf),
        (-np.inf, -np.inf),
    ],
    ids=str,
)
def test_bounds_that_are_none(bounds):
    X, y = overlapping()
    with pytest.raises(ValueError, match="bound"):
        SoftmaxMLEClassifier(bounds=bounds).fit(X, y)


# What is left behind


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("C", [np.inf, 1.0])
def test_attributes_of_the_fit(K, C):
    X, y = overlapping(K)
    w = np.random.default_rng(0).uniform(size=len(y))
    clf = SoftmaxMLEClassifier(C=C).fit(X, y, sample_weight=w)
    J = 1 if K == 2 else K
    assert clf.coef_.shape == (J, 4)
    assert clf.intercept_.shape == (J,)
    (weights,), (intercepts,) = clf.coefs_, clf.intercepts_
    assert_array_equal(weights, clf.coef_.T)
    assert_array_equal(intercepts, clf.intercept_)
    proba = clf.predict_proba(X)
    assert_allclose(clf.loss_, log_loss(y, proba, sample_weight=w), rtol=1e-12)
    assert_allclose(clf.loss_, cross_entropy(y, proba, sample_weight=w), rtol=1e-12)
    assert_allclose(clf.nll_, w.sum() * clf.loss_, rtol=1e-13)
    assert_allclose(clf.log_likelihood(X, y, sample_weight=w), -clf.nll_, rtol=1e-12)
    assert clf.converged_ is True
    assert isinstance(clf.n_iter_, int)
    assert len(clf.loss_curve_) == clf.n_iter_ >= 1
    assert (np.diff(clf.loss_curve_) <= 1e-12).all()
    penalty = 0.5 / C * (clf.coef_**2).sum() / w.sum()
    assert_allclose(clf.loss_curve_[-1], clf.loss_ + penalty, rtol=1e-12)
    assert clf.optimize_result_.success
    assert clf.optimize_result_.n_passes >= clf.n_iter_


def test_the_loss_is_weighted_by_class_weights():
    X, y = overlapping()
    clf = SoftmaxMLEClassifier(class_weight={0: 3.0, 1: 0.5}).fit(X, y)
    w = np.array([3.0, 0.5, 1.0])[y]
    assert_allclose(clf.loss_, log_loss(y, clf.predict_proba(X), sample_weight=w), rtol=1e-12)
    assert_allclose(clf.nll_, -clf.log_likelihood(X, y, sample_weight=w), rtol=1e-12)


@pytest.mark.parametrize("K", [2, 3])
def test_logits_far_out_have_finite_log_probabilities(K):
    X, y = overlapping(K)
    clf = SoftmaxMLEClassifier().fit(X, y)
    for size in (1e4, 1e200):
        rows = X * size
        logits = np.column_stack([np.zeros(len(X)), clf.decision_function(rows)])
        logits = logits if K == 2 else clf.decision_function(rows)
        log_proba = clf.predict_log_proba(rows)
        assert np.isfinite(log_proba).all()
        assert_allclose(log_proba, log_softmax(logits, axis=1), rtol=1e-12, atol=1e-16)
        assert log_proba.min() < -1e4
        assert_allclose(clf.log_likelihood(rows, y), log_proba[np.arange(len(y)), y].sum())
        assert_allclose(clf.predict_proba(rows).sum(axis=1), 1)
        assert (clf.predict(rows) == clf.classes_[log_proba.argmax(axis=1)]).all()


def test_log_likelihood_refuses_what_it_cannot_price(iris):
    X, y = iris
    clf = SoftmaxMLEClassifier(C=1.0).fit(X, NAMES[y])
    with pytest.raises(ValueError, match=r"not seen.*'dog'"):
        clf.log_likelihood(X, np.where(y == 0, "dog", NAMES[y]))
    with pytest.raises(ValueError, match="149"):
        clf.log_likelihood(X, NAMES[y][:-1])
    with pytest.raises(ValueError, match="columns"):
        clf.log_likelihood(X, np.eye(2)[np.minimum(y, 1)])
    with pytest.raises(ValueError, match="negative"):
        clf.log_likelihood(X, NAMES[y], sample_weight=-1)
    with pytest.raises(ValueError, match="features"):
        clf.log_likelihood(X[:, :2], NAMES[y])
    assert clf.log_likelihood(X[:1], [NAMES[y[0]]]) <= 0


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function", "score", "log_likelihood"]
)
def test_nothing_is_predicted_before_the_fit(iris, method):
    X, y = iris
    arguments = (X, y) if method in ("score", "log_likelihood") else (X,)
    with pytest.raises(NotFittedError):
        getattr(SoftmaxMLEClassifier(), method)(*arguments)
    arguments = (X, np.eye(3)[y]) if method in ("score", "log_likelihood") else (X,)
    with pytest.raises(NotFittedError):
        getattr(SoftmaxMLEClassifier(), method)(*arguments)


# Fits that fail


def bad_data():
    X, y = load_iris(return_X_y=True)
    nan, infinite = X.copy(), X.copy()
    nan[3, 1], infinite[3, 1] = np.nan, np.inf
    soft = np.random.default_rng(0).dirichlet(np.ones(3), size=150)
    return {
        "nan": ((nan, y), "NaN"),
        "inf": ((infinite, y), "infinity"),
        "sparse nan": ((sparse.csr_array(nan), y), "NaN"),
        "nan label": ((X, np.where(y == 0, np.nan, y)), "NaN"),
        "NA label": ((X, pd.Series([None, *y[1:]], dtype="Int64")), "NaN"),
        "complex": ((X * 1j, y), "Complex"),
        "text": ((NAMES[y][:, None], y), "could not convert"),
        "one dimension": ((X[:, 0], y), "2D array"),
        "three dimensions": ((X[None], y), "dim 3"),
        "no rows": ((X[:0], y[:0]), "0 sample"),
        "no columns": ((X[:, :0], y), "0 feature"),
        "no y": ((X, None), "requires y"),
        "continuous y": ((X, y + 0.5), "Unknown label type"),
        "a column of probabilities": ((X, soft[:, :1]), "continuous.*column_stack"),
        "one class": ((X, np.zeros(150)), "one class"),
        "short y": ((X, y[:-1]), "149"),
        "short soft y": ((X, soft[:-1]), "149"),
        "rows that do not sum to 1": ((X, soft * 1.1), "sum to 1"),
        "negative probabilities": ((X, soft - [1.5, -1.5, 0]), "negative"),
        "nan probabilities": ((X, np.where(soft > 0.5, np.nan, soft)), "NaN"),
        "one column": ((X, np.ones((150, 3, 1))), "dim 3"),
        "negative weight": ((X, y, -np.ones(150)), "negative"),
        "zero weights": ((X, y, np.zeros(150)), "weight.*zero"),
        "nan weight": ((X, y, np.full(150, np.nan)), "NaN"),
        "complex weights": ((X, y, np.ones(150) + 1j), "sample_weight.*complex"),
        "huge weights": ((X, y, np.full(150, 1e308)), "sample_weight is too large.*Multiply"),
        "tiny weights": ((X, y, np.full(150, 5e-324)), "sample_weight is too small.*Multiply"),
        "short weights": ((X, y, np.ones(149)), "149"),
        "matrix of weights": ((X, y, np.ones((150, 2))), "shape"),
        "one class with weight": ((X, y, (y == 1) * 1.0), "class"),
    }


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("arguments, message", bad_data().values(), ids=bad_data().keys())
def test_a_fit_that_fails_leaves_the_estimator_as_it_was(iris, arguments, message, fitted):
    clf = SoftmaxMLEClassifier(C=1.0)
    if fitted:
        clf.fit(pd.DataFrame(iris[0], columns=list("abcd")), NAMES[iris[1]])
    before = pickle.dumps(clf)
    with pytest.raises(ValueError, match=message):
        clf.fit(*arguments)
    assert pickle.dumps(clf) == before


@pytest.mark.parametrize("fitted", [False, True])
def test_what_fails_late_leaves_the_estimator_as_it_was(iris, fitted):
    """An error in the solver, and a warning that was made an error."""
    X, y = iris

    def broken(fun, x0, args=(), **keywords):
        raise ZeroDivisionError

    clf = SoftmaxMLEClassifier(C=1.0)
    if fitted:
        clf.fit(X, y)
    before = dict(vars(clf))
    with pytest.raises(ZeroDivisionError):
        clf.set_params(solver=broken).fit(X[:, :2], NAMES[y])
    assert vars(clf) == {**before, "solver": broken}
    with pytest.raises(ConvergenceWarning):
        clf.set_params(solver="auto", max_iter=1).fit(X[:, :2], NAMES[y])
    assert vars(clf) == {**before, "max_iter": 1}


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "decision_function"])
def test_bad_rows_are_refused_in_prediction(iris, method):
    X, y = iris
    predict = getattr(SoftmaxMLEClassifier(C=1.0).fit(X, y), method)
    with pytest.raises(ValueError, match=r"3 features.*expecting 4"):
        predict(X[:, :3])
    with pytest.raises(ValueError, match="NaN"):
        predict(np.full((2, 4), np.nan))
    with pytest.raises(ValueError, match="2D array"):
        predict(X[0])


def test_a_fit_that_does_not_converge_warns_once_and_keeps_the_best():
    X, y = overlapping()
    with pytest.warns(
        ConvergenceWarning, match=r"not converged after 2 iterations.*nats.*tol=0\.001.*max_iter"
    ) as caught:
        clf = SoftmaxMLEClassifier(max_iter=2).fit(X, y)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert clf.converged_ is False
    assert clf.n_iter_ == 2
    assert clf.loss_ < log_loss(y, np.tile(np.bincount(y) / len(y), (len(y), 1)))


# Separation: the warning itself; the diagnosis has tests of its own


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array, lambda X: pd.DataFrame(X, columns=list("abcd"))])
def test_separated_classes_warn_once_and_are_named(iris, convert):
    X, y = iris
    with pytest.warns(SeparationWarning, match=r"quasi-completely separated: ant, by features .*\bC\b") as caught:
        clf = SoftmaxMLEClassifier().fit(convert(X), NAMES[y])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert clf.converged_
    assert np.isfinite(clf.coef_).all()
    # The supremum is that of the other two classes.
    rest = SoftmaxMLEClassifier().fit(X[y > 0], y[y > 0])
    assert rest.nll_ <= clf.nll_ <= rest.nll_ + 1e-3


def test_a_finite_prior_does_not_warn(iris):
    SoftmaxMLEClassifier(C=1e6).fit(*iris)


def test_nearly_separated_classes_do_not_warn():
    """One row on the wrong side, by a hair: the maximum exists, far out."""
    X = np.r_[np.arange(20.0), 9.5 - 1e-6][:, None]
    y = (X[:, 0] > 9.5).astype(int)
    y[-1] = 1
    X[9] = 9.5 - 1e-7
    clf = SoftmaxMLEClassifier().fit(X, y)
    residual = clf.predict_proba(X)[:, 1] - y
    assert_allclose([residual.sum(), residual @ X[:, 0]], 0, atol=1e-4)


# A citizen of scikit-learn


def test_it_is_a_classifier_that_takes_sparse_rows():
    clf = SoftmaxMLEClassifier()
    assert is_classifier(clf)
    assert clf.__sklearn_tags__().input_tags.sparse
    assert repr(clf) == "SoftmaxMLEClassifier()"
    assert repr(SoftmaxMLEClassifier(C=2.0, tol=1e-4)) == "SoftmaxMLEClassifier(C=2.0, tol=0.0001)"
    with pytest.raises(TypeError):
        SoftmaxMLEClassifier(1.0)


def test_it_can_be_pickled_copied_and_cloned(iris):
    X, y = iris
    clf = SoftmaxMLEClassifier(C=0.5, bounds=(-2.0, 2.0), class_weight={0: 2.0}).fit(X, y)
    again = pickle.loads(pickle.dumps(clf))
    assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    assert again.get_params() == clf.get_params()
    fresh = clone(clf)
    assert not hasattr(fresh, "coef_")
    assert_array_equal(fresh.fit(X, y).coef_, clf.coef_)
    assert fresh.set_params(C=2.0).get_params()["C"] == 2.0


def test_a_second_fit_forgets_the_first(iris):
    X, y = iris
    clf = SoftmaxMLEClassifier(C=1.0).fit(pd.DataFrame(X[:, :2], columns=["a", "b"]), y == 0)
    clf.fit(X, y)
    expected = SoftmaxMLEClassifier(C=1.0).fit(X, y)
    assert vars(clf).keys() == vars(expected).keys()
    assert_array_equal(both(clf), both(expected))


@pytest.mark.parametrize(
    ("n", "p", "K", "params"),
    [
        (4000, 6, 3, {}),
        # More parameters than are polished: where it ends within `tol` is the path's.
        (1500, 600, 10, {"C": 0.01}),
        (1500, 600, 10, {"C": 0.01, "l1_ratio": 0.5}),
        (20_000, 20, 3, {"hidden_layer_sizes": (4,), "C": 1.0, "random_state": 0, "tol": 100.0}),
    ],
)
def test_fits_are_deterministic_and_threads_change_nothing(n, p, K, params):
    X, y = overlapping(n=n, p=p, K=K)
    first, *others = (SoftmaxMLEClassifier(n_jobs=n_jobs, **params).fit(X, y) for n_jobs in (1, 1, 2, 3, -1, None))
    for other in others:
        for one, two in zip(first.coefs_ + first.intercepts_, other.coefs_ + other.intercepts_, strict=True):
            assert_array_equal(one, two)


@pytest.mark.parametrize("C", [np.inf, 1.0])
@pytest.mark.parametrize("solver", ["auto", "lbfgs"])
@pytest.mark.parametrize("bounds", [None, (-0.3, 0.5)])
def test_a_warm_start_goes_on_from_the_last_fit(C, solver, bounds):
    X, y = overlapping()
    cold = SoftmaxMLEClassifier(C=C, solver=solver, bounds=bounds).fit(X, y)
    clf = SoftmaxMLEClassifier(C=C, solver=solver, bounds=bounds, warm_start=True).fit(X, y)
    assert_array_equal(both(clf), both(cold))
    clf.fit(X, y)
    assert clf.n_iter_ <= 2
    assert_allclose(both(clf), both(cold), atol=1e-6)
    # Elsewhere, the estimate is that of a cold start.
    X2, y2 = overlapping(seed=1)
    clf.fit(X2, y2)
    other = SoftmaxMLEClassifier(C=C, solver=solver, bounds=bounds).fit(X2, y2)
    assert_allclose(both(clf), both(other), atol=1e-5)
    if bounds is None:
        clf.set_params(bounds=(-0.1, 0.2)).fit(X, y)
        other = SoftmaxMLEClassifier(C=C, bounds=(-0.1, 0.2)).fit(X, y)
        assert_allclose(both(clf), both(other), atol=1e-5)


def test_a_warm_start_goes_along_a_path_of_priors():
    X, y = overlapping()
    clf = SoftmaxMLEClassifier(warm_start=True)
    for C in (0.01, 0.1, 1.0, 10.0, np.inf):
        clf.set_params(C=C).fit(X, y)
        assert_allclose(both(clf), both(SoftmaxMLEClassifier(C=C).fit(X, y)), atol=1e-6)
    far = X * [1e-3, 1.0, 1e3, 1.0] + [0, 0, 1e6, 0]
    clf = SoftmaxMLEClassifier(warm_start=True).fit(far, y)
    proba = clf.predict_proba(far)
    assert_allclose(clf.fit(far, y).predict_proba(far), proba, atol=1e-6)
    assert clf.n_iter_ <= 2


def test_a_warm_start_that_is_worse_than_none_is_left_alone():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(300, 2)) > 1).astype(float)
    y = (X @ [1.0, -1.0] + rng.logistic(size=300) > 0).astype(int)
    clf = SoftmaxMLEClassifier(warm_start=True).fit(X, y)
    best = clf.nll_
    clf.coef_ = np.array([[-40.0, 40.0]])
    assert_allclose(clf.fit(X, y).nll_, best, rtol=1e-12)
    # The same rows in other units.
    assert_allclose(clf.fit(1e6 * X, y).nll_, best, rtol=1e-12)


def test_a_warm_start_needs_the_same_classes_and_columns(iris):
    X, y = iris
    clf = SoftmaxMLEClassifier(C=1.0, warm_start=True).fit(X, y)
    for rows, labels in ((X, NAMES[y]), (X[:, :3], y), (X[y > 0], y[y > 0])):
        with pytest.raises(ValueError, match="warm_start"):
            clf.fit(rows, labels)
    assert clf.coef_.shape == (3, 4)


def test_verbose_tells_of_each_iteration(iris, capsys):
    clf = SoftmaxMLEClassifier(C=1.0, verbose=1).fit(*iris)
    out = capsys.readouterr().out
    assert out.count("iteration") >= clf.n_iter_
    assert "nats" in out
    SoftmaxMLEClassifier(C=1.0).fit(*iris)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
def test_a_grid_search_finds_the_same_with_either_score(load):
    """`neg_log_loss` is the mean cross-entropy of the test fold, and so is the package's own scorer."""
    X, y = load(return_X_y=True)
    model = make_pipeline(StandardScaler(), SoftmaxMLEClassifier())
    grid = {"softmaxmleclassifier__C": [0.01, 0.1, 1.0, 10.0]}
    scores = [
        GridSearchCV(model, grid, scoring=scoring, cv=3).fit(X, y)
        for scoring in ("neg_log_loss", neg_cross_entropy_scorer)
    ]
    assert scores[0].best_params_ == scores[1].best_params_
    assert_allclose(*(search.cv_results_["mean_test_score"] for search in scores), rtol=1e-10)


@pytest.mark.parametrize("spread", [1e16, 1e100])
def test_units_that_differ_by_more_than_numbers_have_digits(spread):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20_000, 3)), rng.integers(3, size=20_000)
    units = np.array([1.0, spread**0.5, spread**-0.5])
    plain, spread_out = (SoftmaxMLEClassifier().fit(rows, y) for rows in (X, X * units))
    np.testing.assert_allclose(spread_out.coef_ * units, plain.coef_, rtol=1e-6, atol=1e-9)


def test_it_scales_no_better_with_a_scaler(iris):
    """The pure MLE does not depend on units, so neither do held-out scores."""
    X, y = overlapping()
    plain = cross_val_score(SoftmaxMLEClassifier(), X * [1e-5, 1, 1, 1e5], y, scoring="neg_log_loss")
    scaled = cross_val_score(make_pipeline(StandardScaler(), SoftmaxMLEClassifier()), X, y, scoring="neg_log_loss")
    assert_allclose(plain, scaled, rtol=1e-6)


def test_sample_weights_are_routed():
    X, y = overlapping()
    w = np.random.default_rng(0).uniform(0.1, 2, size=len(y))
    with config_context(enable_metadata_routing=True):
        model = SoftmaxMLEClassifier(C=1.0).set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        search = GridSearchCV(model, {"C": [1.0]}, cv=3).fit(X, y, sample_weight=w)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
        pipeline.fit(X, y, sample_weight=w)
    assert_same_fit(search.best_estimator_, SoftmaxMLEClassifier(C=1.0).fit(X, y, sample_weight=w))
    expected = SoftmaxMLEClassifier(C=1.0).fit(StandardScaler().fit_transform(X), y, sample_weight=w)
    assert_same_fit(pipeline[-1], expected)


def test_fits_that_overlap_leave_the_threads_of_blas_as_they_were():
    """The limit is one for the process: the first to end must not lift it, the last must not keep it."""

    def blas():
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    with threadpool_limits(2, user_api="blas"):
        before = blas()
        first, second = single_threaded_blas(), single_threaded_blas()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert set(blas()) == {1}
        second.__exit__(None, None, None)
        assert blas() == before


def test_threads_of_the_caller_are_respected():
    """Inside joblib's workers each fit has the threads that joblib leaves to it."""
    X, y = overlapping(n=300)
    fits = joblib.Parallel(n_jobs=2)(joblib.delayed(SoftmaxMLEClassifier(C=C).fit)(X, y) for C in (0.1, 1.0))
    for clf in fits:
        assert_same_fit(clf, SoftmaxMLEClassifier(C=clf.C).fit(X, y))


def test_many_classes_few_rows():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 2)), np.arange(90) % 30
    clf = SoftmaxMLEClassifier(C=1.0).fit(X, y)
    assert clf.coef_.shape == (30, 2)
    gradient = (clf.predict_proba(X) - np.eye(30)[y]).T @ X + clf.coef_
    assert_allclose(gradient, 0, atol=1e-6)


# Parameters that are none

BAD_PARAMETERS = [
    {"C": 0},
    {"C": 10**400},
    {"C": -1.0},
    {"C": np.nan},
    {"C": "1"},
    {"C": None},
    {"C": 5e-324},
    {"tol": 0},
    {"tol": 10**400},
    {"tol": -1e-3},
    {"tol": np.nan},
    {"tol": np.inf},
    {"max_iter": 0},
    {"max_iter": 1.5},
    {"solver": "sgd"},
    {"solver": None},
    {"solver_options": {"maxiter": 3}},
    {"solver_options": [("maxiter", 3)], "solver": "lbfgs"},
    {"l1_ratio": 2},
    {"l1_ratio": None},
    {"prior": "cauchy"},
    {"activation": "gelu"},
    {"fit_intercept": "no"},
    {"fit_intercept": None},
    {"warm_start": "yes"},
    {"verbose": -1},
    {"verbose": "loud"},
    {"random_state": "seed"},
    {"n_jobs": 0},
    {"n_jobs": 1.5},
    {"class_weight": "heavy"},
    {"class_weight": {7: 1.0}},
    {"class_weight": {0: "heavy"}},
    {"class_weight": {0: 1e300, 1: 1e300}},
    {"n_init": 2},
    {"early_stopping": True},
    {"validation_fraction": 0.2},
    {"n_iter_no_change": 0},
]


@pytest.mark.parametrize("bad", BAD_PARAMETERS, ids=str)
def test_parameters_that_are_none_are_named(iris, bad):
    """Each ValueError names the parameter; nothing is ignored."""
    name = next(iter(bad)) if "random_state" not in bad else "RandomState"
    with pytest.raises(ValueError, match=name):
        SoftmaxMLEClassifier(**{"C": 1.0, **bad}).fit(*iris)


# Classes without weight


def test_a_class_without_weight_is_named_beside_what_separates_the_others(iris):
    X, y = iris
    with pytest.warns(SeparationWarning, match=r"without any weight.*: 2\..* completely separated: 0, 1") as caught:
        SoftmaxMLEClassifier().fit(X, y, sample_weight=(y < 2).astype(float))
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rows", [2, 4, 8])
@pytest.mark.parametrize("K", [2, 3])
def test_a_dummy_of_a_few_rows_among_many(K, rows, seed):
    """No sample of the rows has any of these: what it says of their coefficient is nothing, not everything."""
    rng = np.random.default_rng(seed)
    n = 20_000
    x = rng.normal(size=n)
    y = (np.outer(x, np.linspace(0, 1.5, K)) + rng.gumbel(size=(n, K))).argmax(axis=1)
    few = rng.choice(n, rows * K, replace=False)
    y[few] = np.arange(rows * K) % K
    X = np.column_stack([x, np.isin(np.arange(n), few)])
    clf = SoftmaxMLEClassifier().fit(X, y)
    assert clf.converged_
    residual = clf.predict_proba(X) - np.eye(K)[y]
    assert np.abs(residual.T @ np.column_stack([X, np.ones(n)])).max() < 1e-4
    y[few] = 1
    with pytest.warns(SeparationWarning, match="features x1") as caught:
        clf.fit(X, y)
    assert len(caught) == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_code_for_missing_values_among_the_numbers(seed):
    """No start is worse than none, whatever a sample has not seen."""
    rng = np.random.default_rng(seed)
    n = 10_000
    x = rng.normal(size=n)
    y = (np.outer(x, [0.0, 1.0, -1.0]) + rng.gumbel(size=(n, 3))).argmax(axis=1)
    x = 50 + 10 * x
    x[:10] = 999_999_999
    clf = SoftmaxMLEClassifier().fit(x[:, None], y)
    assert clf.loss_ < np.log(3)
    assert clf.optimize_result_.n_passes < 200


def test_steps_that_take_separated_rows_beyond_all_curvature():
    rng = np.random.default_rng(6)
    n, n_levels = 4000, 10
    chances = np.exp(-8 * np.arange(n_levels) / n_levels)
    logits = np.tile(1.5 * rng.normal(size=3), (n, 1))
    columns = []
    for _ in range(2):
        level = rng.choice(n_levels, n, p=chances / chances.sum())
        logits += 1.5 * rng.normal(size=(n_levels, 3))[level]
        columns.append(np.eye(n_levels)[level][:, 1:])
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    with pytest.warns(SeparationWarning) as caught:
        clf = SoftmaxMLEClassifier().fit(np.column_stack([*columns, rng.normal(size=(n, 2))]), y)
    assert len(caught) == 1
    assert clf.converged_


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("K", [2, 3])
def test_codes_among_values_of_order_one_do_not_end_short_of_the_minimum(K):
    """1e9 for a missing value. Where such rows are of one class they are certain, and the others decide alone."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(300, 3))
    z = X @ np.array([[0.0, 0.0, 0.0], [1.0, -0.5, 0.3], [-1.0, 0.2, 0.5]])[:K].T
    y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    coded = rng.random(300) < 0.1
    X[coded, 0], y[coded] = 1e9, 1
    clf = SoftmaxMLEClassifier().fit(X, y)
    rest = SoftmaxMLEClassifier().fit(X[~coded], y[~coded])
    assert_allclose(clf.nll_, rest.nll_, rtol=0, atol=1e-6)
    assert_allclose(clf.coef_, rest.coef_, atol=1e-4)
    assert clf.n_iter_ < 300


@pytest.mark.parametrize(
    "change", [np.asarray, sparse.csr_array, lambda X: X * [1e-6, 1.0, 1e3, 1e6] + [0, 1e3, 0, 1e9]]
)
@pytest.mark.parametrize(
    "how", [{}, {"C": 1.0}, {"fit_intercept": False}, {"bounds": (-0.3, 0.5)}, {"l1_ratio": 0.5, "C": 0.1}]
)
def test_coordinates_may_change_on_the_way(how, change, monkeypatch):
    X, y = overlapping(3)
    X = change(X)
    expected = SoftmaxMLEClassifier(**how).fit(X, y)
    monkeypatch.setattr("sklearn_mle._estimate._PATIENT_ITERATIONS", 2)
    clf = SoftmaxMLEClassifier(**how).fit(X, y)
    assert clf.converged_
    assert len(clf.loss_curve_) == clf.n_iter_ >= 3
    assert (np.diff(clf.loss_curve_) <= 1e-12).all()
    assert_allclose(clf.nll_, expected.nll_, rtol=1e-9)
    assert_allclose(clf.predict_proba(X), expected.predict_proba(X), atol=1e-6)
    assert SoftmaxMLEClassifier(**how, max_iter=3).fit(X, y).n_iter_ <= 3


@pytest.mark.parametrize("seed", range(6))
def test_rows_that_no_sample_has_are_told_to_be_separated(seed):
    """Five of 60,000 rows have a column to themselves, and one class: a start from a sixteenth of them lacks these."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((60_000, 2))
    rare = rng.choice(len(X), 5, replace=False)
    X[:, 0] = 0.0
    X[rare, 0] = 1.0
    y = (X[:, 1] + rng.logistic(size=len(X)) > 0).astype(int)
    y[rare] = 1
    with pytest.warns(SeparationWarning, match="quasi-completely separated: 1, by features x0"):
        SoftmaxMLEClassifier().fit(X, y)


def test_separation_shows_in_a_last_step_with_an_old_hessian():
    """Two rows that the start has on the wrong side: one step takes them over, and little is left of their slope."""
    rng = np.random.default_rng(130)
    rng.choice([2, 3]), rng.choice([2000, 20000, 60000]), rng.choice([2, 8, 20]), rng.choice([2, 5, 20])
    X = rng.standard_normal((20_000, 8))
    rare = rng.choice(len(X), 2, replace=False)
    X[:, 0] = 0.0
    X[rare, 0] = 10 ** rng.uniform(-2, 2)
    y = (X[:, 1:] @ rng.standard_normal((7, 3)) * 0.5 + rng.gumbel(size=(len(X), 3))).argmax(axis=1)
    y[rare] = 1
    rng.choice(5)
    w = 10 ** rng.uniform(-2, 2, len(X))
    with pytest.warns(SeparationWarning, match="quasi-completely separated: 1, by features x0"):
        SoftmaxMLEClassifier().fit(X, y, sample_weight=w)


def test_separation_is_found_in_other_coordinates(monkeypatch):
    monkeypatch.setattr("sklearn_mle._estimate._PATIENT_ITERATIONS", 2)
    X, y = load_iris(return_X_y=True)
    with pytest.warns(SeparationWarning, match="quasi-completely separated: 0, by features"):
        SoftmaxMLEClassifier().fit(X, y)


def test_rows_of_great_leverage_do_not_end_short_of_the_minimum():
    rng = np.random.default_rng(1)
    n, p, K = 500, 40, 4
    X = rng.normal(size=(n, p))
    y = (X @ rng.normal(scale=1.5 / np.sqrt(p), size=(p, K)) + rng.gumbel(size=(n, K))).argmax(axis=1)
    X[rng.choice(n, 5)] *= 1e5
    clf = SoftmaxMLEClassifier(C=1.0).fit(X, y)
    residual = clf.predict_proba(X) - np.eye(K)[y]
    slope = residual.T @ X + clf.coef_
    assert np.abs(slope / np.linalg.norm(X, axis=0)).max() < 1e-6
