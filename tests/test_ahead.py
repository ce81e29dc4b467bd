"""What a step that is not evaluated leaves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.special import expit

from sklearn_mle._ahead import LastStep, _most_after, left_by_old_hessian

shares = st.lists(st.floats(0, 0.999), min_size=1, max_size=6)


@given(shares, st.integers(0, 10**6), st.integers(0, 3))
def test_no_moments_exceed_the_bound_from_the_three_before(at, seed, start):
    """Errors multiplied by one symmetric matrix, eigenvalues at most one, for as many steps as you like."""
    at, weights = np.array(at), np.random.default_rng(seed).uniform(size=len(at))
    m0, m1, m2, m3 = (float(weights @ at**k) for k in range(start, start + 4))
    assert m3 <= _most_after([m0, m1, m2]) * (1 + 1e-9) + 1e-15


def test_the_bound_is_met_where_a_slow_part_hides_behind_a_fast_one():
    fast, slow = np.array([1.0, 1e-3, 1e-6, 1e-9]), 1e-7 * np.ones(4)
    decrements = fast + slow
    assert_allclose(_most_after(list(decrements[:3])), decrements[3], rtol=1e-6)


def test_no_bound_where_decrements_do_not_shrink():
    assert _most_after([1.0, 1.0, 0.5]) == np.inf
    assert _most_after([1.0, 0.5, 0.6]) == np.inf


def logistic(seed, outlier):
    """Gradient and Hessian of a penalised logistic model with a row of great leverage, and the bend of its rows."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(60, 3))
    A[0] *= outlier
    y = (rng.random(60) < expit(A @ np.ones(3) / 2)).astype(float)
    return (
        lambda x: A.T @ (expit(A @ x) - y) + 0.1 * x,
        lambda x: (A.T * (expit(A @ x) * expit(-(A @ x)))) @ A + 0.1 * np.eye(3),
        lambda v: float(np.abs(A @ v).max()),
    )


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("outlier", [1.0, 30.0])
def test_what_a_step_certainly_leaves_is_not_exceeded(outlier, old):
    """Steps from about the minimum, with the Hessian there or that of the point before; oracle: the decrement after."""
    certain = 0
    for seed in range(60):
        gradient, hessian, bend = logistic(seed, outlier)
        rng = np.random.default_rng(seed)
        x = np.zeros(3)
        for _ in range(50):
            step = -np.linalg.solve(hessian(x), gradient(x))
            x = x + step * min(1.0, 1.0 / max(bend(step), 1e-300))
        origin = x + 10.0 ** rng.uniform(-6, -1) * rng.normal(size=3)
        last = LastStep(bend, quadratic=True)
        last.leaves(origin, 1.0, 1.0, fresh=True)
        H = hessian(origin)
        point, decrement = origin, 1.0
        if old:
            point = origin - np.linalg.solve(H, gradient(origin))
            decrement = 0.5 * gradient(point) @ np.linalg.solve(H, gradient(point))
            last.leaves(point, decrement, 1e-3, fresh=False)
        step = -np.linalg.solve(H, gradient(point))
        decrement = -0.5 * gradient(point) @ step
        end = point + step
        after = 0.5 * gradient(end) @ np.linalg.solve(hessian(end), gradient(end))
        if after < 1e-25:
            continue
        target = 0.8 * after
        assert not last.certainly_leaves(target, point, step, decrement)
        certain += last.certainly_leaves(1e4 * after, point, step, decrement)
    assert certain


def test_what_was_missed_once_is_expected_again():
    steps = [(1.0, 1.0), (1e-2, 1e-2), (1e-5, 1e-3)]
    last, steady = LastStep(lambda v: 0.0, True), []
    for decrement, shrunk in steps:
        steady.append(last.leaves(np.zeros(1), decrement, shrunk, fresh=True))
    # A hundredth squared would have left 1e-6: ten times that is there, and ten times as much is expected.
    assert_allclose(steady, [1.0, 1e-6, 10 * 1e-5 * 1e-6])


def test_a_hessian_of_something_else_promises_no_square():
    last = LastStep(lambda v: 0.0, quadratic=False)
    assert last.leaves(np.zeros(1), 1e-4, 1e-2, fresh=True) == 1e-4 * left_by_old_hessian(1e-2)
