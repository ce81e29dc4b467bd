"""One Newton step by conjugate gradients, preconditioned with a model of the curvature, and what is left to gain.

H s = -g is solved as far as the forcing term of Eisenstat & Walker (1996, SIAM J. Sci. Comput. 17(1), choice 2) asks
(Nocedal & Wright, Numerical Optimization, 2nd ed., Algorithm 7.1).
"""

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg import blas

from ._curvature import Curvature
from ._typing import FloatArray

# Eisenstat & Walker, choice 2: gamma (|g| / |g before|)^2, at most the first.
_LOOSEST_FORCING = 0.5
_FORCING_GAMMA = 0.9
# A thousandth of the gap a step is fast enough; more digits of a step are spent on curvature that moves.
_TIGHTEST_FORCING = 0.03
_MAX_PRODUCTS = 250
# Of the squared gradient: what conjugate gradients leave below this is rounding.
_ROUNDING = 1e-28
# The least eigenvalue may be this much below what the last two solves have seen of it.
CAUTION = 0.3
# Conjugate gradients in a good metric gain some three digits in a handful of products.
_WITHIN_ONE_STEP = 3e-3
# Where no more than this is left the step's own error, of the order of its square, no longer counts.
_QUADRATIC_NATS = 1e-2


class Direction(NamedTuple):
    """A Newton step s = -H^-1 g, and what it says about the distance to the minimum.

    `least` is the least curvature seen, relative to the model; `promised` the decrease of the quadratic; `length` that
    of the step in the norm of the model; `bounded` says that the trust region ended it, or that all there is was
    promised; `n_products` with the Hessian found it.
    """

    step: FloatArray
    slope: float
    decrement: float
    least: float
    promised: float
    length: float
    bounded: bool = False
    n_products: int = 0


def forcing_term(size: float, size_before: float, target: float) -> float:
    """By how much conjugate gradients shall shrink the residual, from sizes of the gradient in the model's norm."""
    # A first step from where little is left is as good as its quadratic.
    forcing = min(_LOOSEST_FORCING, _FORCING_GAMMA * (size / size_before) ** 2 if size_before else size)
    forcing = max(forcing, _TIGHTEST_FORCING)
    # No need for more digits than the target asks for; where one step can reach it, no fewer either.
    goal = min(0.1, 0.3 * math.sqrt(2 * target) / max(size, 1e-300))
    return goal if goal > _WITHIN_ONE_STEP and size**2 < _QUADRATIC_NATS else max(forcing, goal)


def conjugate_direction(
    x: FloatArray,
    g: FloatArray,
    hessp: Callable[[FloatArray, FloatArray], FloatArray],
    curvature: Curvature,
    forcing: float,
    target: float,
    least_before: float,
    radius: float,
    sure: int,
    most: float = np.inf,
) -> Direction:
    """Solve H s = -g to a residual of `forcing` times |g|, both in the norm of the inverse curvature model.

    Conjugate gradients end where the step, whose length in the norm of the model P grows all the way, leaves the trust
    region |s| <= radius (Steihaug, 1983, SIAM J. Numer. Anal. 20(3)): far from the minimum the quadratic says little
    about what lies beyond. So they do where the quadratic would fall by more than the function can: by `most`.

    The decrement g' H^-1 g / 2 that conjugate gradients have found grows from below. What their residual r can
    still add is at most r' P^-1 r / (2 lambda), lambda the least eigenvalue of P^-1 H; the least Rayleigh quotient
    p'Hp / p'Pp seen on the way stands for it, one at most, so that a preconditioner that overrates the curvature does
    not underrate the gap. Few products see little of it: before the decrement is said to be at the target, `sure` of
    them have to be taken, and what the last so many have gained stands for what the next may gain (Strakos & Tichy,
    2002, Electronic Transactions on Numerical Analysis 13).
    """
    step = np.zeros_like(g)
    r = g.copy()
    z = curvature.solve(r)
    p = -z
    rz = first = float(r @ z)
    # A direction of far more curvature than the model has says nothing about the others.
    least, gained = 1.0, 0.0
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
        if 0.5 * (gained + alpha * rz) > most:
            bounded = True
            alpha = min(alpha, max(most - 0.5 * gained, 0.0) / rz)
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
    decrement = 0.5 * (max(-slope, 0.0) + rz / least)
    if decrement <= target:
        decrement = max(decrement, 0.5 * (max(-slope, 0.0) + sum(recent)))
    # r = g + H s, so that g's + s'Hs / 2 is half of g's + r's.
    return Direction(
        step,
        slope,
        decrement,
        least,
        -0.5 * (slope + float(r @ step)),
        math.sqrt(max(ss, 0.0)),
        bounded,
        n_products,
    )


def next_radius(radius: float, direction: Direction, t: float, gained: float) -> float:
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
