"""The cone of directions of recession, by linear programs on few rows at a time.

With few parameters and many rows, few rows matter: a program is solved on some, all rows are looked at, the most
violated join. What it finds is proved without trust in the solver; `_separation` says how.
"""

import time
from typing import Any

import numpy as np
from scipy import linalg, sparse
from scipy.optimize import linprog

from ._draws import SEED
from ._margins import EPS, ROUNDINGS, ScaledRows
from ._typing import BoolArray, Design, FloatArray, IntArray

# Rows are handed over magnified: the coefficients that HiGHS takes for zero (1e-9) are then smaller than that, and
# its default tolerance is 1e-10 of V. The tightest that it accepts makes it slow, and fail now and then: it is
# for what the default leaves open.
_MAGNIFIED = 2.0**10
_TIGHTEST = 1e-10
_LP_TOLERANCES = (1e-7, 1e-13), (_TIGHTEST, 0.0)  # primal; dual, relative to the cost
# What the default leaves of violated margins, amplified by the solution of its equations.
_LP_NOISE = 1e-8
# Sum of margins, in the box, below which nothing is left to separate.
_NOTHING = 1e-12
# Entries of a program below which SciPy prepares it faster as a dense one.
_SMALL_PROGRAM = 2**12
# By how much margins may be short of 1 in a shortest direction, and what a coefficient of it costs that names nothing.
_SHORT = 0.5
_FREE = 1e-2
# Values of the program, relative to its coefficients, from which on a proof of zero is tried.
_SMALL = 1e-4
# Size of the second program about the first one's solution: that is off by less, and 1e-13 of it is below rounding.
_REFINEMENT = 2.0**-17
# A coefficient of unit norm this small on a space is zero there: bases are orthonormal to rounding.
LEVEL = 1e-9
# Pairs for each unknown that are made level at once.
_SPREAD = 20
# Entries of the rows that join a program at a time.
_MAX_BATCH = 5_000_000
# Projections decompose dense matrices of this order, in seconds.
MAX_PROJECTED = 2_000
# More unknowns than this are beyond a simplex method within any time limit that one would set here.
_MAX_UNKNOWNS = 5_000


class UndecidedError(Exception):
    """The question stays open; the message says why."""


class OutOfReachError(UndecidedError):
    """Time or size stands against this program and all like it: there is no use in trying the next."""


class RecessionCone:
    """The cone of directions of recession, by linear programs on few rows at a time.

    Parameters
    ----------
    rows : ScaledRows
    margins : margins of a first guess, or None; the pairs that it finds hardest are in the first program
    deadline : seconds of `time.monotonic` after which `UndecidedError` is raised
    """

    def __init__(self, rows: ScaledRows, margins: FloatArray | None, deadline: float) -> None:
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
        return self.maximise(*self.rows.total_gradient(open_), self._allowed(features), open_)

    def maximise(
        self, objective: FloatArray, noise: float, space: FloatArray | IntArray, open_: BoolArray | None = None
    ) -> FloatArray | None:
        """The direction of recession in the box of largest objective; None if zero is its maximum.

        `space` is where it lies: V = space u, or V zero but for the unknowns that `space` lists. `noise` is what of the
        objective is rounding. With `open_`, the objective is the sum of margins there, and V counts only if one is not
        zero.
        """
        rows = self.rows
        if not space.size:
            return None
        self._check_size()
        goal = objective[space] if space.ndim == 1 else space.T @ objective
        for self.tolerance in _LP_TOLERANCES:
            news = self.pairs
            while len(news):
                A, E = (self._gradients(pairs, space) for pairs in (self.pairs, self.ties))
                result = self._linprog(-goal, -A, np.zeros(A.shape[0]), E, np.zeros(E.shape[0]), (-1.0, 1.0))
                assert result is not None  # zero is feasible
                bound = np.inf
                if -result.fun <= _SMALL * (1.0 + np.abs(goal).max()):
                    enough = _NOTHING + noise
                    bound = _dual_bound(goal, A, E, -result.ineqlin.marginals, result.eqlin.marginals, enough)
                    if bound <= enough:
                        return None
                V = self._direction(result.x, space)
                wrong, news = self.violations(V)
                if wrong.any() and wrong.max() <= _LP_NOISE:
                    # Ties by the thousand would join, each for its share of the noise.
                    cleaned = self.clean(V, _LP_NOISE, space.astype(np.intp, copy=False) if space.ndim == 1 else None)
                    if cleaned is not None and (open_ is None or np.any(open_ & rows.separated(cleaned))):
                        return cleaned
                    V = self._direction(self._refine(goal, A, E, result.x), space)
                    wrong, news = self.violations(V)
                self._join(wrong, news)
            if not wrong.any():
                margins, rounding = rows.margins(V)
                if open_ is None or np.any(open_ & (margins > rounding)):
                    return V
                if bound <= rounding[open_].sum():
                    return None
        raise UndecidedError("neither separation nor overlap exceeds rounding: the rows are on the border")

    def _gradients(self, pairs: IntArray, space: FloatArray | IntArray) -> sparse.csr_array:
        """The a_ik of pairs as functions of u, one a row."""
        if space.ndim == 1:
            own = space[: len(space) // (self.rows.n_classes - 1)].astype(np.intp, copy=False)
            return self.rows.gradients(pairs, own)
        return sparse.csr_array(self.rows.gradients(pairs) @ space)

    def _direction(self, u: FloatArray, space: FloatArray | IntArray) -> FloatArray:
        """V of u."""
        if space.ndim == 2:
            return self.rows.unflatten(space @ u)
        v = np.zeros(self.unknowns)
        v[space] = u
        return self.rows.unflatten(v)

    def _check_size(self) -> None:
        if self.unknowns > _MAX_UNKNOWNS:
            raise OutOfReachError(f"{self.unknowns} unknowns are too many for the linear program")

    def violations(self, V: FloatArray) -> tuple[FloatArray, IntArray]:
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
        A: Design,
        b: FloatArray,
        E: Design,
        e: FloatArray,
        bounds: tuple[float, float | None],
        *,
        at_once: bool = False,
    ) -> Any:
        """Least cost'x where A x <= b, E x = e; None if there is no such x. Multipliers are those of A and E.

        That there is none is asked again without presolve, unless it is to be said `at_once`.
        """
        constraints = {
            "A_ub": _matrix(_MAGNIFIED * A),
            "b_ub": _MAGNIFIED * b,
            "A_eq": _matrix(_MAGNIFIED * E),
            "b_eq": _MAGNIFIED * e,
        }
        primal, dual = self.tolerance
        dual = np.clip(dual * np.abs(cost).max(), _TIGHTEST, _LP_TOLERANCES[0][0])
        tolerances = {"primal_feasibility_tolerance": primal, "dual_feasibility_tolerance": dual}
        # Presolve saves time, and now and then loses the solution; so does the simplex method.
        for method, presolve in (("highs", True), ("highs", False), ("highs-ipm", True)):
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise OutOfReachError("the time limit was reached")
            options = {"time_limit": left, "presolve": presolve, **tolerances}
            result = linprog(cost, **constraints, bounds=bounds, method=method, options=options)
            if result.status == 0:
                for part in (result.ineqlin, result.eqlin):
                    part.marginals = _MAGNIFIED * part.marginals
                return result
            if result.status == 2 and (at_once or not presolve):
                return None
        if result.status == 1:
            raise OutOfReachError("the time limit was reached")
        raise UndecidedError(f"linear program: {result.message}")

    def level(self, V: FloatArray, tied: BoolArray, used: IntArray | None = None) -> tuple[FloatArray, FloatArray]:
        """V with its margins in the pairs `tied` set to zero, and a basis of the directions V was projected on.

        V is zero but for the unknowns `used`, and stays so; all are where none are said.
        The rows that matter are few, and found as in `maximise`: those of the largest margins join. For V of no
        special position the basis spans all directions that are level in `tied`.
        """
        rows = self.rows
        used = np.flatnonzero(self.usable) if used is None else used.astype(np.intp, copy=False)
        chosen, null = np.empty(0, dtype=np.intp), np.eye(len(used))
        triangle = np.empty((0, len(used)))
        # A spread over the pairs of classes spans most of what is to be level, at once.
        first = self._spread(tied)
        while True:
            if time.monotonic() > self.deadline:
                raise OutOfReachError("the time limit was reached")
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
            A = self._gradients(worst, used).toarray()
            A /= np.maximum(np.linalg.norm(A, axis=1, keepdims=True), np.finfo(np.float64).tiny)
            # All rows so far, rotated into no more than there are unknowns: the null space is the same.
            triangle = linalg.qr(np.vstack([triangle, A]), mode="r")[0][: len(used)]
            null = linalg.null_space(triangle, rcond=ROUNDINGS * EPS * max(len(chosen), len(used)))
            v = np.zeros(self.unknowns)
            v[used] = null @ (null.T @ V[1:].ravel()[used])
            # What projecting leaves of a zero is rounding of V, but not of the margins that are all it has.
            v[np.abs(v) <= LEVEL * np.abs(v).max(initial=0.0)] = 0.0
            V = rows.unflatten(v)

    def _spread(self, tied: BoolArray) -> IntArray:
        """Some of the `tied` pairs, evenly from each pair of classes: twice as many as it has unknowns.

        Of many classes, as many as span most of the whole.
        """
        rows, chosen = self.rows, []
        for c in range(rows.n_classes):
            own = np.flatnonzero(rows.reference == c)
            for k in range(rows.n_classes):
                at = own[tied[own, k]]
                step = max(1, len(at) // (2 * rows.q))
                chosen.append(at[::step] * rows.n_classes + k)
        spread = np.concatenate(chosen).astype(np.intp)
        most = _SPREAD * self.unknowns
        return spread if len(spread) <= most else np.random.default_rng(SEED).choice(spread, most, replace=False)

    def clean(self, V: FloatArray, slack: float, used: IntArray | None = None) -> FloatArray | None:
        """V with its small margins set to zero; None if that is no direction of recession.

        Small is what lies below the widest gap between margins, at most `slack` of the largest. A limit is
        approached, not met: this is the direction that V is on its way to.
        """
        if (self.unknowns if used is None else len(used)) > MAX_PROJECTED:
            return None
        margins, _ = self.rows.margins(V)
        near = np.abs(margins) <= _below_the_gap(np.abs(margins[self.rows.outside]), slack)
        try:
            V, _ = self.level(V, (self.rows.outside & near) | self.rows.inside, used)
        except UndecidedError:
            return None
        return None if self.violations(V)[0].any() else V

    def shortest(self, open_: BoolArray, V: FloatArray, features: BoolArray, free: BoolArray) -> FloatArray | None:
        """Least sum |V| of the directions by some features with margins of 1 and more in `open_`: few are not zero.

        That is the support vector machine of the 1-norm, its margin hard (Bradley and Mangasarian, 1998, ICML, 82-90).
        What features it uses is what counts: the tolerances of the program are not looked after. The `free` ones, which
        are used already, cost next to nothing, as intercepts do. V is a direction strict in `open_`. None if there is
        none by these features.
        """
        rows = self.rows
        self._check_size()
        allowed = self._allowed(features)
        if not len(allowed):
            return None
        # Intercepts name nothing.
        cost = np.where(np.append(free, np.ones(int(rows.intercept))), _FREE, 1.0)
        cost = np.tile(cost, rows.n_classes - 1)[allowed]
        margins = np.where(open_, rows.margins(V)[0], np.inf).ravel()
        pairs = np.union1d(self.pairs, _lowest(margins, self.batch))
        while True:
            A, E = (_matrix(self._gradients(some, allowed)) for some in (pairs, self.ties))
            result = self._linprog(
                np.tile(cost, 2),
                _beside(-A, A),
                -open_.ravel()[pairs].astype(np.float64),
                _beside(E, -E),
                np.zeros(E.shape[0]),
                (0.0, None),
                at_once=True,
            )
            if result is None:
                return None
            found = self._direction(result.x[: len(allowed)] - result.x[len(allowed) :], allowed)
            short = np.where(rows.outside, rows.margins(found)[0] - open_, np.inf).ravel()
            short[pairs] = np.inf
            lowest = _lowest(short, self.batch)
            news = lowest[short[lowest] < -_SHORT]
            if not len(news):
                return found
            pairs = np.union1d(pairs, news)

    def _allowed(self, features: BoolArray | None) -> IntArray:
        """Unknowns of some features (p,) bool, and of the intercepts: the same of each class, class after class."""
        allowed = self.usable
        if features is not None:
            own = np.append(features, np.ones(int(self.rows.intercept), dtype=bool))
            allowed = allowed & np.tile(own, self.rows.n_classes - 1)
        return np.flatnonzero(allowed)


def _matrix(A: Design) -> Design:
    """As `linprog` is fastest with: what is small, dense."""
    return A.toarray() if sparse.issparse(A) and A.shape[0] * A.shape[1] <= _SMALL_PROGRAM else A


def _beside(A: Design, B: Design) -> Design:
    return sparse.hstack([A, B], format="csr") if sparse.issparse(A) else np.hstack([A, B])


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
        rounding = EPS * (np.abs(goal).sum() + np.abs(weights) @ abs(rows).sum(axis=0))
        best = min(best, float(np.abs(residual).sum() - rounding))
        if best <= enough or not len(weights):
            break
        weights = weights - linalg.lstsq(rows.toarray(), residual)[0]
    return best


def _lowest(values: FloatArray, count: int) -> IntArray:
    """Indices of the `count` lowest values, in any order."""
    return np.arange(len(values)) if count >= len(values) else np.argpartition(values, count)[:count]


def _below_the_gap(sizes: FloatArray, slack: float) -> float:
    """Where, at most `slack` of the largest, sizes leave the widest gap, as a ratio."""
    largest = sizes.max(initial=0.0)
    sizes = np.sort(sizes[sizes > EPS * largest])
    below = np.searchsorted(sizes, slack * largest)
    if not below or below == len(sizes):
        return slack * largest
    ratios = sizes[1 : below + 1] / sizes[:below]
    widest = int(np.argmax(ratios))
    return float(np.sqrt(sizes[widest] * sizes[widest + 1]))
