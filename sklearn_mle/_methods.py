"""SciPy's methods of minimisation: what each takes, and one call of it.

`METHODS` says what each method takes and what its stopping words are called. It runs in phi = L' psi, where L L' is a
model of the curvature, or in psi itself where there is none.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.optimize import Bounds, OptimizeResult, OptimizeWarning, minimize

from ._curvature import Curvature
from ._history import Controls, Tracked, scipy_callback, scipy_callback_x
from ._typing import FloatArray


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
        self._whitening: FloatArray | None = None

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
        if self._whitening is None:
            self._whitening = np.stack([self.metric.unwhiten(unit) for unit in np.eye(len(hessian))])
        whitened = self._whitening @ hessian @ self._whitening.T
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
