"""The minimum of a quadratic with an l1 penalty in a box, by an interior point method.

    minimise q's + s'Hs / 2 + sum_j l1_j |v_j|    subject to    lower <= v <= upper,    v = u + s

Signs and bounds are not searched for: with |v| = a + b, v = a - b, and multipliers z of a, b >= 0 and of the distances
to the bounds, the products of each with its multiplier go to zero together, by Newton's method on the conditions of
optimality (Mehrotra, 1992, SIAM J. Optim. 2(4): predictor and corrector with one factor). It takes some ten factors,
however many coordinates change sides and however near H is to singular: what is added to its diagonal is large just
where v_j is to be zero or at a bound.
"""

import numpy as np

from ._curvature import DenseCurvature
from ._region import Region
from ._typing import FloatArray

_MAX_STEPS = 40
# Of the way to the first coordinate that would become negative, the share that is gone.
_NEARLY = 0.99
# Of its l1 weight, the most that a subgradient starts with.
_INSIDE = 0.9
# Rows of slacks and multipliers: positive and negative parts, distances to the bounds.
_POSITIVE, _NEGATIVE, _ABOVE_LOWER, _BELOW_UPPER = range(4)


def interior_minimum(hessian: FloatArray, region: Region, u: FloatArray, q: FloatArray, solved: float) -> FloatArray:
    """Minimise from u, where the smooth part has gradient q.

    Parameters
    ----------
    hessian : array of shape (n, n), positive definite
    region : Region
        Penalty and box of these coordinates.
    u, q : arrays of shape (n,), u within the box
    solved : of what is gained, what may be left

    Returns
    -------
    v : array of shape (n,), coordinates exactly at zero or at a bound where they are nearer to it than to be free
    """
    return _InteriorPoint(hessian, region, u, q).minimum(solved)


class _InteriorPoint:
    """The point of the moment: v, slacks S and multipliers Z of the constraints that there are."""

    def __init__(self, hessian: FloatArray, region: Region, u: FloatArray, q: FloatArray) -> None:
        self._hessian = hessian
        self._region = region
        self._u, self._q = u, q
        self._diagonal = diagonal = np.diag(hessian)
        lower, upper, l1 = region.lower, region.upper, region.l1
        self._kinked = (l1 > 0) & (lower < 0) & (upper > 0)
        self._exists = np.array([self._kinked, self._kinked, np.isfinite(lower), np.isfinite(upper)])
        # Elsewhere the penalty is linear.
        self._linear = np.where(self._kinked, 0.0, np.where(lower >= 0, l1, -l1))
        # As far from zero and bounds as coordinates would move alone.
        room = (np.abs(q) + l1) / diagonal
        room = np.maximum(room, room.mean())
        width = 0.25 * np.minimum(room, upper - lower)
        self.v = np.clip(u, lower + width, upper - width)
        slacks = np.maximum(self.v, 0) + room, np.maximum(-self.v, 0) + room, self.v - lower, upper - self.v
        y = np.clip(-q, -_INSIDE * l1, _INSIDE * l1)
        pull = diagonal * room
        multipliers = l1 - y, l1 + y, np.maximum(q, 0) + pull, np.maximum(-q, 0) + pull
        self._S = np.where(self._exists, slacks, 1.0)
        self._Z = np.where(self._exists, multipliers, 1.0)

    def minimum(self, solved: float) -> FloatArray:
        """The minimum, but for a share of the gain."""
        n_constraints = np.count_nonzero(self._exists)
        if not n_constraints:
            return self._u - DenseCurvature(self._hessian).solve(self._q)
        for _ in range(_MAX_STEPS):
            step = self.v - self._u
            pull = self._hessian @ step
            slope = self._q + pull
            # Of the conditions of optimality, what is not met.
            rest = slope + self._linear
            rest += np.where(self._kinked, 0.5 * (self._Z[_NEGATIVE] - self._Z[_POSITIVE]), 0.0)
            rest -= np.where(self._exists[_ABOVE_LOWER], self._Z[_ABOVE_LOWER], 0.0)
            rest += np.where(self._exists[_BELOW_UPPER], self._Z[_BELOW_UPPER], 0.0)
            gap = float(np.sum(self._S * self._Z, where=self._exists))
            l1 = self._region.l1 @ (np.abs(self.v) - np.abs(self._u))
            gain = -float(0.5 * step @ (self._q + slope) + l1)
            if max(gap, 0.5 * float(rest @ (rest / self._diagonal))) <= solved * gain:
                break
            if not self._move(rest, gap / n_constraints):
                break
        return self._cut()

    def _move(self, rest: FloatArray, mean: float) -> bool:
        """A step of predictor and corrector; False where numbers have run out."""
        S, Z, exists = self._S, self._Z, self._exists
        theta = S[_POSITIVE] / Z[_POSITIVE] + S[_NEGATIVE] / Z[_NEGATIVE]
        stiff = np.where(self._kinked, 1 / theta, 0.0)
        stiff += np.where(exists[2:], Z[2:] / S[2:], 0.0).sum(axis=0)
        matrix = self._hessian.copy()
        matrix[np.diag_indices_from(matrix)] += stiff
        if not np.isfinite(stiff).all():
            return False
        factor = DenseCurvature(matrix)

        def directions(targets: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
            """Changes of v, S and Z that bring the products S Z to where they are to be, by `targets`."""
            targets = np.where(exists, targets, 0.0)
            apart = targets[_POSITIVE] / Z[_POSITIVE] - targets[_NEGATIVE] / Z[_NEGATIVE]
            rhs = np.where(self._kinked, apart / theta, 0.0) - rest
            rhs += targets[_ABOVE_LOWER] / S[_ABOVE_LOWER] - targets[_BELOW_UPPER] / S[_BELOW_UPPER]
            dv = factor.solve(rhs)
            dy = (dv - apart) / theta
            dZ = np.array([-dy, dy, (targets[2] - Z[2] * dv) / S[2], (targets[3] + Z[3] * dv) / S[3]])
            dS = np.array([(targets[0] + S[0] * dy) / Z[0], (targets[1] - S[1] * dy) / Z[1], dv, -dv])
            return dv, np.where(exists, dS, 0.0), np.where(exists, dZ, 0.0)

        _, dS, dZ = directions(-S * Z)
        t = _length(S, Z, dS, dZ)
        after = float(np.sum((S + t * dS) * (Z + t * dZ), where=exists)) / np.count_nonzero(exists)
        dv, dS, dZ = directions((after / mean) ** 3 * mean - S * Z - dS * dZ)
        t = min(1.0, _NEARLY * _length(S, Z, dS, dZ, most=np.inf))
        S += t * dS
        Z += t * dZ
        self.v += t * dv
        self.v[self._kinked] = (S[_POSITIVE] - S[_NEGATIVE])[self._kinked]
        return True

    def _cut(self) -> FloatArray:
        """The point, with coordinates at zero or at a bound where that is nearer, in units of their curvature."""
        at_end = (self._diagonal * self._S < self._Z) & self._exists
        v = np.where(at_end[_POSITIVE] & at_end[_NEGATIVE], 0.0, self.v)
        v = np.where(at_end[_ABOVE_LOWER], self._region.lower, v)
        return np.where(at_end[_BELOW_UPPER], self._region.upper, v)


def _length(S: FloatArray, Z: FloatArray, dS: FloatArray, dZ: FloatArray, most: float = 1.0) -> float:
    """How much of a step there is until a slack or a multiplier is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = [np.min(np.where(change < 0, -at / change, np.inf)) for at, change in ((S, dS), (Z, dZ))]
    return float(min(most, *ends))
