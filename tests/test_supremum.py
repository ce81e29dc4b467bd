"""Fits of separated classes end within `tol` of the supremum, which is the maximum of the rows that stay level."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from sklearn_mle import SeparationWarning, SoftmaxMLEClassifier
from sklearn_mle._layout import Layout
from sklearn_mle._network import Network
from sklearn_mle._objective import NegativeLogLikelihood
from sklearn_mle._samples import Samples

TOL = 1e-3


def partly_separated(seed, K, small=1e-4, n_level=200, n_separated=100, p=6):
    """Rows of which some are of class 0 for sure, by a last column that is zero in all others.

    Most of these are of class 0 in all likelihood by the other columns, too, and their last entries are small: steps
    that go on along the last column for the sake of the few others hardly gain anything of them.
    """
    rng = np.random.default_rng(seed)
    n, W = n_level + n_separated, rng.standard_normal((p, K))
    X = rng.standard_normal((n, p + 1))
    likely = np.linalg.pinv(W.T) @ np.eye(K)[0]
    X[n_level:, :p] = likely * rng.uniform(5.0, 9.0, (n_separated, 1)) + 0.1 * X[n_level:, :p]
    X[-3:, :p] = rng.standard_normal((3, p))
    y = (X[:, :p] @ W + rng.gumbel(size=(n, K))).argmax(axis=1)
    X[:n_level, p], X[n_level:, p] = 0.0, small * rng.uniform(0.5, 1.0, n_separated)
    X[-3:, p] = 1.0
    y[n_level:] = 0
    return X, y, np.arange(n) < n_level


def maximum(X, y, sample_weight=None):
    """The least negative log-likelihood of rows that overlap, by another library."""
    peer = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    peer.fit(X, y, sample_weight)
    own = peer.predict_log_proba(X)[np.arange(len(y)), y]
    return -np.sum(own if sample_weight is None else sample_weight * own)


def fitted(X, y, sample_weight=None, **params):
    with pytest.warns(SeparationWarning, match="quasi-completely separated"):
        return SoftmaxMLEClassifier(**params).fit(X, y, sample_weight)


@pytest.mark.parametrize("K", [2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_what_separated_rows_cost_is_within_tol_however_near_they_lie(seed, K):
    X, y, level = partly_separated(seed, K)
    clf = fitted(X, y)
    supremum = maximum(X[level, :-1], y[level])
    assert clf.converged_
    assert -1e-9 < clf.nll_ - supremum <= TOL
    assert clf.loss_curve_[-1] * len(y) == pytest.approx(clf.nll_, rel=1e-9)


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix], ids=["dense", "csr"])
@pytest.mark.parametrize("solver", ["auto", "lbfgs", "trust-exact"])
def test_whatever_the_solver_the_weights_and_the_units(solver, convert):
    X, y, level = partly_separated(5, 3)
    w = np.random.default_rng(5).uniform(0.2, 5.0, len(y))
    w[::17] = 0.0
    supremum = maximum(X[level, :-1], y[level], w[level])
    units = np.array([1e-3, 1.0, 1e4, 1e-5, 1e6, 1.0, 1e3])
    clf = fitted(convert(X * units), y, w, solver=solver)
    assert -1e-9 < clf.nll_ - supremum <= TOL


def test_columns_far_from_zero():
    X, y, level = partly_separated(6, 3, small=1e-3)
    supremum = maximum(X[level, :-1], y[level])
    clf = fitted(X + np.array([1e4, -1e3, 0.0, 10.0, 0.0, 0.0, 0.0]), y)
    assert -1e-7 < clf.nll_ - supremum <= TOL


def test_complete_separation_of_rows_that_lie_near_each_other():
    rng = np.random.default_rng(0)
    x = 10.0 ** -rng.uniform(0, 6, 80) * np.where(np.arange(80) % 2, 1, -1)
    with pytest.warns(SeparationWarning, match="completely separated"):
        clf = SoftmaxMLEClassifier().fit(x[:, None], x > 0)
    assert 0 < clf.nll_ <= TOL


@pytest.mark.parametrize("tol", [0.1, 1e-6])
def test_tol_is_what_counts(tol):
    X, y, level = partly_separated(7, 2)
    assert -1e-9 < fitted(X, y, tol=tol).nll_ - maximum(X[level, :-1], y[level]) <= tol


def test_what_a_callable_has_found_stands():
    X, y, _ = partly_separated(8, 2)
    ends = []

    def solver(fun, x0, args=(), jac=None, **options):
        from scipy.optimize import minimize

        ends.append(minimize(fun, x0, jac=jac, method="BFGS", options={"gtol": 1e-2}))
        return ends[-1]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clf = SoftmaxMLEClassifier(solver=solver).fit(X, y)
    assert clf.nll_ == pytest.approx(ends[-1].fun, rel=1e-9)


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("soft", [False, True])
def test_the_value_without_pairs_is_the_limit_along_a_direction_that_rules_them_out(K, soft):
    rng = np.random.default_rng(K)
    n, p = 30, 3
    X = rng.standard_normal((n, p))
    X[:, -1] = np.abs(X[:, -1]) * (np.arange(n) % 2)
    y = rng.integers(0, K, n).astype(np.int32)
    y[1::2] = 0
    targets = y
    if soft:
        targets = rng.dirichlet(np.ones(K), n).T
        targets[:, 1::2] = np.eye(K)[0][:, None]
    w = rng.uniform(0.5, 2.0, n)
    samples = Samples(X, targets, w, n_classes=K)
    layout = Layout((p, 1 if K == 2 else K), True)
    objective = NegativeLogLikelihood(Network(layout), samples)
    J = layout.widths[-1]
    theta = layout.pack([(rng.standard_normal((J, p)), rng.standard_normal(J))])
    V = np.zeros((J, p))
    V[:, -1] = -1.0
    if K > 2:
        V[0, -1] = 1.0
    far = theta + 1e6 * layout.pack([(V, np.zeros(J))])
    ruled_out = np.zeros((n, K), dtype=bool)
    ruled_out[1::2, 1:] = True
    assert objective.value_without(theta, ruled_out) == pytest.approx(objective.value(far), rel=1e-12)
    assert objective.value_without(theta, np.zeros((n, K), dtype=bool)) == pytest.approx(objective.value(theta))
