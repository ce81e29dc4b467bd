"""A proof, by the probabilities of an estimate, that nothing more is separated.

No direction V has margins m_ik(V) = a_ik'V >= 0 in all pairs of some set, and one that is not zero, if there are
multipliers mu_ik > 0 with sum mu_ik a_ik = 0 (Stiemke, 1915, Math. Ann. 76, 340-342): summed with them, the margins
make 0. A maximum of the likelihood has such multipliers in its probabilities, since its gradient is
-sum p_ik a_ik. Near to it, weighted least squares mends them,

    mu_ik <- mu_ik (1 - a_ik'u),    (sum mu_ik a_ik a_ik') u = r = sum mu_ik a_ik,

down to the rounding of r. In the box |V| <= 1 then m_ik <= |r|_1 / mu_ik: pairs of large mu are level in all directions
of recession; and so are those that are level wherever the former are. The others, whose multipliers are small
beside those, are asked in what is left of the space. A look at the rows or two does what linear programs do with
many more.
"""

import numpy as np
from scipy import linalg, sparse

from ._moments import moments_of_rows
from ._recession import NOTHING, RecessionCone, UndecidedError
from ._typing import BoolArray, FloatArray

# Multipliers below which a pair does not count as level by itself, at most.
_SURE = 0.1
_ROUNDS = 5
# Relative to the diagonal: collinear columns, and what only separated pairs see, must not stop the solution.
_RIDGE = 1e-12
# Products of a look at the rows, above which the linear programs are left to it: some tenths of a second.
_MAX_PRODUCTS = 2**31


def nothing_left(cone: RecessionCone, open_: BoolArray, estimate: FloatArray) -> bool:
    """Whether it is proved that all directions of recession are level in the pairs `open_`.

    Parameters
    ----------
    cone : RecessionCone
    open_ : (n, K) bool
    estimate : (K, q), near to a maximum of the likelihood, in columns of unit scale
    """
    rows, free = cone.rows, np.flatnonzero(cone.usable)
    if sparse.issparse(rows.X) or rows.inside.any() or rows.n * cone.unknowns**2 > _MAX_PRODUCTS:
        return False
    enough = NOTHING + rows.total_gradient(open_)[1]
    mu = _probabilities(cone, open_, estimate)
    level = np.zeros_like(open_)
    space: FloatArray = np.eye(cone.unknowns)[:, free]
    # Of no special position: where it is level, all directions are that are level where it was made so.
    some = np.random.default_rng(0).standard_normal((rows.n_classes, rows.q)) * rows.usable
    while np.any(open_ & ~level):
        mu = np.where(level, 0.0, mu)
        mu /= max(mu.max(), np.finfo(np.float64).tiny)
        mu, least = _balanced(cone, mu, space, enough)
        sure = mu >= least
        if not sure.any():
            return False
        try:
            some, space = cone.level(some - some[0], level | sure)
        except UndecidedError:
            return False
        margins, rounding = rows.margins(some)
        level = open_ & (np.abs(margins) <= rounding)
    return True


def _balanced(cone: RecessionCone, mu: FloatArray, space: FloatArray, enough: float) -> tuple[FloatArray, float]:
    """Multipliers near to mu that sum to zero in a space, but for rounding, and from which of them on a pair is level.

    That is infinite where there are none.
    """
    for _ in range(_ROUNDS):
        r, metric = _moments(cone, mu)
        r = space.T @ r
        least = float(np.abs(space @ r).sum()) / enough
        if least <= _SURE:
            return mu, max(least, np.finfo(np.float64).tiny)
        metric = space.T @ metric @ space
        scale = np.sqrt(np.maximum(metric.diagonal(), np.finfo(np.float64).tiny))
        metric = metric / scale / scale[:, np.newaxis]
        metric[np.diag_indices_from(metric)] += _RIDGE
        try:
            u = space @ (linalg.solve(metric, r / scale, assume_a="pos") / scale)
        except linalg.LinAlgError:
            break
        mu = mu * np.maximum(1.0 - cone.rows.margins(cone.rows.unflatten(u))[0], 0.0)
    return mu, np.inf


def _probabilities(cone: RecessionCone, open_: BoolArray, V: FloatArray) -> FloatArray:
    """Probabilities of the classes of `open_`, where each row is of its own class or of one of those; else 0."""
    logits = np.where(open_, -cone.rows.margins(V)[0], -np.inf)
    top = np.maximum(logits.max(axis=1, keepdims=True), 0.0)
    odds = np.exp(logits - top)
    return odds / (np.exp(-top) + odds.sum(axis=1, keepdims=True))


def _moments(cone: RecessionCone, mu: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The sums of mu_ik a_ik and of mu_ik a_ik a_ik', of V_1 ... V_{K-1}, flat."""
    rows, K, q = cone.rows, cone.rows.n_classes, cone.rows.q
    r, metric = np.zeros((K, q)), np.zeros((K, q, K, q))
    first, second = np.triu_indices(K)
    for block in rows.slices():
        design, weight = rows.design(block), mu[block].T
        own = np.arange(K)[:, np.newaxis] == rows.reference[block]
        total = weight.sum(axis=0)
        r += (own * total - weight) @ design
        weights = own[first] * weight[second] + own[second] * weight[first]
        weights[first == second] = weight + own * total
        for k, m, moments in zip(first, second, moments_of_rows(design, weights, False), strict=True):
            metric[k, :, m] += moments if k == m else -moments
            if k != m:
                metric[m, :, k] -= moments
    return r[1:].ravel(), metric[1:, :, 1:].reshape(cone.unknowns, cone.unknowns)
