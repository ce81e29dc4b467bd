"""How far to go along a step: backtracking where it is too long, and farther where its end is still steep."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ._curvature import Curvature
from ._direction import Direction
from ._typing import FloatArray

# Sufficient decrease, as in Nocedal & Wright, section 3.1.
_ARMIJO = 1e-4
_MAX_BACKTRACKS = 30
_PATIENT_BACKTRACKS = 6
# Roundings of f that a sum of rows has, and those from which on its differences say something.
NOISE = 8
TOLD_APART = 100 * NOISE
# Steps whose gain is what is left at least, where they are the last ones that were allowed.
LAST_STEPS = 20
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

# Share of the step; point, value and gradient there.
Moved = tuple[float, FloatArray, float, FloatArray]
# What is at a share of the step, where the value is below another.
Lower = Callable[[float, float], Moved | None]


def line_search(
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
    first: float | None = None,
) -> Moved | None:
    """Backtrack from the whole step; where differences of f are rounding, ask the gradient instead.

    With `first`, begin at so many times the step, and go beyond it where the end is steep.
    """

    def lower(t: float, f: float) -> Moved | None:
        point = x + t * direction.step
        value = fun(point, *args)
        return (t, point, value, jac(point, *args)) if value < f else None

    noise = NOISE * resolution * abs(f)
    t = 1.0 if first is None else first
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
        if f_trial < f and f_trial <= f + _ARMIJO * t * direction.slope:
            moved = t, trial, f_trial, jac(trial, *args)
            if t < 1.0:
                return _farther(lower, direction, moved)
            return moved if first is None else _longer(lower, direction, moved)
        # The minimiser of the parabola through f, the slope and the trial.
        curve = f_trial - f - t * direction.slope
        # Where that has not helped f is no parabola but, far out, a line: halves would take for ever.
        near = np.isfinite(curve) and n_backtracks < _PATIENT_BACKTRACKS
        t *= float(np.clip(-0.5 * t * direction.slope / curve, 0.1, 0.5)) if near else 0.1
    return None


def may_be_longer(direction: Direction) -> bool:
    """Whether it is Newton's: conjugate gradients stop short of directions of little curvature already."""
    return not direction.n_products and direction.decrement > _MUCH


def _longer(lower: Lower, direction: Direction, moved: Moved) -> Moved:
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
    return (lower(farther, f) if farther > t else None) or moved


def _farther(lower: Lower, direction: Direction, moved: Moved) -> Moved:
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
        found = lower(farther, f)
        if found is None:
            break
        before, slope_before, moved = t, slope, found
    return moved
