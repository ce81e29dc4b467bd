"""A quadratic with an l1 penalty in a box: what a step of proximal Newton minimises.

    minimise g's + s'Hs / 2 + sum_j l1_j |x_j + s_j|    subject to    lower <= x + s <= upper

By searching for the signs of the minimiser: with those of the moment the penalty is linear, so that a Newton step on
the coordinates that are not held at zero or at a bound leads to the minimum. Its end, with all that would leave its
orthant cut off (Bertsekas, 1982, SIAM J. Control Optim. 20(2)), changes many signs at a time. Where that gains less
than a fair share of what the step promises, coordinates that it would move uphill are held, and the least point on the
way is taken (Lee, Battle, Raina & Ng, 2007, NeurIPS 19): there the objective is a piecewise parabola, which falls at
first. Where that gains too little as well, or goes on for long, as it does where H has next to no curvature in some of
the coordinates, an interior point method (`_interior`), which has no signs to search for, comes near the minimum.
"""

import numpy as np

from ._gauge import Gauge
from ._interior import interior_minimum
from ._parts import PartialSolver
from ._region import Region
from ._typing import BoolArray, FloatArray, IntArray

# Nats that are none.
_NOTHING = 1e-15
# Steps after which what has been gained will do.
_MAX_STEPS = 20
# Coordinates that may leave zero or a bound in one step, beside twice as many as are free.
_MOST_ENTERING = 128
# Of what a step promises, the share that is fair.
_FAIR = 0.1
# Steps after which no more coordinates are held by and by.
_PATIENCE = 4
# Of what may be left, the share that is left by an interior point method.
_SHARE = 0.1


class Quadratic:
    """The quadratics of one Hessian, at one point and another.

    Parameters
    ----------
    hessian : array of shape (d, d), positive definite
    region : Region
    gauge : Gauge, optional
        Directions in which H has no curvature of its own.
    solved : float
        Of what has been gained, what a further step need not gain: the next quadratic is another one.

    Attributes
    ----------
    hessian : as given
    n_steps : what the last minimum took, beside the step that tells it
    """

    def __init__(self, hessian: FloatArray, region: Region, gauge: Gauge | None = None, solved: float = 1e-2) -> None:
        self.hessian = hessian
        self._diagonal = np.diag(hessian)
        self._region = region
        self._gauge = gauge
        self._solved = solved
        self._parts = PartialSolver(hessian)
        self.n_steps = 0

    def minimise(self, x: FloatArray, g: FloatArray, guess: FloatArray | None = None) -> tuple[FloatArray, float]:
        """Minimise from x, where the smooth part has gradient g, or from a guess that is no worse.

        Returns
        -------
        end : array of shape (d,), x + s, exactly at zero and at bounds where it is there
        gain : what the minimum lies below the value at x: what was gained, and what a last step would gain
        """
        search = _Search(self.hessian, self._region, x, g)
        if guess is not None:
            search.take(guess)
        left = 0.0
        for self.n_steps in range(_MAX_STEPS):
            if self._gauge is not None:
                search.take(self._gauge.settled(search.u))
            slope, held = search.slope(), self._region.held(search.u)
            free, complete = self._free(search.u, slope, held)
            step = self._step(free, slope)
            left = -0.5 * float(slope @ step)
            if complete and 2 * left <= self._solved * search.gain + _NOTHING:
                break
            gained = search.take(search.cut(step, slope))
            if gained <= _FAIR * left and self.n_steps < _PATIENCE:
                gained += self._follow(search)
            if gained <= _FAIR * left:
                gained += search.take(self._interior(search, free))
            if not gained:
                break
        return search.u, search.gain + left

    def _follow(self, search: "_Search") -> float:
        """Go to the least point on the way of a step on coordinates of which each leaves zero, or a bound, downhill."""
        slope, held = search.slope(), self._region.held(search.u)
        free, _ = self._free(search.u, slope, held)
        while len(free):
            step = self._step(free, slope)
            wrong = held[free] & (step[free] * slope[free] >= 0)
            if not wrong.any():
                return search.take(search.way(step, slope), search.cut(step, slope))
            # Some do: along the step the objective falls.
            free = free[~wrong]
        return 0.0

    def _step(self, free: IntArray, slope: FloatArray) -> FloatArray:
        step = np.zeros_like(slope)
        step[free] = -self._parts.solve(free, slope[free])
        return step

    def _interior(self, search: "_Search", free: IntArray) -> FloatArray:
        """The minimum on some coordinates, by an interior point method."""
        part = self.hessian.take(free, axis=0).take(free, axis=1)
        end = search.u.copy()
        end[free] = interior_minimum(part, self._region.on(free), end[free], search.q[free], self._solved * _SHARE)
        return end

    def _free(self, u: FloatArray, slope: FloatArray, held: BoolArray) -> tuple[IntArray, bool]:
        """Coordinates that are to move, and whether none that wants to is left out."""
        free = ~held | (slope != 0)
        if self._gauge is not None:
            self._gauge.hold(free, u, slope)
        entering = np.flatnonzero(free & held)
        most = max(_MOST_ENTERING, 2 * (int(np.count_nonzero(free)) - len(entering)))
        complete = len(entering) <= most
        if not complete:
            promised = slope[entering] ** 2 / self._diagonal[entering]
            free[entering[np.argpartition(-promised, most)[most:]]] = False
        return np.flatnonzero(free), complete


class _Search:
    """A point u on the way from x, with the gradient q of the smooth part there, and what has been gained."""

    def __init__(self, hessian: FloatArray, region: Region, x: FloatArray, g: FloatArray) -> None:
        self._hessian = hessian
        self._region = region
        self.u, self.q = x, g
        self.gain = 0.0

    def slope(self) -> FloatArray:
        """The subgradient of least norm."""
        return self._region.slope(self.u, self.q)

    def take(self, *ends: FloatArray) -> float:
        """Go to the lowest of some points, if it is lower than u; the nats that are gained."""
        best, most = None, 0.0
        for end in ends:
            change = end - self.u
            if not change.any():
                continue
            product = self._hessian @ change
            l1 = self._region.l1 @ (np.abs(end) - np.abs(self.u))
            gained = -float(self.q @ change + 0.5 * (change @ product) + l1)
            if gained > most:
                best, most = (end, product), gained
        if best is not None:
            self.u, self.q = best[0], self.q + best[1]
            self.gain += most
        return most

    def cut(self, step: FloatArray, slope: FloatArray) -> FloatArray:
        """The end of a step, cut off at the faces of its orthant and the box."""
        return np.clip(self.u + step, *self._region.orthant(self.u, slope))

    def way(self, step: FloatArray, slope: FloatArray) -> FloatArray:
        """The least point on the way of a step."""
        moving = np.flatnonzero(step)
        curve = float(step @ (self._hessian @ step))
        end = self.u.copy()
        end[moving] = _least_along(self.u[moving], step[moving], float(slope @ step), curve, self._region, moving)
        return end


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
