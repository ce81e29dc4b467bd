"""The softmax likelihood of a block of rows: values, residuals, curvature, and logits far out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, log_expit, logsumexp

from sklearn_mle._softmax import curvature_product, log_softmax, nll_and_residual, softmax

# Roundings of logits of order ten.
TOLERANCE = {"d": 1e-13, "f": 1e-5}


def block(seed=0, n_outputs=4, n_rows=7, scale=3.0, dtype="d"):
    """Outputs (J, B), class indices (B,) and distributions (K, B)."""
    rng = np.random.default_rng(seed)
    n_classes = max(n_outputs, 2)
    z = (scale * rng.normal(size=(n_outputs, n_rows))).astype(dtype)
    soft = rng.dirichlet(np.ones(n_classes), size=n_rows).T.astype(dtype)
    return z, rng.integers(n_classes, size=n_rows).astype(np.int32), np.ascontiguousarray(soft)


def by_class(z):
    """Logits of all classes: (0, z) where there is one output."""
    return np.concatenate([np.zeros_like(z), z]) if len(z) == 1 else z


def reference_log_proba(z):
    logits = by_class(np.asarray(z, dtype=np.float64))
    return logits - logsumexp(logits, axis=0)


@pytest.mark.parametrize("dtype", ["d", "f"])
@pytest.mark.parametrize("n_outputs", [1, 2, 3, 10])
def test_probabilities_and_their_logarithms(n_outputs, dtype):
    z, _, _ = block(n_outputs=n_outputs, dtype=dtype)
    expected = reference_log_proba(z)
    assert softmax(z).dtype == log_softmax(z).dtype == np.dtype(dtype)
    assert_allclose(log_softmax(z), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    assert_allclose(softmax(z), np.exp(expected), rtol=TOLERANCE[dtype])
    assert_allclose(softmax(z).sum(axis=0), 1, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["d", "f"])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 2, 3, 10])
def test_nll_and_residual(n_outputs, soft, dtype):
    z, labels, rows = block(n_outputs=n_outputs, dtype=dtype)
    y = rows if soft else labels
    Y = rows.astype(np.float64) if soft else np.eye(len(by_class(z)))[labels].T
    log_proba = reference_log_proba(z)
    kept = np.empty_like(z)
    nll, residual = nll_and_residual(z.copy(), y, kept)
    assert nll.dtype == residual.dtype == np.dtype(dtype)
    assert_allclose(nll, -(Y * log_proba).sum(axis=0), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    start = 1 if n_outputs == 1 else 0
    assert_allclose(residual, (np.exp(log_proba) - Y)[start:], atol=TOLERANCE[dtype])
    if n_outputs > 1:
        assert_allclose(kept, np.exp(log_proba), rtol=TOLERANCE[dtype])
        return
    # Of two classes it is the wrong one's where there is one.
    proba = np.exp(log_proba)[1] if soft else np.exp(log_proba)[1 - y, np.arange(len(y))]
    assert_allclose(kept[0], proba, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("n_outputs", [1, 2, 5])
def test_one_hot_rows_cost_what_labels_cost(n_outputs):
    z, labels, _ = block(n_outputs=n_outputs)
    one_hot = np.ascontiguousarray(np.eye(max(n_outputs, 2))[labels].T)
    for from_labels, from_rows in zip(
        nll_and_residual(z.copy(), labels), nll_and_residual(z.copy(), one_hot), strict=True
    ):
        assert_allclose(from_labels, from_rows, rtol=1e-14)


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("soft", [False, True])
def test_the_residual_is_the_derivative(n_outputs, soft):
    z, labels, rows = block(n_outputs=n_outputs)
    y = rows if soft else labels
    _, residual = nll_and_residual(z.copy(), y)
    step = 1e-6
    for k in range(n_outputs):
        ahead, behind = z.copy(), z.copy()
        ahead[k] += step
        behind[k] -= step
        slope = (nll_and_residual(ahead, y)[0] - nll_and_residual(behind, y)[0]) / (2 * step)
        assert_allclose(residual[k], slope, atol=1e-8)


@pytest.mark.parametrize("n_outputs", [1, 2, 3, 6])
def test_curvature_product_is_the_derivative_of_the_residual(n_outputs):
    z, labels, _ = block(n_outputs=n_outputs)
    dz = np.random.default_rng(1).normal(size=z.shape)
    proba = softmax(z)
    product = curvature_product(proba[1:] if n_outputs == 1 else proba, dz.copy())
    step = 1e-6
    ahead = nll_and_residual(z + step * dz, labels)[1]
    behind = nll_and_residual(z - step * dz, labels)[1]
    assert_allclose(product, (ahead - behind) / (2 * step), atol=1e-8)


FINITE = hnp.arrays(np.float64, (3, 4), elements=st.floats(-50, 50))


@given(FINITE, st.floats(-1e3, 1e3))
def test_one_number_added_to_all_logits_changes_nothing(z, shift):
    assert_allclose(log_softmax(z + shift), log_softmax(z), atol=1e-12)
    assert_allclose(softmax(z + shift), softmax(z), atol=1e-12)


@given(FINITE, st.permutations(range(3)))
def test_classes_can_be_permuted(z, order):
    order = list(order)
    labels = np.array([0, 1, 2, 1], dtype=np.int32)
    place = np.argsort(order).astype(np.int32)
    nll, residual = nll_and_residual(z.copy(), labels)
    permuted_nll, permuted_residual = nll_and_residual(z[order].copy(), place[labels])
    assert_allclose(permuted_nll, nll, atol=1e-13)
    assert_allclose(permuted_residual, residual[order], atol=1e-14)


@given(hnp.arrays(np.float64, (1, 5), elements=st.floats(-800, 800)))
def test_one_output_is_the_logistic_model(z):
    """It is written with exp(-|z|) alone, so that neither tail loses its digits."""
    assert_allclose(log_softmax(z), np.concatenate([log_expit(-z), log_expit(z)]), rtol=1e-13, atol=0)
    assert_allclose(softmax(z), np.concatenate([expit(-z), expit(z)]), rtol=1e-13, atol=1e-300)
    two = np.concatenate([np.zeros_like(z), z])
    assert_allclose(log_softmax(z), log_softmax(two), atol=1e-12)
    for label in (0, 1):
        y = np.full(5, label, dtype=np.int32)
        assert_allclose(nll_and_residual(z.copy(), y)[0], -log_softmax(z)[label], rtol=1e-13)


@pytest.mark.parametrize("size", [1e4, 1e100, 1e300])
def test_logits_far_out_have_the_right_price(size):
    z = np.array([[size], [0.0], [-size]])
    with np.errstate(all="raise", under="ignore"):
        assert_array_equal(log_softmax(z), [[0.0], [-size], [-2 * size]])
        assert_array_equal(softmax(z), [[1.0], [0.0], [0.0]])
        for label, price in enumerate([0.0, size, 2 * size]):
            nll, residual = nll_and_residual(z.copy(), np.array([label], dtype=np.int32))
            assert_array_equal(nll, [price])
            assert_array_equal(residual[:, 0], [1, 0, 0] - np.eye(3)[label])
        for score in (size, -size):
            one = np.array([[score]])
            assert_array_equal(log_softmax(one), [[min(-score, 0.0)], [min(score, 0.0)]])
            wrong = np.array([int(score < 0)], dtype=np.int32)
            assert_array_equal(nll_and_residual(one.copy(), wrong)[0], [size])
