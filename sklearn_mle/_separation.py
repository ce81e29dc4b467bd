"""Does the maximum-likelihood estimate of the linear softmax model exist?

A direction V, shape (K, q) with q = p + 1 (q = p without an intercept), moves the logits of row i by
z_i = V x_i. With S_i the classes that y_i gives weight to, V is a direction of recession of the negative
log-likelihood (it never rises along V, from any point) if and only if, for every row of positive weight,

    z_ik  = z_ic    for k, c in S_i        (equalities: soft labels only)
    z_ik <= z_ic    for c in S_i, k not in S_i.

m_ik = z_ic - z_ik are the margins of V. V is null where all logits of a row move alike in all rows (the gauge of
the softmax, collinear columns): the likelihood does not change along it. The estimate exists if and only
if all directions of recession are null. Otherwise the classes are separated: completely if some V has all
margins m_ik > 0, k not in S_i, and quasi-completely if not. The vocabulary and the theorem are Albert and
Anderson's (1984, Biometrika 71, 1-10), directions of recession Geyer's (2009, Electron. J. Statist. 3,
259-289), the linear program Konis's (2007, DPhil thesis, Oxford):

    maximise  sum m_ik    subject to    m_ik >= 0,  equalities,  -1 <= V <= 1,    V_0 = 0 (the gauge)

in columns of unit scale. Its value is 0 if and only if the estimate exists. With few parameters and many
rows, few rows matter: the program is solved on some, all rows are looked at, the most violated join. Either
outcome is proved without trust in the solver:

* A direction counts only if one pass over all rows finds no margin below zero by more than rounding.
* No direction: with multipliers mu >= 0 of the rows in the program, r = sum (1 + mu_ik) a_ik, a_ik the
  gradient of m_ik (mu of either sign on equalities). A direction of recession in the box has
  sum m_ik <= sum (1 + mu_ik) m_ik = r'V <= |r|_1, so |r|_1 at rounding leaves no room for one.

Sums of directions of recession are such directions, and their strict rows unite. So the program is solved
again, summing only the margins that are zero so far, until its value is 0: the sum of what it found lies
in the relative interior of the cone, and the rows still tied are tied along every direction of recession.
"""

import enum
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, sparse
from scipy.optimize import linprog

from ._typing import BoolArray, Design, FloatArray, IntArray, Targets

_EPS = float(np.finfo(np.float64).eps)
# Margins are sums of some tens of products of rounded factors; and every entry of X stands for what rounds
# to it, half a unit in its last place either side, for the two classes of a margin.
_ROUNDINGS = 32.0
_INPUT_ROUNDINGS = 2.0
# Rows are handed over magnified: the coefficients that HiGHS takes for zero (1e-9) are then smaller than that, and
# its default tolerance is 1e-10 of V. The tightest that it accepts makes it slow, and fail now and then: it is
# for what the default leaves open.
_MAGNIFIED = 2.0**10
_TIGHTEST = 1e-10
_LP_TOLERANCES = (1e-7, 1e-13), (_TIGHTEST, 0.0)  # primal; dual, relative to the cost
# What the default leaves of violated margins, amplified by the solution of its equations.
_LP_NOISE = 1e-8
# Margins of a candidate this far below its largest may be on their way to zero; a check of all rows follows.
_CANDIDATE_SLACK = 1e-2
# Sum of margins, in the box, below which nothing is left to separate.
_NOTHING = 1e-12
# Values of the program, relative to its coefficients, from which on a proof of zero is tried.
_SMALL = 1e-4
# Size of the second program about the first one's solution: that is off by less, and 1e-13 of it is below rounding.
_REFINEMENT = 2.0**-17
# A coefficient of unit norm this small on a space is zero there: bases are orthonormal to rounding.
_LEVEL = 1e-9
# Seconds spent on the names of features, at least.
_NAMING_SECONDS = 1.0
# Entries of a block of rows: some megabytes.
_BLOCK = 2**18
# Sparse matrices of at most this many entries, zeros included, are handled as dense ones (and centred).
_MAX_DENSE = 2**24
# Entries of the rows that join a program at a time.
_MAX_BATCH = 5_000_000
# Projections decompose dense matrices of this order, in seconds.
_MAX_PROJECTED = 2_000
# More unknowns than this are beyond a simplex method within any time limit that one would set here.
_MAX_UNKNOWNS = 5_000


class SeparationKind(enum.Enum):
    """What is known of the existence of the maximum-likelihood estimate."""

    OVERLAP = "the classes overlap: the maximum-likelihood estimate exists"
    QUASI_COMPLETE = "the classes are quasi-completely separated: the maximum-likelihood estimate does not exist"
    COMPLETE = "the classes are completely separated: the maximum-likelihood estimate does not exist"
    UNDECIDED = "whether the maximum-likelihood estimate exists was not decided"


@dataclass(frozen=True)
class SeparationFinding:
    """Result of `diagnose_separation`.

    Attributes
    ----------
    kind : SeparationKind
    direction : array of shape (K, p + fit_intercept), or None
        A direction along which the likelihood increases for ever: units of X, intercept last, classes sum to
        zero, the largest margin 1. None for OVERLAP and UNDECIDED.
    classes : tuple of int
        Classes whose probability goes to 1 along `direction` in some row of theirs. Where there are none (a
        class is ruled out in some rows, but the others still share them), the classes ruled out.
    features : tuple of int
        Columns of X that `direction` uses. None of them can be left out without losing separated rows,
        unless `reason` says otherwise. Empty if the intercepts alone separate.
    reason : str
        What was left open and why: existence (UNDECIDED), whether separation is not complete after all
        (QUASI_COMPLETE), or whether all features named are needed. Empty if nothing was.
    """

    kind: SeparationKind
    direction: FloatArray | None = None
    classes: tuple[int, ...] = ()
    features: tuple[int, ...] = ()
    reason: str = ""


class _UndecidedError(Exception):
    """The question stays open; the message says why."""


class _OutOfReachError(_UndecidedError):
    """Time or size stands against this program and all like it: there is no use in trying the next."""


class _Rows:
    """Rows of positive weight in columns of unit scale, and the margins of a direction in them.

    Scales are powers of two and centres multiples of them: dummies and small integers are then moved without
    any rounding, and what is tied in them stays tied exactly.

    Attributes
    ----------
    n, n_classes, q : rows, K, unknowns of one class
    reference : (n,) a class c in S_i, the most probable
    outside, inside : (n, K) bool, the pairs (i, k) of inequalities, and of equalities
    usable : (q,) bool, unknowns of columns that vary
    """

    def __init__(
        self, X: Design, Y: Targets, n_classes: int | None, weight: FloatArray | None, intercept: bool
    ) -> None:
        Y = np.asarray(Y)
        if sparse.issparse(X):
            X = X.toarray() if X.shape[0] * X.shape[1] <= _MAX_DENSE else X.tocsr()
        else:
            X = np.asarray(X)
        if weight is not None and not np.all(np.asarray(weight) > 0):
            kept = np.flatnonzero(np.asarray(weight) > 0)
            X, Y = X[kept], Y[kept]
        self.X, self.n, self.intercept = X, X.shape[0], intercept
        self.n_classes = n_classes or (int(Y.max()) + 1 if Y.ndim == 1 else Y.shape[1])
        self.q = X.shape[1] + intercept
        self.reference: IntArray = Y if Y.ndim == 1 else Y.argmax(axis=1)
        own = np.zeros((self.n, self.n_classes), dtype=bool)
        own[np.arange(self.n), self.reference] = True
        self.outside = ~own if Y.ndim == 1 else Y == 0
        self.inside = ~(self.outside | own)
        self.eps = float(np.finfo(X.dtype).eps) if X.dtype.kind == "f" else _EPS
        self._scale_columns()

    def _scale_columns(self) -> None:
        X, p = self.X, self.X.shape[1]
        mean, square, top = np.zeros(p), np.zeros(p), np.zeros(p)
        centred = self.intercept and not sparse.issparse(X)
        if centred:
            for rows in self._slices():
                mean += X[rows].sum(axis=0, dtype=np.float64) / max(self.n, 1)
        for rows in self._slices():
            block = X[rows].astype(np.float64)
            top = np.maximum(
                top, [abs(block).max(axis=0)] if not sparse.issparse(X) else abs(block).max(axis=0).toarray()
            ).ravel()
            block = block.multiply(block) if sparse.issparse(X) else (block - mean) ** 2
            square += np.asarray(block.sum(axis=0)).ravel() / max(self.n, 1)
        scale = np.sqrt(square)
        # A column that varies by its rounding only is constant: no direction may use it.
        usable = scale > _ROUNDINGS * self.eps * top if centred else scale > 0
        self.scale = np.exp2(np.round(np.log2(np.where(usable, scale, 1.0))))
        self.center = np.where(usable, np.round(mean / self.scale) * self.scale, mean)
        self.usable = np.append(usable, np.ones(int(self.intercept), dtype=bool))

    def _slices(self) -> list[slice]:
        step = max(1, _BLOCK // max(1, self.X.shape[1]))
        return [slice(start, min(start + step, self.n)) for start in range(0, self.n, step)]

    def design(self, rows: slice | IntArray) -> Design:
        """Rows of the scaled design, the intercept's column of ones last."""
        block = self.X[rows].astype(np.float64)
        if sparse.issparse(block):
            block = block.multiply(1.0 / self.scale).tocsr()
            return sparse.hstack([block, np.ones((block.shape[0], 1))], format="csr") if self.intercept else block
        block = (block - self.center) / self.scale
        return np.hstack([block, np.ones((len(block), 1))]) if self.intercept else block

    def margins(self, V: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Margins m_ik of V (zero for k = c), and what rounding alone can make of a margin of zero."""
        z, size = np.empty((self.n, self.n_classes)), np.empty((self.n, self.n_classes))
        # Each coefficient of V is known to a rounding of the largest; an entry of X, to its own.
        error = _INPUT_ROUNDINGS * self.eps * np.abs(V) + _ROUNDINGS * _EPS * np.abs(V).max(axis=1, keepdims=True)
        for rows in self._slices():
            block = self.design(rows)
            z[rows], size[rows] = block @ V.T, abs(block) @ error.T
        size += _INPUT_ROUNDINGS * self.eps * (np.abs(V[:, : len(self.center)]) @ np.abs(self.center / self.scale))
        own = np.arange(self.n), self.reference
        return z[own][:, np.newaxis] - z, size[own][:, np.newaxis] + size

    def separated(self, V: FloatArray) -> BoolArray:
        """Pairs (n, K) of inequalities that V makes strict."""
        margins, rounding = self.margins(V)
        return self.outside & (margins > rounding)

    def gradients(self, pairs: IntArray) -> sparse.csr_array:
        """The a_ik of flat pairs i K + k, one a row, as functions of V_1 ... V_{K-1}, flat."""
        row, other = np.divmod(pairs, self.n_classes)
        design = sparse.coo_array(self.design(row))
        at, column = design.coords
        parts = []
        for sign, label in ((1.0, self.reference[row]), (-1.0, other)):
            free = label[at] > 0
            parts.append((sign * design.data[free], at[free], (label[at[free]] - 1) * self.q + column[free]))
        data, i, j = (np.concatenate(part) for part in zip(*parts, strict=True))
        return sparse.csr_array((data, (i, j)), shape=(len(pairs), (self.n_classes - 1) * self.q))

    def total_gradient(self, pairs: BoolArray) -> tuple[FloatArray, float]:
        """The sum of a_ik over pairs (n, K), flat, and the rounding of it, in 1-norm."""
        pull = -pairs.astype(np.float64)
        pull[np.arange(self.n), self.reference] += pairs.sum(axis=1)
        weight = np.abs(pull[:, 1:]).sum(axis=1)
        total, size = np.zeros((self.n_classes, self.q)), 0.0
        for rows in self._slices():
            design = self.design(rows)
            total += (design.T @ pull[rows]).T
            size += float((abs(design).T @ weight[rows]).sum())
        return total[1:].ravel(), _EPS * size

    def coefficient(self, k: int, j: int) -> FloatArray:
        """Coefficient j of class k, in units of X, as a function of V flat; the sign and zeros are what counts."""
        function = np.zeros((self.n_classes, self.q))
        function[k, j] = 1.0
        if self.intercept and j == self.q - 1:
            function[k, :-1] = -self.center / self.scale * self.usable[:-1]
        return function[1:].ravel()

    def unflatten(self, v: FloatArray) -> FloatArray:
        """V from its classes 1 ... K - 1, flat."""
        return np.vstack([np.zeros(self.q), v.reshape(-1, self.q)])

    def from_original(self, direction: FloatArray) -> FloatArray:
        """V of a direction in units of X; one row is the single logit of two classes."""
        V = np.array(direction, dtype=np.float64)
        if len(V) == 1 and self.n_classes == 2:
            V = np.vstack([np.zeros_like(V), V])
        if self.intercept:
            V[:, -1] += V[:, :-1] @ self.center
        V[:, : len(self.scale)] *= self.scale
        return np.where(self.usable, V - V[0], 0.0)

    def to_original(self, V: FloatArray) -> FloatArray:
        """Inverse of `from_original`, classes summing to zero."""
        V = V - V.mean(axis=0)
        V[:, : len(self.scale)] /= self.scale
        if self.intercept:
            V[:, -1] -= V[:, :-1] @ self.center
        return V


def _unneeded(error: _UndecidedError) -> str:
    return f"features that are not needed may be among those named: {error}"


def _lowest(values: FloatArray, count: int) -> IntArray:
    """Indices of the `count` lowest values, in any order."""
    return np.arange(len(values)) if count >= len(values) else np.argpartition(values, count)[:count]


def _below_the_gap(sizes: FloatArray, slack: float) -> float:
    """Where, at most `slack` of the largest, sizes leave the widest gap, as a ratio."""
    largest = sizes.max(initial=0.0)
    sizes = np.sort(sizes[sizes > _EPS * largest])
    below = np.searchsorted(sizes, slack * largest)
    if not below or below == len(sizes):
        return slack * largest
    ratios = sizes[1 : below + 1] / sizes[:below]
    widest = int(np.argmax(ratios))
    return float(np.sqrt(sizes[widest] * sizes[widest + 1]))


class _Cone:
    """The cone of directions of recession, by linear programs on few rows at a time.

    Parameters
    ----------
    rows : _Rows
    margins : margins of a first guess, or None; the pairs that it finds hardest are in the first program
    deadline : seconds of `time.monotonic` after which `_UndecidedError` is raised
    """

    def __init__(self, rows: _Rows, margins: FloatArray | None, deadline: float) -> None:
        self.rows, self.deadline = rows, deadline
        self.unknowns = (rows.n_classes - 1) * rows.q
        self.usable = np.tile(rows.usable, rows.n_classes - 1)
        # Twice as many as a vertex can be tight in, as far as memory lasts.
        self.batch = max(1, min(2 * self.unknowns, _MAX_BATCH // rows.q))
        pool: IntArray = np.flatnonzero(rows.outside)
        even = np.linspace(0, max(len(pool) - 1, 0), min(len(pool), 2 * self.batch)).astype(np.intp)
        self.pairs: IntArray = pool[np.unique(even)]
        if margins is not None:
            self.pairs = np.union1d(self.pairs, pool[_lowest(margins.ravel()[pool], self.batch)])
        self.ties: IntArray = np.empty(0, dtype=np.intp)
        self.tolerance = _LP_TOLERANCES[0]

    def find(self, open_: BoolArray, features: BoolArray | None = None) -> FloatArray | None:
        """A direction of recession with a positive margin in some pair of `open_`; None if there is none.

        `features`, (p,) bool, restricts it to some columns of X, and the intercepts.
        """
        rows = self.rows
        allowed = self.usable.copy()
        if features is not None:
            allowed &= np.tile(np.append(features, np.ones(int(rows.intercept), dtype=bool)), rows.n_classes - 1)
        basis = sparse.eye_array(self.unknowns, format="csc")[:, np.flatnonzero(allowed)]
        return self.maximise(*rows.total_gradient(open_), basis, open_)

    def maximise(
        self, objective: FloatArray, noise: float, basis: Design, open_: BoolArray | None = None
    ) -> FloatArray | None:
        """The direction of recession in the box, V = basis u, of largest objective; None if zero is its maximum.

        `noise` is what of the objective is rounding. With `open_`, the objective is the sum of margins there, and
        V counts only if one is not zero.
        """
        rows = self.rows
        if not basis.shape[1]:
            return None
        self._check_size()
        goal = basis.T @ objective
        for self.tolerance in _LP_TOLERANCES:
            news = self.pairs
            while len(news):
                A, E = (sparse.csr_array(rows.gradients(pairs) @ basis) for pairs in (self.pairs, self.ties))
                result = self._linprog(-goal, -A, np.zeros(A.shape[0]), E, np.zeros(E.shape[0]), (-1.0, 1.0))
                assert result is not None  # zero is feasible
                bound = np.inf
                if -result.fun <= _SMALL * (1.0 + np.abs(goal).max()):
                    enough = _NOTHING + noise
                    bound = _dual_bound(goal, A, E, -result.ineqlin.marginals, result.eqlin.marginals, enough)
                    if bound <= enough:
                        return None
                V = rows.unflatten(basis @ result.x)
                wrong, news = self._violations(V)
                if wrong.any() and wrong.max() <= _LP_NOISE:
                    # Ties by the thousand would join, each for its share of the noise.
                    cleaned = self.clean(V, _LP_NOISE)
                    if cleaned is not None and (open_ is None or np.any(open_ & rows.separated(cleaned))):
                        return cleaned
                    V = rows.unflatten(basis @ self._refine(goal, A, E, result.x))
                    wrong, news = self._violations(V)
                self._join(wrong, news)
            if not wrong.any():
                margins, rounding = rows.margins(V)
                if open_ is None or np.any(open_ & (margins > rounding)):
                    return V
                if bound <= rounding[open_].sum():
                    return None
        raise _UndecidedError("neither separation nor overlap exceeds rounding: the rows are on the border")

    def _check_size(self) -> None:
        if self.unknowns > _MAX_UNKNOWNS:
            raise _OutOfReachError(f"{self.unknowns} unknowns are too many for the linear program")

    def _violations(self, V: FloatArray) -> tuple[FloatArray, IntArray]:
        """By how much V is not of recession, beyond rounding, in all pairs, flat; and pairs new to the program."""
        margins, rounding = self.rows.margins(V)
        wrong = np.where(self.rows.inside, np.abs(margins), np.where(self.rows.outside, -margins, 0.0))
        wrong = np.where(wrong > rounding, wrong, 0.0).ravel()
        new = wrong > 0
        new[self.pairs] = new[self.ties] = False
        return wrong, np.flatnonzero(new)

    def _join(self, wrong: FloatArray, news: IntArray) -> None:
        """Let the most violated of the new pairs into the program."""
        outside = self.rows.outside.ravel()[news]
        pairs, ties = news[outside], news[~outside]
        self.pairs = np.union1d(self.pairs, pairs[_lowest(-wrong[pairs], self.batch)])
        self.ties = np.union1d(self.ties, ties[_lowest(-wrong[ties], self.batch)])

    def _refine(self, goal: FloatArray, A: sparse.csr_array, E: sparse.csr_array, u: FloatArray) -> FloatArray:
        """Solve the same program about u, magnified: what the solver tolerates of violations becomes rounding.

        u + h w has margins A u + h A w, which are >= 0 where A w >= -A u / h.
        """
        h = _REFINEMENT
        room = np.minimum(A @ u / h, 4.0 * abs(A).sum(axis=1))  # more than |w| <= 2 can take up is no constraint
        result = self._linprog(-goal, -A, room, E, -(E @ u) / h, (-2.0, 2.0))
        return u if result is None else u + h * result.x

    def _linprog(
        self,
        cost: FloatArray,
        A: sparse.csr_array,
        b: FloatArray,
        E: sparse.csr_array,
        e: FloatArray,
        bounds: tuple[float, float | None],
    ) -> Any:
        """Least cost'x where A x <= b, E x = e; None if there is no such x. Multipliers are those of A and E."""
        constraints = {
            "A_ub": _MAGNIFIED * sparse.csr_array(A),
            "b_ub": _MAGNIFIED * b,
            "A_eq": _MAGNIFIED * sparse.csr_array(E),
            "b_eq": _MAGNIFIED * e,
        }
        primal, dual = self.tolerance
        dual = np.clip(dual * np.abs(cost).max(), _TIGHTEST, _LP_TOLERANCES[0][0])
        tolerances = {"primal_feasibility_tolerance": primal, "dual_feasibility_tolerance": dual}
        # Presolve saves time, and now and then loses the solution.
        for presolve in (True, False):
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise _OutOfReachError("the time limit was reached")
            options = {"time_limit": left, "presolve": presolve, **tolerances}
            result = linprog(cost, **constraints, bounds=bounds, method="highs", options=options)
            if result.status == 0:
                for part in (result.ineqlin, result.eqlin):
                    part.marginals = _MAGNIFIED * part.marginals
                return result
            if result.status == 2 and not presolve:
                return None
        if result.status == 1:
            raise _OutOfReachError("the time limit was reached")
        raise _UndecidedError(f"linear program: {result.message}")

    def level(self, V: FloatArray, tied: BoolArray) -> tuple[FloatArray, FloatArray]:
        """V with its margins in the pairs `tied` set to zero, and a basis of the directions V was projected on.

        The rows that matter are few, and found as in `maximise`: those of the largest margins join. For V of no
        special position the basis spans all directions that are level in `tied`.
        """
        rows, used = self.rows, np.flatnonzero(self.usable)
        chosen, null = np.empty(0, dtype=np.intp), np.eye(len(used))
        triangle = np.empty((0, len(used)))
        # A spread over the pairs of classes spans most of what is to be level, at once.
        first = self._spread(tied)
        while True:
            if time.monotonic() > self.deadline:
                raise _OutOfReachError("the time limit was reached")
            margins, rounding = rows.margins(V)
            wrong = np.where(tied & (np.abs(margins) > rounding), -np.abs(margins), 0.0).ravel()
            worst = _lowest(wrong, self.unknowns)
            worst = np.union1d(first, np.setdiff1d(worst[wrong[worst] < 0], chosen)).astype(np.intp)
            first = first[:0]
            if not len(worst):
                basis = np.zeros((self.unknowns, null.shape[1]))
                basis[used] = null
                return V, basis
            chosen = np.union1d(chosen, worst)
            A = rows.gradients(worst).toarray()[:, used]
            A /= np.maximum(np.linalg.norm(A, axis=1, keepdims=True), np.finfo(np.float64).tiny)
            # All rows so far, rotated into no more than there are unknowns: the null space is the same.
            triangle = linalg.qr(np.vstack([triangle, A]), mode="r")[0][: len(used)]
            null = linalg.null_space(triangle, rcond=_ROUNDINGS * _EPS * max(len(chosen), len(used)))
            v = np.zeros(self.unknowns)
            v[used] = null @ (null.T @ V[1:].ravel()[used])
            # What projecting leaves of a zero is rounding of V, but not of the margins that are all it has.
            v[np.abs(v) <= _LEVEL * np.abs(v).max(initial=0.0)] = 0.0
            V = rows.unflatten(v)

    def _spread(self, tied: BoolArray) -> IntArray:
        """Some of the `tied` pairs, evenly from each pair of classes: twice as many as it has unknowns."""
        rows, chosen = self.rows, []
        for c in range(rows.n_classes):
            own = np.flatnonzero(rows.reference == c)
            for k in range(rows.n_classes):
                at = own[tied[own, k]]
                step = max(1, len(at) // (2 * rows.q))
                chosen.append(at[::step] * rows.n_classes + k)
        return np.concatenate(chosen).astype(np.intp)

    def clean(self, V: FloatArray, slack: float) -> FloatArray | None:
        """V with its small margins set to zero; None if that is no direction of recession.

        Small is what lies below the widest gap between margins, at most `slack` of the largest. A limit is
        approached, not met: this is the direction that V is on its way to.
        """
        if self.unknowns > _MAX_PROJECTED:
            return None
        margins, _ = self.rows.margins(V)
        near = np.abs(margins) <= _below_the_gap(np.abs(margins[self.rows.outside]), slack)
        try:
            V, _ = self.level(V, (self.rows.outside & near) | self.rows.inside)
        except _UndecidedError:
            return None
        return None if self._violations(V)[0].any() else V

    def simplest(self, open_: BoolArray, V: FloatArray, named: BoolArray) -> tuple[FloatArray, BoolArray, str]:
        """V, or the like by few features: those named already if they do, or else no more than are needed.

        Returns it, its features (p,) bool, and why features that may not be needed were kept ("" if none were).
        """
        p, doubt = len(named), ""
        used = np.abs(V - V[0]).max(axis=0)[:p] > 0

        def attempt(features: BoolArray) -> FloatArray | None:
            nonlocal doubt
            try:
                return self.find(open_, features)
            except _OutOfReachError:
                raise
            except _UndecidedError as error:
                doubt = _unneeded(error)
                return None

        try:
            found = attempt(named)
            if found is not None:
                return found, named, ""
            order = self._by_merit(open_, V)
            count = 1
            while count < len(order):
                features = np.isin(np.arange(p), order[:count]) | named
                found = attempt(features)
                if found is not None:
                    V, used, order = found, features, order[:count]
                    break
                count *= 2
            for j in order[::-1]:
                features = used & (np.arange(p) != j)
                found = attempt(features)
                if found is not None:
                    V, used = found, features
        except _UndecidedError as error:
            doubt = _unneeded(error)
        return V, used, doubt

    def _by_merit(self, open_: BoolArray, V: FloatArray) -> IntArray:
        """The features of V, first those that a direction of as large a sum of margins but least sum |V| needs."""
        self._check_size()
        rows, used = self.rows, np.flatnonzero(self.usable)
        p = rows.q - rows.intercept
        goal = rows.total_gradient(open_)[0][used]
        A, E = (rows.gradients(pairs)[:, used] for pairs in (self.pairs, self.ties))
        target = goal @ (V - V[0])[1:].ravel()[used]
        result = self._linprog(
            np.ones(2 * len(used)),
            sparse.hstack([-A, A]),
            np.zeros(A.shape[0]),
            sparse.vstack([sparse.hstack([E, -E]), np.concatenate([goal, -goal])[np.newaxis] / target]),
            np.append(np.zeros(E.shape[0]), 1.0),
            (0.0, None),
        )
        size = np.abs(V - V[0]).max(axis=0)[:p]
        if result is not None:
            v = np.zeros(self.unknowns)
            v[used] = result.x[: len(used)] - result.x[len(used) :]
            shortest = np.abs(rows.unflatten(v)).max(axis=0)[:p]
            size = np.where(
                shortest > 0, 1.0 + shortest / shortest.max(initial=_EPS), size / (1.0 + size.max(initial=0))
            )
        return np.argsort(-size, kind="stable")[: np.count_nonzero(size)]


def _dual_bound(
    goal: FloatArray, A: sparse.csr_array, E: sparse.csr_array, mu: FloatArray, nu: FloatArray, enough: float
) -> float:
    """|r|_1 of r = goal + A' mu + E' nu, less its rounding, of multipliers refined until it is `enough`."""
    active = np.flatnonzero(mu > 0)
    rows = sparse.vstack([A[active], E]).T
    weights, best = np.concatenate([mu[active], nu]), np.inf
    # The multipliers come with the solver's tolerance; least squares takes them to rounding.
    for _ in range(3):
        weights[: len(active)] = np.maximum(weights[: len(active)], 0.0)
        residual = goal + rows @ weights
        rounding = _EPS * (np.abs(goal).sum() + np.abs(weights) @ abs(rows).sum(axis=0))
        best = min(best, float(np.abs(residual).sum() - rounding))
        if best <= enough or not len(weights):
            break
        weights = weights - linalg.lstsq(rows.toarray(), residual)[0]
    return best


def diagnose_separation(
    X: Design,
    Y: FloatArray | IntArray,
    sample_weight: FloatArray | None = None,
    *,
    n_classes: int | None = None,
    fit_intercept: bool = True,
    candidate: FloatArray | None = None,
    time_limit: float = 20.0,
) -> SeparationFinding:
    """Decide whether the maximum-likelihood estimate exists, and name what stands in its way.

    Parameters
    ----------
    X : array or SciPy sparse matrix of shape (n, p)
    Y : class codes of shape (n,), or probabilities of shape (n, K)
    sample_weight : array of shape (n,), optional
        Rows of weight zero are left out; otherwise weights do not matter.
    n_classes : K, for class codes; the largest code plus one by default
    fit_intercept : whether the model has intercepts
    candidate : array of shape (K, p + fit_intercept), optional
        A direction that may separate, the estimate reached or the last Newton step, units of X and intercept
        last; (1, p + fit_intercept) for the one logit of two classes. One pass over the rows then often
        settles the matter, and otherwise the search starts from the rows it finds hardest.
    time_limit : seconds, about, for the decision; naming features may take a second or a quarter of it more

    Returns
    -------
    SeparationFinding
    """
    start = time.monotonic()
    rows = _Rows(X, Y, n_classes, sample_weight, fit_intercept)
    cone, strict, V, undecided = _relative_interior(rows, candidate, start + time_limit)
    if V is None:
        return SeparationFinding(SeparationKind.UNDECIDED if undecided else SeparationKind.OVERLAP, reason=undecided)
    kind = SeparationKind.COMPLETE if np.array_equal(strict, rows.outside) else SeparationKind.QUASI_COMPLETE
    # Names are worth as long as the decision took, in reason.
    elapsed = time.monotonic() - start
    cone.deadline = time.monotonic() + max(_NAMING_SECONDS, min(elapsed, time_limit / 4))
    V, features, reason = _named(cone, strict, V)
    separated = rows.separated(V)
    certain = separated.sum(axis=1) == rows.n_classes - 1
    classes = rows.reference[certain] if certain.any() else np.flatnonzero(separated.any(axis=0))
    return SeparationFinding(
        kind,
        rows.to_original(V / rows.margins(V)[0].max()),
        tuple(int(k) for k in np.unique(classes)),
        tuple(int(j) for j in np.flatnonzero(features)),
        f"separation may be complete: {undecided}" if undecided else reason,
    )


def _relative_interior(
    rows: _Rows, candidate: FloatArray | None, deadline: float
) -> tuple[_Cone, BoolArray, FloatArray | None, str]:
    """The cone, pairs (n, K) that it separates, one direction that separates them all, and why not to rely on it.

    The direction is None if there is none; the reason is "" if the answer is final. What was found before the
    search had to stop is returned with the reason.
    """
    open_, total, V = rows.outside.copy(), None, None
    guess = None if candidate is None else rows.from_original(candidate)
    cone = _Cone(rows, None if guess is None else rows.margins(guess)[0], deadline)
    if guess is not None:
        V = cone.clean(guess, _CANDIDATE_SLACK) if cone._violations(guess)[0].any() else guess
    while open_.any():
        try:
            V = cone.find(open_) if V is None else V
        except _UndecidedError as error:
            return cone, rows.outside & ~open_, total, str(error)
        if V is None:
            break
        strict = open_ & rows.separated(V)
        if strict.any():
            total = V / rows.margins(V)[0].max() + (0.0 if total is None else total)
            open_ &= ~strict
        V = None
    return cone, rows.outside & ~open_, total, ""


def _named(cone: _Cone, strict: BoolArray, V: FloatArray) -> tuple[FloatArray, BoolArray, str]:
    """A direction that separates the same pairs by few features, those features, and `simplest`'s reason."""
    rows, open_, total, reasons = cone.rows, strict.copy(), np.zeros_like(V), []
    named = np.zeros(rows.q - rows.intercept, dtype=bool)
    while np.any(open_):
        part, features, reason = cone.simplest(open_, V, named)
        total = total + part / rows.margins(part)[0].max()
        named |= features
        reasons.append(reason)
        done = open_ & rows.separated(part)
        if not done.any():  # strict in one part of V, and within the rounding of another
            break
        open_ &= ~done
    return total, named, max(reasons, key=len)


def recession_signs(
    X: Design,
    Y: FloatArray | IntArray,
    sample_weight: FloatArray | None = None,
    *,
    n_classes: int | None = None,
    fit_intercept: bool = True,
    base_class: int = 0,
    candidate: FloatArray | None = None,
    time_limit: float = 20.0,
) -> FloatArray:
    """What becomes of each coefficient, relative to a base class, as the likelihood tends to its supremum.

    With L the directions that are level in all rows that no direction of recession separates (the span of the
    cone), sequences of parameters that reach the supremum converge modulo L, and may wander in L as long as they
    tend to infinity inside of the cone. A coefficient is a linear function on L, and

        zero on L                              its limit is finite, and that of the rows still tied;
        positive (negative) inside the cone    it tends to +inf (-inf);
        of both signs on the cone              the likelihood does not say: sequences of each kind reach the
                                               supremum. Coefficients of collinear columns are of this kind.

    When the classes are completely separated, L is everything: then few coefficients are of the first two kinds.

    Parameters
    ----------
    X, Y, sample_weight, n_classes, fit_intercept, candidate, time_limit
        As for `diagnose_separation`.
    base_class : int
        The class whose coefficients are zero.

    Returns
    -------
    array of shape (K - 1, p + fit_intercept), the classes without the base class, intercept last
        0 (finite), +inf, -inf, or nan (undetermined, or not decided in time).

    Raises
    ------
    ValueError
        If the time did not suffice to find the cone.
    """
    rows = _Rows(X, Y, n_classes, sample_weight, fit_intercept)
    cone, strict, V, undecided = _relative_interior(rows, candidate, time.monotonic() + time_limit)
    if undecided:
        raise ValueError(f"{SeparationKind.UNDECIDED.value}: {undecided}")
    if cone.unknowns > _MAX_PROJECTED:
        raise ValueError(f"{SeparationKind.UNDECIDED.value}: {cone.unknowns} unknowns are too many")
    V = np.zeros((rows.n_classes, rows.q)) if V is None else V
    start = np.random.default_rng(0).standard_normal(V.shape) * rows.usable
    _, basis = cone.level(start - start[0], (rows.outside & ~strict) | rows.inside)
    signs = np.full((rows.n_classes, rows.q), np.nan)
    for k in range(rows.n_classes):
        for j in np.flatnonzero(rows.usable):
            function = rows.coefficient(k, int(j)) - rows.coefficient(base_class, int(j))
            signs[k, j] = _sign(cone, basis, function, V)
    if fit_intercept and np.any(rows.center[~rows.usable[:-1]] != 0):
        signs[:, -1] = np.nan  # a constant column shares its part
    return np.delete(signs, base_class, axis=0)


def _sign(cone: _Cone, basis: FloatArray, coefficient: FloatArray, V: FloatArray) -> float:
    """0, +inf, -inf or nan for one coefficient, as a function of V flat; V is inside the cone."""
    size = np.linalg.norm(coefficient)
    if np.linalg.norm(basis.T @ coefficient) <= _LEVEL * size:
        return 0.0
    value = coefficient @ V[1:].ravel()
    # Inside the cone a function of one sign cannot vanish.
    if abs(value) <= _LEVEL * size * np.abs(V).max():
        return np.nan
    try:
        opposite = cone.maximise(-np.sign(value) * coefficient / size, _EPS, basis)
    except _UndecidedError:
        return np.nan
    if opposite is not None and np.sign(value) * (coefficient @ opposite[1:].ravel()) < -_LEVEL * size:
        return np.nan
    return float(np.copysign(np.inf, value))
