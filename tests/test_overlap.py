"""The proof that nothing more is separated: never wrong, and found where a fit is at hand."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from sklearn_mle._margins import ScaledRows
from sklearn_mle._overlap import nothing_left
from sklearn_mle._recession import RecessionCone
from sklearn_mle._separation import SeparationKind, diagnose_separation

SMALL = st.integers(-2, 2)


def cone_of(X, y, K, intercept=True):
    rows = ScaledRows(X, y, K, None, intercept)
    return rows, RecessionCone(rows, None, time.monotonic() + 60.0)


def fitted(X, y):
    fit = LogisticRegression(C=np.inf, tol=1e-8, max_iter=10_000).fit(X, y)
    V = np.c_[fit.coef_, fit.intercept_]
    return np.vstack([0 * V, V]) if len(V) == 1 else V


@given(st.data(), st.integers(3, 14), st.integers(1, 3), st.integers(2, 4), st.booleans())
def test_it_is_never_claimed_of_what_is_separated(data, n, p, K, intercept):
    X = np.array(data.draw(st.lists(st.lists(SMALL, min_size=p, max_size=p), min_size=n, max_size=n)), dtype=float)
    y = np.array(data.draw(st.lists(st.integers(0, K - 1), min_size=n, max_size=n)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows, cone = cone_of(X, y, K, intercept)
    open_ = rows.outside & (rng.random(rows.outside.shape) < rng.choice([0.5, 1.0]))
    # Estimates that no fit has seen, small and large.
    estimate = rng.standard_normal((K, rows.q)) * 10.0 ** rng.uniform(-3, 2)
    if nothing_left(cone, open_, estimate) and open_.any():
        # Only the pairs that were asked for count as constraints there.
        rows.outside = open_
        assert RecessionCone(rows, None, time.monotonic() + 60.0).find(open_) is None


@pytest.mark.parametrize("K", [2, 3, 6])
@pytest.mark.parametrize("collinear", [False, True])
def test_a_fit_proves_it(K, collinear):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1500, 4)) * [1.0, 1e3, 1e-3, 1.0]
    y = (X @ rng.standard_normal((4, K)) * 1e-3 + rng.gumbel(size=(1500, K))).argmax(axis=1)
    estimate = fitted(X / X.std(axis=0), y) / np.append(X.std(axis=0), 1.0)
    if collinear:
        X, estimate = np.c_[X, X[:, 0] - X[:, 3]], np.insert(estimate, 4, 0.0, axis=1)
    rows, cone = cone_of(X, y, K)
    assert nothing_left(cone, rows.outside, rows.from_original(estimate))
    assert cone.find(rows.outside) is None
    # A direction that separates some of the rows leaves the proof to the others.
    dummy = ((y == 0) & (np.arange(1500) % 9 == 0)).astype(float)
    rows, cone = cone_of(np.c_[X, dummy], y, K)
    estimate = np.insert(estimate, -1, 0.0, axis=1)
    estimate[0, -2] = 15.0
    left = rows.outside & (dummy == 0)[:, None]
    assert not nothing_left(cone, rows.outside, rows.from_original(estimate))
    assert nothing_left(cone, left, rows.from_original(estimate))


def test_ties_that_cancel_exactly_hide_nothing():
    # The pair of rows 0 and 2 balances at 1/2 each; what the others add, e^-20 or so, is below the rounding of that.
    X, y = np.array([[1.0, 1], [1, -1], [1, 1], [-1, -1], [-1, -1]]), np.array([1, 1, 0, 1, 0])
    for far in (1.0, 10.0, 20.0, 40.0, 300.0):
        estimate = far * np.array([[0.0, 0.0], [1.0, -1.0]])
        finding = diagnose_separation(X, y, fit_intercept=False, estimate=estimate)
        assert finding.kind is SeparationKind.QUASI_COMPLETE


@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.floats(10.0, 100.0))
def test_planted_directions_are_never_proved_away(seed, K, far):
    rng = np.random.default_rng(seed)
    n, p = rng.integers(5, 20), rng.integers(2, 4)
    X, V = rng.integers(-1, 2, (n, p)).astype(float), rng.integers(-1, 2, (K, p))
    logits = X @ V.T
    # Of the classes that tie for the largest logit, any.
    y = np.array([rng.choice(np.flatnonzero(row == row.max())) for row in logits])
    rows, cone = cone_of(X, y, K, intercept=False)
    if rows.separated(rows.from_original(V)).any():
        assert not nothing_left(cone, rows.outside, rows.from_original(far * V))


def test_estimates_that_are_no_numbers_prove_nothing():
    X, y = np.array([[0.0], [1.0], [1.0], [2.0]]), np.array([0, 1, 0, 1])
    rows, cone = cone_of(X, y, 2)
    for bad in (np.nan, np.inf):
        assert not nothing_left(cone, rows.outside, np.full((2, 2), bad))


def test_it_is_not_tried_where_programs_are_better():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((200, 3)), rng.dirichlet(np.ones(3), size=200)
    rows, cone = cone_of(X, Y, 3)
    assert not nothing_left(cone, rows.outside, np.zeros((3, 4)))
