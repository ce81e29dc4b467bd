"""Pairs of classes: the Hessian of the linear model is a sum over them, with no term below zero.

    diag p - p p' = sum over pairs k < l of p_k p_l (e_k - e_l)(e_k - e_l)'

That keeps digits where p approaches a corner, and where the left side itself would cancel. Pairs are in the order of
`numpy.triu_indices`; where there is one output (two classes) there is one.
"""

from functools import lru_cache
from itertools import pairwise

import numpy as np

from ._layout import gauge_basis
from ._typing import FloatArray, IntArray

# Rows of which all classes' running totals stay in a core's own cache.
_DRAWN_AT_A_TIME = 1 << 13
# Outputs up to which one matrix takes pairs to logits; its size grows with the fourth power of their number.
_FEW_OUTPUTS = 16


def number_of_pairs(n_outputs: int) -> int:
    """One, where there is one output."""
    return max(1, n_outputs * (n_outputs - 1) // 2)


def pair_weights(proba: FloatArray) -> FloatArray:
    """p_k p_l for each pair, shape (n_pairs, B), of probabilities (J, B)."""
    n_outputs = proba.shape[0]
    if n_outputs == 1:
        return proba * (1 - proba)
    out = np.empty((number_of_pairs(n_outputs), proba.shape[1]), dtype=proba.dtype)
    row = 0
    for k in range(n_outputs - 1):
        width = n_outputs - 1 - k
        np.multiply(proba[k], proba[k + 1 :], out=out[row : row + width])
        row += width
    return out


def between_logits(of_pairs: FloatArray, n_outputs: int, all_logits: bool) -> FloatArray:
    """Sums over pairs of (Q_k - Q_l)(Q_k - Q_l)' times what is given for each.

    Parameters
    ----------
    of_pairs : array of shape (n_pairs, t)
    n_outputs : int
        J, the rows of Q.
    all_logits : bool
        Whether Q is the identity and not the gauge's basis.

    Returns
    -------
    array of shape (M M, t)
    """
    if n_outputs == 1:
        return of_pairs
    if n_outputs <= _FEW_OUTPUTS:
        return _pair_basis(n_outputs, all_logits) @ of_pairs
    # Q' L Q with L = sum (e_k - e_l)(e_k - e_l)', a Laplacian.
    every, t = np.arange(n_outputs), of_pairs.shape[1]
    first, second = np.triu_indices(n_outputs, 1)
    laplacian = np.zeros((n_outputs, n_outputs, t))
    laplacian[first, second] = laplacian[second, first] = -of_pairs
    laplacian[every, every] = -laplacian.sum(axis=1)
    if all_logits:
        return laplacian.reshape(-1, t)
    basis = gauge_basis(n_outputs)
    half = (basis.T @ laplacian.reshape(n_outputs, -1)).reshape(-1, n_outputs, t)
    return np.matmul(basis.T, half).reshape(-1, t)


def between_logits_work(n_outputs: int) -> int:
    """Operations of `between_logits` for t = 1, of as many logits."""
    return n_outputs**2 * (number_of_pairs(n_outputs) if n_outputs <= _FEW_OUTPUTS else 3 * n_outputs)


@lru_cache(maxsize=16)
def _pair_basis(n_outputs: int, all_logits: bool) -> FloatArray:
    """(Q_k - Q_l)(Q_k - Q_l)' for each pair, (M M, n_pairs)."""
    basis = np.eye(n_outputs) if all_logits else gauge_basis(n_outputs)
    first, second = np.triu_indices(n_outputs, 1)
    contrasts = basis[first] - basis[second]
    outer = contrasts[:, :, None] * contrasts[:, None, :]
    found = np.ascontiguousarray(outer.reshape(len(contrasts), -1).T)
    found.flags.writeable = False
    return found


def draw_pairs(proba: FloatArray, rows: IntArray, rng: np.random.Generator) -> IntArray:
    """For each of `rows`, which index the columns of `proba` (J, B), a pair by chance in proportion to p_k p_l."""
    starts = range(0, max(1, len(rows)), _DRAWN_AT_A_TIME)
    return np.concatenate([_draw_pairs(proba.take(rows[a : a + _DRAWN_AT_A_TIME], axis=1), rng) for a in starts])


def _draw_pairs(proba: FloatArray, rng: np.random.Generator) -> IntArray:
    n_outputs, n_rows = proba.shape
    # p_k p_l = p_k (1 - p_k) times p_l / (1 - p_k).
    first = _draw(proba * (1 - proba), rng)
    rest = proba.copy()
    rest[first, np.arange(n_rows)] = 0.0
    second = _draw(rest, rng)
    low, high = np.minimum(first, second), np.maximum(first, second)
    return low * n_outputs - low * (low + 1) // 2 + high - low - 1


def _draw(weights: FloatArray, rng: np.random.Generator) -> IntArray:
    """One index for each column of weights (K, B), with a chance in proportion to them; of a weight above zero.

    The weights are overwritten with their running totals.
    """
    for before, after in pairwise(weights):
        after += before
    level = weights[-1] * rng.random(weights.shape[1], dtype=weights.dtype)
    chosen = np.zeros(weights.shape[1], dtype=np.intp)
    for total in weights[:-1]:
        chosen += total <= level
    return chosen
