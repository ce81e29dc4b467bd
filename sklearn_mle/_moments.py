"""Second moments of rows with many weightings, from all rows or from draws.

They are what the Hessian of the linear model is made of: one weighting for each pair of classes.
"""

from functools import lru_cache

import numpy as np

from ._products import MANY_COLUMNS, own_product, sum_over_rows
from ._typing import FloatArray, IntArray

# Nanoseconds a row on one core, where products are taken apart: weighting a column, and its product with another.
_WEIGHT, _PRODUCT = 0.9, 0.04
# Where those of all pairs of columns are laid out for one wide product: making one, weighing it; each weighting.
_LAY_OUT, _WEIGH, _EACH_WEIGHTING = 1.3, 0.03, 1.0
# The same two where columns are many, for products of matrices with their own transposes.
_WEIGHT_OF_MANY, _PRODUCT_OF_MANY = 1.5, 0.025
# Up to so many entries of the weighted columns of all pairs, what counts is the number of calls.
_FEW_ENTRIES = 1 << 16
# The products of all pairs of columns are taken for so many rows at a time.
_TOGETHER_BYTES = 1 << 23
_LEAST_TOGETHER = 512
_ROWS_AT_A_TIME = 1 << 16


def moments_of_rows(X: FloatArray, weights: FloatArray | None, with_one: bool) -> FloatArray:
    """Sums of w x x' over the rows x of X (B, p), for each of the weights w >= 0 (n, B), or weights of one: (n, q, q).

    A one follows the p entries of each row if asked; q counts it.
    """
    n_rows, p = X.shape
    if weights is None:
        out = np.empty((1, p + with_one, p + with_one))
        out[0, :p, :p] = own_product(X.T)
        if with_one:
            out[0, p, :p] = out[0, :p, p] = X.sum(axis=0)
            out[0, p, p] = n_rows
        return out
    out = np.empty((len(weights), p + with_one, p + with_one))
    if p >= MANY_COLUMNS:
        # With the roots of the weights the product is one of a matrix with its own transpose.
        scaled = np.empty((n_rows, p + with_one))
        for moments, root in zip(out, np.sqrt(weights), strict=True):
            np.multiply(X, root[:, None], out=scaled[:, :p])
            if with_one:
                scaled[:, p] = root
            np.matmul(scaled.T, scaled, out=moments)
        return out
    # Columns, which are weighted, and rows as they are: neither has to be laid out anew.
    weighted = np.empty((p + with_one, n_rows))
    for moments, w in zip(out, weights, strict=True):
        np.multiply(X.T, w, out=weighted[:p])
        if with_one:
            weighted[p] = w
        moments[:, :p] = sum_over_rows(weighted, X)
        if with_one:
            moments[:p, p] = moments[p, :p]
            moments[p, p] = w.sum()
    return out


def moments_of_columns(weights: FloatArray, columns: FloatArray) -> FloatArray:
    """Sums of w v v' over the columns v of (q, B), for each of the weights w >= 0 (n, B); of many upper triangles.

    `square` makes (n, q, q) of either, and of sums of them.
    """
    return (_moments_together if together(len(weights), len(columns)) else _moments_apart)(weights, columns)


def together(n_weights: int, q: int) -> bool:
    """Whether one wide product for all weightings of q columns beats a narrow one for each."""
    return _time_together(n_weights, q) < _time_apart(n_weights, q)


def moments_time(n_weights: int, q: int) -> float:
    """Nanoseconds a row of second moments of q columns with so many weightings, on one core."""
    return min(_time_together(n_weights, q), _time_apart(n_weights, q))


def _time_apart(n_weights: int, q: int) -> float:
    weight, product = (_WEIGHT, _PRODUCT) if q < MANY_COLUMNS else (_WEIGHT_OF_MANY, _PRODUCT_OF_MANY)
    return n_weights * q * (weight + product * q)


def _time_together(n_weights: int, q: int) -> float:
    return q * (q + 1) / 2 * (_LAY_OUT + _WEIGH * n_weights) + _EACH_WEIGHTING * n_weights


def square(moments: FloatArray, q: int) -> FloatArray:
    """Moments (..., q, q), also from upper triangles (..., q (q + 1) / 2)."""
    if moments.ndim == 3:
        return moments
    upper = _upper_triangle(q)
    out = np.empty((len(moments), q, q))
    out[:, upper[0], upper[1]] = moments
    out[:, upper[1], upper[0]] = moments
    return out


def _moments_apart(weights: FloatArray, columns: FloatArray) -> FloatArray:
    """(n_pairs, q, q): one weighted product a pair."""
    if len(columns) >= MANY_COLUMNS:
        scaled = np.empty_like(columns)
        out = np.empty((len(weights), len(columns), len(columns)))
        for moments, root in zip(out, np.sqrt(weights), strict=True):
            np.multiply(columns, root, out=scaled)
            np.matmul(scaled, scaled.T, out=moments)
        return out
    if len(weights) * columns.size <= _FEW_ENTRIES:
        return (columns * weights[:, None, :]) @ columns.T
    weighted = np.empty_like(columns)
    return np.stack([sum_over_rows(np.multiply(columns, w, out=weighted), columns.T) for w in weights])


def _moments_together(weights: FloatArray, columns: FloatArray) -> FloatArray:
    """(n_pairs, q (q + 1) / 2), the upper triangles: one matrix product for all pairs.

    Each v v' is laid out as the products of two entries of v, of which pairs of classes only differ in the
    weights.
    """
    q, n_rows = columns.shape
    n_products = q * (q + 1) // 2
    width = min(max(_LEAST_TOGETHER, _TOGETHER_BYTES // (8 * n_products)), n_rows)
    products = np.empty((n_products, width))
    total = np.zeros((len(weights), n_products))
    for start in range(0, n_rows, width):
        part = columns[:, start : start + width]
        here = products[:, : part.shape[1]]
        row = 0
        for j in range(q):
            np.multiply(part[j], part[j:], out=here[row : row + q - j])
            row += q - j
        total += sum_over_rows(weights[:, start : start + width], here.T)
    return total


@lru_cache(maxsize=16)
def _upper_triangle(q: int) -> tuple[IntArray, IntArray]:
    return np.triu_indices(q)


def repeated(shares: FloatArray, times: float, rng: np.random.Generator) -> IntArray:
    """Each index of `shares` (n,) about shares * times times: rounded up or down by chance, without bias."""
    found = []
    for start in range(0, len(shares), _ROWS_AT_A_TIME):
        means = shares[start : start + _ROWS_AT_A_TIME] * times
        counts = (means + rng.random(len(means))).astype(np.intp)
        some = np.flatnonzero(counts)
        found.append(np.repeat(some + start, counts[some]))
    return np.concatenate(found)


def moments_of_groups(columns: FloatArray, sizes: IntArray) -> FloatArray:
    """Sums of v v' over groups of so many of the columns v of (q, B) in turn, of one or more each: upper triangles."""
    q = len(columns)
    starts = np.cumsum(sizes) - sizes
    out = np.empty((q * (q + 1) // 2, len(sizes)))
    row = 0
    for j in range(q):
        np.add.reduceat(columns[j] * columns[j:], starts, axis=1, out=out[row : row + q - j])
        row += q - j
    return out.T
