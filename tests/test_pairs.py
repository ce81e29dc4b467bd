"""Pairs of classes: they make up the curvature, from all of them or from draws, however many there are."""

import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_mle import SoftmaxMLEClassifier
from sklearn_mle._layout import Layout, gauge_basis
from sklearn_mle._network import Network
from sklearn_mle._objective import NegativeLogLikelihood
from sklearn_mle._pairs import between_logits, draw_pairs, number_of_pairs, pair_weights
from sklearn_mle._precondition import null_coordinates
from sklearn_mle._problem import RoundProblem
from sklearn_mle._samples import Samples
from sklearn_mle._softmax import softmax


@pytest.mark.parametrize("n_outputs", [1, 2, 3, 6])
def test_pair_weights_make_up_the_curvature(n_outputs):
    proba = softmax(3 * np.random.default_rng(0).normal(size=(n_outputs, 7)))
    proba = proba[1:] if n_outputs == 1 else proba
    weights = pair_weights(proba)
    if n_outputs == 1:
        assert_allclose(weights, proba * (1 - proba))
        return
    first, second = np.triu_indices(n_outputs, 1)
    contrasts = np.eye(n_outputs)[first] - np.eye(n_outputs)[second]
    assert weights.shape == (len(contrasts), proba.shape[1])
    for p, w in zip(proba.T, weights.T, strict=True):
        assert_allclose((contrasts.T * w) @ contrasts, np.diag(p) - np.outer(p, p), atol=1e-15)


def test_a_pair_is_drawn_in_proportion_to_its_product():
    proba = np.array([0.5, 0.3, 0.0, 0.2])
    n_rows = 200_000
    pairs = draw_pairs(proba[:, None], np.zeros(n_rows, dtype=np.intp), np.random.default_rng(0))
    weights = pair_weights(proba[:, None])[:, 0]
    assert_allclose(np.bincount(pairs, minlength=6) / n_rows, weights / weights.sum(), atol=4e-3)
    assert not np.isin(pairs, np.flatnonzero(weights == 0)).any()


@pytest.mark.parametrize("all_logits", [True, False])
@pytest.mark.parametrize("n_outputs", [1, 2, 5, 16, 17, 40])
def test_pairs_come_to_logits_by_their_contrasts(n_outputs, all_logits):
    of_pairs = np.random.default_rng(n_outputs).exponential(size=(number_of_pairs(n_outputs), 3))
    found = between_logits(of_pairs, n_outputs, all_logits)
    if n_outputs == 1:
        assert_allclose(found, of_pairs)
        return
    basis = np.eye(n_outputs) if all_logits else gauge_basis(n_outputs)
    first, second = np.triu_indices(n_outputs, 1)
    contrasts = basis[first] - basis[second]
    expected = np.einsum("am,an,at->mnt", contrasts, contrasts, of_pairs)
    assert_allclose(found, expected.reshape(-1, 3), atol=1e-12 * expected.max())


def many_classes(n_classes=30, n_rows=4000):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 3)) * [1e-2, 1.0, 50.0]
    return X, rng.integers(0, n_classes, n_rows).astype(np.int32)


def test_hessian_of_many_classes_has_the_products_with_it():
    X, y = many_classes()
    layout = Layout((X.shape[1], 30))
    objective = NegativeLogLikelihood(Network(layout), Samples(X, y, None, n_classes=30), 2.0)
    coordinates, _ = null_coordinates(layout, objective.samples, 2.0)
    problem = RoundProblem(objective, coordinates)
    rng = np.random.default_rng(1)
    psi, direction = rng.normal(size=(2, problem.size))
    expected = problem.hessp(psi, direction)
    assert_allclose(problem.hessian(psi) @ direction, expected, atol=1e-10 * np.abs(expected).max())


def test_hundreds_of_classes_take_little_memory():
    # A matrix from pairs of classes to pairs of logits would have 360 million entries.
    X, y = many_classes(n_classes=165)
    SoftmaxMLEClassifier().fit(X[:100, :1], y[:100] % 2)
    tracemalloc.start()
    clf = SoftmaxMLEClassifier().fit(X, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(clf.classes_) == 165
    assert clf.optimize_result_.success
    assert peak < 200 * 2**20
