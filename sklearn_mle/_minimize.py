"""From a problem in round coordinates to its minimum, by `scipy.optimize.minimize` alone.

A named method (`_methods`) runs in phi = L' psi, where L L' is the curvature of the model without features
(psi itself, with a diagonal scaling, under bounds), until half its squared gradient is below `tol`. Then Newton
steps polish: their decrement, with the curvature at the point reached, is what certifies the estimate, never
`success`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from ._auto import CurvatureSchedule
from ._cost import step_time
from ._curvature import Curvature
from ._history import POLISHED_NATS, POLISHED_SIZE, Controls, History, Paired
from ._methods import Method, Solution, Solver, run_callable, run_method
from ._newton import minimize_newton
from ._problem import RoundProblem
from ._proximal import StepSolver, minimize_proximal_newton
from ._region import Region
from ._sampled import run_quasi_newton, start_from_sample, start_in_region
from ._split import SplitProblem
from ._steps import model_steps
from ._typing import FloatArray

# What a named method found depends on its path, in all digits that are not polished. With this much left, fits that
# should be the same agree in ten digits, as scikit-learn's checks ask.
_POLISHED_NATS_OF_NAMED = 1e-20
_MAX_RESTARTS = 20
_CERTIFYING_PRODUCTS = 10
_FAR_BELOW = 0.03
# Nanoseconds of a Newton step from which on a sample of the rows pays for its own calls under penalties and bounds.
_CALLS_OF_SAMPLE = 1e6


def solve(
    problem: RoundProblem,
    schedule: CurvatureSchedule,
    solver: Solver,
    controls: Controls,
    start: FloatArray,
    at: tuple[float, FloatArray] | None = None,
) -> Solution:
    """Minimise from `start`, which is within the bounds; `at` is value and gradient there, where they are known."""
    if not problem.size:
        # No intercepts, and columns of zeros alone: there is nothing to choose.
        value, grad = problem.value_and_grad(start)
        result = OptimizeResult(x=start, fun=value, jac=grad, nit=0, success=True, status=0, message="no parameters")
        return Solution(start, value, grad, 0.0, None, False, True, result)
    if solver is None:
        return _solve_auto(problem, schedule, controls, start, at)
    if not isinstance(solver, Method):
        return run_callable(problem, None if controls.bounds is not None else schedule.null, solver, controls, start)
    if controls.bounds is not None:
        return _run_bounded(problem, schedule, solver, controls, start)
    if solver.takes == "value":
        return _certified(problem, schedule, controls, run_method(problem, schedule.null, solver, controls, start))
    return _run_certified(problem, schedule, solver, controls, start)


def samples_in_region(problem: RoundProblem, schedule: CurvatureSchedule) -> bool:
    """Whether "auto" begins with a sample of the rows under penalties and bounds.

    Not in single precision: what a start that is led astray has to make good drowns in rounding there.
    """
    has_sample = schedule.start_rows > 0 or schedule.sample_rows > 0
    return has_sample and _samples_pay(problem)


def _samples_pay(problem: RoundProblem) -> bool:
    return problem.is_double and step_time(problem) > _CALLS_OF_SAMPLE


def _solve_auto(
    problem: RoundProblem,
    schedule: CurvatureSchedule,
    controls: Controls,
    start: FloatArray,
    at: tuple[float, FloatArray] | None,
) -> Solution:
    """On a sample of the rows, or of the Hessian's terms, as far as that pays, and on all of them from there."""
    memory = schedule.memory
    if controls.bounds is not None:
        region = _region(problem, controls)
        if samples_in_region(problem, schedule):
            start, at, steps = start_in_region(problem, schedule, controls, start, region)
        else:
            hessian = None if memory is None else memory.hessian(problem)
            terms = schedule.sample_terms if at is not None and _samples_pay(problem) else 0
            steps = model_steps(problem, region, controls.tol, terms, hessian)
        return polish(problem, schedule, controls, start, at=at, model_step=steps)
    if memory is not None and not schedule.recalls_metric:
        schedule.recall()
        return polish(problem, schedule, controls, start, at=at)
    if schedule.sample_terms or schedule.null_first:
        metric = None if memory is None else memory.model(problem)
        found = run_quasi_newton(problem, schedule, controls, start, at, metric)
        return polish(problem, schedule, controls, found.point, at=(found.value, found.grad))
    if schedule.start_rows:
        start, known = start_from_sample(problem, schedule, controls, start)
        return polish(problem, schedule, controls, start, at=known)
    return polish(problem, schedule, controls, start, at=at)


def polish(
    problem: RoundProblem,
    schedule: CurvatureSchedule,
    controls: Controls,
    start: FloatArray,
    *,
    watch: bool = True,
    at: tuple[float, FloatArray] | None = None,
    max_iter: int | None = None,
    polished: float = POLISHED_NATS,
    model_step: StepSolver | None = None,
) -> Solution:
    """Newton's method from `start`; `watch` ends it where the minimum seems to be at infinity.

    `at` is the value and gradient at `start`, where they are known; `polished` the decrement to reach where the
    problem is small enough; `model_step` how to go on under penalties and bounds, where a part of the way is behind.
    """
    target = polished if problem.size <= POLISHED_SIZE else controls.tol
    if controls.resolution > np.finfo(np.float64).eps:
        target = max(target, 0.01 * controls.tol)
    paired = Paired(problem.value_and_grad, None if at is None else (start, *at))
    options: dict[str, Any] = {
        "target": min(target, controls.tol),
        "tol": controls.tol,
        "resolution": controls.resolution,
        "maxiter": controls.left if max_iter is None else max_iter,
    }
    if controls.bounds is None:
        method: Callable[..., OptimizeResult] = minimize_newton
        # With a prior there is a minimum, however slow the way.
        options |= {"curvature_at": schedule, "watch": watch and not problem.has_prior}
        # A target far below `tol` leaves room for a certificate that is off.
        far_below = options["target"] <= _FAR_BELOW * controls.tol
        options |= {
            "sure": 0 if far_below else _CERTIFYING_PRODUCTS,
            "ahead": problem.largest_move if far_below else None,
            "quadratic": not problem.always_exact,
            "floor": -np.inf if problem.always_exact else 0.0,
            "separates": problem.separates if watch else None,
        }
    else:
        method = minimize_proximal_newton
        region = _region(problem, controls)
        options |= {
            "region": region,
            "model_step": model_step or model_steps(problem, region, controls.tol, schedule.sample_terms),
        }
        model_step = options["model_step"]
    result = minimize(
        paired.value,
        start,
        jac=paired.grad,
        hessp=problem.hessp,
        method=method,
        callback=lambda intermediate_result: controls.history.add(intermediate_result.fun),
        options=options,
    )
    return Solution(
        result.x,
        float(result.fun),
        result.jac,
        float(result.decrement),
        result.step,
        bool(result.crawling),
        bool(result.decrement <= controls.tol or result.success),
        result,
        float(result.get("after", np.inf)),
        None if model_step is None else model_step.hessian,
    )


def _region(problem: RoundProblem, controls: Controls) -> Region:
    assert controls.bounds is not None
    return Region(np.zeros(problem.size) if controls.l1 is None else controls.l1, *controls.bounds)


def finished(solution: Solution, history: History) -> Solution:
    """With the last step taken, an exact one, where it leaves nothing: the quadratic knows value and gradient there."""
    if solution.step is None or not np.isfinite(solution.after):
        return solution
    step, after = solution.step, solution.after
    psi, value, grad = solution.psi + step, solution.value - solution.decrement, 0 * solution.grad
    history.add(value)
    result = solution.result
    if "after" in result:
        result = OptimizeResult(result, x=psi, fun=value, jac=grad, nit=result.nit + 1, decrement=after, after=np.inf)
    return replace(solution, psi=psi, value=value, grad=grad, decrement=after, step=step, result=result, after=np.inf)


def _run_certified(
    problem: RoundProblem, schedule: CurvatureSchedule, method: Method, controls: Controls, start: FloatArray
) -> Solution:
    """A named method, then Newton steps; where the problem is too large for those, restarts in a new metric."""
    metric: Curvature = schedule.null
    for _ in range(_MAX_RESTARTS):
        solution = run_method(problem, metric, method, controls, start)
        start = solution.psi
        if problem.size <= POLISHED_SIZE:
            break
        certified = polish(problem, schedule, controls, start, max_iter=0)
        if certified.converged or not controls.left or solution.result.nit == 0:
            return _with_result(certified, solution.result)
        metric = problem.cheap_curvature(start)
    polished = polish(problem, schedule, controls, start, polished=_POLISHED_NATS_OF_NAMED)
    return _with_result(polished, solution.result)


def _with_result(solution: Solution, result: OptimizeResult) -> Solution:
    """The named method's own result beside the certified point."""
    return replace(solution, result=result)


def _certified(problem: RoundProblem, schedule: CurvatureSchedule, controls: Controls, solution: Solution) -> Solution:
    """The point that a method has found, with what the curvature there says is left."""
    return _with_result(polish(problem, schedule, controls, solution.psi, max_iter=0), solution.result)


def _run_bounded(
    problem: RoundProblem, schedule: CurvatureSchedule, method: Method, controls: Controls, start: FloatArray
) -> Solution:
    if controls.l1 is not None and controls.bounds is not None:
        split = SplitProblem(problem, controls.l1, controls.bounds)
        part = replace(controls, bounds=split.box, l1=None)
        solution = run_method(split, None, method, part, split.split(start))
        solution = replace(solution, psi=split.join(solution.psi))
    else:
        solution = run_method(problem, None, method, controls, start)
    if method.takes == "value" or problem.size > POLISHED_SIZE:
        return _certified(problem, schedule, controls, solution)
    return _with_result(polish(problem, schedule, controls, solution.psi), solution.result)
