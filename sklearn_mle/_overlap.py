"""A proof, by the probabilities of an estimate, that nothing more is separated.

No direction V has margins m_ik(V) = a_ik'V >= 0 in all pairs of some set, and one that is not zero, if there are
multipliers mu_ik > 0 with r = sum mu_ik a_ik = 0 (Stiemke, 1915, Math. Ann. 76, 340-342): summed with them, the
margins make 0. A maximum of the likelihood has such multipliers in its probabilities, since its gradient is
-sum p_ik a_ik (weights change them, not whether there are any: without them is near enough). Near to it, weighted
least squares mends them, with M = sum mu_ik a_ik a_ik',

    mu_ik <- mu_ik (1 - a_ik'u),    M u = r,

until what is left of r is rounding. Then |r|_1 <= delta, the rounding of r on top (ones that cancel exactly would
hide what small multipliers add), and this is a proof as long as

* all pairs are level along the directions N in which M has next to no curvature (the gauge, collinear columns), or
  along others that differ from them across N,
* and lambda > a delta, with lambda the least curvature of M across N, and a the largest |a_ik|:

any direction of recession is one without its part in those, too, as that moves nothing: one across N. Were it of
length one, then sum mu_ik m_ik = r'V <= delta and m_ik <= a would give V'MV = sum mu_ik m_ik^2 <= a delta < lambda,
but V'MV >= lambda. A few looks at the rows do what linear programs do with many more.
"""

import numpy as np
from scipy import linalg, sparse

from ._margins import BLOCK, EPS
from ._moments import moments_of_rows
from ._recession import RecessionCone
from ._typing import BoolArray, FloatArray

# What a look leaves of r, at most, where there is use in another one; and what may be left, in roundings.
_MENDED = 0.1
_ROUNDINGS = 100.0
_REFINEMENTS = 4
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
    if not len(free) or sparse.issparse(rows.X) or rows.inside.any() or rows.n * cone.unknowns * rows.q > _MAX_PRODUCTS:
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
            u[free] = scale * linalg.cho_solve(linalg.cho_factor(round_metric), r * scale)
        except linalg.LinAlgError:
            return False
        mu *= np.maximum(1.0 - rows.margins(rows.unflatten(u))[0], 0.0)
    if size > _ROUNDINGS * rounding:
        return False
    curvatures, directions = linalg.eigh(metric)
    noise = len(free) * EPS * curvatures[-1]
    flat = curvatures <= _CAUTION * max(largest * (size + rounding), noise)
    # One of no special position stands for all. It is level to the rounding of M at first, and then to its own.
    v = np.zeros(cone.unknowns)
    v[free] = directions[:, flat] @ np.random.default_rng(0).standard_normal(np.count_nonzero(flat))
    for _ in range(_REFINEMENTS):
        margins, rounding_of_margins = rows.margins(rows.unflatten(v))
        if not np.any(open_ & (np.abs(margins) > rounding_of_margins)):
            return True
        steep = directions[:, ~flat]
        v[free] -= steep @ (steep.T @ rows.total_gradient(mu * margins)[0][free] / curvatures[~flat])
    return False


def _probabilities(cone: RecessionCone, open_: BoolArray, V: FloatArray) -> FloatArray:
    """Probabilities of the classes of `open_`, where each row is of its own class or of one of those; else 0."""
    logits = np.where(open_, -cone.rows.margins(V)[0], -np.inf)
    top = np.maximum(logits.max(axis=1, keepdims=True), 0.0)
    odds = np.exp(logits - top)
    return odds / (np.exp(-top) + odds.sum(axis=1, keepdims=True))


def _moments(cone: RecessionCone, mu: FloatArray) -> tuple[FloatArray, float, FloatArray, float]:
    """Sums of mu_ik a_ik, with its rounding in 1-norm, and of mu_ik a_ik a_ik', of V flat; and the largest |a_ik|."""
    rows, K, q, d = cone.rows, cone.rows.n_classes, cone.rows.q, cone.unknowns
    r, metric, size, largest = np.zeros((K, q)), np.zeros((K, q, K, q)), 0.0, 0.0
    for c in range(K):
        # Rows of class c only have pairs (c, k).
        at = np.flatnonzero(rows.reference == c)
        for some in np.array_split(at, -(-len(at) * q // BLOCK)) if len(at) else []:
            design, weight = rows.design(some), np.ascontiguousarray(mu[some].T)
            sums, moments = weight @ design, moments_of_rows(design, weight, False)
            r[c] += sums.sum(axis=0)
            r -= sums
            size += 2.0 * float((weight.sum(axis=0) @ np.abs(design)).sum())
            largest = max(largest, float(np.square(design).sum(axis=1).max()))
            metric[c, :, c] += moments.sum(axis=0)
            for k in range(K):
                metric[k, :, k] += moments[k]
                metric[c, :, k] -= moments[k]
                metric[k, :, c] -= moments[k]
    return r[1:].ravel(), EPS * size, metric[1:, :, 1:].reshape(d, d), np.sqrt(2.0 * largest)
