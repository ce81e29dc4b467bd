"""A proof, by the probabilities of an estimate, that nothing more is separated.

No direction V has margins m_ik(V) = a_ik'V >= 0 in all pairs of some set, and one that is not zero, if there are
multipliers mu_ik > 0 with r = sum mu_ik a_ik = 0 (Stiemke, 1915, Math. Ann. 76, 340-342): summed with them, the
margins make 0. A maximum of the likelihood has such multipliers in its probabilities, since its gradient is
-sum p_ik a_ik (weights change them, not whether there are any: without them is near enough). Near to it, weighted
least squares mends them, with M = sum mu_ik a_ik a_ik',

    mu_ik <- mu_ik (1 - a_ik'u),    M u = r,

until what is left of r is rounding. Then |r|_1 <= delta, the rounding of r on top (ones that cancel exactly would
hide what small multipliers add), and this is a proof as long as

* all pairs are level along the directions N in which M has next to no curvature (the gauge, collinear columns),
* and lambda > a delta, with lambda the least curvature of M across N, and a the largest |a_ik|:

any direction of recession is one without its part in N, too, as that moves nothing. Were it of length one, then
sum mu_ik m_ik = r'V <= delta and m_ik <= a would give V'MV = sum mu_ik m_ik^2 <= a delta < lambda <= V'MV. A
few looks at the rows do what linear programs do with many more.
"""

import numpy as np
from scipy import linalg, sparse

from ._margins import EPS
from ._moments import moments_of_rows
from ._recession import RecessionCone
from ._typing import BoolArray, FloatArray

# What a look leaves of r, at most, where there is use in another one; and what may be left, in roundings.
_MENDED = 0.1
_ROUNDINGS = 100.0
# Relative to the diagonal: collinear columns, and what only separated pairs see, must not stop the solution.
_RIDGE = 1e-12
# Curvature, over a delta and over the rounding of the largest, from which on it counts.
_CAUTION = 16.0
# Products of a look at the rows, above which the linear programs are left to it: a second or so.
_MAX_PRODUCTS = 2**34


def nothing_left(cone: RecessionCone, open_: BoolArray, estimate: FloatArray) -> bool:
    """Whether it is proved that all directions of recession are level in the pairs `open_`.

    Parameters
    ----------
    cone : RecessionCone
    open_ : (n, K) bool
    estimate : (K, q), near to a maximum of the likelihood, in columns of unit scale
    """
    rows, free = cone.rows, np.flatnonzero(cone.usable)
    if not len(free) or sparse.issparse(rows.X) or rows.inside.any() or rows.n * cone.unknowns**2 > _MAX_PRODUCTS:
        return False
    with np.errstate(all="ignore"):
        mu = _probabilities(cone, open_, estimate)
    if not np.isfinite(mu).all():
        return False
    before = np.inf
    while True:
        r, rounding, metric, largest = _moments(cone, mu)
        r, metric = r[free], metric[np.ix_(free, free)]
        size = float(np.abs(r).sum())
        if size <= rounding or size > _MENDED * before:
            break
        before = size
        scale = 1 / np.sqrt(np.maximum(metric.diagonal(), np.finfo(np.float64).tiny))
        round_metric = metric * scale * scale[:, np.newaxis]
        round_metric[np.diag_indices_from(round_metric)] += _RIDGE
        u = np.zeros(cone.unknowns)
        try:
            u[free] = scale * linalg.solve(round_metric, r * scale, assume_a="pos")
        except linalg.LinAlgError:
            return False
        mu *= np.maximum(1.0 - rows.margins(rows.unflatten(u))[0], 0.0)
    if size > _ROUNDINGS * rounding:
        return False
    curvatures, directions = linalg.eigh(metric)
    noise = len(free) * EPS * curvatures[-1]
    flat = curvatures <= _CAUTION * max(largest * (size + rounding), noise)
    # One of no special position stands for all.
    v = np.zeros(cone.unknowns)
    v[free] = directions[:, flat] @ np.random.default_rng(0).standard_normal(np.count_nonzero(flat))
    margins, rounding_of_margins = rows.margins(rows.unflatten(v))
    return not np.any(open_ & (np.abs(margins) > rounding_of_margins))


def _probabilities(cone: RecessionCone, open_: BoolArray, V: FloatArray) -> FloatArray:
    """Probabilities of the classes of `open_`, where each row is of its own class or of one of those; else 0."""
    logits = np.where(open_, -cone.rows.margins(V)[0], -np.inf)
    top = np.maximum(logits.max(axis=1, keepdims=True), 0.0)
    odds = np.exp(logits - top)
    return odds / (np.exp(-top) + odds.sum(axis=1, keepdims=True))


def _moments(cone: RecessionCone, mu: FloatArray) -> tuple[FloatArray, float, FloatArray, float]:
    """Sums of mu_ik a_ik, with its rounding in 1-norm, and of mu_ik a_ik a_ik', of V flat; and the largest |a_ik|."""
    rows, K, q = cone.rows, cone.rows.n_classes, cone.rows.q
    r, metric, size, largest = np.zeros((K, q)), np.zeros((K, q, K, q)), 0.0, 0.0
    first, second = np.triu_indices(K)
    for block in rows.slices():
        design, weight = rows.design(block), mu[block].T
        own = np.arange(K)[:, np.newaxis] == rows.reference[block]
        total = weight.sum(axis=0)
        r += (own * total - weight) @ design
        size += 2.0 * float((total @ np.abs(design)).sum())
        largest = max(largest, float(np.square(design).sum(axis=1).max(initial=0.0)))
        weights = own[first] * weight[second] + own[second] * weight[first]
        weights[first == second] = weight + own * total
        for k, m, moments in zip(first, second, moments_of_rows(design, weights, False), strict=True):
            metric[k, :, m] += moments if k == m else -moments
            if k != m:
                metric[m, :, k] -= moments
    d = cone.unknowns
    return r[1:].ravel(), EPS * size, metric[1:, :, 1:].reshape(d, d), np.sqrt(2.0 * largest)
