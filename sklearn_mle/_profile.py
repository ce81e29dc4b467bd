"""Restricted maxima of the likelihood, and the profile intervals made of them.

The profile of a coefficient b at v is the maximum over all parameters with b = v. Its interval holds the v
whose profile lies within half a chi-squared quantile of the maximum. Each end is found by Newton's method on
the square root of the drop, which is nearly linear in v, along restricted maxima, each warm-started from the
last (Venzon and Moolgavkar, 1988, Appl. Stat. 37, 87-94, solve for both at once).
"""

from dataclasses import dataclass

import numpy as np

from ._curvature import DenseCurvature
from ._jeffreys import JeffreysProblem
from ._maximum import Maximum
from ._problem import RoundProblem
from ._subspace import SubspaceMinimum, minimize_on_subspace
from ._typing import FloatArray

_MAX_STEPS = 60
# Nats by which the end of an interval may miss the drop that defines it; 1e-8 nats are some 1e-8 standard errors.
_ENOUGH = 1e-8
# Standard errors that two values of a coefficient may be apart and count as one.
_SAME = 1e-8
# A step that would more than triple the distance to the estimate is cut.
_LONGEST = 3.0


@dataclass(frozen=True)
class Profile:
    """The objective restricted along a = one row of (B (x) F), from the estimate outwards.

    Attributes
    ----------
    problem : RoundProblem, psi = 0 the estimate
    minimum : objective at the estimate
    curvature : factor of the Hessian there
    row : array (d,), db / dpsi
    """

    problem: RoundProblem
    minimum: float
    curvature: DenseCurvature
    row: FloatArray

    @property
    def standard_error(self) -> float:
        """Of the quadratic with the curvature at the estimate."""
        return float(np.linalg.norm(self.curvature.whiten(self.row)))

    def at(self, offset: float, near: SubspaceMinimum | None) -> SubspaceMinimum:
        """The restricted minimum with b = estimate + offset; `near` is one to start from."""
        if near is not None:
            start = near.psi + near.tangent[:, 0] * (offset - float(self.row @ near.psi))
            found = self._minimum(start, near.curvature)
            if not self.problem.has_prior:
                return found
        direction = self.curvature.solve(self.row)
        straight = self._minimum(direction * (offset / float(self.row @ direction)), self.curvature)
        # With Jeffreys' prior there may be several: the lower of two.
        return straight if near is None or straight.value < found.value else found

    def _minimum(self, start: FloatArray, curvature: DenseCurvature) -> SubspaceMinimum:
        return minimize_on_subspace(self.problem, start, self.row[None], target=0.01 * _ENOUGH, curvature=curvature)

    def end(self, drop: float, sign: int) -> float:
        """The offset on one side where the restricted minimum lies `drop` above the minimum.

        Raises
        ------
        ArithmeticError
            If it is not found.
        """
        goal = np.sqrt(drop)
        offset = sign * self.standard_error * np.sqrt(2 * drop)
        inner, outer = 0.0, np.inf * sign
        found: SubspaceMinimum | None = None
        reached = 0.0
        enough = max(_ENOUGH, 64 * np.finfo(float).eps * abs(self.minimum))
        for _ in range(_MAX_STEPS):
            try:
                found = self.at(offset, found)
            except ArithmeticError:
                # Too far at once: where classes nearly separate, the curvature dies away.
                offset = 0.5 * (reached + offset)
                continue
            reached = offset
            gone = max(found.value - self.minimum, 0.0)
            if abs(gone - drop) <= enough:
                return offset
            if gone < drop:
                inner = offset
            else:
                outer = offset
            slope = float(found.multipliers[0])
            root = np.sqrt(gone)
            step = (goal - root) * 2 * root / slope if slope * sign > 0 else sign * np.inf
            new = offset + step
            if not min(inner, outer) < new < max(inner, outer) or abs(new) > _LONGEST * abs(offset):
                new = 0.5 * (inner + outer) if np.isfinite(outer) else _LONGEST * offset
            if abs(new - offset) <= _SAME * self.standard_error:
                return new
            offset = new
        raise ArithmeticError(f"The end of a profile interval was not found within {_MAX_STEPS} steps.")


def profile(maximum: Maximum, row: FloatArray) -> Profile:
    """The profile of row' psi. With Jeffreys' prior it is that of the penalised likelihood."""
    problem = maximum.problem
    if isinstance(problem, JeffreysProblem):
        # A fresh start for what is learnt of the prior's curvature along the way.
        problem = JeffreysProblem(problem.objective, problem.coordinates)
    return Profile(problem, maximum.objective, maximum.curvature, row)


def restricted_minimum(maximum: Maximum, A: FloatArray, values: FloatArray) -> float:
    """The least objective (with Jeffreys' prior where the fit had it) subject to A psi = values."""
    scale = np.linalg.norm(maximum.curvature.whiten(A.T), axis=0)
    A, values = A / scale[:, None], values / scale
    half = maximum.curvature.whiten(A.T)
    # Where the quadratic with the curvature at the estimate has its restricted minimum.
    start = maximum.curvature.unwhiten(np.linalg.lstsq(half.T, values, rcond=None)[0])
    problem = maximum.problem
    if isinstance(problem, JeffreysProblem):
        problem = JeffreysProblem(problem.objective, problem.coordinates)
    return minimize_on_subspace(problem, start, A).value
