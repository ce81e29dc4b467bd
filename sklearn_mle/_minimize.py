"""From a problem in round coordinates to its minimum, by `scipy.optimize.minimize` alone.

`METHODS` says what each of SciPy's methods takes and what its stopping words are called. A named method
runs in phi = L' psi, where L L' is the curvature of the model without features (psi itself, with a diagonal
scaling, under bounds), until half its squared gradient is below `tol`. Then Newton steps polish: their
decrement, with the curvature at the point reached, is what certifies the estimate, never `success`.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from scipy.optimize import Bounds, OptimizeResult, OptimizeWarning, minimize

from ._auto import CurvatureSchedule, model_steps
from ._cost import step_time
from ._curvature import Curvature, DenseCurvature
from ._history import (
    POLISHED_NATS,
    POLISHED_SIZE,
    Controls,
    History,
    Paired,
    Tracked,
    scipy_callback,
    scipy_callback_x,
)
from ._newton import minimize_newton
from ._problem import RoundProblem
from ._proximal import StepSolver, minimize_proximal_newton
from ._region import Region
from ._sampled import run_sampled, start_from_sample, start_in_region
from ._split import SplitProblem
from ._typing import FloatArray

# What a named method found depends on its path, in all digits that are not polished. With this much left, fits that
# should be the same agree in ten digits, as scikit-learn's checks ask.
_POLISHED_NATS_OF_NAMED = 1e-20
_MAX_RESTARTS = 20
_CERTIFYING_PRODUCTS = 10
_FAR_BELOW = 0.03
# Nanoseconds of a Newton step from which on a sample of the rows pays for its own calls under penalties and bounds.
_CALLS_OF_SAMPLE = 1e6


@dataclass(frozen=True)
class Method:
    """What a method of SciPy takes, and what it calls its stopping words.

    Attributes
    ----------
    name : as SciPy spells it
    takes : "value", "gradient", "hessp" or "hess", the highest derivative that it is handed
    bounds : whether it honours box constraints
    limit : the option that bounds its iterations
    stop : options that stop it near a gradient norm g (phi's units) and a decrease of f nats
    callback : what its callback gets after each iteration: "result", or "x" alone; or "none", where it is
        called after each evaluation
    """

    name: str
    takes: str
    bounds: bool
    stop: Callable[[float, float], dict[str, Any]]
    limit: str = "maxiter"
    callback: str = "result"


METHODS = {
    method.name.lower(): method
    for method in (
        Method("Nelder-Mead", "value", True, lambda g, f: {"fatol": f, "xatol": g, "adaptive": True}),
        Method("Powell", "value", True, lambda g, f: {"ftol": 1e-10, "xtol": g}),
        Method("CG", "gradient", False, lambda g, f: {"gtol": g, "norm": 2}),
        Method("BFGS", "gradient", False, lambda g, f: {"gtol": g, "norm": 2}),
        Method("Newton-CG", "hessp", False, lambda g, f: {"xtol": 0.1 * g}),
        # ftol = 0: its test is relative to f, and f may be 1e6 nats.
        Method(
            "L-BFGS-B", "gradient", True, lambda g, f: {"ftol": 0.0, "gtol": 0.3 * g, "maxcor": 20, "maxfun": 10**7}
        ),
        Method("TNC", "gradient", True, lambda g, f: {"gtol": g, "ftol": f, "xtol": 0.0}, "maxfun", "x"),
        Method("COBYLA", "value", True, lambda g, f: {"tol": 0.1 * g}),
        Method("COBYQA", "value", True, lambda g, f: {"final_tr_radius": 0.1 * g}, callback="none"),
        Method("SLSQP", "gradient", True, lambda g, f: {"ftol": f}),
        Method("trust-constr", "hessp", True, lambda g, f: {"gtol": 0.1 * g, "xtol": 1e-12}),
        Method("dogleg", "hess", False, lambda g, f: {"gtol": g}),
        Method("trust-ncg", "hessp", False, lambda g, f: {"gtol": g}),
        Method("trust-exact", "hess", False, lambda g, f: {"gtol": g}),
        Method("trust-krylov", "hessp", False, lambda g, f: {"gtol": g}),
    )
}
_ALIASES = {"lbfgs": "l-bfgs-b"}

Solver = Method | Callable[..., OptimizeResult] | None


def find_solver(solver: Any, bounded: bool, l1: bool = False) -> Solver:
    """The `Method` of a name, the callable itself, or None for "auto"."""
    if callable(solver):
        if l1:
            raise ValueError("A callable solver needs a smooth objective: l1_ratio must be 0. Use solver='auto'.")
        return solver
    name = solver.lower() if isinstance(solver, str) else ""
    if name == "auto":
        return None
    method = METHODS.get(_ALIASES.get(name, name))
    if method is None:
        known = ", ".join(repr(method.name) for method in METHODS.values())
        raise ValueError(f"solver must be 'auto', a callable, or one of {known}; got {solver!r}.")
    if bounded and not method.bounds:
        able = ", ".join(repr(method.name) for method in METHODS.values() if method.bounds)
        raise ValueError(f"solver={solver!r} cannot take bounds. Those that can: 'auto', {able}.")
    if l1 and not (method.bounds and method.takes != "value"):
        able = ", ".join(repr(m.name) for m in METHODS.values() if m.bounds and m.takes != "value")
        raise ValueError(
            f"solver={solver!r} cannot fit l1_ratio > 0, which it would see as bounds. Use 'auto', {able}."
        )
    return method


@dataclass(frozen=True)
class Solution:
    """Where the minimiser stopped, in psi.

    Attributes
    ----------
    psi, value, grad : the point and the objective there
    decrement : nats that are left to gain, estimated with the curvature there; nan if it was not asked for
    step : the last Newton step, which was not taken, or None
    after : nats that are left after it, where it is to be taken (`finished`); else infinite
    hessian : that of the last step under penalties and bounds, where there is one
    crawling : the steps do not get shorter although nothing is left to gain: the minimum may be at infinity
    converged : whether the decrement is within `tol`
    result : what SciPy returned
    """

    psi: FloatArray
    value: float
    grad: FloatArray
    decrement: float
    step: FloatArray | None
    crawling: bool
    converged: bool
    result: OptimizeResult
    after: float = np.inf
    hessian: FloatArray | None = None


class Problem(Protocol):
    """What a method of SciPy may ask for."""

    def value_and_grad(self, x: FloatArray, /) -> tuple[float, FloatArray]: ...
    def hessp(self, x: FloatArray, direction: FloatArray, /) -> FloatArray: ...
    def hessian(self, x: FloatArray, /) -> FloatArray: ...


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


def samples_in_region(problem: RoundProblem, schedule: CurvatureSchedule, controls: Controls) -> bool:
    """Whether "auto" begins with a sample of the rows under penalties and bounds.

    Not in single precision: what a start that is led astray has to make good drowns in rounding there.
    """
    has_sample = schedule.start_rows > 0 or schedule.sample_rows > 0
    return has_sample and _samples_pay(problem, controls)


def _samples_pay(problem: RoundProblem, controls: Controls) -> bool:
    double = controls.resolution <= float(np.finfo(np.float64).eps)
    return double and step_time(problem) > _CALLS_OF_SAMPLE


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
        if samples_in_region(problem, schedule, controls):
            start, at, steps = start_in_region(problem, schedule, controls, start, region)
        else:
            hessian = memory.hessian(problem) if memory is not None and memory.is_hessian else None
            terms = schedule.sample_terms if at is not None and _samples_pay(problem, controls) else 0
            steps = model_steps(problem, region, controls.tol, terms, hessian)
        return polish(problem, schedule, controls, start, at=at, model_step=steps)
    if memory is not None and not (schedule.sample_terms and memory.is_hessian):
        schedule.recall(memory)
        return polish(problem, schedule, controls, start, at=at)
    if schedule.sample_terms:
        metric = None if memory is None else DenseCurvature(memory.hessian(problem))
        found = run_sampled(problem, schedule, controls, start, at, metric)
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
    return Solution(psi, value, grad, after, step, solution.crawling, solution.converged, result)


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


def run_method(
    problem: Problem, metric: Curvature | None, method: Method, controls: Controls, start: FloatArray
) -> Solution:
    """One call of `minimize` with a method of SciPy's, in the coordinates of the metric."""
    # Half the squared gradient in phi estimates the nats that are left.
    stop = method.stop(np.sqrt(0.2 * controls.tol), 0.01 * controls.tol)
    options = {**stop, method.limit: controls.left, **controls.options}
    keywords: dict[str, Any] = {"method": method.name}
    if controls.bounds is not None:
        keywords["bounds"] = Bounds(*controls.bounds)
    view = _View(problem, metric)
    if method.takes != "value":
        keywords["jac"] = True
    if method.takes == "hessp":
        keywords["hessp"] = view.hessp
    elif method.takes == "hess":
        keywords["hess"] = view.hessian
    callback = None
    if method.callback != "none":
        bridge = scipy_callback if method.callback == "result" else scipy_callback_x
        callback = bridge(controls.history, view.tracked)
    function = view.tracked.value if method.takes == "value" else view.tracked.value_and_grad
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning, module="scipy")
        # Methods grumble of lost precision or small steps; the decrement is what decides.
        warnings.filterwarnings("ignore", category=UserWarning, module="scipy")
        # An OptimizeWarning is a UserWarning: this filter has to come last.
        warnings.filterwarnings("error", message="Unknown solver options", category=OptimizeWarning)
        try:
            result = minimize(
                function,
                view.to_phi(start),
                callback=callback,
                options=options,
                **keywords,
            )
        except OptimizeWarning as unknown:
            raise ValueError(f"solver_options: {unknown} of solver {method.name!r}.") from None
        except TypeError as error:
            # trust-constr has its options for keyword arguments, and so has every method its x0, jac, ...
            if any(f"argument '{name}'" in str(error) for name in controls.options):
                raise ValueError(f"solver_options: not options of solver {method.name!r}: {error}.") from None
            raise
    return view.solution(result, converged=bool(result.success), controls=controls)


def run_callable(
    problem: Problem,
    metric: Curvature | None,
    method: Callable[..., OptimizeResult],
    controls: Controls,
    start: FloatArray,
) -> Solution:
    """A custom method, called once; what it returns is what counts."""
    view = _View(problem, metric)
    result = minimize(
        view.tracked.value_and_grad,
        view.to_phi(start),
        jac=True,
        hessp=view.hessp,
        method=method,
        bounds=None if controls.bounds is None else Bounds(*controls.bounds),
        callback=scipy_callback(controls.history, view.tracked),
        options={"maxiter": controls.max_iter, **controls.options},
    )
    return view.solution(result, converged=bool(result.get("success", True)), controls=controls)


class _View:
    """A problem in phi = L' psi; in psi itself where there is no metric."""

    def __init__(self, problem: Problem, metric: Curvature | None) -> None:
        self.problem = problem
        self.metric = metric
        self.tracked = Tracked(self._value_and_grad)

    def to_phi(self, psi: FloatArray) -> FloatArray:
        return psi.copy() if self.metric is None else self.metric.whiten_point(psi)

    def to_psi(self, phi: FloatArray) -> FloatArray:
        return phi if self.metric is None else self.metric.unwhiten(phi)

    def _value_and_grad(self, phi: FloatArray) -> tuple[float, FloatArray]:
        value, grad = self.problem.value_and_grad(self.to_psi(phi))
        return value, grad if self.metric is None else self.metric.whiten(grad)

    def hessp(self, phi: FloatArray, direction: FloatArray) -> FloatArray:
        product = self.problem.hessp(self.to_psi(phi), self.to_psi(direction))
        return product if self.metric is None else self.metric.whiten(product)

    def hessian(self, phi: FloatArray) -> FloatArray:
        hessian = self.problem.hessian(self.to_psi(phi))
        if self.metric is None:
            return hessian
        half = np.stack([self.metric.whiten(column) for column in hessian])
        whitened = np.stack([self.metric.whiten(column) for column in half.T])
        return 0.5 * (whitened + whitened.T)

    def solution(self, result: OptimizeResult, converged: bool, controls: Controls) -> Solution:
        """The best point seen: some methods return another."""
        phi = np.asarray(result.x, dtype=float)
        value, grad = self.tracked.value_and_grad(phi)
        best = self.tracked.best
        if best is not None and best[1] < value:
            feasible = controls.bounds is None or bool(
                np.all(best[0] >= controls.bounds[0]) and np.all(best[0] <= controls.bounds[1])
            )
            if feasible:
                phi, value, grad = best
        if controls.bounds is not None:
            phi = np.clip(phi, *controls.bounds)
        return Solution(self.to_psi(phi), value, grad, np.nan, None, False, converged, result)
