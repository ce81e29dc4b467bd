"""The problem of few rows with its columns kept, against the one that goes by blocks of rows."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.datasets import load_wine

from sklearn_mle import SoftmaxMLEClassifier
from sklearn_mle import _kept as module
from sklearn_mle._draws import representative
from sklearn_mle._kept import KeptProblem, round_problem, sampled_problem
from sklearn_mle._layout import Layout
from sklearn_mle._network import Network
from sklearn_mle._objective import NegativeLogLikelihood
from sklearn_mle._precondition import box_coordinates, null_coordinates
from sklearn_mle._problem import RoundProblem
from sklearn_mle._samples import Samples

N, P = 60, 4


def both(
    K, C=np.inf, fit_intercept=True, weighted=False, soft=False, kind=np.asarray, moved=False, dtype=float, box=False
):
    """The same problem in either way."""
    rng = np.random.default_rng(K)
    X = (rng.normal(size=(N, P)) * [1e-3, 1.0, 1e4, 5.0] + [0.0, 3.0, 1e4, -2.0]).astype(dtype)
    y = rng.dirichlet(np.ones(K), size=N).T if soft else rng.integers(0, K, N).astype(np.int32)
    w = rng.uniform(size=N) if weighted else None
    layout = Layout((P, 1 if K == 2 else K), fit_intercept)
    samples = Samples(kind(X), np.ascontiguousarray(y), w, n_classes=K)
    if box:
        free = np.full((layout.widths[-1], P), np.inf)
        coordinates, _, _ = box_coordinates(layout, samples, C, (-free, free))
    else:
        coordinates, _ = null_coordinates(layout, samples, C)
    if moved:
        theta = coordinates.push(rng.normal(size=coordinates.size))
        coordinates = coordinates.moved_to(theta)
    objective = NegativeLogLikelihood(Network(layout), samples, C)
    return KeptProblem(objective, coordinates), RoundProblem(objective, coordinates)


@pytest.mark.parametrize("K", [2, 3, 6])
@pytest.mark.parametrize("C", [np.inf, 0.7])
@pytest.mark.parametrize(
    "case",
    [
        {},
        {"fit_intercept": False},
        {"weighted": True},
        {"soft": True, "weighted": True},
        {"moved": True, "weighted": True},
        {"moved": True, "fit_intercept": False},
        {"kind": sparse.csr_array},
        {"box": True, "weighted": True},
        {"box": True, "moved": True},
    ],
    ids=str,
)
def test_it_is_the_same_problem(K, C, case):
    kept, blockwise = both(K, C, **case)
    rng = np.random.default_rng(0)
    for psi in (np.zeros(kept.size), 3 * rng.normal(size=kept.size)):
        value, grad = kept.value_and_grad(psi)
        expected, slope = blockwise.value_and_grad(psi)
        assert_allclose(value, expected, rtol=1e-12)
        assert_allclose(grad, slope, atol=1e-11 * np.abs(slope).max())
        assert_allclose(kept.penalty(psi), blockwise.penalty(psi), rtol=1e-10, atol=1e-14)
        hessian = blockwise.hessian(psi)
        assert_allclose(kept.hessian(psi), hessian, atol=1e-11 * np.abs(hessian).max())
        direction = rng.normal(size=kept.size)
        product = hessian @ direction
        assert_allclose(kept.hessp(psi, direction), product, atol=1e-11 * np.abs(product).max())
    # Elsewhere than where it was evaluated last.
    elsewhere = rng.normal(size=kept.size)
    hessian = blockwise.hessian(elsewhere)
    assert_allclose(kept.hessian(elsewhere), hessian, atol=1e-11 * np.abs(hessian).max())


def test_passes_are_counted_alike():
    kept, blockwise = both(3)
    counts = []
    for problem in (kept, blockwise):
        problem.objective.n_passes = 0.0
        psi = np.zeros(problem.size)
        problem.value_and_grad(psi)
        problem.hessp(psi, np.ones(problem.size))
        problem.hessian(psi)
        counts.append(problem.objective.n_passes)
    assert counts[0] == counts[1] > 3


def test_columns_are_kept_where_they_are_few(monkeypatch):
    kept, _ = both(3)
    assert isinstance(round_problem(kept.objective, kept.coordinates), KeptProblem)
    monkeypatch.setattr(module, "_MOST_ENTRIES", N * (P + 1) - 1)
    assert not isinstance(round_problem(kept.objective, kept.coordinates), KeptProblem)


@pytest.mark.usefixtures("in_single")
@pytest.mark.parametrize("C", [np.inf, 1.0])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_fit_does_not_depend_on_it(C, dtype, monkeypatch):
    X, y = load_wine(return_X_y=True)
    X = X[:, :3].astype(dtype)
    kept = SoftmaxMLEClassifier(C=C).fit(X, y)
    monkeypatch.setattr(module, "_MOST_ENTRIES", 0)
    blockwise = SoftmaxMLEClassifier(C=C).fit(X, y)
    tolerance = 1e-9 if dtype == np.float64 else 1e-3
    assert_allclose(kept.nll_, blockwise.nll_, atol=tolerance)
    assert_allclose(kept.predict_proba(X), blockwise.predict_proba(X), atol=tolerance)


def likelihood(n, K, seed=0, soft=False, weighted=False):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3))
    logits = X @ rng.normal(size=(3, K)) + np.linspace(3, 0, K)
    y = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1).astype(np.int32)
    if soft:
        y = np.ascontiguousarray(0.9 * np.eye(K)[y].T + 0.1 / K)
    w = rng.gamma(0.3, size=n) if weighted else None
    samples = Samples(X, y, w, n_classes=K)
    layout = Layout((3, 1 if K == 2 else K))
    coordinates, _ = null_coordinates(layout, samples, np.inf)
    return RoundProblem(NegativeLogLikelihood(Network(layout), samples), coordinates)


@pytest.mark.parametrize("K", [2, 4])
@pytest.mark.parametrize("case", [{}, {"weighted": True}, {"soft": True}], ids=str)
def test_a_sample_stands_for_all_rows(K, case):
    problem = likelihood(20_000, K, **case)
    part = sampled_problem(problem, 1000, 50)
    samples, all_of_them = part.objective.samples, problem.objective.samples
    assert samples.n_rows < 1300
    # Weights add up to those of all rows, class by class, and so does the likelihood anywhere.
    for found, expected in zip(samples.class_weights, all_of_them.class_weights, strict=True):
        assert_allclose(found, expected, rtol=4 / np.sqrt(expected * 1000 / all_of_them.total_weight))
    psi = 0.02 * np.random.default_rng(1).normal(size=problem.size)
    assert_allclose(part.value_and_grad(psi)[0], problem.value_and_grad(psi)[0], rtol=0.1)


def test_a_sample_has_rows_enough_of_a_rare_class():
    rng = np.random.default_rng(0)
    y = (rng.random(50_000) < 0.002).astype(np.int32)
    samples = Samples(rng.normal(size=(50_000, 2)), y, None, n_classes=2)
    samples = representative(samples, 1000, 60)
    counts = np.bincount(samples.y)
    assert 35 < counts[1] < 90
    assert_allclose(samples.class_weights, np.bincount(y), rtol=0.3)


def test_a_sample_takes_a_class_of_few_rows_whole_and_none_without_weight():
    y = np.zeros(5000, dtype=np.int32)
    y[:20] = 1
    w = np.ones(5000)
    w[10:20] = 0.0
    samples = Samples(np.arange(5000.0)[:, None], y, w, n_classes=2)
    samples = representative(samples, 100, 50)
    rare = samples.y == 1
    assert_array_equal(samples.X[rare, 0], np.arange(10))
    assert_array_equal(samples.w[rare], 1.0)


def test_rows_that_a_sample_takes_for_impossible_are_added_to_it():
    rng = np.random.default_rng(0)
    n = 40_000
    X = rng.normal(size=(n, 2))
    y = (X[:, 0] + rng.logistic(size=n) > 0).astype(np.int32)
    X[:5] = [-60.0, 0.0]
    y[:5] = 1
    samples = Samples(X, y, None, n_classes=2)
    coordinates, _ = null_coordinates(Layout((2, 1)), samples, np.inf)
    problem = RoundProblem(NegativeLogLikelihood(Network(Layout((2, 1))), samples), coordinates)
    assert not len(problem.surprising_rows(np.zeros(problem.size)))
    true = box_free_point(coordinates, np.array([[1.0, 0.0]]))
    assert_array_equal(problem.surprising_rows(true), np.arange(5))
    part = sampled_problem(problem, 2000, 50, np.arange(5)).objective.samples
    assert_array_equal(part.w[np.isin(part.X[:, 0], -60.0)], np.ones(5))
    assert_allclose(part.total_weight, n, rtol=0.01)


def box_free_point(coordinates, W):
    """Psi at weights W, and intercepts of zero, for two classes."""
    origin = coordinates.layout.unpack(coordinates.origin)[0][1]
    V = np.linalg.solve(coordinates.transform, W.T).T
    beta = (W @ coordinates.center - origin) / coordinates.constant
    return np.append(V, beta)
