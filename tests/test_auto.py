"""solver="auto": which model of the curvature, and when it pays for another."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit
from sklearn.datasets import load_digits

from sklearn_mle import SoftmaxMLEClassifier
from sklearn_mle._auto import CurvatureSchedule
from sklearn_mle._cost import exact_passes, factor_passes, kronecker_passes
from sklearn_mle._curvature import DenseCurvature, KroneckerCurvature
from sklearn_mle._layout import Layout
from sklearn_mle._moments import moments_of_columns, moments_time, square, together
from sklearn_mle._network import Network
from sklearn_mle._objective import NegativeLogLikelihood
from sklearn_mle._precondition import null_coordinates
from sklearn_mle._problem import RoundProblem
from sklearn_mle._samples import Samples


def problem_of(X, y, C=1.0):
    """The problem in round coordinates, and its class metric."""
    n_classes = int(y.max()) + 1
    samples = Samples(X, y.astype(np.int32), None, n_classes=n_classes)
    layout = Layout((X.shape[1], 1 if n_classes == 2 else n_classes))
    coordinates, class_metric = null_coordinates(layout, samples, C)
    return RoundProblem(NegativeLogLikelihood(Network(layout), samples, C), coordinates), class_metric


def generated(n_rows, p, n_classes, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, p)), rng.integers(0, n_classes, n_rows)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return problem_of(X, y)


def test_the_first_exact_step_takes_no_pass():
    problem, class_metric = problem_of(*generated(300, 4, 3))
    schedule = CurvatureSchedule(problem, class_metric)
    start = np.zeros(problem.size)
    _, g = problem.value_and_grad(start)
    before = problem.objective.n_passes
    curvature, exact = schedule(start, g, np.inf)
    assert exact
    assert problem.objective.n_passes == before
    step = np.random.default_rng(1).normal(size=problem.size)
    assert_allclose(curvature.solve(problem.hessian(start) @ step), step, rtol=1e-10)


def test_a_warm_start_at_zero_is_not_the_model_without_features():
    problem, class_metric = problem_of(*generated(300, 4, 3))
    theta = np.random.default_rng(1).normal(size=problem.objective.layout.size)
    moved = RoundProblem(problem.objective, problem.coordinates.moved_to(theta))
    schedule = CurvatureSchedule(moved, class_metric, warm=True)
    start = np.zeros(moved.size)
    _, g = moved.value_and_grad(start)
    curvature, exact = schedule(start, g, np.inf)
    assert exact
    assert_allclose(curvature.solve(moved.hessian(start) @ g), g, rtol=1e-8)


def test_the_first_step_from_a_sample_takes_its_hessian():
    problem, class_metric = problem_of(*generated(300, 4, 3))
    schedule = CurvatureSchedule(problem, class_metric)
    psi = np.full(problem.size, 0.1)
    _, g = problem.value_and_grad(psi)
    of_sample = DenseCurvature(1.2 * problem.hessian(psi))
    schedule.start_with(of_sample)
    assert schedule(psi, g, np.inf) == (of_sample, True)
    curvature, exact = schedule(psi, g, 50.0)
    assert exact
    assert_allclose(curvature.solve(problem.hessian(psi) @ g), g, rtol=1e-8)


@pytest.mark.parametrize("weakest", [1e-5, 1e-2])
def test_the_first_step_takes_no_hessian_that_lacks_a_direction(weakest):
    problem, class_metric = problem_of(*generated(300, 4, 3))
    schedule = CurvatureSchedule(problem, class_metric)
    psi = np.full(problem.size, 0.1)
    _, g = problem.value_and_grad(psi)
    schedule.start_with(DenseCurvature(np.diag([*np.ones(problem.size - 1), weakest])))
    curvature, exact = schedule(psi, g, np.inf)
    assert exact
    assert_allclose(curvature.solve(problem.hessian(psi) @ g), g, rtol=1e-8)


@pytest.mark.parametrize(
    ("share", "keeps"), [(1e-4, True), (1e-6, True), (0.03, False), (0.2, False), (0.97, False), (1.5, False)]
)
def test_the_hessian_of_the_point_before_does_where_its_steps_are_cheap(share, keeps):
    """Of an unchanged problem: what is left after a step is a share of what there was before it."""
    problem, class_metric = problem_of(*generated(2000, 10, 3))
    schedule = CurvatureSchedule(problem, class_metric)
    psi = np.full(problem.size, 0.1)
    _, g = problem.value_and_grad(psi)
    first, _ = schedule(psi, g, np.inf)
    left = 0.5 * g @ first.solve(g)
    tiny = 1e-4 / np.sqrt(left)
    curvature, exact = schedule(psi, tiny * g, 1e-8 / share)
    assert exact
    assert (curvature is first) == keeps


@pytest.mark.parametrize(
    ("spent", "decrement", "adopts"), [(30.0, 0.3, True), (30.0, 1e3, False), (30.0, 1e-11, False), (2.0, 0.3, False)]
)
def test_near_the_end_a_hessian_preconditions_where_steps_are_dear(digits, spent, decrement, adopts):
    problem, class_metric = digits
    schedule = CurvatureSchedule(problem, class_metric)
    assert not schedule.exact
    start = np.zeros(problem.size)
    _, g = problem.value_and_grad(start)
    problem.objective.n_passes += spent
    curvature, exact = schedule(start, g, decrement)
    assert not exact
    assert isinstance(curvature, DenseCurvature if adopts else KroneckerCurvature)


@pytest.mark.parametrize("seed", [4, 36, 61, 147])
def test_coefficients_are_good_to_a_millionth_of_a_standard_error(seed):
    # What is left before the last step is next to nothing here, and that step is a temptation to leave out.
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(20_000, 1))
    y = (rng.random(len(X)) < expit(0.5 * X[:, 0])).astype(int)
    fitted = SoftmaxMLEClassifier().fit(X, y)
    rows = np.column_stack([X, np.ones(len(X))])
    exact = np.append(fitted.coef_, fitted.intercept_)
    for _ in range(5):
        proba = expit(rows @ exact)
        information = (rows.T * (proba * (1 - proba))) @ rows
        exact = exact - np.linalg.solve(information, rows.T @ (proba - y))
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    assert np.all(np.abs(np.append(fitted.coef_, fitted.intercept_) - exact) <= 1e-6 * errors)


@pytest.mark.parametrize("n_weights", [1, 3, 15, 45])
@pytest.mark.parametrize("q", [3, 17, 60])
def test_moments_are_the_same_together_and_apart(n_weights, q):
    rng = np.random.default_rng(0)
    weights, columns = rng.uniform(size=(n_weights, 700)), rng.normal(size=(q, 700))
    expected = np.einsum("wb,ib,jb->wij", weights, columns, columns)
    assert_allclose(square(moments_of_columns(weights, columns), q), expected, rtol=1e-10, atol=1e-10)


def test_the_wide_product_is_for_many_weightings_of_few_columns():
    assert together(45, 20)
    assert not together(3, 20)
    assert not together(15, 200)
    times = [moments_time(n, 20) for n in range(1, 60)]
    assert times == sorted(times)


def test_costs_grow_with_what_they_are_of():
    small, large = (problem_of(*generated(500, p, 3))[0] for p in (4, 40))
    assert exact_passes(small) < exact_passes(large)
    assert kronecker_passes(small) < kronecker_passes(large)
    assert factor_passes(small) < exact_passes(small)


@pytest.mark.usefixtures("in_single")
@pytest.mark.parametrize(
    ("n", "p", "K", "C", "begins"),
    [
        (3000, 50, 10, np.inf, True),
        (3000, 50, 10, 1.0, True),
        (600, 50, 10, 1.0, True),
        (600, 50, 10, np.inf, True),
        # Few rows for each column may be separated.
        (200, 50, 10, np.inf, False),
        # The exact Hessian is cheap, or rows are enough for an estimate from a sample of them.
        (3000, 8, 3, np.inf, False),
        (40_000, 30, 6, np.inf, False),
        # Too many parameters to be polished.
        (1200, 600, 10, 1.0, False),
    ],
)
def test_where_the_metric_of_the_model_without_features_comes_first(n, p, K, C, begins):
    problem, class_metric = problem_of(*generated(n, p, K), C=C)
    assert CurvatureSchedule(problem, class_metric).null_first == begins
    assert not CurvatureSchedule(problem, class_metric, warm=True).null_first
    X, y = generated(n, p, K)
    assert not CurvatureSchedule(*problem_of(X.astype(np.float32), y, C=C)).null_first


@pytest.mark.parametrize("signal", [0.5, 2.0, 6.0])
@pytest.mark.parametrize("C", [np.inf, 1.0])
def test_a_fit_that_begins_in_that_metric_ends_at_the_minimum(signal, C, capsys):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(1500, 30)) * 10.0 ** rng.uniform(-3, 3, 30)
    y = (X / X.std(axis=0) @ (signal * rng.normal(size=(30, 8)) / np.sqrt(30)) + rng.gumbel(size=(1500, 8))).argmax(1)
    ours = SoftmaxMLEClassifier(C=C, verbose=1).fit(X, y)
    assert "the metric of the model without features" in capsys.readouterr().out
    exact = SoftmaxMLEClassifier(C=C, solver="trust-exact").fit(X, y)
    assert ours.converged_
    assert_allclose(ours.predict_log_proba(X), exact.predict_log_proba(X), atol=1e-5)
    assert ours.optimize_result_.n_passes < 110


@pytest.mark.parametrize(("dear", "slowest"), [(1.0, 0.2), (100.0, 0.75)])
def test_the_free_metric_goes_where_another_costs_little(dear, slowest, monkeypatch):
    problem, class_metric = problem_of(*generated(10_000, 54, 7))
    schedule = CurvatureSchedule(problem, class_metric)
    assert schedule.sample_terms
    monkeypatch.setattr("sklearn_mle._auto.sampled_passes", lambda *_: dear)
    assert_allclose(schedule.slowest, slowest, atol=0.1)
    schedule.sample_terms = 0
    schedule.exact_passes = dear / 2
    assert_allclose(schedule.slowest, slowest, atol=0.1)
    schedule.exact_passes = 1000.0
    assert schedule.slowest == 0.75
