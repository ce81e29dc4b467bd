"""Blocks of weights and flat theta: inverses, views, the penalty's mask, the gauge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_mle._layout import Layout, gauge_basis

WIDTHS = st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple)


@given(WIDTHS, st.booleans(), st.booleans())
def test_pack_is_the_inverse_of_unpack(widths, fit_intercept, by_feature):
    layout = Layout(widths, fit_intercept, by_feature)
    theta = np.arange(float(layout.size))
    layers = layout.unpack(theta)
    assert len(layers) == layout.n_layers == len(widths) - 1
    for (weights, intercepts), n_in, n_out in zip(layers, widths[:-1], widths[1:], strict=True):
        assert weights.shape == (n_out, n_in)
        assert (intercepts is not None) == fit_intercept
        if intercepts is not None:
            assert intercepts.shape == (n_out,)
    assert_array_equal(layout.pack(layers), theta)


def test_the_order_of_theta():
    weights = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert_array_equal(Layout((3, 2)).pack([(weights, np.array([7.0, 8.0]))]), np.arange(1.0, 9.0))
    assert_array_equal(Layout((3, 2), False).pack([(weights, None)]), np.arange(1.0, 7.0))


def test_the_order_of_theta_by_feature():
    weights = np.array([[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]])
    layout = Layout((3, 2), by_feature=True)
    theta = layout.pack([(weights, np.array([7.0, 8.0]))])
    assert_array_equal(theta, np.arange(1.0, 9.0))
    # What sparse rows multiply needs no copy.
    assert layout.unpack(theta)[0][0].T.flags.c_contiguous


def test_theta_is_float64_and_its_blocks_are_views():
    layout = Layout((3, 2))
    theta = layout.pack([(np.ones((2, 3), dtype=np.float32), np.zeros(2, dtype=np.float32))])
    assert theta.dtype == np.float64
    ((weights, intercepts),) = layout.unpack(theta)
    weights[1, 2] = 5.0
    intercepts[0] = 6.0
    assert theta[5] == 5.0
    assert theta[6] == 6.0


@given(WIDTHS, st.booleans())
def test_the_prior_is_on_weights_never_on_intercepts(widths, fit_intercept):
    layout = Layout(widths, fit_intercept)
    for weights, intercepts in layout.unpack(layout.penalty_mask()):
        assert weights.all()
        assert intercepts is None or not intercepts.any()


@pytest.mark.parametrize("n_outputs", [1, 2, 3, 10])
def test_the_gauge_basis_spans_the_logits_whose_sum_is_zero(n_outputs):
    basis = gauge_basis(n_outputs)
    n_logits = 1 if n_outputs == 1 else n_outputs - 1
    assert basis.shape == (n_outputs, n_logits)
    assert_allclose(basis.T @ basis, np.eye(n_logits), atol=1e-14)
    if n_outputs > 1:
        assert_allclose(basis.sum(axis=0), 0, atol=1e-14)
        assert_allclose(basis @ basis.T, np.eye(n_outputs) - 1 / n_outputs, atol=1e-14)
