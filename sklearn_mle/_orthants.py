"""Steps of proximal Newton without a Hessian: conjugate gradients in one orthant after the other."""

import numpy as np

from ._direction import CAUTION
from ._gauge import Gauge
from ._problem import RoundProblem
from ._proximal import DAMPING, NO_SLOPE, Proposal
from ._region import Region
from ._typing import BoolArray, FloatArray

# Conjugate gradients: residual, of the first, and products at most, for a step and for a certificate. What is left in
# directions of little curvature shows late.
_LOOSE = 0.1, 100
_TIGHT, _MOST_PRODUCTS = 1e-4, 500
# Share of the diagonal of the Hessian that is added to it in an orthant: at first, by what it changes, and its limits.
_SHIFT = 1e-3
_SHIFT_FACTOR = 10.0
_SHIFTS = (1e-8, 1e3)


class OrthantSteps:
    """Newton steps by conjugate gradients in the orthant that steepest descent enters, cut off at its faces.

    Andrew & Gao (2007, ICML) for the orthant; Bertsekas (1982, SIAM J. Control Optim. 20(2)) for what is held. In an
    orthant the quadratic may have no minimum, or one far beyond the faces: a share of the diagonal is added, more where
    the last step was cut, less where it was taken whole.

    Parameters
    ----------
    problem, region : what is minimised
    gauge : what a step ends with, and begins with
    tol : a gain from which on the objective has to be certain to be within it of its minimum
    n_products : so many may be spent on this certainty
    """

    hessian = None

    def __init__(
        self,
        problem: RoundProblem,
        region: Region,
        gauge: Gauge,
        tol: float = -np.inf,
        n_products: int = _MOST_PRODUCTS,
    ) -> None:
        self.problem = problem
        self.region = region
        self.gauge = gauge
        self.tol = tol
        self._n_products = min(n_products, _MOST_PRODUCTS)
        self._ask_again, self._left = 0.0, np.inf
        self._shift = _SHIFT
        self._end: FloatArray | None = None

    def __call__(self, x: FloatArray, g: FloatArray) -> Proposal:
        """The step from x, where the smooth part has gradient g."""
        region = self.region
        g = self.gauge.without_rounding(x, g)
        if self._end is not None:
            whole = np.array_equal(x, self._end)
            self._shift = float(np.clip(self._shift * (1 / _SHIFT_FACTOR if whole else _SHIFT_FACTOR), *_SHIFTS))
        slope, free = self._free(x, g)
        low, high = region.orthant(x, slope)
        step, gain = self._solve(x, slope, free, self._shift, *_LOOSE)
        if NO_SLOPE < gain <= self.tol:
            gain = self._certified(x, slope, gain)

        def path(t: float) -> tuple[FloatArray, float]:
            trial = np.clip(x + t * step, low, high)
            return self.gauge.settled(trial), float(slope @ (trial - x))

        self._end = path(1.0)[0]
        return Proposal(step, gain, path, surely=self._shift >= _SHIFTS[1])

    def solves_within(self, x: FloatArray, g: FloatArray, residual: float, n_products: int) -> bool:
        """Whether conjugate gradients come to a residual, of the first, within so many products."""
        slope, free = self._free(x, self.gauge.without_rounding(x, g))
        objective = self.problem.objective
        before = objective.n_passes
        self._solve(x, slope, free, self._shift, residual, n_products)
        return objective.n_passes - before < n_products

    def _free(self, x: FloatArray, g: FloatArray) -> tuple[FloatArray, BoolArray]:
        """The subgradient of least norm, and the coordinates that are to move."""
        slope = self.region.slope(x, g)
        free = ~self.region.held(x) | (slope != 0)
        self.gauge.hold(free, x, slope)
        return slope, free

    def _certified(self, x: FloatArray, slope: FloatArray, gain: float) -> float:
        """The gain, where no more than `tol` is left by what no orthant hides; else what is left.

        With v any subgradient of the objective F and H its curvature, F at the minimum is above F - v'H^-1 v / 2, where
        the coordinates that a step holds count: free to follow, they let the others gain more. As that takes many
        products, it is asked again only after as many.
        """
        objective = self.problem.objective
        if objective.n_passes >= self._ask_again:
            before = objective.n_passes
            everything = np.ones(len(x), dtype=bool)
            self._left = self._solve(x, slope, everything, _SHIFTS[0], _TIGHT, self._n_products)[1]
            self._ask_again = 2 * objective.n_passes - before
            if self._left <= self.tol:
                return gain
        return max(gain, self._left)

    def _solve(
        self, x: FloatArray, slope: FloatArray, free: BoolArray, shift: float, residual: float, max_products: int
    ) -> tuple[FloatArray, float]:
        """Newton's step on the free coordinates, and what the quadratic gains by it and beyond."""
        diagonal = self.problem.hessian_diagonal(x) + DAMPING
        step = np.zeros_like(x)
        r = np.where(free, slope, 0.0)
        z = r / diagonal
        p = -z
        rz = first = float(r @ z)
        pp, least = first, np.inf
        for _ in range(max_products):
            if rz <= residual**2 * first:
                break
            Hp = np.where(free, self.problem.hessp(x, p), 0.0)
            curve = float(p @ Hp)
            least = min(least, curve / pp)
            Hp += shift * diagonal * p
            curve += shift * pp
            if curve <= 0:
                break
            step += (rz / curve) * p
            r += (rz / curve) * Hp
            z = r / diagonal
            rz, before = float(r @ z), rz
            p = -z + (rz / before) * p
            pp = float(p @ (diagonal * p))
        # What is left of the residual, and what the shift kept the step from, at the least curvature seen.
        least = max(CAUTION * least, _SHIFTS[0]) if first else 1.0
        gain = 0.5 * (-float(slope @ step) + rz / least) * (1 + shift / least)
        return step, gain
