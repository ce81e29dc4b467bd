"""A quadratic with an l1 penalty in a box: what a step of proximal Newton minimises.

    minimise g's + s'Hs / 2 + sum_j l1_j |x_j + s_j|    subject to    lower <= x + s <= upper

By searching for the signs of the minimiser (Lee, Battle, Raina & Ng, 2007, NeurIPS 19, there one coordinate at a
time): with those of the moment the penalty is linear, so that a Newton step on the coordinates that are not held at
zero or at a bound leads to the minimum; the way there is followed to where the objective, a piecewise parabola along
it, is least. Each step gains, whatever the condition of H, and there are finitely many signs.
"""

import numpy as np

from ._curvature import DenseCurvature
from ._typing import BoolArray, FloatArray, IntArray

# Of what has been gained, what a further step need not gain: the next quadratic is another one.
_SOLVED = 1e-2
_NOTHING = 1e-15
# Steps, and the operations of their factors, after which what has been gained will do.
_MAX_STEPS = 500
_LEAST_STEPS = 20
_MAX_WORK = 3e10


class Region:
    """Penalty and box.

    Parameters
    ----------
    l1, lower, upper : arrays of shape (d,)
    """

    def __init__(self, l1: FloatArray, lower: FloatArray, upper: FloatArray) -> None:
        self.l1, self.lower, self.upper = l1, lower, upper

    def penalty(self, x: FloatArray) -> float:
        """Sum of l1_j |x_j|."""
        return float(self.l1 @ np.abs(x))

    def at_kink(self, x: FloatArray) -> BoolArray:
        """Coordinates at zero, where the penalty is not smooth."""
        return (x == 0) & (self.l1 > 0)

    def held(self, x: FloatArray) -> BoolArray:
        """Coordinates that are free to move to one side at most: at a kink or at a bound."""
        return self.at_kink(x) | (x <= self.lower) | (x >= self.upper)

    def slope(self, x: FloatArray, g: FloatArray) -> FloatArray:
        """The subgradient of least norm, where g is the gradient of the smooth part; zero where the box forbids."""
        kinked = np.sign(g) * np.maximum(np.abs(g) - self.l1, 0.0)
        slope = np.where(self.at_kink(x), kinked, g + self.l1 * np.sign(x))
        slope[((x <= self.lower) & (slope >= 0)) | ((x >= self.upper) & (slope <= 0))] = 0.0
        return slope


def minimise_quadratic(hessian: FloatArray, x: FloatArray, g: FloatArray, region: Region) -> tuple[FloatArray, float]:
    """Minimise the quadratic of the module's docstring, whose `hessian` is positive definite, from s = 0.

    Returns
    -------
    end : array of shape (d,), x + s, exactly at zero and at bounds where it is there
    gain : what the minimum lies below the value at s = 0: what was gained, and what a last step would gain
    """
    u, q = x.copy(), g.copy()
    gain = 0.0
    for _ in range(int(np.clip(_MAX_WORK / max(1, len(x)) ** 3, _LEAST_STEPS, _MAX_STEPS))):
        free, step, slope = _descent(hessian, u, q, region)
        along = float(slope @ step)
        if -along <= _SOLVED * gain + _NOTHING:
            return u, gain - 0.5 * along
        columns = hessian[:, free]
        moved = _least_along(u[free], step, along, float(step @ (columns[free] @ step)), region, free)
        change = moved - u[free]
        product = columns @ change
        bent = 0.5 * float(change @ product[free])
        gain -= float(q[free] @ change) + bent + float(region.l1[free] @ (np.abs(moved) - np.abs(u[free])))
        q += product
        u[free] = moved
    return u, gain - 0.5 * along


def _descent(
    hessian: FloatArray, u: FloatArray, q: FloatArray, region: Region
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Coordinates that are free, the Newton step of these, and the slope there."""
    slope, held = region.slope(u, q), region.held(u)
    free = np.flatnonzero(~held | (slope != 0))
    while True:
        step = -DenseCurvature(hessian[np.ix_(free, free)]).solve(slope[free]) if len(free) else np.zeros(0)
        # What leaves zero, or a bound, has to leave it downhill; some of it does.
        wrong = held[free] & (step * slope[free] >= 0)
        if not wrong.any():
            return free, step, slope[free]
        free = free[~wrong]


def _least_along(
    here: FloatArray, step: FloatArray, along: float, curve: float, region: Region, free: IntArray
) -> FloatArray:
    """The point along the step where the objective, whose first slope is `along`, is least within the box."""
    l1, lower, upper = region.l1[free], region.lower[free], region.upper[free]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.where((l1 > 0) & (here * step < 0), -here / step, np.inf)
        wall = np.where(step == 0, np.inf, (np.where(step > 0, upper, lower) - here) / step)
    order = np.argsort(crossing)[: np.count_nonzero(np.isfinite(crossing))]
    # At a crossing the slope of the penalty turns from -l1 to l1.
    jumps = np.cumsum(2 * l1[order] * np.abs(step[order]))
    passed = int(np.searchsorted(along + crossing[order] * curve + jumps >= 0, True))
    t = -(along + (jumps[passed - 1] if passed else 0.0)) / curve
    stop = order[passed] if passed < len(order) and crossing[order[passed]] <= t else None
    t = min(t if stop is None else crossing[stop], wall.min())
    moved = np.clip(here + t * step, lower, upper)
    if stop is not None and t == crossing[stop]:
        moved[stop] = 0.0
    hit = wall <= t
    moved[hit] = np.where(step > 0, upper, lower)[hit]
    return moved
