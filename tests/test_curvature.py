"""Models of the Hessian against the matrices that they stand for."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import linalg

from sklearn_mle._curvature import (
    CoupledCurvature,
    DenseCurvature,
    DiagonalCurvature,
    KroneckerCurvature,
)

M, Q = 4, 6


def positive(size, seed):
    rows = np.random.default_rng(seed).normal(size=(2 * size, size))
    return rows.T @ rows


def class_metric(values, seed=1):
    """A symmetric matrix with these eigenvalues."""
    basis = linalg.qr(np.random.default_rng(seed).normal(size=(len(values),) * 2))[0]
    return basis * values @ basis.T


def matrix_of(curvature, size):
    """H from H^-1, a column at a time."""
    return linalg.inv(np.transpose([curvature.solve(e) for e in np.eye(size)]))


CURVATURES = {
    "dense": DenseCurvature(positive(M * Q, 0)),
    "diagonal": DiagonalCurvature(np.linspace(1, 5, M * Q)),
    "coupled": CoupledCurvature(np.abs(positive(Q, 2)[:M]), np.linspace(0.1, 1, Q), by_column=False),
    "Kronecker": KroneckerCurvature(positive(M, 3), positive(Q, 4), np.zeros((Q, Q))),
    "Kronecker with a prior": KroneckerCurvature(positive(M, 3), positive(Q, 4), np.diag(np.linspace(0, 9, Q))),
}


@pytest.mark.parametrize("curvature", CURVATURES.values(), ids=CURVATURES)
class TestFactors:
    def test_solve_is_symmetric_and_the_product_of_both_factors(self, curvature):
        rng = np.random.default_rng(5)
        g, h = rng.normal(size=(2, M * Q))
        solved = curvature.solve(g)
        assert_allclose(h @ solved, g @ curvature.solve(h), rtol=1e-10)
        assert_allclose(curvature.unwhiten(curvature.whiten(g)), solved, rtol=1e-10)
        assert_allclose(curvature.whiten(g) @ curvature.whiten(h), h @ solved, rtol=1e-10)

    def test_whitened_points_come_back(self, curvature):
        psi = np.random.default_rng(6).normal(size=M * Q)
        assert_allclose(curvature.unwhiten(curvature.whiten_point(psi)), psi, rtol=1e-10)

    def test_what_is_handed_over_is_left_alone(self, curvature):
        g = np.random.default_rng(7).normal(size=M * Q)
        before = g.copy()
        for move in (curvature.solve, curvature.whiten, curvature.unwhiten, curvature.whiten_point):
            move(g)
        assert_allclose(g, before, rtol=0, atol=0)

    def test_integers_are_points_too(self, curvature):
        unit = np.zeros(M * Q, dtype=np.int8)
        unit[3] = 1
        assert_allclose(curvature.unwhiten(unit), curvature.unwhiten(unit.astype(float)))


def test_without_a_prior_kronecker_is_exact():
    A, S = class_metric([1e-6, 0.3, 0.31, 40.0]), positive(Q, 4)
    assert_allclose(matrix_of(KroneckerCurvature(A, S, np.zeros((Q, Q))), M * Q), np.kron(A, S), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("like", [1.0, 2.0])
def test_eigenvalues_apart_have_a_factor_each(like):
    A, S, P = class_metric([0.01, 0.1, 1.0, 10.0]), positive(Q, 4), np.diag(np.linspace(0, 9, Q))
    exact = np.kron(A, S) + np.kron(np.eye(M), P)
    assert_allclose(matrix_of(KroneckerCurvature(A, S, P, like=like), M * Q), exact, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("values", [[1.0, 1.2, 1.4, 1.9], [0.1, 0.2, 1.0, 1.5]])
def test_like_eigenvalues_share_a_factor_near_theirs(values):
    """The shared factor is that of the geometric mean of values up to twice the least."""
    A, S, P = class_metric(values), positive(Q, 4), np.diag(np.linspace(0, 9, Q))
    exact = np.kron(A, S) + np.kron(np.eye(M), P)
    ratios = linalg.eigh(exact, matrix_of(KroneckerCurvature(A, S, P, like=2.0), M * Q), eigvals_only=True)
    assert ratios.min() >= np.sqrt(0.5) - 1e-9
    assert ratios.max() <= np.sqrt(2) + 1e-9
