"""Products in pieces are the products."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from sklearn_mle import _products
from sklearn_mle._products import sum_over_rows, times_rows

SIZES = st.tuples(st.integers(1, 5), st.integers(0, 7), st.integers(0, 40))
LAYOUTS = {
    "rows": np.ascontiguousarray,
    "columns": np.asfortranarray,
    "a part": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
}


def drawn(*shape):
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(size=SIZES, width=st.integers(1, 12))
def test_pieces_of_any_length_give_the_products(layout, size, width):
    n_outputs, p, n_rows = size
    X, weights, A = LAYOUTS[layout](drawn(n_rows, p)), drawn(n_outputs, p), drawn(n_outputs, n_rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_products, "_PIECE_ROWS", (1, width))
        z = times_rows(weights, X)
        total = sum_over_rows(A, X)
    assert z.flags.c_contiguous
    assert_allclose(z, weights @ X.T, rtol=1e-13, atol=1e-13)
    assert_allclose(total, A @ X, rtol=1e-13, atol=1e-13)


def test_long_products_are_taken_in_pieces_and_wide_ones_are_not():
    assert _products._pieces(5000, 54 * 7) == (1024, 4096)
    assert _products._pieces(5000, 784 * 784) == (1, 0)
    assert _products._pieces(100, 54 * 7) == (1, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_have_the_dtype_of_the_rows(dtype):
    X = drawn(3000, 5).astype(dtype)
    z = times_rows(drawn(2, 5).astype(dtype), X)
    assert z.dtype == dtype
    assert sum_over_rows(z, X).dtype == dtype


def test_a_result_is_written_where_it_is_asked_for():
    X, weights, out = drawn(3000, 5), drawn(2, 5), np.empty((3, 3000))
    assert times_rows(weights, X, out=out[:2]).base is out
    assert_allclose(out[:2], weights @ X.T, rtol=1e-13)
