"""Projected Newton under box constraints, as a custom method of `scipy.optimize.minimize`.

Bertsekas (1982), SIAM J. Control Optim. 20(2): coordinates at a bound whose gradient points outward are held;
Newton's step is taken in the others, and the path is projected on the box.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import lapack
from scipy.optimize import Bounds, OptimizeResult

from ._typing import BoolArray, FloatArray

_ARMIJO = 1e-4
_MAX_BACKTRACKS = 40
# Bertsekas' epsilon: a coordinate this near to a bound counts as at it. Coordinates are of order one.
_NEAR = 1e-10


def minimize_projected_newton(
    fun: Callable[..., float],
    x0: FloatArray,
    args: tuple[Any, ...] = (),
    *,
    jac: Callable[..., FloatArray],
    bounds: Bounds,
    hessian: Callable[[FloatArray], FloatArray],
    target: float,
    tol: float,
    resolution: float = np.finfo(float).eps,
    maxiter: int = 1000,
    callback: Callable[[OptimizeResult], object] | None = None,
    **unused: Any,
) -> OptimizeResult:
    """Minimise a smooth convex function in a box.

    Parameters
    ----------
    fun, x0, args, jac, bounds, callback
        As `scipy.optimize.minimize` hands them to a custom method.
    hessian : callable
        The (d, d) Hessian at x; it may be singular.
    target, tol, resolution, maxiter
        As in `minimize_newton`; the decrement is that of the coordinates that are not held.
    """
    lower, upper = np.broadcast_to(bounds.lb, x0.shape), np.broadcast_to(bounds.ub, x0.shape)
    x = np.clip(np.asarray(x0, dtype=float), lower, upper)
    f, g = fun(x, *args), jac(x, *args)
    nit = 0
    message, success = "maximum number of iterations reached", False
    while True:
        free = ~held(x, g, lower, upper)
        step = np.zeros_like(x)
        if free.any():
            step[free] = -_solve(hessian(x)[np.ix_(free, free)], g[free])
        decrement = -0.5 * float(g @ step)
        if decrement <= target:
            message, success = "the decrement is at the target", True
            break
        if nit >= maxiter:
            break
        t, moved = 1.0, None
        noise = 8 * resolution * abs(f)
        for _ in range(_MAX_BACKTRACKS):
            trial = np.clip(x + t * step, lower, upper)
            f_trial = fun(trial, *args)
            if f_trial <= f + _ARMIJO * float(g @ (trial - x)) + noise * (decrement < 100 * noise):
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
        step=step,
        crawling=False,
    )


def _solve(matrix: FloatArray, g: FloatArray) -> FloatArray:
    """A solution of the consistent system matrix @ step = g, where the matrix may be singular.

    Classes of which none is at a bound leave the gauge of the softmax free, and so do columns of X that are
    collinear. A coordinate without curvature of its own, given those before it, stays where it is: what it has
    of a gradient is rounding.
    """
    factor, pivots, rank, _ = lapack.dpstrf(matrix, lower=1)
    kept = pivots[:rank] - 1
    step = np.zeros_like(g)
    step[kept] = lapack.dpotrs(factor[:rank, :rank], g[kept], lower=1)[0]
    return step


def held(x: FloatArray, g: FloatArray, lower: FloatArray, upper: FloatArray) -> BoolArray:
    """Coordinates at a bound that the gradient pushes against."""
    return ((x <= lower + _NEAR) & (g > 0)) | ((x >= upper - _NEAR) & (g < 0))
