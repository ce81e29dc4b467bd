"""Truncated Newton as a custom method: quadratics, logistic sums, rounding, a minimum at infinity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import OptimizeResult, minimize
from scipy.special import expit

from sklearn_mle import _curvature
from sklearn_mle._curvature import CoupledCurvature, DenseCurvature
from sklearn_mle._direction import Direction, conjugate_direction, next_radius
from sklearn_mle._line_search import line_search
from sklearn_mle._newton import minimize_newton

TARGET = 1e-12


class Problem:
    """A smooth convex function with its derivatives; counts what is asked for."""

    def __init__(self, value, grad, hessian):
        self.value, self.grad, self.hessian = value, grad, hessian
        self.n_products = self.n_hessians = 0
        self.bend = lambda direction: 0.0

    def hessp(self, x, v):
        self.n_products += 1
        return self.hessian(x) @ v

    def exact(self, x, g, decrement):
        self.n_hessians += 1
        return DenseCurvature(self.hessian(x)), True

    def preconditioned(self, matrix):
        model = DenseCurvature(matrix)
        return lambda x, g, decrement: (model, False)

    def run(self, x0, curvature_at=None, **options):
        options = {"target": TARGET, "tol": 1e-3, "curvature_at": curvature_at or self.exact, **options}
        callback = options.pop("callback", None)
        return minimize(
            self.value, x0, jac=self.grad, hessp=self.hessp, method=minimize_newton, callback=callback, options=options
        )


def quadratic(seed=0, size=6, condition=1e4):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(size, size)))[0]
    H = (Q * np.geomspace(1, condition, size)) @ Q.T
    b = rng.normal(size=size)
    return Problem(lambda x: 0.5 * x @ H @ x - b @ x, lambda x: H @ x - b, lambda x: H), np.linalg.solve(H, b)


def logistic(seed=0, n=80, p=5, C=np.inf, separated=False):
    """The NLL of a logistic model; with C, its penalty."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, p))
    y = (A[:, 0] > 0).astype(float) if separated else (rng.random(n) < expit(A[:, 0])).astype(float)

    def value(x):
        z = A @ x
        return np.logaddexp(0, z).sum() - y @ z + 0.5 / C * x @ x

    def grad(x):
        return A.T @ (expit(A @ x) - y) + x / C

    def hessian(x):
        p = expit(A @ x)
        return (A.T * (p * (1 - p))) @ A + np.eye(A.shape[1]) / C

    problem = Problem(value, grad, hessian)
    problem.bend = lambda direction: np.abs(A @ direction).max()
    return problem


def decrement_at(problem, x):
    g = problem.grad(x)
    return 0.5 * g @ np.linalg.solve(problem.hessian(x), g)


def test_a_quadratic_takes_one_step():
    problem, solution = quadratic()
    result = problem.run(np.zeros(6))
    assert result.success
    assert result.nit == 1
    assert_allclose(result.x, solution, rtol=1e-9)
    assert result.decrement <= TARGET
    assert not result.crawling


@given(st.integers(0, 10**6), st.integers(1, 8))
def test_conjugate_gradients_reach_the_same_point(seed, size):
    problem, solution = quadratic(seed, size, condition=1e3)
    result = problem.run(np.zeros(size), problem.preconditioned(np.eye(size)))
    assert result.success
    assert decrement_at(problem, result.x) <= 4 * TARGET
    assert_allclose(result.x, solution, atol=1e-5)
    assert problem.n_hessians == 0


@pytest.mark.parametrize("how", ["exact", "identity", "overrated", "underrated"])
def test_the_decrement_is_honest_whatever_the_model(how):
    """A model of the curvature that is off by orders must not make the gap look small."""
    problem = logistic()
    start = problem.hessian(np.zeros(5))
    curvature_at = {
        "exact": None,
        "identity": problem.preconditioned(np.eye(5)),
        "overrated": problem.preconditioned(1e6 * start),
        "underrated": problem.preconditioned(1e-6 * start),
    }[how]
    for tol in (1.0, 1e-3):
        result = problem.run(np.full(5, 2.0), curvature_at, target=tol, tol=tol)
        assert result.success
        assert decrement_at(problem, result.x) <= 1.5 * tol
    result = problem.run(np.zeros(5), curvature_at)
    assert result.success
    assert decrement_at(problem, result.x) <= 10 * TARGET


def test_a_far_start_backtracks():
    problem = logistic(C=10.0)
    expected = problem.run(np.zeros(5)).x
    for seed in range(5):
        start = 30 * np.random.default_rng(seed).normal(size=5)
        result = problem.run(start)
        assert result.success
        assert_allclose(result.x, expected, atol=1e-5)


def test_values_never_rise():
    problem = logistic(seed=3)
    seen = []

    def callback(intermediate_result):
        assert isinstance(intermediate_result, OptimizeResult)
        assert_allclose(intermediate_result.fun, problem.value(intermediate_result.x), rtol=1e-14)
        seen.append(intermediate_result.fun)

    result = problem.run(np.full(5, -3.0), callback=callback)
    assert len(seen) == result.nit
    assert (np.diff(seen) <= 1e-12).all()
    assert seen[-1] == result.fun


def test_maxiter_ends_it_and_is_no_success():
    problem = logistic()
    result = problem.run(np.full(5, 3.0), maxiter=2)
    assert result.nit == 2
    assert not result.success
    assert result.status == 1
    assert "iterations" in result.message
    assert result.decrement > 1e-3
    # ... unless it is near enough already.
    assert problem.run(problem.run(np.zeros(5)).x + 1e-4, maxiter=0).success


def test_out_of_steps_no_less_is_left_than_the_last_ones_have_gained():
    problem, values = logistic(), []
    creeping = lambda x, g, decrement: (DenseCurvature(2e6 * problem.hessian(x)), True)  # noqa: E731
    result = problem.run(np.full(5, 3.0), creeping, maxiter=50, watch=False, callback=lambda r: values.append(r.fun))
    assert 0.5 * result.jac @ np.linalg.solve(2e6 * problem.hessian(result.x), result.jac) < 1e-3
    assert result.decrement == pytest.approx(values[-21] - values[-1], rel=1e-9)
    assert not result.success


def test_a_callback_may_stop_it():
    problem = logistic()

    def callback(intermediate_result):
        raise StopIteration

    result = problem.run(np.full(5, 3.0), callback=callback)
    assert result.nit == 1
    assert "callback" in result.message


def test_a_start_at_the_minimum_stays_there():
    problem = logistic()
    best = problem.run(np.zeros(5)).x
    result = problem.run(best)
    assert result.success
    assert result.nit == 0
    assert_array_equal(result.x, best)


def test_rounding_ends_the_decrease_and_is_success():
    """f is known to 1e-7 of its value only: the gradient decides, and then nothing does."""
    problem = logistic(n=500)
    offset = 1e6
    rough = Problem(
        lambda x: np.float64(np.float32(offset + problem.value(x))),
        lambda x: problem.grad(x).astype(np.float32).astype(float),
        problem.hessian,
    )
    result = rough.run(np.zeros(5), resolution=float(np.finfo(np.float32).eps))
    assert result.success
    assert decrement_at(problem, result.x) <= 1e-3
    assert result.nit <= 20


def test_a_minimum_at_infinity_shows_in_the_steps():
    problem = logistic(separated=True)
    result = problem.run(np.zeros(5), tol=1e-3)
    assert result.success
    assert result.crawling
    assert problem.value(result.x) < 1e-3
    # The last step still goes on along the way out.
    assert np.abs(result.step[0]) > 0.1
    watched_not = problem.run(np.zeros(5), tol=1e-3, watch=False)
    assert not watched_not.crawling
    assert watched_not.success
    assert problem.value(watched_not.x) < 10 * TARGET


def test_a_finite_minimum_does_not_crawl():
    for seed in range(10):
        assert not logistic(seed).run(np.zeros(5)).crawling


def test_args_are_handed_on():
    def value(x, a):
        return 0.5 * (x - a) @ (x - a)

    result = minimize(
        value,
        np.zeros(2),
        args=(np.array([1.0, 2.0]),),
        jac=lambda x, a: x - a,
        hessp=lambda x, v, *a: v,
        method=minimize_newton,
        options={
            "target": TARGET,
            "tol": 1e-3,
            "curvature_at": lambda x, g, decrement: (DenseCurvature(np.eye(2)), True),
        },
    )
    assert_allclose(result.x, [1.0, 2.0])


def test_a_singular_hessian_takes_a_ridge():
    """Two copies of one coordinate: the sum is determined, and nothing runs away."""
    H = np.array([[1.0, 1.0], [1.0, 1.0]])
    problem = Problem(lambda x: 0.5 * x @ H @ x - x.sum(), lambda x: H @ x - 1.0, lambda x: H)
    result = problem.run(np.zeros(2))
    assert result.success
    assert_allclose(result.x.sum(), 1.0, atol=1e-6)
    assert np.abs(result.x).max() < 10


def coupled(by_column, C, seed=0, K=4, q=6):
    """The model, and its matrix as psi lays it out."""
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.ones(K), size=50)
    weights = rng.gamma(1.0, size=(50, q))
    weights[:, 2] = 0.0  # a column without entries
    diagonal = (proba * (1 - proba)).T @ weights
    penalty = np.append(np.full(q - 1, 1 / C), 0.0)
    model = CoupledCurvature(diagonal, penalty, by_column)
    identity = np.eye(K * q)
    matrix = np.linalg.inv(np.stack([model.solve(e) for e in identity]).T)
    return model, matrix, diagonal, penalty


@pytest.mark.parametrize("by_column", [True, False])
@pytest.mark.parametrize("C", [0.5, np.inf])
def test_a_coupled_model_is_factored_right(by_column, C):
    model, matrix, _, _ = coupled(by_column, C)
    identity = np.eye(len(matrix))
    half = np.stack([model.whiten(e) for e in identity]).T
    assert_allclose(half.T @ half, np.stack([model.solve(e) for e in identity]).T, rtol=1e-6, atol=1e-9)
    rng = np.random.default_rng(1)
    psi, g = rng.normal(size=(2, len(matrix)))
    assert_allclose(model.unwhiten(model.whiten_point(psi)), psi, rtol=1e-6, atol=1e-8)
    # phi = L' psi: a gradient by phi times phi is that by psi times psi.
    assert_allclose(model.whiten(g) @ model.whiten_point(psi), g @ psi, rtol=1e-6)


def test_a_coupled_model_has_blocks_of_classes():
    K, q = 4, 6
    for by_column in (True, False):
        _, matrix, diagonal, penalty = coupled(by_column, 0.5)
        blocks = matrix.reshape(q, K, q, K) if by_column else matrix.reshape(K, q, K, q).transpose(1, 0, 3, 2)
        for j in range(q):
            for i in range(q):
                if i != j:
                    assert_allclose(blocks[i, :, j], 0.0, atol=1e-6)
            # Adding one number to all classes meets the prior alone.
            if diagonal[:, j].any() and penalty[j]:
                assert_allclose(blocks[j, :, j].sum(axis=1), penalty[j], rtol=1e-3)
                assert_allclose(np.diag(blocks[j, :, j]), diagonal[:, j] + penalty[j], rtol=0.15)


def test_a_coupled_model_is_exact_where_probabilities_are_the_same_in_all_rows(monkeypatch):
    monkeypatch.setattr(_curvature, "_COUPLINGS", 200)
    p, mass = np.array([0.5, 0.3, 0.15, 0.05]), np.array([2.0, 7.0])
    model = CoupledCurvature(np.outer(p * (1 - p), mass), np.array([0.3, 0.1]), True)
    for j, c in enumerate((0.3, 0.1)):
        block = mass[j] * (np.diag(p) - np.outer(p, p)) + c * np.eye(4)
        unit = np.zeros((2, 4))
        unit[j] = [1.0, -2.0, 0.5, 3.0]
        assert_allclose(block @ model.solve(unit.ravel()).reshape(2, 4)[j], unit[j], rtol=1e-6)


@pytest.mark.parametrize("radius", [0.1, 1.0, 10.0])
def test_the_trust_region_ends_conjugate_gradients(radius):
    problem, minimum = quadratic(condition=100)
    model = DenseCurvature(np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    g = problem.grad(np.zeros(6))
    direction = conjugate_direction(np.zeros(6), g, problem.hessp, model, 1e-9, 0.0, 1.0, radius, 0)
    matrix = np.diag(np.arange(1.0, 7.0))
    length = np.sqrt(direction.step @ matrix @ direction.step)
    assert_allclose(direction.length, length, rtol=1e-9)
    H = problem.hessian(None)
    assert_allclose(direction.promised, -(g + 0.5 * H @ direction.step) @ direction.step, rtol=1e-9)
    if direction.bounded:
        assert_allclose(length, radius, rtol=1e-9)
    else:
        assert length < radius
        assert_allclose(direction.step, minimum, rtol=1e-6)
    assert direction.bounded == (np.sqrt(minimum @ matrix @ minimum) > radius)


def test_the_trust_region_follows_what_was_gained():
    direction = Direction(np.ones(1), -2.0, 1.0, 1.0, promised=1.0, length=4.0, bounded=True)
    assert next_radius(np.inf, direction, 0.25, 0.5) == 1.0
    assert next_radius(4.0, direction, 1.0, 0.2) == 2.0
    assert next_radius(4.0, direction, 1.0, 0.5) == 4.0
    assert next_radius(4.0, direction, 1.0, 0.8) == 8.0
    assert next_radius(4.0, direction, 1.0, 0.95) == 12.0
    assert next_radius(4.0, direction._replace(bounded=False), 1.0, 1.0) == 4.0


def test_a_step_that_backtracking_has_cut_too_short_is_lengthened():
    # A wall at 1: the full step is far beyond it, and a tenth of a tenth far from it.
    problem = Problem(
        lambda x: float(1e-9 * np.exp(20 * x[0]) - x[0]),
        lambda x: np.array([2e-8 * np.exp(20 * x[0]) - 1]),
        lambda x: np.array([[4e-7 * np.exp(20 * x[0])]]),
    )
    values = []

    def value(x):
        values.append(x[0])
        return problem.value(x)

    x = np.zeros(1)
    model = DenseCurvature(np.array([[0.1]]))
    step = -model.solve(problem.grad(x))
    direction = Direction(step, float(problem.grad(x) @ step), 1.0, 1.0, 1.0, 1.0)
    t, point, f, g = line_search(value, problem.grad, (), x, problem.value(x), problem.grad(x), direction, model, 1, 0)
    minimum = np.log(1 / 2e-8) / 20
    assert 0 < t < 1
    assert f == problem.value(point)
    assert_allclose(g, problem.grad(point))
    assert_allclose(point, minimum, rtol=0.25)
    assert len(values) < 8


def counted(problem):
    """The problem, and the points at which it is evaluated."""
    points = []
    value = problem.value
    problem.value = lambda x: points.append(x) or value(x)
    return problem, points


def test_a_last_step_that_leaves_nothing_is_left_to_the_caller():
    saved = []
    for seed in range(6):
        problem, points = counted(logistic(seed, C=10.0))
        evaluated = problem.run(np.zeros(5))
        n_evaluated = len(points)
        found = problem.run(np.zeros(5), ahead=problem.bend)
        saved.append(2 * n_evaluated - len(points))
        assert found.success
        assert_allclose(found.decrement, decrement_at(problem, found.x), rtol=0.2)
        assert found.after <= 0.04 * TARGET
        assert decrement_at(problem, found.x + found.step) <= 0.1 * TARGET
        assert_allclose(found.x + found.step, evaluated.x, rtol=0, atol=1e-6)
    assert min(saved) == 0
    assert max(saved) == 1


def test_a_last_step_is_not_promised_where_none_is_left_to_take():
    problem = logistic(C=10.0)
    most = problem.run(np.zeros(5), ahead=problem.bend).nit
    found = problem.run(np.zeros(5), ahead=problem.bend, maxiter=most)
    assert found.after == np.inf
    assert problem.run(np.zeros(5), ahead=problem.bend, maxiter=most + 1).after < np.inf
    assert problem.run(np.zeros(5)).after == np.inf


def test_a_direction_of_recession_has_no_last_step():
    problem = logistic(separated=True)
    found = problem.run(np.zeros(5), ahead=problem.bend)
    assert found.crawling
    assert found.after == np.inf


def test_steps_that_converge_linearly_promise_less():
    problem = logistic(C=10.0)

    def damped(x, g, decrement):
        return DenseCurvature(1.02 * problem.hessian(x)), True

    trusting = problem.run(np.zeros(5), damped, ahead=problem.bend)
    careful = problem.run(np.zeros(5), damped, ahead=problem.bend, quadratic=False)
    assert decrement_at(problem, careful.x + careful.step) <= TARGET
    assert careful.nit > trusting.nit


def flat_directions():
    """A quadratic whose gradient lies, but for little, where the model is right; what is left lies where it is not."""
    h = np.append(1.0, np.geomspace(1e-4, 0.1, 39))
    g = np.append(1e-2, np.full(39, 1.5e-4))
    return Problem(lambda x: 0.5 * h @ x**2 + g @ x, lambda x: h * x + g, lambda x: np.diag(h)), -0.5 * (g**2 / h).sum()


def exponential(end, wall=0.0):
    """1e6 exp(-x) and a line that ends its fall at `end`; with a wall at 1.5 if asked."""

    def grow(x):
        return wall * np.exp(20 * (x - 1.5))

    rise = 1e6 * np.exp(-end)
    return Problem(
        lambda x: float((1e6 * np.exp(-x) + rise * x + grow(x)).sum()),
        lambda x: -1e6 * np.exp(-x) + rise + 20 * grow(x),
        lambda x: np.diag(1e6 * np.exp(-x) + 400 * grow(x)),
    )


def test_newton_steps_along_an_exponential_are_lengthened():
    found = exponential(end=14.0).run(np.zeros(1))
    assert found.success
    assert_allclose(found.x, 14.0, rtol=1e-6)
    # A whole step moves by one: without longer ones it takes fourteen, and three that double the digits at the end.
    assert found.nit <= 11


def test_a_longer_step_that_gains_nothing_is_not_taken():
    problem = exponential(end=14.0, wall=1.0)
    visited = []
    problem.run(np.zeros(1), callback=lambda intermediate_result: visited.append(float(intermediate_result.x[0])))
    # The whole step ends at 1, where the slope of exp(-x) asks for three; there the wall is 1e13 high.
    assert_allclose(visited[0], 1.0, rtol=1e-2)
    assert len(visited) > 2
    values = [problem.value(np.array([x])) for x in visited]
    assert (np.diff(values) <= 0).all()


def test_steps_of_conjugate_gradients_are_not_lengthened():
    problem = exponential(end=14.0)
    visited = []
    problem.run(
        np.zeros(1),
        problem.preconditioned(np.eye(1)),
        maxiter=1,
        callback=lambda intermediate_result: visited.append(float(intermediate_result.x[0])),
    )
    assert_allclose(visited, 1.0, rtol=1e-2)


def test_a_quadratic_that_promises_more_than_there_is_ends_conjugate_gradients():
    # At logits of 60 the loss is all but linear: a slope of one, a curvature of e^-60, and 60 nats to gain, not e^60.
    H = np.diag([np.exp(-60.0), 1.0, 2.0])
    g = np.array([1.0, 0.5, -0.3])
    model = DenseCurvature(np.diag([1.0, 1.5, 1.5]))
    far = conjugate_direction(np.zeros(3), g, lambda x, v: H @ v, model, 1e-6, 0.0, 1.0, np.inf, 0)
    assert far.promised > 1e20
    near = conjugate_direction(np.zeros(3), g, lambda x, v: H @ v, model, 1e-6, 0.0, 1.0, np.inf, 0, 60.0)
    assert near.bounded
    assert 1.0 < near.promised <= 60.0 * (1 + 1e-9)
    assert near.n_products <= far.n_products
    assert near.step @ g < 0


def test_a_floor_saves_the_way_back_from_where_nothing_is():
    calls = []

    def value(x):
        calls.append(1)
        return np.logaddexp(0.0, x[0]) + np.logaddexp(0.0, -x[0] - 1.0) + 0.5 * x[1] ** 2

    problem = Problem(
        value,
        lambda x: np.array([expit(x[0]) - expit(-x[0] - 1.0), x[1]]),
        lambda x: np.diag([expit(x[0]) * expit(-x[0]) + expit(x[0] + 1) * expit(-x[0] - 1), 1.0]),
    )
    counts = []
    for floor in (0.0, -np.inf):
        calls.clear()
        found = problem.run(np.array([40.0, 3.0]), problem.preconditioned(np.eye(2)), maxiter=100, floor=floor)
        counts.append(len(calls))
        assert found.success
        assert_allclose(found.x, [-0.5, 0.0], atol=1e-5)
    assert counts[0] < counts[1]


def test_few_products_are_no_certificate():
    problem, least = flat_directions()
    start, tol = np.zeros(40), 3e-4
    assert -least > 2 * tol
    # One product suffices for the forcing term, and sees a quarter of `tol` at most.
    seen = conjugate_direction(
        start, problem.grad(start), problem.hessp, DenseCurvature(np.eye(40)), 0.5, tol, 1.0, np.inf, 0
    )
    assert seen.n_products == 1
    assert seen.decrement < tol / 4
    found = problem.run(start, problem.preconditioned(np.eye(40)), target=tol, tol=tol, sure=10)
    assert found.success
    assert found.fun - least <= tol
    assert problem.n_products >= 10


def test_a_direction_that_a_model_underrates_is_no_certificate():
    # Rounding alone has a gradient there, and the model next to no curvature.
    H = np.diag([1.0, 1.0, 1.0])
    model = DenseCurvature(np.diag([1.0, 1.0, 1e-9]))
    g = np.array([1e-2, 0.0, 1e-6])
    for radius in (1e-12, np.inf):
        found = conjugate_direction(np.zeros(3), g, lambda x, v: H @ v, model, 0.03, 1e-6, 1.0, radius, 0)
        assert found.decrement >= 0.9 * 0.5 * 1e-4
    assert_allclose(found.step, -g, atol=1e-4)


def test_a_model_that_has_proved_good_needs_no_more_products():
    problem, minimum = quadratic(size=40, condition=3.5)
    counts = {}
    for target in (1e-3, 1e-5):
        problem.n_products = 0
        found = problem.run(np.full(40, 1e3), problem.preconditioned(3.5 * np.eye(40)), target=target, sure=10)
        assert found.success
        assert found.fun - problem.value(minimum) <= 1e-3
        counts[target] = problem.n_products
    assert 10 <= counts[1e-3] <= counts[1e-5]


def test_nothing_is_left_to_do_where_all_rows_are_separated():
    problem = logistic(separated=True)
    asked = []

    def separates(x):
        asked.append(problem.value(x))
        return True

    result = problem.run(np.zeros(5), separates=separates, floor=0.0)
    assert result.crawling
    assert result.success
    assert len(asked) == 1
    assert 0 < result.fun <= 1e-3
    assert result.decrement == result.fun
    at_once = problem.run(result.x, separates=separates, floor=0.0)
    assert at_once.nit == 0
    assert at_once.step is None
    assert not at_once.exhausted
    # Little above the floor is no sign in itself: weights may be small.
    small = logistic()
    value, grad, hessian = small.value, small.grad, small.hessian
    scaled = Problem(lambda x: 1e-6 * value(x), lambda x: 1e-6 * grad(x), lambda x: 1e-6 * hessian(x))
    result = scaled.run(np.zeros(5), separates=lambda x: False, floor=0.0, target=1e-18, tol=1e-12)
    assert np.abs(grad(result.x)).max() < 1e-4


def test_steps_that_gain_nothing_end():
    """A slope without end of a function that has no digits left."""
    flat = Problem(lambda x: 1e-12, lambda x: np.full(2, -1e-5), lambda x: np.eye(2))
    result = flat.run(np.zeros(2))
    assert result.nit == 0
    assert result.success
    assert result.message == "rounding ends the decrease"
