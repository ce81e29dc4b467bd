"""Steps under penalties and bounds, by cost.

The quadratic of a step has signs to search for (`_quadratic`): with a sample's Hessian or the exact one where these are
cheap. Else, of dense columns under an l1 penalty, with the Hessian on the coordinates that are not zero, or by
conjugate gradients in orthants where these need few products; of others by conjugate gradients, and with the exact
Hessian near the end.
"""

from enum import Enum, auto

import numpy as np

from ._cost import MAX_EXACT_SIZE, exact_passes, factor_passes, partial_passes
from ._exact_steps import ExactSteps
from ._gauge import Gauge
from ._history import POLISHED_NATS
from ._orthants import OrthantSteps
from ._problem import RoundProblem
from ._proximal import NO_SLOPE, Proposal, StepSolver
from ._region import Region
from ._support_steps import SupportSteps
from ._typing import FloatArray

# Passes that a Hessian and its factors may cost for every step to have them. Where they
# cost more the last steps do, once conjugate gradients are near the end, or get nowhere.
_FEW_PASSES = 25.0
_NEAR_NATS, _VERY_NEAR_NATS = 0.03, 1e-6
# Factors of a step, and such steps whose price is spent on conjugate gradients before those are given up.
_FACTORS = 4
_MANY_STEPS = 10.0
_MAX_ORTHANT_STEPS = 150
# Residual to which conjugate gradients come in so few products where columns are as good as independent.
_EASY = 1e-2, 15
# Passes up to which a step on some coordinates is worth it far from the end, and how many such steps the end takes.
_MOST_PASSES, _LAST_STEPS = 200.0, 2.0
# Products of a step by conjugate gradients that are too many for its columns to be as good as independent, and of what
# was left before, what may be left.
_MANY_PRODUCTS, _LESS = 50, 0.9


class End(Enum):
    """What steps end with.

    EXACT : rounding, which takes a Hessian
    WITHIN_TOL : a certificate that `tol` is left at most, by what costs less
    ROUGH : none, others follow
    """

    EXACT = auto()
    WITHIN_TOL = auto()
    ROUGH = auto()


def model_steps(
    problem: RoundProblem,
    region: Region,
    tol: float,
    n_terms: int = 0,
    hessian: FloatArray | None = None,
    end: End = End.EXACT,
    well_determined: bool = False,
) -> StepSolver:
    """Steps to the minimum of the quadratic model of a problem, by the cost of its Hessian and factors.

    Parameters
    ----------
    problem, region : what is minimised
    tol : nats that may be left
    n_terms : so many terms may stand for the Hessian (`CurvatureSchedule.sample_terms`); 0 where they may not
    hessian : a model of it at the start, where there is one; steps on some coordinates have no use for it
    end : what the last steps are for
    well_determined : whether rows are so many that most coefficients will not be zero
    """
    gauge = Gauge(problem, region)
    if problem.size <= MAX_EXACT_SIZE and (n_terms or step_price(problem) <= _FEW_PASSES):
        return ExactSteps(problem, region, gauge, n_terms, hessian)
    if _keeps_few(problem, region) and not well_determined:
        return _SupportByCost(problem, region, gauge, tol)
    if problem.size > MAX_EXACT_SIZE:
        return OrthantSteps(problem, region, gauge, tol)
    certifies = tol if end is End.WITHIN_TOL else -np.inf
    orthant = OrthantSteps(problem, region, gauge, certifies, int(step_price(problem)))
    return _FirstInOrthants(problem, orthant, ExactSteps(problem, region, gauge, hessian=hessian), end)


def _keeps_few(problem: RoundProblem, region: Region) -> bool:
    """Whether steps are on the coordinates that are not zero: of dense columns, which make a Hessian on few cheap."""
    return not (problem.objective.samples.is_sparse or region.is_boxed) and bool(region.l1.any())


class _SupportByCost:
    """Steps on the coordinates that are not held, where conjugate gradients in orthants do not cost less.

    They do where columns are as good as independent, for as long as they take few products and gain less and less, and
    where very many coordinates are not held; then until what is left to gain by them costs more than two steps with the
    Hessian.
    """

    hessian = None

    def __init__(self, problem: RoundProblem, region: Region, gauge: Gauge, tol: float) -> None:
        self._problem = problem
        self._support = SupportSteps(problem, region, gauge, tol)
        self._orthant = OrthantSteps(problem, region, gauge, tol if problem.size > MAX_EXACT_SIZE else -np.inf)
        undetermined = problem.objective.samples.n_rows < problem.coordinates.shape[1]
        self._near = _VERY_NEAR_NATS if undetermined else _NEAR_NATS
        # Whether columns are as good as independent: not known yet.
        self._easy: bool | None = None
        # Of steps by conjugate gradients: what was left before the last and at it, passes of it, and of all.
        self._before = self._left = np.inf
        self._last = self._spent = 0.0
        self._no_more_orthants = False

    def __call__(self, x: FloatArray, g: FloatArray) -> Proposal:
        """The step from x, where the smooth part has gradient g."""
        n, n_all = self._support.n_chosen(x, g)
        if n > MAX_EXACT_SIZE:
            self._support.forget()
            return self._orthant(x, g)
        price = partial_passes(self._problem, n)
        dear = price > _MOST_PASSES
        near = self._left <= self._near and self._passes_left() > _LAST_STEPS * price
        self._no_more_orthants = self._no_more_orthants or near or self._spent > _MANY_STEPS * price
        if self._no_more_orthants or not (dear or self._is_easy(x, g, n_all)):
            return self._support(x, g)
        objective = self._problem.objective
        before = objective.n_passes
        proposal = self._orthant(x, g)
        self._last = objective.n_passes - before
        self._spent += self._last
        self._before, self._left = self._left, proposal.gain
        self._easy = self._last <= _MANY_PRODUCTS and self._left <= _LESS * self._before
        if self._easy or dear:
            self._support.forget()
            return proposal
        return self._support(x, g)

    def _passes_left(self) -> float:
        """Passes of steps by conjugate gradients to the last digits, each like the last."""
        if self._left <= POLISHED_NATS:
            return 0.0
        if self._left >= self._before:
            return np.inf
        return self._last * float(np.log(self._left / POLISHED_NATS) / np.log(self._before / self._left))

    def _is_easy(self, x: FloatArray, g: FloatArray, n_all: int) -> bool:
        if n_all > MAX_EXACT_SIZE or partial_passes(self._problem, n_all) <= _FEW_PASSES:
            return False
        if self._easy is None:
            self._easy = self._orthant.solves_within(x, g, *_EASY)
        return self._easy


class _FirstInOrthants:
    """Steps by conjugate gradients in orthants, until those with the exact Hessian are worth its price.

    Where there is a Hessian to begin with, those with it come first, unless they are hard.
    """

    def __init__(self, problem: RoundProblem, orthant: OrthantSteps, exact: ExactSteps, end: End) -> None:
        self._objective = problem.objective
        self._orthant, self._exact = orthant, exact
        self._end = end
        self._price = step_price(problem)
        self._until = problem.objective.n_passes + _MANY_STEPS * self._price
        self._left = _MAX_ORTHANT_STEPS
        # With more columns than rows most quadratics on some coordinates have no minimum of their own: a search for
        # signs is long.
        undetermined = problem.objective.samples.n_rows < problem.coordinates.shape[1]
        self._near = _VERY_NEAR_NATS if undetermined else _NEAR_NATS
        if end is End.ROUGH:
            self._near = 0.0
        self._before = np.inf
        self._exact_first = exact.hessian is not None and not undetermined

    @property
    def hessian(self) -> FloatArray | None:
        """The Hessian of the last step, where it had one."""
        return self._exact.hessian

    def __call__(self, x: FloatArray, g: FloatArray) -> Proposal:
        """The step from x, where the smooth part has gradient g."""
        if self._exact_first:
            proposal = self._exact(x, g)
            self._exact_first = not self._exact.is_hard
            return proposal
        if self._left and self._objective.n_passes < self._until:
            spent = self._objective.n_passes
            proposal = self._orthant(x, g)
            spent = self._objective.n_passes - spent
            if proposal.gain > self._near or proposal.gain <= NO_SLOPE or self._will_do(proposal.gain, spent):
                self._left -= 1
                return proposal
        proposal = self._exact(x, g)
        if self._exact.is_hard and self._near > _VERY_NEAR_NATS:
            # Back to the orthants, which do not mind.
            self._near = _VERY_NEAR_NATS
        else:
            self._left = 0
        return proposal

    def _will_do(self, gain: float, spent: float) -> bool:
        """Whether the steps that are left, each like the last, cost less than the exact Hessian."""
        if self._end is not End.WITHIN_TOL:
            return False
        tol, (before, self._before) = self._orthant.tol, (self._before, gain)
        if gain <= tol:
            return True
        return spent * np.log(gain / tol) < self._price * np.log(before / gain)


def describe_steps(problem: RoundProblem, region: Region, n_terms: int) -> str:
    """What `model_steps` chooses, in words."""
    if n_terms:
        return f"proximal Newton steps with {n_terms} terms of the Hessian, then with all of it"
    if problem.size <= MAX_EXACT_SIZE and step_price(problem) <= _FEW_PASSES:
        return "proximal Newton steps with the exact Hessian"
    if _keeps_few(problem, region):
        return "proximal Newton steps with the Hessian on the coordinates that are not zero, or by conjugate gradients"
    last = ", then with the exact Hessian" if problem.size <= MAX_EXACT_SIZE else ""
    return f"proximal Newton steps by conjugate gradients in one orthant after the other{last}"


def step_price(problem: RoundProblem) -> float:
    """Passes of a step with the exact Hessian."""
    return exact_passes(problem) + (_FACTORS - 1) * factor_passes(problem)
