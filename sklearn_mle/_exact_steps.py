"""Steps of proximal Newton with a Hessian at hand: exact, of a sample, or that of an earlier point.

What a Hessian costs decides how long one is kept. Far from the end an exact one is taken at each point; one of a sample
serves for as long as each step with it leaves little. Near the end the one of the point before stays where the steps
that it takes cost fewer passes than another (`_ahead`). A step that leads nowhere, or had to be cut, is followed by an
exact one.
"""

import numpy as np

from ._ahead import FAR_FROM_DONE, least_told_from_elsewhere, old_hessian_does
from ._cost import exact_passes, factor_passes, pass_time
from ._gauge import Gauge
from ._problem import RoundProblem
from ._proximal import DAMPING, NO_SLOPE, Proposal, straight_to
from ._quadratic import Quadratic
from ._region import Region
from ._typing import FloatArray

# Of what a quadratic gains, what need not be gained: where it costs less than the pass that follows, and elsewhere.
_SOLVED, _ROUGHLY_SOLVED = 1e-2, 0.1
# Nanoseconds of the calls of a quadratic.
_CALLS_OF_STEP = 3e5
# Of what was left, what a step leaves far from the end with a sample's Hessian that goes on, and with one that is
# followed by another.
_MUCH_LESS, _POORLY = 0.1, 0.5
# Steps of a quadratic, each with a factor.
_HARD = 12
# Of the typical curvature of a coordinate, the least that a sample of terms may show.
_UNSEEN = 1e-2


class ExactSteps:
    """Steps to the minimum of quadratics whose Hessian is at hand, that of an earlier point where it does.

    Parameters
    ----------
    problem, region : what is minimised
    gauge : what a step ends with, and begins with
    n_terms : so many terms stand for the Hessian, for as long as steps with them gain what they promise
    hessian : a model of the Hessian at the start, for the first step
    """

    def __init__(
        self,
        problem: RoundProblem,
        region: Region,
        gauge: Gauge,
        n_terms: int = 0,
        hessian: FloatArray | None = None,
    ) -> None:
        self.problem = problem
        self.region = region
        self.gauge = gauge
        calls = _CALLS_OF_STEP / pass_time(problem)
        # What a step costs beside a pass makes a Hessian that saves one cheaper.
        self._price = exact_passes(problem) / (1 + calls)
        self._solved = _SOLVED if calls + factor_passes(problem) < 1 else _ROUGHLY_SOLVED
        self._n_terms = n_terms
        self._quadratic = None if hessian is None else self._of(_filled(hessian))
        self._of_sample = hessian is not None
        # What was left at the point before, and where its step was to end.
        self._before = np.inf
        self._end: FloatArray | None = None

    @property
    def hessian(self) -> FloatArray | None:
        """The Hessian of the last step."""
        return None if self._quadratic is None else self._quadratic.hessian

    @property
    def is_hard(self) -> bool:
        """Whether the signs of the last quadratic took many steps to find."""
        return self._quadratic is not None and self._quadratic.n_steps > _HARD

    def _of(self, hessian: FloatArray) -> Quadratic:
        hessian[np.diag_indices_from(hessian)] += DAMPING
        return Quadratic(hessian, self.region, self.gauge, self._solved)

    def __call__(self, x: FloatArray, g: FloatArray) -> Proposal:
        """The step from x, where the smooth part has gradient g."""
        g = self.gauge.without_rounding(x, g)
        slope = self.region.slope(x, g)
        left = 0.5 * float(slope @ slope)
        if left <= NO_SLOPE:
            return self._proposal(x, g, x, left)
        whole = self._end is None or np.array_equal(x, self._end)
        guess = None
        serves = whole
        if self._quadratic is not None and whole and (self._of_sample or self._before <= FAR_FROM_DONE):
            end, gain = self._quadratic.minimise(x, g)
            shrunk = gain / max(self._before, np.finfo(float).tiny)
            told = self._end is not None or gain > least_told_from_elsewhere(self.problem.is_double)
            if told and self._does(gain, shrunk):
                return self._proposal(x, g, end, gain, surely=False)
            guess = end
            serves = shrunk <= _POORLY
        if not serves or self._before <= FAR_FROM_DONE:
            # Other terms would do no better.
            self._n_terms = 0
        self._of_sample = self._n_terms > 0
        self._quadratic = self._of(self._hessian(x))
        end, gain = self._quadratic.minimise(x, g, guess)
        return self._proposal(x, g, end, gain, surely=not self._of_sample)

    def _does(self, left: float, shrunk: float) -> bool:
        """Whether the Hessian at hand serves for another step: the last one has shrunk what is left so."""
        if self._before > FAR_FROM_DONE:
            # Far from the end a new one would not square what is left either.
            return shrunk <= _MUCH_LESS
        return old_hessian_does(left, shrunk, self._price)

    def _hessian(self, x: FloatArray) -> FloatArray:
        if self._of_sample:
            return _filled(self.problem.sampled_hessian(x, self._n_terms))
        return self.problem.hessian(x)

    def _proposal(self, x: FloatArray, g: FloatArray, end: FloatArray, gain: float, surely: bool = True) -> Proposal:
        proposal = straight_to(end, x, g, gain, self.region, self.gauge, surely)
        self._before, self._end = gain, proposal.path(1.0)[0]
        return proposal


def _filled(hessian: FloatArray) -> FloatArray:
    """The Hessian of a sample, where coordinates that it hardly shows have the curvature of others."""
    diagonal = np.diag(hessian)
    typical = float(np.median(diagonal))
    hessian[np.diag_indices_from(hessian)] = np.where(diagonal < _UNSEEN * typical, typical, diagonal)
    return hessian
