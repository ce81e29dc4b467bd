"""Second moments with many weightings, and draws of the terms of their sums."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from sklearn_mle._moments import moments_of_columns, moments_of_groups, moments_of_rows, repeated, square
from sklearn_mle._samples import Samples


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


def test_moments_of_groups_are_those_of_each():
    sizes = np.array([1, 4, 1, 30, 2])
    columns = drawn(5, sizes.sum())
    ends = np.cumsum(sizes)
    expected = [
        columns[:, end - size : end] @ columns[:, end - size : end].T for size, end in zip(sizes, ends, strict=True)
    ]
    assert_allclose(square(moments_of_groups(columns, sizes), 5), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("how", ["rows", "centred", "whitened"])
def test_moments_of_groups_of_few_rows_and_of_many(how, kind):
    X = drawn(500, 4)
    rng = np.random.default_rng(1)
    sizes = np.array([0, 3000, 2, 0, 1, 1500, 40, 0])
    rows = rng.integers(0, len(X), sizes.sum())
    center = None if how == "rows" else rng.normal(size=4)
    transform = rng.normal(size=(4, 3)) if how == "whitened" else None
    columns = X - (0 if center is None else center)
    columns = np.column_stack([columns if transform is None else columns @ transform, np.ones(len(X))])
    groups = np.split(columns[rows], np.cumsum(sizes)[:-1])
    samples = Samples(kind(X), np.zeros(len(X), dtype=np.int32), None, n_classes=2, n_threads=2)
    found = samples.moments_of(rows, sizes, center, transform, with_one=True)
    assert_allclose(found, [group.T @ group for group in groups], rtol=1e-10, atol=1e-10)


def test_a_row_is_drawn_as_often_as_its_share_says():
    shares = np.random.default_rng(1).exponential(size=200_000)
    rows = repeated(shares, 0.7, np.random.default_rng(0))
    counts = np.bincount(rows, minlength=len(shares))
    assert np.all(np.abs(counts - 0.7 * shares) < 1)
    assert_allclose(counts.sum(), 0.7 * shares.sum(), rtol=0.01)
    assert np.all(np.diff(rows) >= 0)
