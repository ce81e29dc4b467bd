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
from ._cost import pass_time, step_time
from ._curvature import Curvature
from ._gauge import Gauge
from ._history import POLISHED_NATS, POLISHED_SIZE, Controls, History, Paired
from ._methods import Method, Solution, Solver, run_callable, run_method
from ._newton import minimize_newton
from ._problem import RoundProblem
from ._proximal import StepSolver, minimize_proximal_newton
from ._region import Region
from ._sampled import run_quasi_newton, start_from_sample, start_in_region
from ._split import SplitProblem
from ._steps import End, describe_steps, model_steps, step_price
from ._typing import FloatArray
from ._working_set import WorkingSet

# What a named method found depends on its path, in all digits that are not polished. With this much left, fits that
# should be the same agree in ten digits, as scikit-learn's checks ask.
_POLISHED_NATS_OF_NAMED = 1e-20
_MAX_RESTARTS = 20
_CERTIFYING_PRODUCTS = 10
_FAR_BELOW = 0.03
# Nanoseconds of a Newton step from which on a sample of the rows pays for its own calls under penalties and bounds.
_CALLS_OF_SAMPLE = 1e6
# Columns from which on few of them come first under an l1 penalty; what is left there of the first decrement, for as
# long as others are missing; and what these promise, of `tol`, from which on hardly any are.
_MANY_COLUMNS = 256
_DENSE_COLUMNS_PER_ROW = 32
_SHARE_OF_ROUGH = 1e-3
_HARDLY_ANY = 1e-3
# Passes over all columns that the last digits may cost on some.
_PASSES_OF_LAST_DIGITS = 25.0


def solve(
    problem: RoundProblem,
    schedule: CurvatureSchedule,
    solver: Solver,
    controls: Controls,
    start: FloatArray,
    at: tuple[float, FloatArray] | None = None,
    few: int | None = None,
) -> Solution:
    """Minimise from `start`, which is within the bounds; `at` is value and gradient there, where they are known.

    `few` is how many Newton steps follow a named method before other coordinates may help.
    """
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
    return _run_certified(problem, schedule, solver, controls, start, few)


def describe_auto(problem: RoundProblem, schedule: CurvatureSchedule, controls: Controls) -> str:
    """What "auto" chooses, in words."""
    if controls.bounds is None:
        return schedule.name
    terms = schedule.sample_terms if _samples_in_region(problem, schedule) else 0
    words = describe_steps(problem, _region(problem, controls), terms) + schedule.first
    if _works_on_columns(problem, schedule, controls):
        words = f"the columns that are not zero for as long as they are few, then {words}"
    return words


def _samples_in_region(problem: RoundProblem, schedule: CurvatureSchedule) -> bool:
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
        n_iter = len(controls.history.objective)
        if _works_on_columns(problem, schedule, controls):
            solution, start, at = _solve_on_columns(problem, schedule, controls, start, at, region)
            if solution is not None:
                return solution
        moved = len(controls.history.objective) > n_iter
        if _samples_in_region(problem, schedule) and not moved:
            start, at, steps = start_in_region(problem, schedule, controls, start, region)
        else:
            hessian = None if memory is None or moved else memory.hessian(problem)
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


def _works_on_columns(problem: RoundProblem, schedule: CurvatureSchedule, controls: Controls) -> bool:
    """Whether "auto" begins with few of the columns: where there are many, and not very many rows for them.

    Those, of which a sample is a start, leave few coefficients at zero. Of dense columns, unless these are very many,
    steps choose coordinates instead (`_support_steps`).
    """
    samples = problem.objective.samples
    least = _MANY_COLUMNS if samples.is_sparse else max(_MANY_COLUMNS, _DENSE_COLUMNS_PER_ROW * samples.n_rows)
    many = problem.coordinates.rank >= least
    penalised = controls.l1 is not None and bool(controls.l1.any())
    return many and penalised and not _samples_in_region(problem, schedule)


def _solve_on_columns(
    problem: RoundProblem,
    schedule: CurvatureSchedule,
    controls: Controls,
    start: FloatArray,
    at: tuple[float, FloatArray] | None,
    region: Region,
) -> tuple[Solution | None, FloatArray, tuple[float, FloatArray]]:
    """On the columns that are not zero, until no other wants to move; as far as that goes, where these become many.

    At first roughly, as those that are missing would change it. Once hardly any are, none is left out again, so that
    there is an end.

    Returns
    -------
    solution : None where there is more to do
    psi, (value, grad) : the point reached, and the smooth part there
    """
    n_iter = len(controls.history.objective)
    gauge = Gauge(problem, region)
    working = WorkingSet(problem, region)
    psi, (value, grad) = start, problem.value_and_grad(start) if at is None else at
    solution: Solution | None = None
    settled = False
    while controls.left:
        slope = region.slope(psi, gauge.without_rounding(psi, grad))
        promised = working.grow(psi, slope, keep=settled)
        if settled and not promised and solution is not None and solution.converged:
            whole, nit = value + region.penalty(psi), len(controls.history.objective) - n_iter
            result = OptimizeResult(solution.result, x=psi, fun=whole, jac=grad, nit=nit, step=None)
            found = replace(solution, psi=psi, value=whole, grad=grad, step=None, hessian=None, result=result)
            return found, psi, (value, grad)
        if not working.helps or (solution is not None and not solution.converged):
            break
        moved = solution is None or solution.result.nit > 0
        settled = settled or not moved or promised <= _HARDLY_ANY * controls.tol
        part = working.part()
        part_controls = working.controls(controls, part)
        end = _end_on_columns(problem, part) if settled else End.ROUGH
        solution = polish(
            part,
            schedule,
            part_controls,
            working.taken(psi, part),
            polished=controls.tol if end is End.WITHIN_TOL else POLISHED_NATS,
            model_step=model_steps(part, _region(part, part_controls), controls.tol, end=end),
            share=_SHARE_OF_ROUGH if end is End.ROUGH else 0.0,
        )
        psi = working.spread(solution.psi, part)
        problem.count(part)
        value, grad = problem.value_and_grad(psi)
    return None, psi, (value, grad)


def _end_on_columns(problem: RoundProblem, part: RoundProblem) -> End:
    """The end that the problem on some columns comes to: the last digits are for small problems, and where cheap."""
    price = step_price(part) * pass_time(part) / pass_time(problem)
    return End.EXACT if problem.size <= POLISHED_SIZE or price <= _PASSES_OF_LAST_DIGITS else End.WITHIN_TOL


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
    share: float = 0.0,
) -> Solution:
    """Newton's method from `start`; `watch` ends it where the minimum seems to be at infinity.

    `at` is the value and gradient at `start`, where they are known; `polished` the decrement to reach where the
    problem is small enough; `model_step` how to go on under penalties and bounds, where a part of the way is behind;
    `share`, there too, what may be left of the first decrement.
    """
    is_small = problem.size <= POLISHED_SIZE
    if controls.resolution > np.finfo(np.float64).eps:
        polished = max(polished, 0.01 * controls.tol)
    polished = min(polished, controls.tol)
    paired = Paired(problem.value_and_grad, None if at is None else (start, *at))
    options: dict[str, Any] = {
        "target": polished if is_small else controls.tol,
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
            "target": polished,
            "polish": is_small,
            "region": region,
            "share": share,
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
    problem: RoundProblem,
    schedule: CurvatureSchedule,
    method: Method,
    controls: Controls,
    start: FloatArray,
    few: int | None,
) -> Solution:
    """A named method, then Newton steps, a `few` first; restarts in a new metric where there is no room for those."""
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
    limit = None if few is None else min(few, controls.left)
    polished = polish(problem, schedule, controls, start, polished=_POLISHED_NATS_OF_NAMED, max_iter=limit)
    exhausted = bool(polished.result.exhausted) and controls.left > 0
    return _with_result(polished, OptimizeResult(solution.result, exhausted=exhausted))


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
