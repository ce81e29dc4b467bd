"""Minimising the objective of a network with hidden layers, which is not convex.

solver="auto": SciPy's L-BFGS-B in the coordinates of a Kronecker-factored model of the curvature (`_kfac`),
which is taken anew at longer and longer intervals. Blocks of float64 rows are evaluated in float32 until its
rounding shows. Where the Hessian costs little, `trust-exact` takes over after a few of these intervals: along the flat
valleys of a network L-BFGS-B goes on for thousands of steps. Without a prior these lead to infinity, and it stays.

What certifies a point is half the Newton decrement, g' H^-1 g / 2, the nats that a quadratic leaves to gain: with the
Gauss-Newton Hessian, that of the network linearised there, or with the Hessian itself where it shows no negative
curvature. It says that the point is stationary to `tol`, and nothing about other minima.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.optimize import OptimizeResult

from ._curvature import Curvature, DiagonalCurvature
from ._direction import conjugate_direction
from ._history import Controls, Tracked
from ._methods import METHODS, Method, Solution, Solver, run_callable, run_method
from ._network_problem import NetworkProblem
from ._quasi_newton import quasi_newton
from ._typing import FloatArray

# Iterations between two models of the curvature: each is used for twice as long as the one before.
_FIRST_PERIOD = 20
_LONGEST_PERIOD = 160
# Iterations in float32 go on while a period gains this share of the objective; its resolution is 1e-7.
_SINGLE_GAIN = 1e-2
# An objective of fewer products than this is not worth the change of precision.
_SINGLE_WORK = 1 << 22
# A gap that the model puts at more than this many times `tol` is not worth the products of a certificate.
_HOPELESS = 100.0
# Of a certificate: the residual of conjugate gradients, their least number (few see little of what is left), and the
# share of the metric that stands for what the Gauss-Newton Hessian has at least.
_FORCING, _CERTIFYING_PRODUCTS, _SHARE_OF_METRIC = 0.1, 20, 1e-3
# Curvature pairs of L-BFGS-B: traffic of 4 d numbers each, which a pass over few rows does not outweigh.
_PAIRS, _FEW_PAIRS = 30, 8
_MANY_PARAMETERS = 30_000
_MAX_RESTARTS = 20
# Of `tol`, what a named method is asked for: a tenth of the time before, down to this.
_NEXT_SHARE, _LEAST_SHARE = 0.1, 1e-6
_MAX_STALLS = 8
# Products of one Hessian, and parameters, up to which it is cheap; and iterations before it takes over.
_CHEAP_HESSIAN, _CHEAP_SIZE, _PATIENCE = 1 << 25, 300, 60
# Near a minimum the model is good, and directions of little curvature matter.
_FINE_DAMPING = 1e-4
# Methods that keep or factor a d x d matrix, and the most parameters that they are let have.
_MAX_SIZE = {
    "dogleg": 2000,
    "trust-exact": 2000,
    "COBYQA": 2000,
    "COBYLA": 2000,
    "Nelder-Mead": 2000,
    "Powell": 2000,
    "SLSQP": 5000,
    "BFGS": 10_000,
}


class Stopped(Exception):
    """Raised from a history to end a fit; the best point so far counts."""


def train(problem: NetworkProblem, solver: Solver, controls: Controls, start: FloatArray) -> Solution:
    """Minimise from `start`."""
    if solver is None:
        return _train_auto(problem, controls, start)
    if not isinstance(solver, Method):
        # It sees theta itself.
        return run_callable(problem, None, solver, controls, start)
    limit = _MAX_SIZE.get(solver.name, np.inf)
    if problem.size > limit:
        raise ValueError(
            f"solver={solver.name!r} is for networks of up to {limit:,} parameters, this one has {problem.size:,}: it "
            "works on a matrix or simplex of their number squared. Use 'auto', 'L-BFGS-B', 'Newton-CG' or 'trust-ncg'."
        )
    problem.definite = solver.name == "dogleg"
    return _train_named(problem, solver, controls, start)


def _train_auto(problem: NetworkProblem, controls: Controls, start: FloatArray) -> Solution:
    double = controls.resolution == np.finfo(np.float64).eps
    single = double and problem.work >= _SINGLE_WORK
    problem.set_precision(single)
    history = controls.history
    pairs = _PAIRS if problem.size <= _MANY_PARAMETERS else _FEW_PAIRS
    theta, period = start, _FIRST_PERIOD
    value = problem.value_and_grad(theta)[0]
    while True:
        metric = problem.curvature(theta)
        before, done = value, len(history.objective)
        limit = min(period, controls.left)
        enough = 0.1 * _enough(controls, value)
        found = quasi_newton(Tracked(problem.value_and_grad), metric, theta, enough, limit, history, pairs)
        theta, value = found.point, found.value
        ended = len(history.objective) - done < limit
        if single and (ended or before - value < _SINGLE_GAIN * before or not controls.left):
            single = False
            problem.set_precision(single)
            value = problem.value_and_grad(theta)[0]
            if controls.left:
                continue
        crawling = len(history.objective) >= _PATIENCE and not single and _hessian_is_cheap(problem)
        # A model that sees nothing left to gain may have been outrun: the next one is asked, too.
        if len(history.objective) == done or not controls.left or crawling:
            solution = _finish(problem, controls, theta, metric)
            solution.result.nit = len(history.objective)
            return solution
        period = min(2 * period, _LONGEST_PERIOD)


def _finish(problem: NetworkProblem, controls: Controls, theta: FloatArray, metric: Curvature) -> Solution:
    """The certificate, and steps with the exact Hessian, or with products of it, until it is had.

    L-BFGS-B ends where the model sees nothing left to gain. What is left lies along directions that the model
    overrates, or of negative curvature.
    """
    method = METHODS["trust-exact" if _hessian_is_cheap(problem) else "trust-ncg"]
    for _ in range(_MAX_STALLS):
        # The last model does where iterations ran out: most often it sees that all is far from done.
        solution = certify(problem, problem.curvature(theta) if controls.left else metric, controls, theta)
        if solution.converged or not controls.left or not np.isfinite(solution.decrement):
            break
        fine = problem.curvature(theta, _FINE_DAMPING)
        gap = 0.5 * float(solution.grad @ fine.solve(solution.grad))
        share = 0.1 * min(1.0, _enough(controls, solution.value) / solution.decrement)
        part = replace(controls, options={"gtol": float(np.sqrt(2 * gap * share))})
        found = run_method(problem, fine, method, part, theta)
        if found.value >= solution.value:
            break
        theta = found.psi
    return solution


def _hessian_is_cheap(problem: NetworkProblem) -> bool:
    """Whether Hessians cost about as little as the iterations that they save.

    Where there are kinks they save none, and without a prior their steps leap to where probabilities have no digits.
    """
    fits = problem.size <= _CHEAP_SIZE and problem.work * problem.size <= _CHEAP_HESSIAN
    return fits and problem.objective.precision > 0 and problem.objective.network.activation.smooth


def _enough(controls: Controls, value: float) -> float:
    """Nats that are good enough: `tol`, or what the precision of X lets one tell apart."""
    rounding = 8 * controls.resolution * abs(value) if controls.resolution > np.finfo(np.float64).eps else 0.0
    return max(controls.tol, rounding)


def certify(
    problem: NetworkProblem,
    metric: Curvature,
    controls: Controls,
    theta: FloatArray,
    result: OptimizeResult | None = None,
) -> Solution:
    """The decrement at theta, by conjugate gradients; by the metric alone where it is hopeless.

    That of the Gauss-Newton Hessian or, where they meet no negative curvature, of the Hessian, whichever is less.
    """
    value, grad = problem.value_and_grad(theta)
    enough = _enough(controls, value)
    decrement = 0.5 * float(grad @ metric.solve(grad))
    if decrement <= _HOPELESS * enough:
        decrement = _decrement(partial(problem.gauss_newton_product, theta), metric, grad, enough)
        if decrement > enough:
            decrement = min(decrement, _decrement(partial(problem.hessp, theta), metric, grad, enough))
    converged = decrement <= enough
    if result is None:
        message = "the decrement is at the target" if converged else "the decrement is above the target"
        result = OptimizeResult(x=theta, fun=value, jac=grad, decrement=decrement, success=converged, nit=0)
        result.update(status=0 if converged else 1, message=message)
    return Solution(theta, value, grad, decrement, None, False, converged, result)


def _decrement(
    product: Callable[[FloatArray], FloatArray], metric: Curvature, grad: FloatArray, enough: float
) -> float:
    """Half of g' (H + share M)^-1 g, M the metric, found in its coordinates; infinite where H has negative curvature.

    H has none between units that do the same, and what a gradient has there is rounding.
    """
    seen = [0.0]

    def round_product(_: FloatArray, direction: FloatArray) -> FloatArray:
        moved = metric.whiten(product(metric.unwhiten(direction)))
        seen.append(float(direction @ moved) / float(direction @ direction))
        return moved + _SHARE_OF_METRIC * direction

    whole, start = DiagonalCurvature(np.ones_like(grad)), np.zeros_like(grad)
    found = conjugate_direction(
        start, metric.whiten(grad), round_product, whole, _FORCING, enough, 1.0, np.inf, _CERTIFYING_PRODUCTS
    )
    return found.decrement if min(seen) >= -(_SHARE_OF_METRIC**2) else np.inf


def _train_named(problem: NetworkProblem, method: Method, controls: Controls, start: FloatArray) -> Solution:
    """A named method in the coordinates of the curvature model at the start, again where the certificate is missed.

    What the method asks of its gradient to be done is by that model, which may rate directions too high: it is asked
    for more each time.
    """
    theta, share = start, 1.0
    for _ in range(_MAX_RESTARTS):
        metric = problem.curvature(theta)
        solution = run_method(problem, metric, method, replace(controls, tol=share * controls.tol), theta)
        certified = certify(problem, problem.curvature(solution.psi), controls, solution.psi, solution.result)
        at_rest = np.array_equal(solution.psi, theta) and share <= _LEAST_SHARE
        if certified.converged or not controls.left or method.takes == "value" or at_rest:
            break
        theta, share = solution.psi, max(_NEXT_SHARE * share, _LEAST_SHARE)
    return replace(certified, result=solution.result)
