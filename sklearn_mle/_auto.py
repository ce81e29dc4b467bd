"""solver="auto": which model of the curvature Newton's method gets, by cost.

Costs are in passes, one pass being the time of an evaluation of value and gradient (`_cost`).

    exact      weighted second moments for each pair of classes, and a factor of d^3 / 3: taken at each point while
               that is a few passes, as many as conjugate gradients would need products. Few steps, each certain:
               small problems, and long thin ones. The first step from the estimate of a sample takes the sample's;
               near the end the one of the point before serves where that costs fewer passes. Elsewhere it is taken
               once near the end, as a preconditioner, if the products that are left would cost more.
    Kronecker  one weighted second moment, and M factors of q^3 / 3: conjugate gradients use it
               for as long as the products spent under it cost less than a new one would.
    coupled    the same for wide or sparse X, where second moments are out of reach: a diagonal, and for each
               column what its classes have to do with one another.
    sampled    some dozens of terms for each parameter, of the sum that the Hessian is, drawn by their size near the
               estimate of a few rows. Where rows are many for the parameters it is a far better model than
               Kronecker's, at the cost of a pass or two. SciPy's L-BFGS-B then takes the whole problem in its
               coordinates: each pass brings a value, a gradient and a curvature pair, where Newton's would spend
               several on each step. The metric is renewed where the way has outrun it.

At the model without features the Kronecker model is exact and costs nothing: it comes with the coordinates. Where the
exact Hessian is dear, and rows are too few for an estimate from a sample of them, L-BFGS-B begins in its metric, and
stays in it for as long as no other would make good its price.
"""

import math
from functools import cached_property

import numpy as np

from ._ahead import FAR_FROM_DONE, least_told_from_elsewhere, old_hessian_does
from ._cost import MAX_EXACT_SIZE, exact_passes, kronecker_passes, pass_time, sampled_passes
from ._curvature import Curvature, DenseCurvature, DiagonalCurvature, KroneckerCurvature
from ._history import POLISHED_NATS, POLISHED_SIZE
from ._memory import CurvatureMemory
from ._pairs import number_of_pairs
from ._problem import RoundProblem
from ._typing import FloatArray

# Conjugate gradients need this many products a step at least where d is small; up to here, exact is cheaper.
_EXACT_PASSES = 10.0
# The metric of a sample brings the whole problem to its end in some ten; the exact Hessian takes three or four steps.
# Nanoseconds of calls that it spares, a step, with sample and metric.
_EXACT_PASSES_BESIDE_SAMPLE = 4.0
_CALLS_BESIDE_SAMPLE = 1.5e6
# Where a class has few rows for its parameters it is often all but separated, and samples do not show the curvature.
_EXACT_PASSES_WITH_RARE_CLASS = 12.0
_LEAST_REFRESH = 2.0
# A model that another fit has left is good near its end: it serves for so many times its own price before another.
_RECALLED_FOR = 4.0
# Passes after which a model that is good, or cheap, is put in question.
_PATIENCE = 8.0
_LEFT = "that the last fit has left"
# Exact Hessians whose price is spent by then on steps without them: outliers can keep those short for ever. In single
# precision steps with them end in rounding sooner.
_MANY_HESSIANS, _MANY_HESSIANS_OF_SINGLE = 4.0, 10.0
# Rows a parameter in a sample whose estimate is a start, and the share of all rows that it may be.
_SAMPLE_ROWS = 15
_SAMPLE_SHARE = 0.5
# Terms a parameter in the sampled Hessian, at least and at most: with t of them its eigenvalues relative to the whole
# one lie within (1 +- sqrt(1 / t))^2, a condition of about 1.5 for 100 (Marchenko & Pastur, 1967). The share of all.
_SAMPLE_TERMS = 50, 100
_TERMS_SHARE = 0.5
# Rows of great leverage take more iterations than the condition says, so many times. Nanoseconds of one beside its
# evaluation.
_MORE_ITERATIONS = 3.0
_ITERATION = 1.5e5
# What a sampled Hessian may cost, of the exact one: one does where that would be taken more than once.
_MOST_OF_EXACT = 1.5
# Rows for each column below which they are often separated.
_ROWS_OF_COLUMN = 5
# A class with fewer rows in the sample than this for each of its parameters may be separated there.
_SAMPLE_ROWS_OF_CLASS = 5
_MAX_SAMPLED_SIZE = 2000
# Newton's first steps, far from the estimate, are as good on a share of the rows.
_SAMPLED_SHARE = 1 / 32
_MOST_SAMPLED_ROWS = 8192
# For exact steps that share, the rows a parameter in it, and the most that it may be to be worth its price.
_START_SHARE = 1 / 16
_START_ROWS = 100
_MOST_OF_START = 1 / 4
# Powers of ten of nats from the model without features to the last digits; what a step may leave in a metric that costs
# nothing.
_DECADES = 10.0
_SLOWEST_OF_FREE = 0.75
# Exact Hessians of Newton's last steps.
_LAST_HESSIANS = 2.0
# Nats: from here the curvature hardly moves. Each step leaves a thousandth, and costs more than the one before.
_NEAR_THE_END = 10.0
_GAIN_OF_STEP = 1e3
_MARGIN = 1.3
# A pivot of the Hessian of a sample, of the median one, and logits that a step moves a row by: what is weaker, or moves
# them farther, is left to the Hessian of all rows.
_WEAK = 0.1
_LEAP = 10.0
# Nats that a step gained from which on its Hessian does not serve the next one where rows are few: the curvature moves
# more with each step.
_FAR_FROM_DONE_OF_FEW = 1e-2
# Of the curvature of the model without features, which is one: what lies below is rounding of the Hessian. Where rows
# are separated curvature vanishes, and the gradient with it; without this floor a step is rounding over rounding.
_LEAST_CURVATURE = 1e-15


class CurvatureSchedule:
    """Chooses the curvature model at each Newton iterate; see the module's docstring.

    Parameters
    ----------
    problem : RoundProblem
    class_metric : array (M, M)
        Curvature of the model without features, relative to its mean (`null_coordinates`).
    warm : bool
        Whether psi = 0 is another point than that model.
    sampled : bool
        Whether a sample of the Hessian's terms may stand for it at the start.
    memory : CurvatureMemory, optional
        What the fit that ended at psi = 0 has left.
    """

    def __init__(
        self,
        problem: RoundProblem,
        class_metric: FloatArray,
        warm: bool = False,
        sampled: bool = True,
        memory: CurvatureMemory | None = None,
    ) -> None:
        self.problem = problem
        self.memory = memory
        self.exact_passes = exact_passes(problem)
        cold = not (warm or problem.always_exact)
        sample_rows = _rows_of_sample(problem) if cold else 0
        sample_terms = _terms_of_sample(problem) if sampled and not problem.always_exact else 0
        if sampled_passes(problem, sample_terms) > _MOST_OF_EXACT * self.exact_passes:
            sample_terms = 0
        dense = problem.coordinates.transform.ndim == 2
        # Products with the Hessian certify without last digits as well as iterations in a metric come by them.
        small = problem.size <= POLISHED_SIZE and problem.is_double
        suited = small and (problem.has_prior or _is_determined(problem))
        null_first = dense and cold and suited and not sample_rows
        dear = _EXACT_PASSES
        if sample_rows or sample_terms:
            beside = _EXACT_PASSES_BESIDE_SAMPLE + _CALLS_BESIDE_SAMPLE / pass_time(problem)
            dear = min(dear, beside) if null_first else beside
        if sample_rows and _has_rare_class(problem):
            dear = max(dear, _EXACT_PASSES_WITH_RARE_CLASS)
        cheap = problem.size <= MAX_EXACT_SIZE and self.exact_passes <= dear
        self.exact = cheap or problem.always_exact
        if self.exact and memory is not None and not memory.is_hessian:
            self.memory = None
        self.sample_rows = 0 if self.exact else sample_rows
        self.sample_terms = 0 if self.exact else sample_terms
        self.start_rows = _rows_of_start(problem) if cheap and cold else 0
        # A diagonal is cheap, but the one of a few products before does as well.
        self.refresh_passes = kronecker_passes(problem) if dense else _PATIENCE
        self._class_metric = class_metric
        self._null_is_exact = dense and cold and not problem.coordinates.of_sample
        self.null_first = null_first and not self.exact
        self._adopted: Curvature | None = None
        self._patience = self.exact_passes
        self._hessian: DenseCurvature | None = None
        self._of_start: DenseCurvature | None = None
        self._recalled: DenseCurvature | None = None
        # Where no sample's could take its place it does more for conjugate gradients.
        self.recalls_metric = memory is not None and self.sample_terms > 0 and small
        self._far = _FAR_FROM_DONE_OF_FEW if problem.of_few_rows else np.inf
        # A start other than the model without features has a curvature of its own, for what it costs.
        own = warm and self.refresh_passes <= _PATIENCE
        self._counted = -np.inf if own else problem.objective.n_passes

    @cached_property
    def null(self) -> Curvature:
        """The curvature of the model without features, which comes with the coordinates."""
        return null_curvature(self.problem, self._class_metric)

    def adopt(self, model: Curvature) -> None:
        """Precondition with a model that was made elsewhere, until a step costs more than the exact Hessian."""
        self._adopted = model
        # A step that a good model needs costs some five passes: that is no sign that it is a bad one.
        self.refresh_passes = self._patience = max(self.exact_passes, _PATIENCE)
        self._counted = self.problem.objective.n_passes

    @property
    def slowest(self) -> float:
        """What a step in a metric that costs nothing may leave, before another metric costs less.

        That is where the decades that there are to go, at this rate, take as many passes as the metric of a sample and
        a step for each of them; or as Newton's last steps.
        """
        if self.sample_terms:
            passes = sampled_passes(self.problem, self.sample_terms)
        else:
            passes = _LAST_HESSIANS * self.exact_passes if self.problem.size <= MAX_EXACT_SIZE else np.inf
        return min(10 ** -(_DECADES / (passes + _DECADES)), _SLOWEST_OF_FREE)

    def recall(self) -> None:
        """Take the first steps with the curvature that the fit which ended at psi = 0 has left."""
        assert self.memory is not None
        if self.exact:
            self._recalled = DenseCurvature(self.memory.hessian(self.problem), elsewhere=True)
        elif self.memory.is_hessian:
            self.adopt(self.memory.model(self.problem))
        else:
            self._adopted = self.memory.model(self.problem)
            self._counted = self.problem.objective.n_passes
            self.refresh_passes *= _RECALLED_FOR

    @property
    def last(self) -> Curvature | None:
        """The model that served last; None where it costs next to nothing to make."""
        return self._hessian if self.exact else self._adopted or self.__dict__.get("null")

    def start_with(self, model: DenseCurvature | None) -> None:
        """Take the first step with the Hessian of a sample near whose estimate it starts."""
        self._of_start = model

    @property
    def name(self) -> str:
        """In words, for `verbose`."""
        if self.exact:
            return "Newton steps with the exact Hessian" + self.first
        if self.null_first:
            return "L-BFGS-B in the metric of the model without features for as long as that will do, then Newton steps"
        if self.recalls_metric:
            return f"L-BFGS-B in the metric {_LEFT} for as long as that will do, then Newton steps"
        if self.sample_terms:
            return f"L-BFGS-B in the metric of {self.sample_terms} terms of the Hessian, then Newton steps"
        kind = "column by column" if self.problem.coordinates.transform.ndim == 1 else "Kronecker"
        return f"Newton steps by conjugate gradients, preconditioned with a {kind} model of the curvature" + self.first

    @property
    def first(self) -> str:
        """In words, with what curvature steps begin where another fit has left it."""
        return "" if self.memory is None else f"; the first with the curvature {_LEFT}"

    def __call__(self, psi: FloatArray, g: FloatArray, decrement: float) -> tuple[Curvature, bool]:
        """The model at psi, and whether it is the Hessian itself."""
        spent = self.problem.objective.n_passes - self._counted
        self.exact = self.exact or self._needs_hessian(spent)
        if self.exact and self._recalled is not None:
            model, self._recalled = self._recalled, None
            if 0.5 * float(g @ model.solve(g)) > least_told_from_elsewhere(self.problem.is_double):
                self._hessian = model
                return model, True
        if self.exact and self._of_start is not None:
            model, self._of_start = self._of_start, None
            # Its error is that of the start: a step with the Hessian of all rows would end hardly nearer.
            if self._is_sound(model, g):
                self._hessian = model
                return model, True
        if self.exact:
            if self._hessian is not None and decrement < self._far:
                # A step that gains little hardly moves the curvature.
                left = 0.5 * float(g @ self._hessian.solve(g))
                if left < FAR_FROM_DONE and old_hessian_does(left, left / decrement, self.exact_passes):
                    return self._hessian, True
            self._hessian = DenseCurvature(_lifted(self._hessian_at(psi)))
            return self._hessian, True
        if decrement < _NEAR_THE_END and self._pays_for_hessian(spent, decrement):
            self.adopt(DenseCurvature(_lifted(self.problem.hessian(psi))))
        elif spent > max(self.refresh_passes, _LEAST_REFRESH):
            self._adopted = self.problem.cheap_curvature(psi)
            self._counted = self.problem.objective.n_passes
        return self._adopted or self.null, False

    def _is_sound(self, model: DenseCurvature, g: FloatArray) -> bool:
        """Whether a sample has seen curvature in all directions, and its step is no leap.

        Rows with a column to themselves, few or none of which are in a sample, would be moved to where nothing is left
        of their gradient, and with it of the sign that the maximum is at infinity.
        """
        return model.weakest >= _WEAK and self.problem.largest_move(model.solve(g)) <= _LEAP

    def _pays_for_hessian(self, spent: float, decrement: float) -> bool:
        """Whether a Hessian, taken once near the end, costs clearly less than the steps left, each like the last."""
        steps = math.log(max(decrement / POLISHED_NATS, 1.0), _GAIN_OF_STEP)
        return self.problem.size <= MAX_EXACT_SIZE and _MARGIN * self.exact_passes < steps * spent

    def _needs_hessian(self, spent: float) -> bool:
        """Whether steps without the Hessian have cost so much that it is the cheaper way, where it can be formed.

        One step of conjugate gradients that cost more than the Hessian settles the question, and so do many that cost
        more than many.
        """
        dear = self._patience < spent < np.inf
        many = _MANY_HESSIANS if self.problem.is_double else _MANY_HESSIANS_OF_SINGLE
        endless = self.problem.objective.n_passes > many * max(self.exact_passes, _PATIENCE)
        return self.problem.size <= MAX_EXACT_SIZE and (dear or endless)

    def _hessian_at(self, psi: FloatArray) -> FloatArray:
        """The Hessian; that of the model without features, where a fit starts, is known."""
        known = self._null_is_exact and self._hessian is None and not psi.any()
        return null_hessian(self.problem, self._class_metric) if known else self.problem.hessian(psi)


def _lifted(hessian: FloatArray) -> FloatArray:
    """The Hessian, a contiguous matrix, with its floor added to the diagonal in place."""
    hessian.reshape(-1)[:: len(hessian) + 1] += _LEAST_CURVATURE
    return hessian


def _rows_of_sample(problem: RoundProblem) -> int:
    """Rows of a sample near whose estimate the Hessian is sampled; 0 where that is the model without features."""
    even = min(_MOST_SAMPLED_ROWS, int(_SAMPLED_SHARE * problem.objective.samples.n_rows))
    rows = max(_SAMPLE_ROWS * problem.size, even)
    return rows if problem.size <= _MAX_SAMPLED_SIZE and _is_share(problem, rows) else 0


def _terms_of_sample(problem: RoundProblem) -> int:
    """Terms of the Hessian that stand for all of them; 0 where no share of them does."""
    n_outputs = problem.objective.layout.widths[-1]
    most = _TERMS_SHARE * problem.objective.samples.n_rows * number_of_pairs(n_outputs)
    size = problem.size
    if problem.objective.samples.is_sparse or size > _MAX_SAMPLED_SIZE or _SAMPLE_TERMS[0] * size > most:
        return 0
    terms = _terms_of_parameter(problem) * size
    return terms if terms <= most else 0


def _terms_of_parameter(problem: RoundProblem) -> int:
    """Terms for each parameter with which the sampled Hessian, and what iterates in its metric, cost the least.

    In a metric of t terms an iteration leaves 1 / t of the decrement, as the condition above says: D decades of it take
    D / log10(t) iterations. With t terms at a price a and each iteration at b, a t + D b / log10(t) is least where
    t log(t)^2 = D log(10) b / a.
    """
    least, most = _SAMPLE_TERMS
    if problem.coordinates.transform.ndim == 1 or not problem.size:
        # Steps under penalties and bounds solve its quadratic, each for more than an evaluation.
        return most
    one = sampled_passes(problem, 2 * problem.size) - sampled_passes(problem, problem.size)
    iteration = 1 + _ITERATION / pass_time(problem)
    goal = _MORE_ITERATIONS * _DECADES * math.log(10) * iteration / one
    return next((t for t in range(least, most) if t * math.log(t) ** 2 >= goal), most)


def _rows_of_start(problem: RoundProblem) -> int:
    """Rows of a sample whose estimate is a better start than the model without features; 0 where none is."""
    if problem.of_few_rows:
        return 0
    n_rows = problem.objective.samples.n_rows
    rows = max(_START_ROWS * problem.size, int(_START_SHARE * n_rows))
    return rows if rows <= _MOST_OF_START * n_rows and _is_share(problem, rows) else 0


def rows_of_class(problem: RoundProblem) -> int:
    """Rows of each class that a sample has, if there are so many."""
    return _SAMPLE_ROWS_OF_CLASS * problem.coordinates.shape[1]


def _is_determined(problem: RoundProblem) -> bool:
    """Whether there are many rows for each column: few may be separated, which leads astray who does not see it."""
    return problem.objective.samples.n_rows >= _ROWS_OF_COLUMN * problem.coordinates.shape[1]


def _has_rare_class(problem: RoundProblem) -> bool:
    """Whether a class has few rows for its parameters."""
    samples = problem.objective.samples
    rarest = samples.n_rows * float(samples.class_weights.min()) / samples.total_weight
    return rarest < 2 * rows_of_class(problem)


def _is_share(problem: RoundProblem, rows: int) -> bool:
    """Whether a sample is but a share of the rows, with what rare classes have on top."""
    samples = problem.objective.samples
    return rows + samples.n_classes * rows_of_class(problem) <= _SAMPLE_SHARE * samples.n_rows


def null_curvature(problem: RoundProblem, class_metric: FloatArray) -> Curvature:
    """The Hessian at the model without features: A / a (x) T' (a N S) T + I (x) T'T / C."""
    S, P = _null_metrics(problem)
    if S.ndim == 1:
        return DiagonalCurvature(problem.coordinates.flat(np.outer(np.diag(class_metric), S) + P))
    return KroneckerCurvature(class_metric, S, P, like=1.0)


def null_hessian(problem: RoundProblem, class_metric: FloatArray) -> FloatArray:
    """The same as a matrix (d, d), where T is one."""
    S, P = _null_metrics(problem)
    hessian = class_metric[:, None, :, None] * S[:, None]
    if problem.objective.precision:
        np.einsum("mimj->mij", hessian)[...] += P
    return hessian.reshape(problem.size, problem.size)


def _null_metrics(problem: RoundProblem) -> tuple[FloatArray, FloatArray]:
    """T' (a N S) T, with the intercept's own, and T'T / C: (q, q) or the diagonals."""
    S = problem.coordinates.feature_metric
    if problem.objective.layout.fit_intercept:
        data, S = S, np.append(S, 1.0) if S.ndim == 1 else np.eye(len(S) + 1)
        if data.ndim == 2:
            S[:-1, :-1] = data
    return S, problem.penalty_metric
