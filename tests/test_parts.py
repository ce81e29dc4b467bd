"""Equations in some coordinates: against a solution from scratch, by a factor of the set itself or of one near by."""

import numpy as np
import pytest

import sklearn_mle._parts
from sklearn_mle._parts import PartialSolver


def matrix_of(d, condition, seed=0):
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return (rotation * np.geomspace(1, 1 / condition, d)) @ rotation.T


def expected(matrix, coordinates, rhs):
    return np.linalg.solve(matrix[np.ix_(coordinates, coordinates)], rhs)


@pytest.fixture
def factors(monkeypatch):
    """The sizes of the factors that are taken."""
    sizes = []
    original = sklearn_mle._parts.DenseCurvature

    def counted(block):
        sizes.append(len(block))
        return original(block)

    monkeypatch.setattr(sklearn_mle._parts, "DenseCurvature", counted)
    return sizes


@pytest.mark.parametrize(("left", "added"), [(0, 0), (7, 0), (0, 9), (6, 8), (20, 15)])
def test_few_changes_take_no_new_factor(factors, left, added):
    rng = np.random.default_rng(left + 100 * added)
    matrix = matrix_of(500, 1e4)
    order = rng.permutation(500)
    first, second = np.sort(order[:400]), np.sort(order[left : 400 + added])
    solver = PartialSolver(matrix)
    for coordinates in (first, second, first):
        rhs = rng.normal(size=len(coordinates))
        found = solver.solve(coordinates, rhs)
        np.testing.assert_allclose(found, expected(matrix, coordinates, rhs), rtol=1e-8, atol=1e-8)
    assert factors == [400]


def test_many_changes_take_a_new_factor(factors):
    matrix = matrix_of(500, 1e4)
    rng = np.random.default_rng(1)
    solver = PartialSolver(matrix)
    for coordinates in (np.arange(300), np.arange(100, 450)):
        rhs = rng.normal(size=len(coordinates))
        found = solver.solve(coordinates, rhs)
        np.testing.assert_allclose(found, expected(matrix, coordinates, rhs), rtol=1e-8, atol=1e-8)
    assert factors == [300, 350]


def test_no_coordinates():
    assert PartialSolver(np.eye(3)).solve(np.empty(0, dtype=int), np.zeros(0)).shape == (0,)
