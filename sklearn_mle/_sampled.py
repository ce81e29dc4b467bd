"""Starts and metrics that cost little: some of the rows for all of them, and L-BFGS-B on the whole problem.

The estimate of n / s rows, drawn evenly, is some s d / 2 nats from that of all n: a start for the price of a few
passes over the sample. The Hessian there, from terms drawn by their size, is the metric in which L-BFGS-B takes the
whole problem. Where rows are too few for such a start, that of the model without features is one to begin with.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

from ._auto import CurvatureSchedule, rows_of_class
from ._curvature import Curvature, DenseCurvature
from ._history import Controls, Tracked
from ._kept import sampled_problem
from ._newton import minimize_newton
from ._problem import RoundProblem
from ._proximal import StepSolver, minimize_proximal_newton
from ._quasi_newton import Descent, quasi_newton
from ._region import Region
from ._steps import model_steps
from ._typing import FloatArray, IntArray

_MAX_START_ITERATIONS = 15
_LAST_DIGITS = 1e-9
# A pivot of the sampled Hessian, of the median one, that says that few terms or none speak for a direction.
_NO_CURVATURE = 1e-3
# Of the curvature of the model without features, what steps on a sample take for granted: a column that does not vary
# in it, a dummy of a few rows, has none of its own, and a step along it has no bound.
_LEAST_CURVATURE = 1e-5
# Nats a parameter: the estimate of a sample is farther from that of all rows.
_NEAR = 0.01
# Of what a first step under a penalty or bounds promises, the share that is to come true.
_FAIR = 0.3
# A sampled metric that needs more than this is a bad one (rare classes, near separation): Newton takes over.
_MAX_SAMPLED_ITERATIONS = 60
_MAX_METRICS = 5
# A step in a good metric leaves a tenth. Four that leave more than this each on average want a new metric.
_SLOWEST = 0.3


class Near(NamedTuple):
    """A point near the estimate, and the curvature there by the same rows, where it was asked for."""

    psi: FloatArray
    curvature: DenseCurvature | None


# From (problem of some rows, its values and gradients, start, nats that are near enough) to near its minimum.
Descend = Callable[[RoundProblem, Tracked, FloatArray, float], Near]


def start_from_sample(
    problem: RoundProblem, schedule: CurvatureSchedule, controls: Controls, start: FloatArray
) -> tuple[FloatArray, tuple[float, FloatArray]]:
    """Near the estimate of a sample of the rows, by Newton steps on it; with the value and gradient of all rows.

    The schedule gets the sample's Hessian there, for the first step on all rows.
    """
    least = _LEAST_CURVATURE * np.eye(problem.size)

    def newton(part: RoundProblem, function: Tracked, start: FloatArray, enough: float) -> Near:
        def curvature(psi: FloatArray) -> DenseCurvature:
            return DenseCurvature(part.hessian(psi) + least, elsewhere=True)

        options: dict[str, Any] = {
            "curvature_at": lambda psi, g, decrement: (curvature(psi), True),
            "target": enough,
            "tol": controls.tol,
            "resolution": controls.resolution,
            "maxiter": min(controls.left, _MAX_START_ITERATIONS),
            "ahead": part.largest_move,
        }
        found = minimize(
            function.value_and_grad, start, jac=True, hessp=part.hessp, method=minimize_newton, options=options
        )
        psi = found.x + found.step if np.isfinite(found.after) else found.x
        return Near(psi, curvature(psi))

    tracked = Tracked(problem.value_and_grad)
    near = _near(problem, tracked, schedule.start_rows, newton, start)
    schedule.start_with(near.curvature)
    return near.psi, tracked.value_and_grad(near.psi)


def start_in_region(
    problem: RoundProblem, schedule: CurvatureSchedule, controls: Controls, start: FloatArray, region: Region
) -> tuple[FloatArray, tuple[float, FloatArray], StepSolver]:
    """The same under a penalty or bounds, by proximal Newton steps on the sample; and how to go on from there."""
    hessians: list[FloatArray] = []

    def proximal(part: RoundProblem, function: Tracked, start: FloatArray, enough: float) -> Near:
        options: dict[str, Any] = {
            "region": region,
            "model_step": model_steps(part, region, controls.tol, well_determined=True),
            "target": enough,
            "tol": controls.tol,
            "resolution": controls.resolution,
            "maxiter": min(controls.left, _MAX_START_ITERATIONS),
        }
        found = minimize(function.value_and_grad, start, jac=True, method=minimize_proximal_newton, options=options)
        if not schedule.sample_terms:
            hessians.append(part.hessian(found.x))
        return Near(found.x, None)

    tracked = Tracked(problem.value_and_grad)
    n_rows = schedule.start_rows or schedule.sample_rows
    near = _near(problem, tracked, n_rows, proximal, start, region.penalty)
    if near.psi is not start:
        terms = schedule.sample_terms
        hessian = problem.sampled_hessian(near.psi, terms) if terms else hessians[-1]
        steps = model_steps(problem, region, controls.tol, terms, hessian)
        value, grad = tracked.value_and_grad(near.psi)
        first = steps(near.psi, grad)
        end, _ = first.path(1.0)
        won = value + region.penalty(near.psi) - tracked.value(end) - region.penalty(end)
        # Where the step gains little of what it promises, rows of great leverage have led astray.
        if won >= _FAIR * first.gain:
            return end, tracked.value_and_grad(end), steps
    return start, tracked.value_and_grad(start), model_steps(problem, region, controls.tol)


def run_quasi_newton(
    problem: RoundProblem,
    schedule: CurvatureSchedule,
    controls: Controls,
    start: FloatArray,
    at: tuple[float, FloatArray] | None = None,
    metric: Curvature | None = None,
) -> Descent:
    """L-BFGS-B on all rows, in a metric that is renewed where the way to the minimum has outrun it.

    The first metric is one that costs nothing: the one given, or that of the model without features, where the start is
    that. The others are of samples of the Hessian, where there are any, at first at the estimate of a sample of the
    rows. The schedule keeps the last one for the Newton steps that follow.

    Parameters
    ----------
    at : value and gradient at the start, where they are known
    metric : to begin with
    """
    left = min(controls.left, _MAX_SAMPLED_ITERATIONS)
    tracked = Tracked(problem.value_and_grad, None if at is None else (start, *at))

    def quasi(part: RoundProblem, function: Tracked, start: FloatArray, enough: float) -> Near:
        return Near(quasi_newton(function, schedule.null, start, enough, left, None).point, None)

    near = _near(problem, tracked, schedule.sample_rows, quasi, start).psi if schedule.sample_rows else start
    # As far as differences of f can be told from rounding, which in double precision its slopes stand in for.
    rounding = controls.resolution * abs(tracked.value(near))
    # The last digits are Newton's: products with the Hessian there, not what the metric remembers of an earlier point,
    # tell whether the curvature vanishes because the minimum is at infinity.
    enough = min(max(_LAST_DIGITS, 1e3 * rounding), controls.tol)
    history = controls.history

    def descend(metric: Curvature, slowest: float) -> Descent:
        nonlocal near, left
        done = len(history.objective)
        found = quasi_newton(
            tracked,
            metric,
            near,
            enough,
            left,
            history,
            rounding=rounding if problem.is_double else 0.0,
            slowest=slowest,
            below=min(problem.separated_below, controls.tol),
        )
        near, left = found.point, left - (len(history.objective) - done)
        return found

    found: Descent | None = None
    free = schedule.null if schedule.null_first else metric
    if free is not None:
        if isinstance(free, DenseCurvature) and not problem.has_prior and free.weakest < _NO_CURVATURE:
            return Descent(start, *tracked.value_and_grad(start), np.inf, False)
        found = descend(free, schedule.slowest)
        if not found.slow or isinstance(free, DenseCurvature):
            schedule.adopt(free)
        if not (found.slow and left and schedule.sample_terms):
            return found
    for _ in range(_MAX_METRICS):
        sampled = DenseCurvature(problem.sampled_hessian(near, schedule.sample_terms))
        if not problem.has_prior and sampled.weakest < _NO_CURVATURE:
            # A step there would be without bound, or the sample has taken it, and leave nothing to tell separation by.
            return found or Descent(start, *tracked.value_and_grad(start), np.inf, False)
        found = descend(sampled, _SLOWEST)
        if not (found.slow and left):
            break
        if not problem.has_prior and found.left <= _NEAR * problem.size:
            # So near to the estimate it is not curvature that moves, but a minimum at infinity that is crept up to.
            return found
    assert found is not None
    schedule.adopt(sampled)
    return found


def _near(
    problem: RoundProblem,
    tracked: Tracked,
    n_rows: int,
    descend: Descend,
    start: FloatArray,
    penalty: Callable[[FloatArray], float] = lambda psi: 0.0,
) -> Near:
    """The estimate of a sample; that of one with the outliers where there are any; the start where it is no better.

    Outliers are rows that the first estimate takes for impossible, of which a sample has next to none.
    """

    def estimate(start: FloatArray, whole: IntArray | None) -> tuple[Near, float]:
        part = sampled_problem(problem, n_rows, rows_of_class(problem), whole)
        function = Tracked(part.value_and_grad)
        before = function.value(start) + penalty(start)
        # A tenth of how far the estimate of a sample is from that of all rows, some d / 2 over its share.
        enough = 0.05 * problem.size * problem.objective.samples.n_rows / max(1, part.objective.samples.n_rows)
        found = descend(part, function, start, enough)
        problem.count(part)
        return found, before

    near, at_start = estimate(start, None)
    value = tracked.value(near.psi) + penalty(near.psi)
    surprising = problem.surprising_rows(near.psi)
    if len(surprising):
        again, _ = estimate(near.psi, surprising)
        after = tracked.value(again.psi) + penalty(again.psi)
        if after < value:
            near, value = again, after
    # A sample that is all but separated says little of the rest.
    return near if value < at_start else Near(start, None)
