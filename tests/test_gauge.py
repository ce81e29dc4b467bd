"""The gauge of a column, which the penalty alone chooses: against the least penalty on a grid, and what it holds."""

import numpy as np
import pytest

from sklearn_mle._gauge import Gauge
from sklearn_mle._layout import Layout
from sklearn_mle._network import Network
from sklearn_mle._objective import NegativeLogLikelihood
from sklearn_mle._precondition import box_coordinates
from sklearn_mle._problem import RoundProblem
from sklearn_mle._quadratic import Quadratic
from sklearn_mle._region import Region
from sklearn_mle._samples import Samples

N, P = 200, 4


def problem_of(K, ridge, by_feature=False):
    rng = np.random.default_rng(K)
    X = rng.normal(size=(N, P)) * [1.0, 0.1, 10.0, 3.0]
    y = rng.integers(0, K, N).astype(np.int32)
    layout = Layout((P, 1 if K == 2 else K), fit_intercept=True, by_feature=by_feature)
    samples = Samples(X, y, None, n_classes=K)
    free = np.full((layout.widths[-1], P), np.inf)
    variance = 1 / ridge if ridge else np.inf
    coordinates, _, _ = box_coordinates(layout, samples, variance, (-free, free))
    return RoundProblem(NegativeLogLikelihood(Network(layout), samples, variance), coordinates)


def region_of(problem, strength=0.7):
    coordinates = problem.coordinates
    weights = np.zeros(coordinates.shape)
    weights[:, : coordinates.rank] = strength * coordinates.transform
    free = np.full(problem.size, np.inf)
    return Region(coordinates.flat(weights), -free, free)


def penalty(problem, region, psi):
    return region.penalty(psi) + problem.penalty(psi)


@pytest.mark.parametrize("K", [3, 4, 5])
@pytest.mark.parametrize("ridge", [0.0, 1e-3, 2.0])
@pytest.mark.parametrize("by_feature", [False, True])
def test_what_is_settled_has_the_same_likelihood_and_the_least_penalty(K, ridge, by_feature):
    problem = problem_of(K, ridge, by_feature)
    region = region_of(problem)
    rng = np.random.default_rng(1)
    psi = rng.normal(size=problem.size)
    settled = Gauge(problem, region).settled(psi)
    nll = problem.value_and_grad(psi)[0] - problem.penalty(psi)
    assert problem.value_and_grad(settled)[0] - problem.penalty(settled) == pytest.approx(nll, rel=1e-12)
    least = penalty(problem, region, settled)
    for column in range(P):
        for shift in np.linspace(-3, 3, 601):
            other = settled.copy()
            problem.coordinates.blocks(other)[:, column] += shift
            assert penalty(problem, region, other) >= least - 1e-9


def test_two_classes_have_no_gauge():
    problem = problem_of(2, 0.0)
    region = region_of(problem)
    gauge = Gauge(problem, region)
    psi = np.arange(1.0, problem.size + 1)
    free = np.ones(problem.size, dtype=bool)
    gauge.hold(free, psi, psi)
    assert gauge.settled(psi) is psi
    assert free.all()


@pytest.mark.parametrize("K", [3, 4])
def test_one_zero_is_held_of_a_column_that_is_free_in_all_classes(K):
    problem = problem_of(K, 0.0)
    region = region_of(problem)
    psi = np.random.default_rng(2).normal(size=problem.size)
    blocks = problem.coordinates.blocks(psi)
    blocks[:2, 0] = 0.0  # two zeros, all free: the one of the least slope is held
    blocks[1, 1] = 0.0  # one zero, which is held already
    slope = np.ones(problem.size)
    problem.coordinates.blocks(slope)[:, 0] = np.arange(K, 0, -1)
    free = np.ones(problem.size, dtype=bool)
    problem.coordinates.blocks(free)[1, 1] = False
    expected = free.copy()
    problem.coordinates.blocks(expected)[1, 0] = False
    Gauge(problem, region).hold(free, psi, slope)
    np.testing.assert_array_equal(free, expected)
    # Without it that column has a direction in which nothing bends.
    columns = np.flatnonzero(problem.coordinates.flat(np.arange(problem.coordinates.shape[1]) == 0 * blocks))
    hessian = problem.hessian(psi)
    singular = np.linalg.eigvalsh(hessian[np.ix_(columns, columns)])
    held = columns[free[columns]]
    sound = np.linalg.eigvalsh(hessian[np.ix_(held, held)])
    assert singular[0] < 1e-10 * singular[-1]
    assert sound[0] > 1e-4 * sound[-1]


@pytest.mark.parametrize("K", [3, 5])
def test_the_minimum_has_nothing_to_gain_from_what_is_held(K):
    """Where the others are at their minimum, and the gauge at its own, the slope of what is held is zero."""
    problem = problem_of(K, 0.0)
    region = region_of(problem, strength=0.05)
    gauge = Gauge(problem, region)
    psi = np.zeros(problem.size)
    for _ in range(12):
        g = gauge.without_rounding(psi, problem.value_and_grad(psi)[1])
        hessian = problem.hessian(psi) + 1e-13 * np.eye(problem.size)
        psi, gain = Quadratic(hessian, region, gauge).minimise(psi, g)
        psi = gauge.settled(psi)
    assert gain < 1e-12
    slope = region.slope(psi, gauge.without_rounding(psi, problem.value_and_grad(psi)[1]))
    assert np.abs(slope).max() < 1e-6
