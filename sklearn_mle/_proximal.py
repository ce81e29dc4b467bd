"""Proximal Newton under box constraints and an l1 penalty, as a custom method of `scipy.optimize.minimize`.

    minimise F(x) = f(x) + sum_j l1_j |x_j|    subject to    lower <= x <= upper

Each step minimises the quadratic model of f, with penalty and box as they are, and backtracks (Lee, Sun & Saunders,
2014, SIAM J. Optim. 24(3)): exactly (`_quadratic`) where the Hessian can be factored, else in one orthant by conjugate
gradients.

Coordinates end at zero, or at their bounds, exactly. What the model still gains is the certificate: at zero the
subgradient condition holds for all coordinates.

With three classes or more the likelihood does not see a number that is added to the coefficients of a column in all
classes. The penalty alone chooses it, with a pull that is next to nothing where a column is large; so each step ends
with the best one, in closed form (`Gauge`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from ._ahead import old_hessian_does
from ._cost import exact_passes, factor_passes, pass_time
from ._direction import CAUTION
from ._gauge import Gauge
from ._line_search import NOISE, TOLD_APART
from ._problem import RoundProblem
from ._quadratic import Quadratic
from ._region import Region
from ._typing import BoolArray, FloatArray

_ARMIJO = 1e-4
_MAX_BACKTRACKS = 40
# Steps in the rounding of f that leave no less than this share of what was left are let be so many.
_STALLED = 0.5
_MAX_STALLS = 4
# Relative to coordinates of curvature one: keeps what the data do not determine where it is, and costs Newton's step
# nothing that shows.
_DAMPING = 1e-13
# Passes that a Hessian and its factors may cost for every step to have them; with less than so many parameters the last
# ones do, once conjugate gradients are near the end, or get nowhere.
_FEW_PASSES = 25.0
_MAX_DENSE_SIZE = 3000
_NEAR_NATS = 0.03
# A gain so small is rounding of the slope, whatever the condition: there is nothing that an orthant could hide.
_NO_SLOPE = 1e-20
# Factors of a step, and such steps whose price is spent on conjugate gradients before those are given up.
_FACTORS = 4
_MANY_STEPS = 10.0
_MAX_ORTHANT_STEPS = 150
# Nats from which on steps with the Hessian of the point before do not pay.
_FAR_FROM_DONE = 1.0
# Of what a quadratic gains, what need not be gained: where it costs less than the pass that follows, and elsewhere.
_SOLVED, _ROUGHLY_SOLVED = 1e-2, 0.1
# Nanoseconds of the calls of a quadratic.
_CALLS_OF_STEP = 3e5
# Of what was left, what a step leaves far from the end with a sample's Hessian that goes on, and with one that is
# followed by another.
_MUCH_LESS, _POORLY = 0.1, 0.5
# Of the typical curvature of a coordinate, the least that a sample of terms may show.
_UNSEEN = 1e-2
# Conjugate gradients: residual, of the first, and products at most, for a step and for a certificate. What is left in
# directions of little curvature shows late.
_LOOSE = 0.1, 100
_TIGHT = 1e-4, 500
# Share of the diagonal of the Hessian that is added to it in an orthant: at first, by what it changes, and its limits.
_SHIFT = 1e-3
_SHIFT_FACTOR = 10.0
_SHIFTS = (1e-8, 1e3)


@dataclass(frozen=True)
class Proposal:
    """Where the model wants to go, and what it expects there.

    Attributes
    ----------
    step : the whole step
    gain : nats that the model gains by it
    path : the point at a share t of the step, and the first-order change of the objective up to there
    surely : whether no other model would propose a step that leads down where this one does not
    """

    step: FloatArray
    gain: float
    path: Callable[[float], tuple[FloatArray, float]]
    surely: bool = True


StepSolver = Callable[[FloatArray, FloatArray], Proposal]


def minimize_proximal_newton(
    fun: Callable[..., float],
    x0: FloatArray,
    args: tuple[Any, ...] = (),
    *,
    jac: Callable[..., FloatArray],
    region: Region,
    model_step: StepSolver,
    target: float,
    tol: float,
    resolution: float = np.finfo(float).eps,
    maxiter: int = 1000,
    callback: Callable[[OptimizeResult], object] | None = None,
    **unused: Any,
) -> OptimizeResult:
    """Minimise a smooth convex function plus an l1 penalty in a box.

    Parameters
    ----------
    fun, x0, args, jac, callback
        As `scipy.optimize.minimize` hands them to a custom method; `fun` and `jac` are of the smooth part.
    region : Region
        Penalty and box.
    model_step : callable
        Called with (x, g): a `Proposal` from the model at x.
    target, tol, resolution, maxiter
        As in `minimize_newton`; the decrement is the gain of the model.

    Returns
    -------
    OptimizeResult
        `fun` includes the penalty; `jac` is the gradient of the smooth part.
    """
    x = np.asarray(x0, dtype=float)
    inside = np.clip(x, region.lower, region.upper)
    if not np.array_equal(inside, x):
        x = inside
    f, g = fun(x, *args) + region.penalty(x), jac(x, *args)
    nit = 0
    least, n_stalls = np.inf, 0
    message, success = "maximum number of iterations reached", False
    while True:
        proposal = model_step(x, g)
        decrement = proposal.gain
        rounding = resolution * abs(f)
        noise = NOISE * rounding
        if decrement <= target:
            message, success = "the decrement is at the target", True
            break
        # Where differences of f are rounding, steps are taken for as long as they leave less and less.
        least, n_stalls = (decrement, 0) if decrement < _STALLED * least else (least, n_stalls + 1)
        if n_stalls >= _MAX_STALLS and decrement < TOLD_APART * rounding:
            success = decrement <= max(tol, noise)
            message = "rounding ends the decrease"
            break
        if nit >= maxiter:
            break
        t, moved = 1.0, None
        for _ in range(_MAX_BACKTRACKS):
            trial, change = proposal.path(t)
            f_trial = fun(trial, *args) + region.penalty(trial)
            if f_trial <= f + _ARMIJO * change + noise * (-change < TOLD_APART * rounding):
                moved = trial
                break
            t *= 0.5
        if moved is None and not proposal.surely:
            continue
        if moved is None or np.array_equal(moved, x):
            success = decrement <= max(tol, noise)
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
        step=proposal.step,
        crawling=False,
    )


def model_steps(
    problem: RoundProblem, region: Region, tol: float, n_terms: int = 0, hessian: FloatArray | None = None
) -> StepSolver:
    """Steps to the minimum of the quadratic model of a problem, by the cost of its Hessian and factors.

    Parameters
    ----------
    problem, region : what is minimised
    tol : nats that may be left
    n_terms : so many terms may stand for the Hessian (`CurvatureSchedule.sample_terms`); 0 where they may not
    hessian : a model of it at the start, where there is one
    """
    gauge = Gauge(problem, region)
    if problem.size > _MAX_DENSE_SIZE:
        return OrthantSteps(problem, region, gauge, tol)
    exact = ExactSteps(problem, region, gauge, n_terms, hessian)
    if n_terms or _price(problem) <= _FEW_PASSES:
        return exact
    orthant = OrthantSteps(problem, region, gauge)
    until = problem.objective.n_passes + _MANY_STEPS * _price(problem)
    left = _MAX_ORTHANT_STEPS

    def first_in_orthants(x: FloatArray, g: FloatArray) -> Proposal:
        nonlocal left
        if left and problem.objective.n_passes < until:
            left -= 1
            proposal = orthant(x, g)
            if proposal.gain > _NEAR_NATS or proposal.gain <= _NO_SLOPE:
                return proposal
        left = 0
        return exact(x, g)

    return first_in_orthants


def describe_steps(problem: RoundProblem, n_terms: int) -> str:
    """What `model_steps` chooses, in words."""
    if n_terms:
        return f"proximal Newton steps with {n_terms} terms of the Hessian, then with all of it"
    if problem.size <= _MAX_DENSE_SIZE and _price(problem) <= _FEW_PASSES:
        return "proximal Newton steps with the exact Hessian"
    last = ", then with the exact Hessian" if problem.size <= _MAX_DENSE_SIZE else ""
    return f"proximal Newton steps by conjugate gradients in one orthant after the other{last}"


def _price(problem: RoundProblem) -> float:
    """Passes of a step with the exact Hessian."""
    return exact_passes(problem) + (_FACTORS - 1) * factor_passes(problem)


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
        self._quadratic = None if hessian is None else self._of(_lifted(hessian))
        self._of_sample = hessian is not None
        # What was left at the point before, and where its step was to end.
        self._before = np.inf
        self._end: FloatArray | None = None
        self._shift = 0.0

    def _of(self, hessian: FloatArray) -> Quadratic:
        hessian[np.diag_indices_from(hessian)] += _DAMPING
        return Quadratic(hessian, self.region, self.gauge, self._solved)

    def __call__(self, x: FloatArray, g: FloatArray) -> Proposal:
        """The step from x, where the smooth part has gradient g."""
        g = self.gauge.without_rounding(x, g)
        guess = None
        whole = self._end is None or np.array_equal(x, self._end)
        if self._quadratic is not None and whole and (self._of_sample or self._before <= _FAR_FROM_DONE):
            end, gain = self._quadratic.minimise(x, g)
            shrunk = gain / self._before
            if self._does(gain, shrunk):
                return self._proposal(x, g, end, gain)
            guess = end
            whole = shrunk <= _POORLY
        if not whole or self._before <= _FAR_FROM_DONE:
            # Other terms would do no better.
            self._n_terms = 0
        self._of_sample = self._n_terms > 0
        hessian = self._hessian(x)
        if self._end is not None:
            self._shift = _shift_after(self._shift, np.array_equal(x, self._end), _SHIFT)
        if self._shift > _SHIFT / _SHIFT_FACTOR:
            shifted = hessian.copy()
            shifted[np.diag_indices_from(shifted)] += self._shift * np.maximum(np.diag(hessian), _typical(hessian))
            self._quadratic = self._of(shifted)
            end, gain = self._quadratic.minimise(x, g, guess)
            if gain > _FAR_FROM_DONE:
                return self._proposal(x, g, end, gain)
            guess = end
        self._quadratic = self._of(hessian)
        return self._proposal(x, g, *self._quadratic.minimise(x, g, guess))

    def _does(self, left: float, shrunk: float) -> bool:
        """Whether the Hessian at hand serves for another step: the last one has shrunk what is left so."""
        if self._before > _FAR_FROM_DONE:
            # Far from the end a new one would not square what is left either.
            return shrunk <= _MUCH_LESS
        return old_hessian_does(left, shrunk, self._price)

    def _hessian(self, x: FloatArray) -> FloatArray:
        if self._of_sample:
            return _lifted(self.problem.sampled_hessian(x, self._n_terms))
        return self.problem.hessian(x)

    def _proposal(self, x: FloatArray, g: FloatArray, end: FloatArray, gain: float) -> Proposal:
        end = self.gauge.settled(end)
        change = float(g @ (end - x)) + self.region.penalty(end) - self.region.penalty(x)
        self._before, self._end = gain, end

        def path(t: float) -> tuple[FloatArray, float]:
            # At t = 1 what the model puts at zero or at a bound is there exactly.
            return end if t == 1.0 else self.gauge.settled(x + t * (end - x)), t * change

        return Proposal(end - x, gain, path, surely=not self._of_sample)


def _lifted(hessian: FloatArray) -> FloatArray:
    """The Hessian of a sample, where coordinates that it hardly shows have the curvature of others."""
    diagonal, typical = np.diag(hessian), _typical(hessian)
    hessian[np.diag_indices_from(hessian)] = np.where(diagonal < _UNSEEN * typical, typical, diagonal)
    return hessian


def _typical(hessian: FloatArray) -> float:
    """The curvature of a coordinate like most."""
    return float(np.median(np.diag(hessian)))


def _shift_after(shift: float, whole: bool, first: float) -> float:
    """Share of the diagonal to add to a Hessian: more where the last step was cut, less where it was taken whole."""
    if whole:
        return max(shift / _SHIFT_FACTOR, _SHIFTS[0])
    return min(max(shift * _SHIFT_FACTOR, first), _SHIFTS[1])


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
    """

    def __init__(
        self,
        problem: RoundProblem,
        region: Region,
        gauge: Gauge,
        tol: float = -np.inf,
    ) -> None:
        self.problem = problem
        self.region = region
        self.gauge = gauge
        self.tol = tol
        self._ask_again, self._left = 0.0, np.inf
        self._shift = _SHIFT
        self._end: FloatArray | None = None

    def __call__(self, x: FloatArray, g: FloatArray) -> Proposal:
        """The step from x, where the smooth part has gradient g."""
        region = self.region
        g = self.gauge.without_rounding(x, g)
        if self._end is not None:
            self._shift = _shift_after(self._shift, np.array_equal(x, self._end), _SHIFTS[0])
        slope = region.slope(x, g)
        low, high = region.orthant(x, slope)
        free = ~region.held(x) | (slope != 0)
        self.gauge.hold(free, x, slope)
        step, gain = self._solve(x, slope, free, self._shift, *_LOOSE)
        if _NO_SLOPE < gain <= self.tol:
            gain = self._certified(x, slope, gain)

        def path(t: float) -> tuple[FloatArray, float]:
            trial = np.clip(x + t * step, low, high)
            return self.gauge.settled(trial), float(slope @ (trial - x))

        self._end = path(1.0)[0]
        return Proposal(step, gain, path)

    def _certified(self, x: FloatArray, slope: FloatArray, gain: float) -> float:
        """The gain, where no more than `tol` is left by what no orthant hides; else what is left.

        With v any subgradient of the objective F and H its curvature, F at the minimum is above F - v'H^-1 v / 2, where
        the coordinates that a step holds count: free to follow, they let the others gain more. As that takes many
        products, it is asked again only after as many.
        """
        objective = self.problem.objective
        if objective.n_passes >= self._ask_again:
            before = objective.n_passes
            self._left = self._solve(x, slope, np.ones(len(x), dtype=bool), _SHIFTS[0], *_TIGHT)[1]
            self._ask_again = 2 * objective.n_passes - before
            if self._left <= self.tol:
                return gain
        return max(gain, self._left)

    def _solve(
        self, x: FloatArray, slope: FloatArray, free: BoolArray, shift: float, residual: float, max_products: int
    ) -> tuple[FloatArray, float]:
        """Newton's step on the free coordinates, and what the quadratic gains by it and beyond."""
        diagonal = self.problem.hessian_diagonal(x) + _DAMPING
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
