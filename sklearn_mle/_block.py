"""Some rows of the data, dense or sparse, and the products with them that all sums over rows are made of."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ._products import sum_over_rows, times_rows
from ._typing import Design, FloatArray, IntArray, Targets


@dataclass(frozen=True)
class Block:
    """Some rows of the data.

    Attributes
    ----------
    X : dense (B, p) or CSR
    y : array of shape (B,) of class indices, or (K, B) of probabilities
    w : array of shape (B,), or None for weights of one
    start, stop : the rows' place in the data
    """

    X: Design
    y: Targets
    w: FloatArray | None
    start: int
    stop: int

    def outputs(self, weights: FloatArray) -> FloatArray:
        """Weights (J, p) times the transposed rows: (J, B), in the dtype of X."""
        weights = weights.astype(self.X.dtype, copy=False)
        if sparse.issparse(self.X):
            # SciPy's product is row-major; its transpose is what (J, B) means, whatever the strides.
            return (self.X @ np.ascontiguousarray(weights.T)).T
        return times_rows(weights, self.X)

    def pull(self, residual: FloatArray) -> FloatArray:
        """Residuals (J, B) times the rows: (J, p)."""
        if sparse.issparse(self.X):
            return (self.X.T @ np.ascontiguousarray(residual.T)).T
        return sum_over_rows(residual, self.X)

    def rows(self) -> FloatArray:
        """The rows (B, p), dense and float64."""
        rows = self.X.toarray() if sparse.issparse(self.X) else self.X
        return rows.astype(np.float64, copy=False)

    def columns(self, chosen: IntArray) -> FloatArray:
        """Some columns of dense rows, (B, n_chosen)."""
        return self.X[:, chosen]

    def features(self, center: FloatArray, transform: FloatArray | None, with_one: bool = False) -> FloatArray:
        """Whitened columns transform' (x - center), shape (r, B), float64; `transform` is (p, r), (p,), or none.

        A row of ones follows if asked.
        """
        rows = self.X.toarray() if sparse.issparse(self.X) else self.X
        rank = rows.shape[1] if transform is None else transform.shape[-1]
        out = np.empty((rank + with_one, len(rows)))
        if transform is None or transform.ndim == 1:
            np.subtract(rows.T, center[:, None], out=out[:rank])
            if transform is not None:
                out[:rank] *= transform[:, None]
        else:
            times_rows(transform.T, rows - center, out=out[:rank])
        if with_one:
            out[rank] = 1.0
        return out

    def weighted_squares(self, h: FloatArray, center: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Sums over rows, with weights h (B,) or (J, B), of x - center and of its squares, (p,) or (J, p)."""
        if sparse.issparse(self.X):
            sums = (self.X.T @ h.T).T
            squares = (self.X.multiply(self.X).T @ h.T).T
            mass = h.sum(axis=-1, keepdims=h.ndim == 2)
            return sums - mass * center, squares - 2 * center * sums + mass * center**2
        centred = self.X - center
        return h @ centred, h @ np.square(centred)

    def split(self, width: int) -> Iterator["Block"]:
        """The block in pieces of at most `width` rows."""
        n_rows = self.stop - self.start
        if n_rows <= width:
            yield self
            return
        for a in range(0, n_rows, width):
            b = min(a + width, n_rows)
            w = None if self.w is None else self.w[a:b]
            yield Block(self.X[a:b], self.y[..., a:b], w, self.start + a, self.start + b)

    def weights(self) -> FloatArray:
        """Weights (B,), float64."""
        return np.ones(self.X.shape[0]) if self.w is None else self.w.astype(np.float64, copy=False)
