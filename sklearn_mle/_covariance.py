"""Covariances of the estimate, as factors in the coordinates psi.

A factor R, shape (rows, d), stands for the covariance R'R. With the information I = L L':

    observed    I^-1                         R = L^-1
    robust      I^-1 (sum w s s') I^-1       R = N I^-1, N'N the meat; s the score of a row, w its frequency
    cluster     I^-1 (sum t t') I^-1         t the sum of w s over the rows of a cluster

(Huber, 1967; White, 1982, Econometrica 50, 1-25; Liang and Zeger, 1986, Biometrika 73, 13-22; Zeileis, 2006,
J. Stat. Softw. 16(9), whose HC0 and CR0 these are.) Scores are taken block by block, d numbers a row.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import linalg

from ._block import Block
from ._jeffreys import whitened_rows
from ._maximum import Maximum
from ._samples import Samples
from ._softmax import nll_and_residual
from ._typing import FloatArray, IntArray

COV_TYPES = ("observed", "robust", "cluster")
# Rows that are gathered at a time where clusters are not contiguous.
_GATHERED_ROWS = 1 << 14
# Finished clusters are turned into a product when they fill as many columns.
_PENDING_CLUSTERS = 512


def covariance_factor(maximum: Maximum, cov_type: str, groups: Any, small_sample: bool) -> FloatArray:
    """Factor R of the covariance of psi.

    Parameters
    ----------
    maximum : Maximum
    cov_type : one of `COV_TYPES`
    groups : labels (n,) of the clusters, for "cluster"
    small_sample : whether to correct for few rows or clusters (HC1, CR1)

    Raises
    ------
    ValueError
        If the arguments do not belong together.
    """
    if cov_type not in COV_TYPES:
        raise ValueError(f"cov_type must be one of {', '.join(map(repr, COV_TYPES))}; got {cov_type!r}.")
    if (groups is not None) != (cov_type == "cluster"):
        raise ValueError("groups and cov_type='cluster' belong together: give both, or neither.")
    if cov_type == "observed":
        if small_sample:
            raise ValueError("small_sample=True corrects cov_type='robust' or 'cluster'; 'observed' has none.")
        return maximum.inverse_factor
    samples = maximum.samples
    n_obs, size = samples.total_weight, maximum.problem.size
    factor = 1.0
    if cov_type == "robust":
        meat = _row_meat(maximum)
        if small_sample:
            factor = n_obs / _positive(n_obs - size, "observations")
    else:
        codes, n_groups = _group_codes(groups, samples)
        meat = _cluster_meat(maximum, codes)
        if small_sample:
            factor = n_groups / _positive(n_groups - 1, "clusters")
            factor *= (n_obs - 1) / _positive(n_obs - size, "observations")
    values, vectors = linalg.eigh(factor * meat)
    # Fewer clusters than parameters leave a rank that is theirs; what rounding adds to it is dropped.
    kept = values > size * np.finfo(float).eps * values[-1]
    half = np.sqrt(values[kept])[:, None] * vectors.T[kept]
    return (half @ maximum.inverse_factor.T) @ maximum.inverse_factor


def _positive(value: float, what: str) -> float:
    if value <= 0:
        raise ValueError(f"small_sample=True wants more {what} than there are; leave it at False.")
    return value


def _block_scores(maximum: Maximum) -> Callable[[Block], FloatArray]:
    """Scores by psi of the rows of a block, without their weight, (d, B); the sign is that of the NLL."""
    objective, coordinates = maximum.problem.objective, maximum.problem.coordinates
    theta = coordinates.push(np.zeros(coordinates.size))

    def scores(block: Block) -> FloatArray:
        z = objective.network.forward(theta, block)
        residual = coordinates.basis.T @ nll_and_residual(z, block.y)[1]
        rows = whitened_rows(coordinates, block)
        return (residual[:, None, :] * rows).reshape(coordinates.size, -1)

    return scores


def _row_meat(maximum: Maximum) -> FloatArray:
    """Sum of w s s' over the rows."""
    block_scores = _block_scores(maximum)

    def block_terms(block: Block) -> tuple[FloatArray]:
        s = block_scores(block)
        if block.w is not None:
            s *= np.sqrt(block.w)
        return (s @ s.T,)

    return maximum.samples.sum(block_terms)[0]


def _group_codes(groups: Any, samples: Samples) -> tuple[IntArray, int]:
    """Clusters as integers, and how many have weight."""
    groups = np.asarray(groups)
    if groups.shape != (samples.n_rows,):
        raise ValueError(f"groups must have shape ({samples.n_rows},), one label a row; got {groups.shape}.")
    if groups.dtype == object:
        groups = groups.astype(str)
    if groups.dtype.kind == "f" and np.isnan(groups).any():
        raise ValueError("groups holds nan; each row needs a cluster.")
    codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
    used = codes if samples.w is None else codes[samples.w > 0]
    return codes, len(np.unique(used))


def _cluster_meat(maximum: Maximum, codes: IntArray) -> FloatArray:
    """Sum over clusters of t t', t the sum of w s: rows are visited cluster by cluster."""
    samples, size = maximum.samples, maximum.problem.size
    block_scores = _block_scores(maximum)
    order = np.argsort(codes, kind="stable")
    ordered = bool((np.diff(codes) >= 0).all())
    meat = np.zeros((size, size))
    pending: list[FloatArray] = []
    last_code = -1
    last_sum: FloatArray = np.zeros(size)

    def settle(limit: int) -> None:
        if sum(part.shape[1] for part in pending) > limit:
            sums = np.hstack(pending)
            meat.__iadd__(sums @ sums.T)
            pending.clear()

    def add(found: tuple[FloatArray, IntArray]) -> None:
        nonlocal last_code, last_sum
        sums, labels = found
        if labels[0] == last_code:
            sums[:, 0] += last_sum
        else:
            pending.append(last_sum[:, None])
        pending.append(sums[:, :-1])
        last_code, last_sum = int(labels[-1]), sums[:, -1]
        settle(_PENDING_CLUSTERS)

    step = samples.n_rows if ordered else _GATHERED_ROWS
    for start in range(0, samples.n_rows, step):
        rows = order[start : start + step]
        part, labels = (samples if ordered else samples.subset(rows)), codes[rows]

        def block_sums(block: Block, labels: IntArray = labels) -> tuple[FloatArray, IntArray]:
            s = block_scores(block)
            if block.w is not None:
                s *= block.w
            own = labels[block.start : block.stop]
            first = np.flatnonzero(np.diff(own, prepend=-1))
            return np.add.reduceat(s, first, axis=1), own[first]

        part.each(block_sums, add)
    pending.append(last_sum[:, None])
    settle(0)
    return meat
