"""Which features are named for separation: single columns, few together, many."""

import itertools
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from sklearn_mle import SeparationWarning, SoftmaxMLEClassifier, _recession, _separation
from sklearn_mle._separation import SeparationKind, diagnose_separation

QUASI, COMPLETE = SeparationKind.QUASI_COMPLETE, SeparationKind.COMPLETE


def drawn(n, p, K, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, (X @ rng.standard_normal((p, K)) + 2.0 * rng.gumbel(size=(n, K))).argmax(axis=1)


def margins(finding, X, y):
    logits = np.c_[X, np.ones(len(X))] @ finding.direction.T
    own = logits[np.arange(len(y)), y][:, None] - logits
    own[np.arange(len(y)), y] = np.nan
    return own


def separates(columns, X, y):
    """Whether some columns separate completely, by a diagnosis of them alone."""
    return diagnose_separation(X[:, list(columns)], y).kind is COMPLETE


def test_a_column_that_is_constant_but_for_its_rounding_separates_nothing():
    X = np.column_stack([np.where(np.arange(449) % 3, 88101.0, 88502.0), np.full(449, -78.905417)])
    y = (X[:, 0] > 88300).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for rows in (X, sparse.csr_array(X)):
            with pytest.warns(SeparationWarning, match="completely separated: 0, 1, by features x0"):
                SoftmaxMLEClassifier().fit(rows, y)


@pytest.mark.parametrize("K", [2, 3])
def test_dummies_are_named_without_a_program(K, monkeypatch):
    def linprog(*args, **kwargs):
        raise AssertionError("a linear program was solved")

    X, y = drawn(600, 4, K)
    rare = [(y == k) & (np.arange(600) % (7 + k) == 0) for k in range(2)]
    X = np.c_[X, np.transpose(rare)]
    candidate = np.zeros((K, 7))
    candidate[0, 4] = candidate[1, 5] = 1.0
    # The probabilities of a fit to the rows that are left prove that nothing more is separated.
    left = ~np.any(rare, axis=0)
    fit = LogisticRegression(C=np.inf, tol=1e-8).fit(X[left, :4], y[left])
    coef, intercept = (np.vstack([0 * a, a]) if K == 2 else a for a in (fit.coef_, fit.intercept_[:, None]))
    estimate = np.hstack([coef, 30.0 * candidate[:, 4:6], intercept])
    monkeypatch.setattr(_recession, "linprog", linprog)
    finding = diagnose_separation(X, y, candidate=candidate, estimate=estimate)
    assert finding.kind is QUASI
    assert finding.features == (4, 5)
    assert finding.reason == ""


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_needed, K", [(2, 2), (3, 2), (2, 3), (4, 2)])
def test_a_few_that_separate_together_are_named_alone(n_needed, K, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((400, 12))
    V = np.zeros((K, 13))
    V[:, :n_needed] = np.arange(K)[:, None] * rng.choice([-1.0, 1.0], n_needed) * rng.uniform(0.5, 1.5, n_needed)
    V[1:-1, -1] = 0.5
    y = (np.c_[X, np.ones(400)] @ V.T).argmax(axis=1)
    finding = diagnose_separation(X, y, candidate=V + 1e-3 * rng.standard_normal((K, 13)))
    assert finding.kind is COMPLETE
    # With no gap between the classes nothing but these separates.
    assert finding.features == tuple(range(n_needed))
    assert finding.reason == ""


def test_a_few_among_many_columns_of_many_classes(monkeypatch):
    monkeypatch.setattr(_separation, "_NAMING_SECONDS", 60.0)
    # More unknowns than a program that chooses among all columns is asked for.
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 50))
    score = X[:, 7] - X[:, 31]
    y = np.searchsorted(np.quantile(score, np.linspace(0, 1, 11)[1:-1]), score)
    V = np.zeros((10, 51))
    V[:, 7], V[:, 31] = np.arange(10), -np.arange(10)
    V[:, -1] = -np.cumsum(np.append(0.0, np.quantile(score, np.linspace(0, 1, 11)[1:-1])))
    finding = diagnose_separation(X, y, candidate=V + 1e-6 * rng.standard_normal(V.shape))
    assert finding.kind is COMPLETE
    assert finding.features == (7, 31)


@pytest.mark.parametrize("seed", range(4))
def test_none_of_those_named_can_be_left_out(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((60, 8))
    y = (X[:, 0] + 0.3 * X[:, 1] > 0).astype(int)
    X[:, 0] += np.where(y == 1, 0.3, -0.3)  # a gap: others may help
    finding = diagnose_separation(X, y)
    assert finding.kind is COMPLETE
    assert finding.reason == ""
    assert separates(finding.features, X, y)
    for fewer in itertools.combinations(finding.features, len(finding.features) - 1):
        assert not fewer or not separates(fewer, X, y)


@pytest.mark.parametrize("K, p", [(2, 20), (4, 20), (8, 70)])
def test_many_together_are_said_to_be_many(K, p):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((900, p))
    V = rng.choice([-1.0, 1.0], (K, p + 1))
    y = (np.c_[X, np.ones(900)] @ V.T).argmax(axis=1)
    finding = diagnose_separation(X, y, candidate=V)
    assert finding.kind is COMPLETE
    assert len(finding.features) > 8
    assert "not all of them may be needed" in finding.reason
    assert np.nanmin(margins(finding, X, y)) > 0


def test_what_others_do_is_not_named():
    # Column 0 separates all rows; column 1 some, which then do not need it.
    rng = np.random.default_rng(0)
    y = np.arange(100) % 2
    X = np.c_[np.where(y == 1, 1.0, -1.0) * rng.uniform(1, 2, 100), (y == 1) & (np.arange(100) < 20)]
    X = np.c_[rng.standard_normal((100, 3)), X]
    finding = diagnose_separation(X, y)
    assert finding.kind is COMPLETE
    assert finding.features == (3,)
    # A dummy of rows that a combination separates, too.
    score = X[:, 0] - X[:, 1]
    y = (score > 0).astype(int)
    X[:, :2] += np.where(y == 1, 0.1, -0.1)[:, None] * [1.0, -1.0]
    X = np.c_[X[:, :3], (y == 1) & (np.arange(100) < 20)]
    finding = diagnose_separation(X, y)
    assert finding.kind is COMPLETE
    assert finding.features == (0, 1)


def test_hundreds_of_columns_that_separate_alone():
    y = np.arange(2000) % 2
    X = np.zeros((2000, 300))
    X[np.arange(0, 600), np.arange(0, 600) % 300] = 1.0  # each of the rows of one class
    finding = diagnose_separation(X, y)
    assert finding.kind is QUASI
    assert len(finding.features) == 300
    assert "300 columns" in finding.reason
