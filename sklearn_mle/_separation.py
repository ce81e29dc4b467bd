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
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ._margins import EPS, ScaledRows
from ._naming import named
from ._overlap import nothing_left
from ._recession import LEVEL, MAX_PROJECTED, RecessionCone, UndecidedError
from ._typing import BoolArray, Design, FloatArray, IntArray

# Margins of a candidate this far below its largest may be on their way to zero; a check of all rows follows.
_CANDIDATE_SLACK = 1e-2
# Seconds spent on separation of more rows, at least, where some are separated.
_REST_SECONDS = 1.0
# Seconds spent on the names of features, at least.
_NAMING_SECONDS = 1.0


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
        Columns of X that `direction` uses: those that separate on their own, and a combination for the pairs that they
        leave, from which no column can be left out unless `reason` says otherwise. Empty if the intercepts alone
        separate.
    reason : str
        What was left open and why: existence (UNDECIDED), whether separation is not complete after all
        (QUASI_COMPLETE), or whether all features named are needed. Empty if nothing was.
    separated : bool array of shape (n, K), or None
        The pairs that it separates: along `direction` the probability of class k goes to 0 in row i.
    """

    kind: SeparationKind
    direction: FloatArray | None = None
    classes: tuple[int, ...] = ()
    features: tuple[int, ...] = ()
    reason: str = ""
    separated: BoolArray | None = None


def diagnose_separation(
    X: Design,
    Y: FloatArray | IntArray,
    sample_weight: FloatArray | None = None,
    *,
    n_classes: int | None = None,
    fit_intercept: bool = True,
    bounds: tuple[FloatArray, FloatArray] | None = None,
    candidate: FloatArray | None = None,
    estimate: FloatArray | None = None,
    rounding: float | None = None,
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
    bounds : arrays of shape (K, p), or (1, p) for the one logit of two classes, optional
        Bounds of the coefficients: only directions count that never meet one, from any point within.
    candidate : array of shape (K, p + fit_intercept), optional
        A direction that may separate, the estimate reached or the last Newton step, units of X and intercept
        last; (1, p + fit_intercept) for the one logit of two classes. One pass over the rows then often
        settles the matter, and otherwise the search starts from the rows it finds hardest.
    estimate : array of shape (K, p + fit_intercept), optional
        Parameters of all but the greatest likelihood, likewise. Their probabilities often prove that nothing more is
        separated.
    rounding : relative rounding of the entries of X; that of its dtype by default
    time_limit : seconds, about, for the decision; naming features may take a second or a quarter of it more

    Returns
    -------
    SeparationFinding
    """
    start = time.monotonic()
    rows = ScaledRows(X, Y, n_classes, sample_weight, fit_intercept, bounds, rounding)
    cone, strict, V, undecided = _relative_interior(rows, candidate, estimate, start + time_limit)
    if V is None and undecided and candidate is not None and time.monotonic() < start + time_limit / 2:
        # A program that fails with the pairs that the candidate has chosen may be solved with others.
        cone, strict, V, undecided = _relative_interior(rows, None, None, start + time_limit)
    if V is None:
        return SeparationFinding(SeparationKind.UNDECIDED if undecided else SeparationKind.OVERLAP, reason=undecided)
    kind = SeparationKind.COMPLETE if np.array_equal(strict, rows.observed) else SeparationKind.QUASI_COMPLETE
    # Names are worth as long as the decision took, in reason.
    elapsed = time.monotonic() - start
    cone.deadline = time.monotonic() + max(_NAMING_SECONDS, min(elapsed, time_limit / 4))
    V, features, reason = named(cone, strict, V)
    separated = rows.separated(V)
    certain = separated.sum(axis=1) == rows.n_classes - 1
    classes = rows.reference[certain] if certain.any() else np.flatnonzero(separated.any(axis=0))
    return SeparationFinding(
        kind,
        rows.to_original(V / rows.margins(V)[0].max()),
        tuple(int(k) for k in np.unique(classes)),
        tuple(int(j) for j in np.flatnonzero(features)),
        f"separation may be complete: {undecided}" if undecided else reason,
        rows.given(separated),
    )


def _relative_interior(
    rows: ScaledRows, candidate: FloatArray | None, estimate: FloatArray | None, deadline: float
) -> tuple[RecessionCone, BoolArray, FloatArray | None, str]:
    """The cone, pairs (n, K) that it separates, one direction that separates them all, and why not to rely on it.

    The direction is None if there is none; the reason is "" if the answer is final. What was found before the
    search had to stop is returned with the reason.
    """
    start = time.monotonic()
    open_, total = rows.observed.copy(), None
    guess = None if candidate is None else rows.from_original(candidate)
    cone = RecessionCone(rows, None if guess is None else rows.margins(guess)[0], deadline)
    known, asked = _known_directions(cone, guess), 0

    def proved() -> bool:
        nonlocal asked
        before, asked = asked, int(np.count_nonzero(open_))
        return estimate is not None and before != asked and nothing_left(cone, open_, rows.from_original(estimate))

    while open_.any():
        try:
            V = next(known, None)
            if V is None:
                if proved():
                    break
                V = next(known, None)
                V = cone.find(open_) if V is None else V
        except UndecidedError as error:
            return cone, rows.observed & ~open_, total, str(error)
        if V is None:
            break
        strict = open_ & rows.separated(V)
        if strict.any():
            total = V / rows.margins(V)[0].max() + (0.0 if total is None else total)
            open_ &= ~strict
            # That classes are separated is known; whether more of them are is worth less.
            now = time.monotonic()
            cone.deadline = min(cone.deadline, now + max(_REST_SECONDS, now - start))
    return cone, rows.observed & ~open_, total, ""


def _known_directions(cone: RecessionCone, guess: FloatArray | None) -> Iterator[FloatArray | None]:
    """Directions of recession that need no linear program: by single columns, and what a guess may be on its way to.

    A None between them is where to ask for a proof that there are no others, as often there are none beside columns.
    """
    splits = cone.rows.column_splits()
    alone = splits is not None and not cone.violations(splits.direction())[0].any()
    if splits is not None and alone:
        yield splits.direction()
    if guess is None:
        return
    if not cone.violations(guess)[0].any():
        yield guess
        return
    if alone:
        yield None
    V = cone.clean(guess, _CANDIDATE_SLACK)
    if V is not None:
        yield V


def recession_signs(
    X: Design,
    Y: FloatArray | IntArray,
    sample_weight: FloatArray | None = None,
    *,
    n_classes: int | None = None,
    fit_intercept: bool = True,
    base_class: int = 0,
    candidate: FloatArray | None = None,
    estimate: FloatArray | None = None,
    rounding: float | None = None,
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
    X, Y, sample_weight, n_classes, fit_intercept, candidate, estimate, rounding, time_limit
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
    rows = ScaledRows(X, Y, n_classes, sample_weight, fit_intercept, None, rounding)
    cone, strict, V, undecided = _relative_interior(rows, candidate, estimate, time.monotonic() + time_limit)
    if undecided:
        raise ValueError(f"{SeparationKind.UNDECIDED.value}: {undecided}")
    if cone.unknowns > MAX_PROJECTED:
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


def _sign(cone: RecessionCone, basis: FloatArray, coefficient: FloatArray, V: FloatArray) -> float:
    """0, +inf, -inf or nan for one coefficient, as a function of V flat; V is inside the cone."""
    size = np.linalg.norm(coefficient)
    if np.linalg.norm(basis.T @ coefficient) <= LEVEL * size:
        return 0.0
    value = coefficient @ V[1:].ravel()
    # Inside the cone a function of one sign cannot vanish.
    if abs(value) <= LEVEL * size * np.abs(V).max():
        return np.nan
    try:
        opposite = cone.maximise(-np.sign(value) * coefficient / size, EPS, basis)
    except UndecidedError:
        return np.nan
    if opposite is not None and np.sign(value) * (coefficient @ opposite[1:].ravel()) < -LEVEL * size:
        return np.nan
    return float(np.copysign(np.inf, value))
