"""Truncated Newton, as a custom method of `scipy.optimize.minimize`.

Each iteration takes a step of preconditioned conjugate gradients (`_direction`) or, where the model of the curvature is
the exact Hessian, of Newton's, as far as `_line_search` lets it.

It stops on half the Newton decrement, g' H^-1 g / 2: the nats that a quadratic with the curvature at this
point leaves to gain (Boyd & Vandenberghe, Convex Optimization, section 9.5.1). A last step that leaves nothing, by the
rate at which the decrements shrink, needs no evaluation at its end: the caller may take it.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from ._ahead import SURELY, LastStep
from ._curvature import Curvature, DenseCurvature
from ._direction import CAUTION, Direction, conjugate_direction, forcing_term, next_radius
from ._line_search import LAST_STEPS, NOISE, line_search, may_be_longer
from ._typing import FloatArray

# A model is good that rates no curvature seen at more than five times what it is.
_GOOD_MODEL = 0.2
# Full steps that shrink the decrement by no more than this, twice in a row below `tol`, are the crawl along
# a direction of recession, where each step gains 1 - 1/e of what is left.
_CRAWL = 0.1
# Of conjugate gradients that are to say so: their residual, and how many products they take.
_CLOSE, _PRODUCTS_OF_CRAWL = 0.03, 10

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
    floor: float = -np.inf,
    separates: Callable[[FloatArray], bool] | None = None,
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
    floor : float
        What `fun` does not go below.
    separates : callable, optional
        Called with x where no more than `tol` is above `floor`: whether that is the infimum, and at infinity.

    Returns
    -------
    OptimizeResult
        With `decrement`, the last `step`, which was not taken, and `crawling`: whether it stopped below `tol` with
        steps that do not get shorter, the sign of a minimum at infinity. With `ahead`, `after` is what that step
        leaves, by an estimate; infinite where it is not to be taken. `exhausted` says that `maxiter` ended it, `fresh`
        that the curvature of the last step is that of the point.
    """
    x = np.asarray(x0, dtype=float)
    f, g = fun(x, *args), jac(x, *args)
    size_before = 0.0
    model, known, worst = None, 0, 1.0
    last = None if ahead is None else LastStep(ahead, quadratic)
    seen, least, fresh = False, 1.0, True
    decrement = decrement_before = np.inf
    slow = 0
    last_values: deque[float] = deque(maxlen=LAST_STEPS)
    message, success, crawling, after = "maximum number of iterations reached", False, False, np.inf
    nit = 0
    t, full_step, radius = 1.0, True, np.inf
    direction: Direction | None = None
    while True:
        if separates is not None and f - floor <= tol and separates(x):
            message, success, crawling = "the rows are separated", True, True
            direction, decrement = None, f - floor
            break
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
            forcing = forcing_term(size, size_before, target)
            # What is asked for without a step to take is the decrement.
            within = radius if nit < maxiter else np.inf
            few = 0 if believed else sure
            direction = conjugate_direction(x, g, hessp, curvature, forcing, target, least, within, few, f - floor)
            seen, least = True, direction.least
            known, worst = known + direction.n_products, min(worst, least)
        decrement, size_before = direction.decrement, size
        left, done = np.inf, decrement <= target
        if last is not None and exact and nit < maxiter:
            shrunk = decrement / decrement_before if nit and full_step else 1.0
            elsewhere = isinstance(curvature, DenseCurvature) and curvature.elsewhere
            left = last.leaves(x, decrement, shrunk, fresh, elsewhere)
            done = done or (left <= SURELY * target and last.certainly_leaves(target, x, direction.step, decrement))
        if done:
            message, success = "the decrement is at the target", True
            after = left if left <= decrement else np.inf
            break
        slow = slow + 1 if decrement <= tol and full_step and decrement > _CRAWL * decrement_before else 0
        if watch and slow >= 2 and not exact:
            # Few products see little of what is left.
            direction = conjugate_direction(
                x, g, hessp, curvature, _CLOSE, tol, least, np.inf, _PRODUCTS_OF_CRAWL, f - floor
            )
            least, decrement = direction.least, direction.decrement
            slow = slow if decrement <= tol else 0
        if watch and slow >= 2:
            message, success, crawling = "the steps do not get shorter", True, True
            break
        decrement_before = decrement
        if nit >= maxiter:
            # Steps that are cut short may gain as much again, whatever the quadratic says.
            decrement = max(decrement, last_values[0] - f) if len(last_values) == last_values.maxlen else decrement
            success = decrement <= tol
            break
        # Steps in a row have their minima in like places.
        first = 1 + 0.5 * max(t - 1, 0) if quadratic and may_be_longer(direction) else None
        moved = line_search(fun, jac, args, x, f, g, direction, curvature, size, resolution, first)
        if moved is None:
            success = decrement <= max(tol, NOISE * resolution * abs(f))
            message = "rounding ends the decrease"
            break
        f_before = f
        last_values.append(f)
        t, x, f, g = moved
        full_step = t >= 1.0 and not direction.bounded
        radius = next_radius(radius, direction, t, f_before - f)
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
        step=None if direction is None else direction.step,
        after=after,
        fresh=fresh,
        exhausted=not crawling and nit >= maxiter and not done,
        crawling=crawling,
    )
