"""Second moments with many weightings, and draws of the terms of their sums."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_mle._moments import draw_pairs, moments_of_columns, moments_of_rows, repeated, square
from sklearn_mle._softmax import pair_weights


def drawn(*shape):
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize("with_one", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_moments_of_rows_are_their_sums(weighted, with_one):
    X = drawn(3000, 20)
    weights = np.random.default_rng(1).uniform(size=(3, 3000)) if weighted else None
    rows = np.column_stack([X, np.ones(len(X))]) if with_one else X
    expected = [(rows.T * w) @ rows for w in (np.ones((1, 3000)) if weights is None else weights)]
    assert_allclose(moments_of_rows(X, weights, with_one), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("n_rows", [1, 40, 6000])
@pytest.mark.parametrize("n_weights", [1, 3, 10])
def test_moments_of_columns_are_those_of_the_rows(n_weights, n_rows):
    columns, weights = drawn(5, n_rows), np.random.default_rng(1).uniform(size=(n_weights, n_rows))
    moments = square(moments_of_columns(weights, columns), 5)
    assert_allclose(moments, moments_of_rows(np.ascontiguousarray(columns.T), weights, False), rtol=1e-11, atol=1e-11)


def test_a_pair_is_drawn_in_proportion_to_its_product():
    proba = np.array([0.5, 0.3, 0.0, 0.2])
    n_rows = 200_000
    pairs = draw_pairs(np.tile(proba[:, None], n_rows), np.random.default_rng(0))
    weights = pair_weights(proba[:, None])[:, 0]
    assert_allclose(np.bincount(pairs, minlength=6) / n_rows, weights / weights.sum(), atol=4e-3)
    assert not np.isin(pairs, np.flatnonzero(weights == 0)).any()


def test_a_row_is_drawn_as_often_as_its_share_says():
    shares = np.random.default_rng(1).exponential(size=200_000)
    rows = repeated(shares, 0.7, np.random.default_rng(0))
    counts = np.bincount(rows, minlength=len(shares))
    assert np.all(np.abs(counts - 0.7 * shares) < 1)
    assert_allclose(counts.sum(), 0.7 * shares.sum(), rtol=0.01)
    assert np.all(np.diff(rows) >= 0)
