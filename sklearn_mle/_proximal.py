"""Proximal Newton under box constraints and an l1 penalty, as a custom method of `scipy.optimize.minimize`.

    minimise F(x) = f(x) + sum_j l1_j |x_j|    subject to    lower <= x <= upper

Each step minimises the quadratic model of f, with penalty and box as they are, and backtracks (Lee, Sun &
Saunders, 2014, SIAM J. Optim. 24(3)). The model is solved by the primal-dual active set method (Hintermueller,
Ito & Kunisch, 2002, SIAM J. Optim. 13(3)): guess from the optimality conditions which coordinates are at zero
or at a bound, solve for the others, guess again. Where the guesses cycle, accelerated proximal gradients
(Beck & Teboulle, 2009, SIAM J. Imaging Sci. 2(1)) on the model bring them nearer.

Coordinates end at zero, or at their bounds, exactly. What the model still gains is the certificate: at zero
the subgradient condition holds for all coordinates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import Bounds, OptimizeResult

from ._curvature import DenseCurvature
from ._problem import RoundProblem
from ._typing import BoolArray, FloatArray

_ARMIJO = 1e-4
_MAX_BACKTRACKS = 40
# Relative to coordinates of curvature one: keeps what the data do not determine (the gauge of all logits of
# a row) where it is, and costs Newton's step nothing that shows.
_DAMPING = 1e-11
# Up to here the Hessian is formed; beyond, conjugate gradients solve for the step in one orthant.
_MAX_DENSE_SIZE = 3000
_MAX_GUESSES = 20
_GRADIENT_STEPS = 200
_ROUNDS = 5
_MAX_PRODUCTS = 100
_CG_RESIDUAL = 0.1


class Region:
    """Penalty and box, and the proximal map that belongs to them.

    Parameters
    ----------
    l1, lower, upper : arrays of shape (d,)
    """

    def __init__(self, l1: FloatArray, lower: FloatArray, upper: FloatArray) -> None:
        self.l1, self.lower, self.upper = l1, lower, upper

    def penalty(self, x: FloatArray) -> float:
        """Sum of l1_j |x_j|."""
        return float(self.l1 @ np.abs(x))

    def shrink(self, v: FloatArray, step: FloatArray | float) -> FloatArray:
        """argmin over u in the box of (u - v)^2 / (2 step) + l1 |u|, coordinate by coordinate."""
        shrunk = np.sign(v) * np.maximum(np.abs(v) - step * self.l1, 0.0)
        return np.clip(shrunk, self.lower, self.upper)

    def fixed(self, u: FloatArray) -> BoolArray:
        """Coordinates of a shrunk point that sit at zero by the penalty, or at a bound."""
        return ((u == 0) & (self.l1 > 0)) | (u <= self.lower) | (u >= self.upper)


@dataclass(frozen=True)
class Proposal:
    """Where the model wants to go, and what it expects there.

    Attributes
    ----------
    step : the whole step
    gain : nats that the model gains by it
    path : the point at a share t of the step, and the first-order change of the objective up to there
    """

    step: FloatArray
    gain: float
    path: Callable[[float], tuple[FloatArray, float]]


StepSolver = Callable[[FloatArray, FloatArray, Region], Proposal]


def minimize_proximal_newton(
    fun: Callable[..., float],
    x0: FloatArray,
    args: tuple[Any, ...] = (),
    *,
    jac: Callable[..., FloatArray],
    bounds: Bounds,
    model_step: StepSolver,
    target: float,
    tol: float,
    l1: FloatArray | None = None,
    resolution: float = np.finfo(float).eps,
    maxiter: int = 1000,
    callback: Callable[[OptimizeResult], object] | None = None,
    **unused: Any,
) -> OptimizeResult:
    """Minimise a smooth convex function plus an l1 penalty in a box.

    Parameters
    ----------
    fun, x0, args, jac, bounds, callback
        As `scipy.optimize.minimize` hands them to a custom method; `fun` and `jac` are of the smooth part.
    model_step : callable
        Called with (x, g, region): a `Proposal` from the model at x.
    target, tol, resolution, maxiter
        As in `minimize_newton`; the decrement is the gain of the model.
    l1 : array of shape (d,), optional
        Weights of the penalty.

    Returns
    -------
    OptimizeResult
        `fun` includes the penalty; `jac` is the gradient of the smooth part.
    """
    lower, upper = np.broadcast_to(bounds.lb, x0.shape), np.broadcast_to(bounds.ub, x0.shape)
    region = Region(np.zeros_like(x0) if l1 is None else l1, lower, upper)
    x = np.clip(np.asarray(x0, dtype=float), lower, upper)
    f, g = fun(x, *args) + region.penalty(x), jac(x, *args)
    nit = 0
    message, success = "maximum number of iterations reached", False
    while True:
        proposal = model_step(x, g, region)
        decrement = proposal.gain
        if decrement <= target:
            message, success = "the decrement is at the target", True
            break
        if nit >= maxiter:
            break
        noise = 8 * resolution * abs(f)
        t, moved = 1.0, None
        for _ in range(_MAX_BACKTRACKS):
            trial, change = proposal.path(t)
            f_trial = fun(trial, *args) + region.penalty(trial)
            if f_trial <= f + _ARMIJO * change + noise * (-change < 100 * noise):
                moved = trial
                break
            t *= 0.5
        if moved is None or np.array_equal(moved, x):
            success = decrement <= max(tol, 8 * resolution * abs(f))
            message = "rounding ends the decrease"
            break
        x, f, g = moved, f_trial, jac(moved, *args)
        nit += 1
        if callback is not None:
            callback(OptimizeResult(x=x, fun=f, jac=g, decrement=decrement))
    return OptimizeResult(
        x=x,
        fun=f,
        jac=g,
        nit=nit,
        success=success,
        status=0 if success else 1,
        message=message,
        decrement=decrement,
        step=proposal.step,
        crawling=False,
    )


def model_steps(problem: RoundProblem) -> StepSolver:
    """Steps to the minimum of the quadratic model of a problem: exact, or in one orthant where it is large."""
    if problem.size <= _MAX_DENSE_SIZE:

        def exact(x: FloatArray, g: FloatArray, region: Region) -> Proposal:
            hessian = problem.hessian(x)
            hessian[np.diag_indices_from(hessian)] += _DAMPING
            end, gain = _minimise_model(hessian, x, g, region)
            change = float(g @ (end - x)) + region.penalty(end) - region.penalty(x)

            def path(t: float) -> tuple[FloatArray, float]:
                # At t = 1 what the model puts at zero or at a bound is there exactly.
                return end if t == 1.0 else x + t * (end - x), t * change

            return Proposal(end - x, gain, path)

        return exact
    return lambda x, g, region: _orthant_step(problem, x, g, region)


def _minimise_model(hessian: FloatArray, x: FloatArray, g: FloatArray, region: Region) -> tuple[FloatArray, float]:
    """Minimise g's + s'Hs / 2 + penalty(x + s) over s with x + s in the box; return x + s and the gain."""

    def gain(u: FloatArray) -> float:
        s = u - x
        return region.penalty(x) - region.penalty(u) - float(g @ s + 0.5 * s @ (hessian @ s))

    scale = 1 / np.diag(hessian)
    best, best_gain = x, 0.0
    for _ in range(_ROUNDS):
        u, solved = _active_set(hessian, scale, x, g, region, best)
        value = gain(u)
        if value > best_gain:
            best, best_gain = u, value
        if solved:
            break
        u = _accelerated_gradient(hessian, scale, x, g, region, best)
        value = gain(u)
        if value > best_gain:
            best, best_gain = u, value
    return best, best_gain


def _active_set(
    hessian: FloatArray, scale: FloatArray, x: FloatArray, g: FloatArray, region: Region, start: FloatArray
) -> tuple[FloatArray, bool]:
    """Point of the box where the guess of what is at zero or at a bound confirmed itself, or the last one."""
    u = start
    previous: FloatArray | None = None
    for _ in range(_MAX_GUESSES):
        guess = region.shrink(u - scale * (g + hessian @ (u - x)), scale)
        fixed = region.fixed(guess)
        sides = np.where(fixed, guess, np.sign(guess) * 1e300)
        if previous is not None and np.array_equal(sides, previous):
            return np.clip(u, region.lower, region.upper), True
        previous = sides
        free = ~fixed
        u = np.where(fixed, guess, x)
        if free.any():
            right = g + region.l1 * np.sign(guess) + hessian[:, fixed] @ (u - x)[fixed]
            u[free] = x[free] - DenseCurvature(hessian[np.ix_(free, free)]).solve(right[free])
    return np.clip(u, region.lower, region.upper), False


def _accelerated_gradient(
    hessian: FloatArray, scale: FloatArray, x: FloatArray, g: FloatArray, region: Region, start: FloatArray
) -> FloatArray:
    """A number of accelerated proximal gradient steps on the model, scaled by its diagonal."""
    # The largest row sum of the scaled Hessian D^1/2 H D^1/2 bounds its eigenvalues.
    root = np.sqrt(scale)
    step = scale / float(np.max(root * (np.abs(hessian) @ root)))
    u = extrapolated = start
    momentum = 1.0
    for _ in range(_GRADIENT_STEPS):
        moved = region.shrink(extrapolated - step * (g + hessian @ (extrapolated - x)), step)
        following = 0.5 * (1 + np.sqrt(1 + 4 * momentum**2))
        extrapolated = moved + (momentum - 1) / following * (moved - u)
        u, momentum = moved, following
    return u


def _orthant_step(problem: RoundProblem, x: FloatArray, g: FloatArray, region: Region) -> Proposal:
    """A Newton step by conjugate gradients in the orthant that steepest descent enters, cut off at its faces.

    Andrew & Gao (2007, ICML) for the orthant; Bertsekas (1982, SIAM J. Control Optim. 20(2)) for what is held.
    """
    l1 = region.l1
    # The subgradient of least norm: at zero, where the penalty outweighs the gradient, it is zero.
    at_zero = np.sign(g) * np.maximum(np.abs(g) - l1, 0.0)
    descent = np.where(l1 > 0, np.where(x == 0, at_zero, g + np.sign(x) * l1), g)
    side = np.where(x == 0, -np.sign(descent), np.sign(x))
    low = np.where((l1 > 0) & (side >= 0), np.maximum(region.lower, 0.0), region.lower)
    high = np.where((l1 > 0) & (side <= 0), np.minimum(region.upper, 0.0), region.upper)
    free = ~(((x <= low) & (descent >= 0)) | ((x >= high) & (descent <= 0)))
    diagonal = problem.hessian_diagonal(x) + _DAMPING
    step = np.zeros_like(x)
    r = np.where(free, descent, 0.0)
    z = r / diagonal
    p = -z
    rz = first = float(r @ z)
    for _ in range(_MAX_PRODUCTS):
        if rz <= _CG_RESIDUAL**2 * first:
            break
        Hp = np.where(free, problem.hessp(x, p), 0.0)
        curve = float(p @ Hp)
        if curve <= 0:
            break
        step += (rz / curve) * p
        r += (rz / curve) * Hp
        z = r / diagonal
        rz, before = float(r @ z), rz
        p = -z + (rz / before) * p

    def path(t: float) -> tuple[FloatArray, float]:
        trial = np.clip(x + t * step, low, high)
        return trial, float(descent @ (trial - x))

    return Proposal(step, -0.5 * float(descent @ step), path)


class SplitProblem:
    """The l1 problem as a smooth one with bounds, for SciPy's methods that honour those.

    x = (u, v) stands for psi = u - v with u, v >= 0 where the penalty applies, and costs l1 (u + v); where it
    does not, u is free and v is fixed at zero.
    """

    def __init__(self, problem: RoundProblem, l1: FloatArray, box: tuple[FloatArray, FloatArray]) -> None:
        self.problem = problem
        self.l1 = l1
        self.size = 2 * problem.size
        lower, upper = box
        penalised = l1 > 0
        u = np.where(penalised, np.maximum(lower, 0.0), lower), np.where(penalised, np.maximum(upper, 0.0), upper)
        v = np.where(penalised, np.maximum(-upper, 0.0), 0.0), np.where(penalised, np.maximum(-lower, 0.0), 0.0)
        self.box = np.concatenate([u[0], v[0]]), np.concatenate([u[1], v[1]])

    def split(self, psi: FloatArray) -> FloatArray:
        """(u, v) of psi."""
        positive = np.where(self.l1 > 0, np.maximum(psi, 0.0), psi)
        return np.concatenate([positive, positive - psi])

    def join(self, x: FloatArray) -> FloatArray:
        """Psi of (u, v)."""
        u, v = np.split(x, 2)
        return u - v

    def value_and_grad(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Value with the penalty, and gradient."""
        value, grad = self.problem.value_and_grad(self.join(x))
        u, v = np.split(x, 2)
        return value + float(self.l1 @ (u + v)), np.concatenate([grad + self.l1, self.l1 - grad])

    def hessp(self, x: FloatArray, direction: FloatArray) -> FloatArray:
        """Hessian times a direction."""
        product = self.problem.hessp(self.join(x), self.join(direction))
        return np.concatenate([product, -product])

    def hessian(self, x: FloatArray) -> FloatArray:
        """Hessian, (2 d, 2 d)."""
        hessian = self.problem.hessian(self.join(x))
        return np.block([[hessian, -hessian], [-hessian, hessian]])
