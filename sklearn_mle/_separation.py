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

import numpy as np
from scipy import linalg, sparse
from scipy.optimize import linprog

from ._typing import BoolArray, Design, FloatArray, IntArray

_EPS = float(np.finfo(np.float64).eps)
# Margins are sums of some tens of products of rounded factors; and every entry of X stands for what rounds
# to it, half a unit in its last place either side, for the two classes of a margin.
_ROUNDINGS = 32.0
_INPUT_ROUNDINGS = 2.0
# The tightest that HiGHS accepts; also what it leaves of a margin that should be zero, with room for ten-fold.
_LP_TOLERANCE = 1e-10
# Margins of a candidate this far below its largest may be on their way to zero; a check of all rows follows.
_CANDIDATE_SLACK = 1e-2
# Rows are handed over magnified: what HiGHS tolerates is then 1e-13 of V, and the coefficients that it takes for
# zero (1e-9) are smaller than that.
_MAGNIFIED = 2.0**10
# Sum of margins, in the box, below which nothing is left to separate.
_NOTHING = 1e-12
# Entries of a block of rows: some megabytes.
_BLOCK = 2**18
# Sparse matrices of at most this many entries, zeros included, are handled as dense ones (and centred).
_MAX_DENSE = 2**24
# More unknowns than this are beyond a simplex method within any time limit that one would set here.
_MAX_UNKNOWNS = 20_000


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
        unless time ran out, which `reason` then says. Empty if the intercepts alone separate.
    reason : str
        What was not looked at and why; empty if nothing.
    """

    kind: SeparationKind
    direction: FloatArray | None = None
    classes: tuple[int, ...] = ()
    features: tuple[int, ...] = ()
    reason: str = ""


class _UndecidedError(Exception):
    """The question stays open; the message says why."""


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
        self, X: Design, Y: FloatArray | IntArray, n_classes: int | None, weight: FloatArray | None, intercept: bool
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
        self.reference = Y if Y.ndim == 1 else Y.argmax(axis=1)
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

    def total_gradient(self, pairs: BoolArray) -> FloatArray:
        """The sum of a_ik over pairs (n, K), flat."""
        pull = -pairs.astype(np.float64)
        pull[np.arange(self.n), self.reference] += pairs.sum(axis=1)
        total = np.zeros((self.n_classes, self.q))
        for rows in self._slices():
            total += (self.design(rows).T @ pull[rows]).T
        return total[1:].ravel()

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


class _Cone:
    """The cone of directions of recession, by linear programs on few rows at a time.

    Parameters
    ----------
    rows : _Rows
    deadline : seconds of `time.monotonic` after which `_UndecidedError` is raised
    """

    def __init__(self, rows: _Rows, deadline: float) -> None:
        self.rows, self.deadline = rows, deadline
        self.unknowns = (rows.n_classes - 1) * rows.q
        self.pairs = np.empty(0, dtype=np.intp)
        self.ties = np.empty(0, dtype=np.intp)

    def seed(self, margins: FloatArray | None) -> None:
        """Start from pairs at even distances, and from those that a first guess finds hardest."""
        pool = np.flatnonzero(self.rows.outside)
        self.pairs = pool[np.unique(np.linspace(0, len(pool) - 1, min(len(pool), 4 * self.unknowns)).astype(np.intp))]
        if margins is not None:
            self._add(pool, margins.ravel()[pool])

    def _add(self, pairs: IntArray, margins: FloatArray) -> None:
        """Let the lowest margins join, twice as many as a vertex can be tight in."""
        lowest = np.argsort(margins, kind="stable")[: 2 * self.unknowns]
        self.pairs = np.union1d(self.pairs, pairs[lowest])

    def find(
        self, open_: BoolArray, used: BoolArray | None = None, known: FloatArray | None = None
    ) -> FloatArray | None:
        """A direction of recession with a positive margin in some pair of `open_`; None if there is none.

        `used`, (q,) bool, restricts the unknowns. With `known`, such a direction, one of few features is
        sought: sum |V| least instead of at most 1 each.
        """
        rows = self.rows
        allowed = np.flatnonzero(np.tile(rows.usable if used is None else rows.usable & used, rows.n_classes - 1))
        if not len(allowed):
            return None
        objective = rows.total_gradient(open_)[allowed]
        target = None if known is None else max(objective @ (known - known[0])[1:].ravel()[allowed], _NOTHING)
        while True:
            A, E = (rows.gradients(pairs)[:, allowed] for pairs in (self.pairs, self.ties))
            v, exhausted = self._solve(objective, A, E, target)
            if exhausted:
                return None
            for attempt in range(3):
                V = np.zeros(self.unknowns)
                V[allowed] = v
                V = rows.unflatten(V)
                if attempt == 2:
                    V = self.clean(V, 10.0 * _LP_TOLERANCE)
                    if V is None:
                        raise _UndecidedError("the classes separate up to a part in 1e9, but not up to rounding")
                margins, rounding = rows.margins(V)
                wrong = np.where(rows.inside, np.abs(margins), np.where(rows.outside, -margins, 0.0)).ravel()
                violated = np.flatnonzero(wrong > rounding.ravel())
                news = np.setdiff1d(violated, np.concatenate([self.pairs, self.ties]))
                if len(news) or not len(violated):
                    break
                if attempt == 0:
                    v = self._refine(objective, A, E, v)
            if not len(news):
                return V if np.any(open_ & (margins > rounding)) else None
            outside = rows.outside.ravel()[news]
            self._add(news[outside], -wrong[news[outside]])
            tied = news[~outside]
            self.ties = np.union1d(self.ties, tied[np.argsort(-wrong[tied], kind="stable")[: self.unknowns]])

    def _refine(self, objective: FloatArray, A: sparse.csr_array, E: sparse.csr_array, v: FloatArray) -> FloatArray:
        """v with what the solver's tolerance left of violated margins removed: the same program about v, magnified.

        v + h w has margins A v + h A w >= 0 where A w >= -A v / h, and h turns 1e-10 into 1e-18.
        """
        h = 100.0 * _LP_TOLERANCE
        result = self._linprog(
            -objective, -A, np.minimum(A @ v / h, 4.0 * abs(A).sum(axis=1)), E, -(E @ v) / h, (-2.0, 2.0)
        )
        return v if result is None else v + h * result.x

    def _solve(
        self, objective: FloatArray, A: sparse.csr_array, E: sparse.csr_array, target: float | None
    ) -> tuple[FloatArray, bool]:
        """Solution of one program, and whether it proves that nothing is left to find."""
        if target is not None:
            equal = sparse.vstack([sparse.hstack([E, -E]), np.concatenate([objective, -objective])[np.newaxis]])
            result = self._linprog(
                np.ones(2 * len(objective)),
                sparse.hstack([-A, A]),
                np.zeros(A.shape[0]),
                equal,
                np.append(np.zeros(E.shape[0]), target),
                (0.0, None),
            )
            return result.x[: len(objective)] - result.x[len(objective) :], False
        result = self._linprog(-objective, -A, np.zeros(A.shape[0]), E, np.zeros(E.shape[0]), (-1.0, 1.0))
        if objective @ result.x > 1e-4 * (1.0 + np.abs(objective).max(initial=0.0)):
            return result.x, False
        return result.x, self._nothing_left(
            objective, A, E, *(-_MAGNIFIED * part.marginals for part in (result.ineqlin, result.eqlin))
        )

    def _linprog(self, cost, A_ub, b_ub, A_eq, b_eq, bounds):
        for presolve in (True, False):
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise _UndecidedError("the time limit was reached")
            result = linprog(
                cost,
                _MAGNIFIED * A_ub.tocsr(),
                _MAGNIFIED * b_ub,
                _MAGNIFIED * A_eq.tocsr(),
                _MAGNIFIED * b_eq,
                bounds,
                method="highs",
                options={
                    "time_limit": left,
                    "presolve": presolve,
                    "primal_feasibility_tolerance": _LP_TOLERANCE,
                    "dual_feasibility_tolerance": _LP_TOLERANCE,
                },
            )
            if result.status == 0:
                return result
            if result.status == 2 and not presolve:
                return None
        raise _UndecidedError(
            "the time limit was reached" if result.status == 1 else f"linear program: {result.message}"
        )

    @staticmethod
    def _nothing_left(
        objective: FloatArray, A: sparse.csr_array, E: sparse.csr_array, mu: FloatArray, nu: FloatArray
    ) -> bool:
        """Whether the multipliers, refined by least squares, prove that the program's value is zero."""
        active = np.flatnonzero(mu > 0)
        basis = sparse.vstack([A[active], E]).T
        weights = np.concatenate([mu[active], nu])
        for _ in range(3):
            residual = objective + basis @ weights
            rounding = _EPS * (np.abs(objective).sum() + np.abs(weights) @ abs(basis).sum(axis=0))
            if np.abs(residual).sum() <= _NOTHING + rounding and np.all(weights[: len(active)] >= 0):
                return True
            weights = weights - linalg.lstsq(basis.toarray(), residual)[0]
        return False

    def clean(self, V: FloatArray, slack: float) -> FloatArray | None:
        """V moved so that margins within `slack` of zero vanish; None if that makes no direction of recession.

        A limit is approached, not met: what tends to zero is set to zero by projecting V onto the null space
        of those rows. The rows that matter are few, and found as in `find`: the worst of them join.
        """
        rows = self.rows
        margins, rounding = rows.margins(V)
        slack *= np.abs(margins).max(initial=0.0)
        tied = (rows.outside & (np.abs(margins) <= slack)) | rows.inside
        chosen = np.empty(0, dtype=np.intp)
        usable = np.tile(rows.usable, rows.n_classes - 1)
        for _ in range(self.unknowns):
            wrong = np.where(tied & (np.abs(margins) > rounding), np.abs(margins), 0.0).ravel()
            worst = np.argsort(-wrong, kind="stable")[: self.unknowns]
            worst = worst[wrong[worst] > 0]
            if not len(worst):
                good = np.where(rows.outside, margins >= -rounding, True).all()
                return V if good else None
            if not len(np.setdiff1d(worst, chosen)):
                return None
            chosen = np.union1d(chosen, worst)
            A = rows.gradients(chosen).toarray() * usable
            A /= np.linalg.norm(A, axis=1, keepdims=True)
            null = linalg.null_space(A, rcond=_ROUNDINGS * _EPS * max(A.shape))
            V = rows.unflatten(null @ (null.T @ V[1:].ravel()))
            margins, rounding = rows.margins(V)
        return None

    def simplest(self, open_: BoolArray, V: FloatArray, named: BoolArray) -> FloatArray:
        """A direction of the same merit as V, of features named already or of as few as can be."""
        rows, always = self.rows, np.append(np.zeros(self.rows.q - 1, dtype=bool), True)
        if not rows.intercept:
            always = np.zeros(rows.q, dtype=bool)
        first = self.find(open_, named | always)
        if first is not None:
            return first
        V = self.find(open_, known=V)
        size = np.abs(V - V[0]).max(axis=0)
        order = [j for j in np.argsort(-size, kind="stable") if size[j] > 0 and not always[j]]
        used = np.isin(np.arange(rows.q), order) | always | named
        count = 1
        while count < len(order):
            fewer = np.isin(np.arange(rows.q), order[:count]) | always | named
            smaller = self.find(open_, fewer)
            if smaller is not None:
                V, used, order = smaller, fewer, order[:count]
                break
            count *= 2
        for j in order[::-1]:
            fewer = used & (np.arange(rows.q) != j)
            smaller = self.find(open_, fewer)
            if smaller is not None:
                V, used = smaller, fewer
        return V


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
    time_limit : seconds, about, for the decision; naming features may take as long again

    Returns
    -------
    SeparationFinding
    """
    rows = _Rows(X, Y, n_classes, sample_weight, fit_intercept)
    start = time.monotonic()
    cone = _Cone(rows, start + time_limit)
    try:
        strict, V = _relative_interior(rows, cone, candidate)
    except _UndecidedError as error:
        return SeparationFinding(SeparationKind.UNDECIDED, reason=str(error))
    if V is None:
        return SeparationFinding(SeparationKind.OVERLAP)
    kind = SeparationKind.COMPLETE if np.array_equal(strict, rows.outside) else SeparationKind.QUASI_COMPLETE
    cone.deadline = time.monotonic() + min(time_limit, max(1.0, time.monotonic() - start))
    V, reason = _named(rows, cone, strict, V)
    return _finding(rows, kind, V, reason)


def _relative_interior(rows: _Rows, cone: _Cone, candidate: FloatArray | None) -> tuple[BoolArray, FloatArray | None]:
    """Pairs that some direction of recession separates, and one that separates them all (None if none)."""
    open_, total, margins, V = rows.outside.copy(), None, None, None
    if candidate is not None:
        V = rows.from_original(candidate)
        margins, rounding = rows.margins(V)
        if not np.all(np.where(rows.outside, margins >= -rounding, np.abs(margins) <= rounding)):
            V = cone.clean(V, _CANDIDATE_SLACK)
    cone.seed(margins)
    while open_.any():
        if V is not None:
            margins, rounding = rows.margins(V)
            strict = open_ & (margins > rounding)
            if strict.any():
                total = V / margins.max() + (0.0 if total is None else total)
                open_ &= ~strict
                V = None
                continue
        if cone.unknowns > _MAX_UNKNOWNS:
            raise _UndecidedError(f"{cone.unknowns} unknowns are too many for the linear program")
        V = cone.find(open_)
        if V is None:
            break
    return rows.outside & ~open_, total


def _named(rows: _Rows, cone: _Cone, strict: BoolArray, V: FloatArray) -> tuple[FloatArray, str]:
    """A direction that separates the same pairs by few features, or V itself and why not."""
    open_, total, named = strict.copy(), np.zeros_like(V), np.zeros(rows.q, dtype=bool)
    try:
        while open_.any():
            part = cone.simplest(open_, V, named)
            margins, rounding = rows.margins(part)
            total = total + part / margins.max()
            named |= np.abs(part - part[0]).max(axis=0) > 0
            open_ &= ~(margins > rounding)
    except _UndecidedError as error:
        return V, f"the features named may be more than are needed: {error}"
    return total, ""


def _finding(rows: _Rows, kind: SeparationKind, V: FloatArray, reason: str) -> SeparationFinding:
    """Translate V into units of X and names by index."""
    margins, rounding = rows.margins(V)
    strict = rows.outside & (margins > rounding)
    certain = strict.sum(axis=1) == rows.n_classes - 1
    classes = rows.reference[certain] if certain.any() else np.flatnonzero(strict.any(axis=0))
    features = np.flatnonzero(np.abs(V - V[0]).max(axis=0)[: rows.q - rows.intercept] > 0)
    return SeparationFinding(
        kind,
        rows.to_original(V / margins.max()),
        tuple(int(k) for k in np.unique(classes)),
        tuple(int(j) for j in features),
        reason,
    )
