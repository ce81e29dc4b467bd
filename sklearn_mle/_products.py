"""Matrix products of many rows with few, in pieces.

A block of n rows times the weights of K classes is a long thin product. BLAS packs the whole block for it, as it
would for a square one, which costs as much as the product. In pieces of about a million multiplications OpenBLAS
takes its kernels for small matrices, which do not pack (where the processor has them; the others lose nothing),
and a piece's rows are still in the cache. `numpy.matmul` runs through the pieces in one call, so that threads
do not contend for the interpreter between them.
"""

import numpy as np

from ._typing import FloatArray

# OpenBLAS's limit for its small kernels, in multiplications of one product.
_PIECE_WORK = 10**6
# From so many columns on, a product with the own transpose is better taken as such, in one.
MANY_COLUMNS = 48
# Shorter pieces spend their time between them; longer ones gain nothing.
_PIECE_ROWS = (128, 1024)


def times_rows(weights: FloatArray, X: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """Weights (J, p) times the transpose of X (B, p): (J, B), contiguous."""
    n_outputs, n_rows = len(weights), len(X)
    width, stop = _pieces(n_rows, n_outputs * X.shape[1])
    if not stop:
        return np.matmul(weights, X.T, out=out)
    # Column-major weights are what the small kernels want.
    weights = np.asfortranarray(weights)
    if out is None:
        out = np.empty((n_outputs, n_rows), dtype=np.result_type(weights, X))
    np.matmul(weights, _by_pieces(X.T, width, stop), out=_by_pieces(out, width, stop))
    if stop < n_rows:
        np.matmul(weights, X[stop:].T, out=out[:, stop:])
    return out


def sum_over_rows(A: FloatArray, X: FloatArray) -> FloatArray:
    """A (J, B) times X (B, p): (J, p), a sum over the B rows."""
    n_rows, n_columns = X.shape
    width, stop = _pieces(n_rows, len(A) * n_columns)
    if not stop:
        return A @ X
    pieces = _by_pieces(X.T, width, stop).transpose(0, 2, 1)
    total = np.matmul(_by_pieces(A, width, stop), pieces).sum(axis=0)
    if stop < n_rows:
        total += A[:, stop:] @ X[stop:]
    return total


def own_product(A: FloatArray) -> FloatArray:
    """A (J, B) times its transpose: (J, J).

    NumPy takes the product of an array with its own transpose for what it is, and half of the multiplications.
    """
    return A @ A.T if len(A) >= MANY_COLUMNS else sum_over_rows(A, A.T)


def _pieces(n_rows: int, work_a_row: int) -> tuple[int, int]:
    """Rows of a piece, and where the last whole piece ends; 0 where the product is better taken as one."""
    least, most = _PIECE_ROWS
    width = min(_PIECE_WORK // work_a_row, most) if work_a_row else 0
    if width < least or n_rows <= width:
        return 1, 0
    return width, n_rows - n_rows % width


def _by_pieces(A: FloatArray, width: int, stop: int) -> FloatArray:
    """The first `stop` columns of A (J, B) as (pieces, J, width): a view, whatever the order."""
    return A[:, :stop].reshape(len(A), stop // width, width).transpose(1, 0, 2)
