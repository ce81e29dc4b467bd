"""Truncated Newton with preconditioned conjugate gradients, as a custom method of `scipy.optimize.minimize`.

Each iteration solves H s = -g with the curvature model of the moment as preconditioner (Nocedal & Wright,
Numerical Optimization, 2nd ed., Algorithm 7.1), as far as the forcing term of Eisenstat & Walker (1996, SIAM
J. Sci. Comput. 17(1), choice 2) asks, and backtracks to a sufficient decrease. Where the model is the exact
Hessian, one solve is the Newton step.

It stops on half the Newton decrement, g' H^-1 g / 2: the nats that a quadratic with the curvature at this
point leaves to gain (Boyd & Vandenberghe, Convex Optimization, section 9.5.1). A last step that leaves nothing, by the
rate at which the decrements shrink, needs no evaluation at its end: the caller may take it.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import blas
from scipy.optimize import OptimizeResult

from ._ahead import SURELY, LastStep
from ._curvature import Curvature
from ._typing import FloatArray

# Sufficient decrease, as in Nocedal & Wright, section 3.1.
_ARMIJO = 1e-4
_MAX_BACKTRACKS = 30
_PATIENT_BACKTRACKS = 6
# Roundings of f that a sum of rows has, and those from which on its differences say something.
NOISE = 8
TOLD_APART = 100 * NOISE
# Of the squared gradient, the share that a step in the rounding of f may leave.
_STALLED = 0.5
# A slope that is left after backtracking, or a whole step, of the first, that is worth another evaluation; and how many
# times after backtracking.
_STEEP = 0.2
_MAX_EXTENSIONS = 3
# Nats from which on a Newton step may be made longer, and by how much: those near the end, and along a direction of
# recession, tell by their length whether there is a minimum.
_MUCH = 1.0
_LONGEST = 2.5
# Eisenstat & Walker, choice 2: gamma (|g| / |g before|)^2, at most the first.
_LOOSEST_FORCING = 0.5
_FORCING_GAMMA = 0.9
# A thousandth of the gap a step is fast enough; more digits of a step are spent on curvature that moves.
_TIGHTEST_FORCING = 0.03
_MAX_PRODUCTS = 250
# Of the squared gradient: what conjugate gradients leave below this is rounding.
_ROUNDING = 1e-28
# A model is good that rates no curvature seen at more than five times what it is.
_GOOD_MODEL = 0.2
# The least eigenvalue may be this much below what the last two solves have seen of it.
CAUTION = 0.3
# Conjugate gradients in a good metric gain some three digits in a handful of products.
_WITHIN_ONE_STEP = 3e-3
# Where no more than this is left the step's own error, of the order of its square, no longer counts.
_QUADRATIC_NATS = 1e-2
# Full steps that shrink the decrement by no more than this, twice in a row below `tol`, are the crawl along
# a direction of recession, where each step gains 1 - 1/e of what is left.
_CRAWL = 0.1


class Direction(NamedTuple):
    """A Newton step s = -H^-1 g, and what it says about the distance to the minimum.

    `least` is the least curvature seen, relative to the model; `promised` the decrease of the quadratic; `length` that
    of the step in the norm of the model; `bounded` says that the trust region ended it; `n_products` with the Hessian
    found it.
    """

    step: FloatArray
    slope: float
    decrement: float
    least: float
    promised: float
    length: float
    bounded: bool = False
    n_products: int = 0


CurvatureAt = Callable[[FloatArray, FloatArray, float], tuple[Curvature, bool]]


def minimize_newton(
    fun: Callable[..., float],
    x0: FloatArray,
    args: tuple[Any, ...] = (),
    *,
    jac: Callable[..., FloatArray],
    hessp: Callable[[FloatArray, FloatArray], FloatArray],
    curvature_at: CurvatureAt,
    target: float,
    tol: float,
    resolution: float = np.finfo(float).eps,
    maxiter: int = 1000,
    watch: bool = True,
    sure: int = 0,
    ahead: Callable[[FloatArray], float] | None = None,
    quadratic: bool = True,
    callback: Callable[[OptimizeResult], object] | None = None,
    **unused: Any,
) -> OptimizeResult:
    """Minimise a smooth convex function.

    Parameters
    ----------
    fun, x0, args, jac, hessp, callback
        As `scipy.optimize.minimize` hands them to a custom method.
    curvature_at : callable
        Called with (x, g, decrement so far): returns a model of the Hessian there, and whether it is the Hessian.
    target : float
        Stop where the decrement is at most this; where rounding ends the decrease earlier, and the
        decrement is at most `tol`, that is convergence too.
    tol : float
        Nats from the minimum that are good enough.
    resolution : float
        Relative rounding of `fun`.
    maxiter : int
    watch : bool
        Whether to stop where the minimum seems to be at infinity.
    sure : int
        Products of conjugate gradients before a decrement at the target is believed: with the gradient there, or with
        a model that they have shown to be good.
    ahead : callable, optional
        Stop before a last step that leaves nothing, which the caller takes. Called with a direction, it bounds by how
        much the logarithm of the Hessian changes along it (`_ahead`).
    quadratic : bool
        Whether the Hessian of `curvature_at` is that of `fun`, so that its steps converge quadratically.

    Returns
    -------
    OptimizeResult
        With `decrement`, the last `step`, which was not taken, and `crawling`: whether it stopped below `tol` with
        steps that do not get shorter, the sign of a minimum at infinity. With `ahead`, `after` is what that step
        leaves, by an estimate; infinite where it is not to be taken.
    """
    x = np.asarray(x0, dtype=float)
    f, g = fun(x, *args), jac(x, *args)
    size_before = 0.0
    model, known, worst = None, 0, 1.0
    last = None if ahead is None else LastStep(ahead, quadratic)
    seen, least = False, 1.0
    decrement = decrement_before = np.inf
    slow = 0
    message, success, crawling, after = "maximum number of iterations reached", False, False, np.inf
    nit = 0
    t, full_step, radius = 1.0, True, np.inf
    while True:
        curvature, exact = curvature_at(x, g, decrement)
        fresh = curvature is not model
        if fresh:
            model, known, worst = curvature, 0, 1.0
        # After a step that was cut short most of what it saw is left.
        believed = full_step and known >= sure and worst >= _GOOD_MODEL
        preconditioned = curvature.solve(g)
        size = math.sqrt(max(float(g @ preconditioned), 0.0))
        bound = 0.5 * size**2 / (CAUTION * least)
        if exact:
            direction = Direction(-preconditioned, -(size**2), 0.5 * size**2, 1.0, 0.5 * size**2, size)
            seen, least = False, 1.0
        elif seen and bound <= target and (believed or not sure):
            # The model prices the gap, with what the products of the last step showed of its worst error.
            direction = Direction(-preconditioned, -(size**2), bound, least, 0.5 * size**2, size)
        else:
            forcing = _forcing(size, size_before, target)
            # What is asked for without a step to take is the decrement.
            within = radius if nit < maxiter else np.inf
            few = 0 if believed else sure
            direction = _direction(x, g, hessp, curvature, forcing, target, least, within, few)
            seen, least = True, direction.least
            known, worst = known + direction.n_products, min(worst, least)
        decrement, size_before = direction.decrement, size
        left, done = np.inf, decrement <= target
        if last is not None and exact and nit < maxiter:
            shrunk = decrement / decrement_before if nit and full_step else 1.0
            left = last.leaves(x, decrement, shrunk, fresh)
            done = done or (left <= SURELY * target and last.certainly_leaves(target, x, direction.step, decrement))
        if done:
            message, success = "the decrement is at the target", True
            after = left if left <= decrement else np.inf
            break
        slow = slow + 1 if decrement <= tol and full_step and decrement > _CRAWL * decrement_before else 0
        if watch and slow >= 2:
            message, success, crawling = "the steps do not get shorter", True, True
            break
        decrement_before = decrement
        if nit >= maxiter:
            success = decrement <= tol
            break
        # Steps in a row have their minima in like places.
        first = 1 + 0.5 * (t - 1) if t > 1 and _may_be_longer(direction) else 1.0
        moved = _line_search(fun, jac, args, x, f, g, direction, curvature, size, resolution, first)
        if moved is None:
            success = decrement <= max(tol, NOISE * resolution * abs(f))
            message = "rounding ends the decrease"
            break
        f_before = f
        t, x, f, g = moved
        full_step = t >= 1.0 and not direction.bounded
        radius = _next_radius(radius, direction, t, f_before - f)
        nit += 1
        if callback is not None:
            try:
                callback(OptimizeResult(x=x, fun=f, jac=g, decrement=decrement))
            except StopIteration:
                message = "stopped by the callback"
                break
    return OptimizeResult(
        x=x,
        fun=f,
        jac=g,
        nit=nit,
        success=success,
        status=0 if success else 1,
        message=message,
        decrement=decrement,
        step=direction.step,
        after=after,
        crawling=crawling,
    )


def _forcing(size: float, size_before: float, target: float) -> float:
    """By how much conjugate gradients shall shrink the residual, from sizes of the gradient in the model's norm."""
    forcing = min(_LOOSEST_FORCING, _FORCING_GAMMA * (size / size_before) ** 2 if size_before else np.inf)
    forcing = max(forcing, _TIGHTEST_FORCING)
    # No need for more digits than the target asks for; where one step can reach it, no fewer either.
    goal = min(0.1, 0.3 * math.sqrt(2 * target) / max(size, 1e-300))
    return goal if goal > _WITHIN_ONE_STEP and size**2 < _QUADRATIC_NATS else max(forcing, goal)


def _direction(
    x: FloatArray,
    g: FloatArray,
    hessp: Callable[[FloatArray, FloatArray], FloatArray],
    curvature: Curvature,
    forcing: float,
    target: float,
    least_before: float,
    radius: float,
    sure: int,
) -> Direction:
    """Solve H s = -g to a residual of `forcing` times |g|, both in the norm of the inverse curvature model.

    Conjugate gradients end where the step, whose length in the norm of the model P grows all the way, leaves the trust
    region |s| <= radius (Steihaug, 1983, SIAM J. Numer. Anal. 20(3)): far from the minimum the quadratic says little
    about what lies beyond.

    The decrement g' H^-1 g / 2 that conjugate gradients have found grows from below. What their residual r can
    still add is at most r' P^-1 r / (2 lambda), lambda the least eigenvalue of P^-1 H; the least Rayleigh
    quotient p'Hp / p'Pp seen on the way stands for it, so that a preconditioner that overrates the curvature
    does not underrate the gap. Few products see little of it: before the decrement is said to be at the target, `sure`
    of them have to be taken, and what the last so many have gained stands for what the next may gain (Strakos & Tichy,
    2002, Electronic Transactions on Numerical Analysis 13).
    """
    step = np.zeros_like(g)
    r = g.copy()
    z = curvature.solve(r)
    p = -z
    rz = first = float(r @ z)
    least, gained = np.inf, 0.0
    # s'Ps, s'Pp and p'Pp, by recurrence.
    ss, sp, pp = 0.0, 0.0, first
    bounded = False
    recent: deque[float] = deque(maxlen=sure)
    for n_products in range(1, _MAX_PRODUCTS + 1):
        Hp = hessp(x, p)
        curve = float(p @ Hp)
        if curve <= 0:
            break
        least = min(least, curve / pp)
        alpha = rz / curve
        bounded = ss + alpha * (2 * sp + alpha * pp) > radius**2
        if bounded:
            alpha = (math.sqrt(max(sp**2 + pp * (radius**2 - ss), 0.0)) - sp) / pp
        step = blas.daxpy(p, step, a=alpha)
        r = blas.daxpy(Hp, r, a=alpha)
        ss += alpha * (2 * sp + alpha * pp)
        z = curvature.solve(r)
        recent.append(alpha * rz)
        gained += alpha * rz
        rz, before = float(r @ z), rz
        claimed = 0.5 * (gained + rz / least) <= target
        near = rz <= forcing**2 * first or 0.5 * (gained + rz / (CAUTION * min(least, least_before))) <= target
        if bounded or rz <= _ROUNDING * first or (near and (n_products >= sure or not claimed)):
            break
        ratio = rz / before
        p *= ratio
        p -= z
        sp, pp = ratio * (sp + alpha * pp), rz + ratio**2 * pp
    slope = float(g @ step)
    if slope >= 0:
        step, slope, ss, r = -curvature.solve(g), -first, first, g
    rest = rz / least if np.isfinite(least) else rz
    decrement = 0.5 * (max(-slope, 0.0) + rest)
    if decrement <= target:
        decrement = max(decrement, 0.5 * (max(-slope, 0.0) + sum(recent)))
    # r = g + H s, so that g's + s'Hs / 2 is half of g's + r's.
    return Direction(
        step,
        slope,
        decrement,
        min(least, 1.0),
        -0.5 * (slope + float(r @ step)),
        math.sqrt(max(ss, 0.0)),
        bounded,
        n_products,
    )


def _next_radius(radius: float, direction: Direction, t: float, gained: float) -> float:
    """Radius of the trust region for the next step, in the norm of the curvature model; infinite before any is needed.

    Changes by the share of the promised decrease that was gained are those of Nocedal & Wright, Algorithm 4.1.
    """
    if t < 1:
        return t * direction.length
    if gained < 0.25 * direction.promised:
        return 0.5 * direction.length
    if direction.bounded and gained > 0.75 * direction.promised:
        return (3 if gained > 0.9 * direction.promised else 2) * radius
    return radius


# Share of the step; point, value and gradient there.
Moved = tuple[float, FloatArray, float, FloatArray]


def _line_search(
    fun: Callable[..., float],
    jac: Callable[..., FloatArray],
    args: tuple[Any, ...],
    x: FloatArray,
    f: float,
    g: FloatArray,
    direction: Direction,
    curvature: Curvature,
    size: float,
    resolution: float,
    first: float = 1.0,
) -> Moved | None:
    """Backtrack from `first` times the step; where differences of f are rounding, ask the gradient instead."""
    noise = NOISE * resolution * abs(f)
    t = first
    for n_backtracks in range(_MAX_BACKTRACKS):
        trial = x + t * direction.step
        f_trial = fun(trial, *args)
        if -direction.slope * t < TOLD_APART * resolution * abs(f):
            g_trial = jac(trial, *args)
            # Below the rounding of f, steps that gain little would go on for ever.
            most = size**2 if -direction.slope >= noise else _STALLED * size**2
            shrunk = g_trial @ curvature.solve(g_trial) < most
            if shrunk and f_trial <= f + noise:
                return t, trial, f_trial, g_trial
            if -direction.slope * t < noise:
                return None
            t *= 0.5
            continue
        if f_trial <= f + _ARMIJO * t * direction.slope:
            moved = t, trial, f_trial, jac(trial, *args)
            if t < 1.0:
                return _farther(fun, jac, args, x, direction, moved)
            return _longer(fun, jac, args, x, direction, moved) if _may_be_longer(direction) else moved
        # The minimiser of the parabola through f, the slope and the trial.
        curve = f_trial - f - t * direction.slope
        # Where that has not helped f is no parabola but, far out, a line: halves would take for ever.
        near = np.isfinite(curve) and n_backtracks < _PATIENT_BACKTRACKS
        t *= float(np.clip(-0.5 * t * direction.slope / curve, 0.1, 0.5)) if near else 0.1
    return None


def _may_be_longer(direction: Direction) -> bool:
    """Whether it is Newton's: conjugate gradients stop short of directions of little curvature already."""
    return not direction.n_products and direction.decrement > _MUCH


def _longer(
    fun: Callable[..., float],
    jac: Callable[..., FloatArray],
    args: tuple[Any, ...],
    x: FloatArray,
    direction: Direction,
    moved: Moved,
) -> Moved:
    """Go on, once, from the end of a Newton step that is still steep.

    Where classes are nearly separated the likelihood is all but exponential along the step, and each one leaves 1/e of
    what there was. With the slope -a exp(-b t) + c, known at both ends of the whole step, and the curvature, which at
    its start equals the slope, the minimum lies at t = -log(1 - b) / b, where (1 - exp(-b)) / b is what the slope has
    lost. Up to t = 3 that is (1 - e r)^(-1/e) to within a tenth, with r the share of the slope that is left at t = 1;
    of a longer step that is the t-th root of what is left.
    """
    t, _, f, g = moved
    left = float(g @ direction.step) / direction.slope
    if left <= _STEEP:
        return moved
    scaled = math.e * left ** (1 / t)
    farther = min((1 - scaled) ** (-1 / math.e), _LONGEST) if scaled < 1 else _LONGEST
    if farther <= t:
        return moved
    point = x + farther * direction.step
    value = fun(point, *args)
    return (farther, point, value, jac(point, *args)) if value < f else moved


def _farther(
    fun: Callable[..., float],
    jac: Callable[..., FloatArray],
    args: tuple[Any, ...],
    x: FloatArray,
    direction: Direction,
    moved: Moved,
) -> Moved:
    """Go on along the direction from where backtracking has ended, while it is steep: by secants of the slope.

    Backtracking asks for a decrease alone, and often overdoes it where the first trial was far too long.
    """
    before, slope_before = 0.0, direction.slope
    for _ in range(_MAX_EXTENSIONS):
        t, _, f, g = moved
        slope = float(g @ direction.step)
        if slope > _STEEP * direction.slope:
            break
        bent = (slope - slope_before) / (t - before)
        farther = min(t - slope / bent, 3 * t) if bent > 0 else 3 * t
        point = x + farther * direction.step
        value = fun(point, *args)
        if not value < f:
            break
        before, slope_before = t, slope
        moved = farther, point, value, jac(point, *args)
    return moved
