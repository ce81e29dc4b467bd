"""Steps of proximal Newton on the coordinates that matter: those that are not zero, and some that want to be.

Under an l1 penalty most coordinates stay at zero, and of a column that does not, mostly one or two classes. The Hessian
on the others is small (`_selection`), its quadratic too. Each step takes as many of the coordinates at zero as promise
most; once none is left out, a product with the Hessian tells those that the step would make want to move, and they are
taken as well, so that the last steps are Newton's on all coordinates, and what they leave is what all leave (Friedman,
Hastie & Tibshirani, 2010, Journal of Statistical Software 33(1), check their active set likewise).
"""

import numpy as np

from ._ahead import FAR_FROM_DONE, old_hessian_does
from ._cost import exact_passes, partial_passes
from ._gauge import Gauge
from ._problem import RoundProblem
from ._proximal import DAMPING, NO_SLOPE, Proposal, straight_to
from ._quadratic import Quadratic
from ._region import Region
from ._selection import Selection
from ._typing import BoolArray, FloatArray

# Coordinates that may enter in one step: so many, or that share of those that are in.
_FEWEST, _SHARE_ENTERING = 32, 0.25
# Passes up to which the last digits are worth a step.
_FEW_PASSES = 100.0
# Nats from which on a step is asked what it makes of the coordinates that it leaves out; of its gain, what those may
# promise; and how often others are taken in.
_NEAR_NATS, _SHARE_LEFT_OUT, _MOST_ROUNDS = 1e-2, 1e-2, 6
# Of what was left where the diagonal of the Hessian was taken, what is so much less that it is another one.
_MUCH_LESS = 0.3
# Share of the diagonal that is added where a step was cut: at first, by what it changes, and its limits.
_SHIFT, _SHIFT_FACTOR, _SHIFTS = 1e-4, 10.0, (1e-6, 1e3)


class SupportSteps:
    """Newton steps on the coordinates that are not held.

    Where the likelihood is all but flat in some of them, the quadratic says nothing of what is far: a share of the
    diagonal is added, more where the last step was cut, less where it was taken whole.

    Parameters
    ----------
    problem, region : what is minimised
    gauge : what a step ends with, and begins with
    tol : nats that may be left
    """

    hessian = None

    def __init__(self, problem: RoundProblem, region: Region, gauge: Gauge, tol: float) -> None:
        self.problem = problem
        self.region = region
        self.gauge = gauge
        self._tol, self._near = tol, max(_NEAR_NATS, 10 * tol)
        self._shift = 0.0
        # The diagonal of the Hessian, which is one at the model without features, and what was left where it was taken.
        self._diagonal: FloatArray = np.ones(problem.size)
        self._left_then = np.inf
        self._quadratic: _PartialQuadratic | None = None
        # What was left at the point before, and where its step was to end.
        self._before = np.inf
        self._end: FloatArray | None = None

    def n_chosen(self, x: FloatArray, g: FloatArray) -> tuple[int, int]:
        """How many coordinates the step from x is on, and how many want to move."""
        slope = self.region.slope(x, self.gauge.without_rounding(x, g))
        chosen, _ = self._chosen(x, slope)
        return int(np.count_nonzero(chosen)), int(np.count_nonzero(self._wanted(x, slope)))

    def forget(self) -> None:
        """Begin anew, where other steps have come between."""
        self._quadratic = self._end = None

    def __call__(self, x: FloatArray, g: FloatArray) -> Proposal:
        """The step from x, where the smooth part has gradient g."""
        g = self.gauge.without_rounding(x, g)
        slope = self.region.slope(x, g)
        left = 0.5 * float(slope @ slope)
        if left <= NO_SLOPE:
            return straight_to(x, x, g, left, self.region, self.gauge)
        whole = self._end is None or np.array_equal(x, self._end)
        self._adapt_shift(whole)
        if self._left_then == np.inf:
            self._left_then = self._before
        elif self._before <= max(self._near, _MUCH_LESS * self._left_then):
            self._diagonal, self._left_then = self.problem.hessian_diagonal(x) + DAMPING, self._before
        chosen, left_out = self._chosen(x, slope)
        old = self._quadratic if whole and not left_out and not self._shift else None
        if old is not None and self._before <= FAR_FROM_DONE and not np.any(chosen & ~old.chosen):
            end, gain = old.minimise(x, g)
            if old_hessian_does(gain, gain / self._before, old.passes):
                wanting, promised = self._wanting(x, g, end, old.chosen)
                if promised <= _SHARE_LEFT_OUT * gain:
                    return self._proposal(x, g, end, gain, old, promised)
                chosen = chosen | wanting
        for _ in range(_MOST_ROUNDS):
            last = self._quadratic
            if last is not None and last.at is x and np.array_equal(last.chosen, chosen):
                new = last
            else:
                new = _PartialQuadratic(self.problem, self.region, x, chosen)
            end, gain = new.minimise(x, g, self._shift)
            if self._shift and gain <= self._near:
                # Near the end what is left has to be told without it.
                self._shift = 0.0
                end, gain = new.minimise(x, g)
            promised = left_out
            if left_out and gain + left_out <= self._tol:
                # What coordinates promise together is more than what each of them does.
                chosen, left_out = self._wanted(x, slope), 0.0
                continue
            if left_out or gain > self._near:
                break
            wanting, promised = self._wanting(x, g, end, chosen)
            if promised <= max(_SHARE_LEFT_OUT * gain, NO_SLOPE):
                break
            chosen = chosen | wanting
        return self._proposal(x, g, end, gain, new, promised)

    def _adapt_shift(self, whole: bool) -> None:
        if self._before <= self._near:
            self._shift = 0.0
        elif not whole:
            self._shift = min(max(_SHIFT_FACTOR * self._shift, _SHIFT), _SHIFTS[1])
        else:
            self._shift = self._shift / _SHIFT_FACTOR if self._shift > _SHIFTS[0] else 0.0

    def _chosen(self, x: FloatArray, slope: FloatArray) -> tuple[BoolArray, float]:
        """Coordinates that are to move, and what the others that want to promise alone."""
        chosen, held = self._wanted(x, slope), self.region.held(x)
        entering = np.flatnonzero(chosen & held)
        most = _FEWEST
        if not self._shift:
            most = max(most, int(_SHARE_ENTERING * (np.count_nonzero(chosen) - len(entering))))
        if len(entering) <= most:
            return chosen, 0.0
        promised = 0.5 * slope[entering] ** 2 / self._diagonal[entering]
        left_out = np.argpartition(-promised, most)[most:]
        chosen[entering[left_out]] = False
        return chosen, float(promised[left_out].sum())

    def _wanted(self, x: FloatArray, slope: FloatArray) -> BoolArray:
        """Coordinates that are not held, or want to move."""
        wanted = ~self.region.held(x) | (slope != 0)
        self.gauge.hold(wanted, x, slope)
        return wanted

    def _wanting(self, x: FloatArray, g: FloatArray, end: FloatArray, chosen: BoolArray) -> tuple[BoolArray, float]:
        """Coordinates outside that would move at the end of a step, by the quadratic, and what they promise there."""
        g = self.gauge.without_rounding(end, g + self.problem.hessp(x, end - x))
        slope = self.region.slope(end, g)
        free = slope != 0
        self.gauge.hold(free, end, slope)
        wanting = free & ~chosen
        if not wanting.any():
            return wanting, 0.0
        return wanting, 0.5 * float(np.sum(slope[wanting] ** 2 / self._diagonal[wanting]))

    def _proposal(
        self,
        x: FloatArray,
        g: FloatArray,
        end: FloatArray,
        gain: float,
        quadratic: "_PartialQuadratic",
        promised: float,
    ) -> Proposal:
        # Near the end no share of the diagonal is added.
        last_word = self._shift >= _SHIFTS[1] or self._before <= self._near
        surely = quadratic.at is x and last_word
        cheap = quadratic.passes <= _FEW_PASSES
        proposal = straight_to(
            end, x, g, gain + promised, self.region, self.gauge, surely=surely, cheap=cheap, expected=gain
        )
        self._quadratic, self._before, self._end = quadratic, gain + promised, proposal.path(1.0)[0]
        return proposal


class _PartialQuadratic:
    """The quadratic at one point, on some coordinates.

    Attributes
    ----------
    at : the point
    chosen : mask of the coordinates
    passes : what it costs
    """

    def __init__(self, problem: RoundProblem, region: Region, x: FloatArray, chosen: BoolArray) -> None:
        self.at = x
        self.chosen = chosen
        selection = Selection.of(problem.coordinates, chosen)
        self.passes = partial_passes(problem, len(selection))
        self._flat = selection.flat
        self._region = region.on(self._flat)
        if self.passes <= exact_passes(problem):
            self._hessian = problem.hessian_on(x, selection)
        else:
            self._hessian = problem.hessian(x).take(self._flat, axis=0).take(self._flat, axis=1)
        self._hessian[np.diag_indices_from(self._hessian)] += DAMPING
        self._quadratic: Quadratic | None = None
        self._shift = 0.0

    def minimise(self, x: FloatArray, g: FloatArray, shift: float = 0.0) -> tuple[FloatArray, float]:
        """The minimum from x, where the smooth part has gradient g, and what it lies below.

        A share of the diagonal is added to the Hessian.
        """
        if self._quadratic is None or shift != self._shift:
            hessian = self._hessian
            if shift:
                hessian = hessian.copy()
                hessian[np.diag_indices_from(hessian)] *= 1 + shift
            self._quadratic, self._shift = Quadratic(hessian, self._region), shift
        end = x.copy()
        end[self._flat], gain = self._quadratic.minimise(x[self._flat], g[self._flat])
        return end, gain
