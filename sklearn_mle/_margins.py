"""Rows in columns of unit scale, and the margins of a direction in them, each with its rounding.

A direction V, shape (K, q) with q = p + 1 (q = p without an intercept), moves the logits of row i by z_i = V x_i.
With c a class that y_i gives weight to, m_ik = z_ic - z_ik are the margins of V (`_separation` says what for).

Bounds on the coefficients are rows, too: where W_cj has no way down, and W_kj none up, V_cj - V_kj >= 0 is the margin
of a row that has a one in column j and zeros elsewhere, the intercept's place included. What moves all classes of a
column alike, which the likelihood does not see, lets V fit between such bounds if and only if none of these margins is
negative.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ._typing import BoolArray, Design, FloatArray, IntArray, Targets

EPS = float(np.finfo(np.float64).eps)
# Margins are sums of some tens of products of rounded factors; and every entry of X stands for what rounds
# to it, half a unit in its last place either side, for the two classes of a margin.
ROUNDINGS = 32.0
_INPUT_ROUNDINGS = 2.0
# Entries of a block of rows: some megabytes.
BLOCK = 2**18
# Sparse matrices of at most this many entries, zeros included, are handled as dense ones (and centred).
_MAX_DENSE = 2**24


@dataclass(frozen=True)
class ColumnSplits:
    """Directions by one column each: column j adds slopes_kj x_j + offsets_kj to the logit of class k.

    Attributes
    ----------
    q : unknowns of one class
    columns : (m,) int, the columns
    slopes, offsets : (K, m), of columns of unit scale
    """

    q: int
    columns: IntArray
    slopes: FloatArray
    offsets: FloatArray

    def direction(self, at: slice | IntArray = slice(None)) -> FloatArray:
        """The sum of some of them, (K, q)."""
        V = np.zeros((len(self.slopes), self.q))
        V[:, self.columns[at]] = self.slopes[:, at]
        if self.offsets.any():
            V[:, -1] = self.offsets[:, at].sum(axis=1)
        return V


class ScaledRows:
    """Rows of positive weight in columns of unit scale, and the margins of a direction in them.

    Scales are powers of two and centres multiples of them: dummies and small integers are then moved without
    any rounding, and what is tied in them stays tied exactly.

    Attributes
    ----------
    n, n_classes, q : rows, K, unknowns of one class
    reference : (n,) a class c in S_i, the most probable
    outside, inside : (n, K) bool, the pairs (i, k) of inequalities, and of equalities
    observed : (n, K) bool, those of `outside` that belong to rows of X, and not to bounds
    usable : (q,) bool, unknowns of columns that vary
    """

    def __init__(
        self,
        X: Design,
        Y: Targets,
        n_classes: int | None,
        weight: FloatArray | None,
        intercept: bool,
        bounds: tuple[FloatArray, FloatArray] | None = None,
        rounding: float | None = None,
    ) -> None:
        Y = np.asarray(Y)
        if sparse.issparse(X):
            X = X.toarray() if X.shape[0] * X.shape[1] <= _MAX_DENSE else X.tocsr()
        else:
            X = np.asarray(X)
        self._kept: slice | IntArray = slice(None)
        self._n_given = X.shape[0]
        if weight is not None and not np.all(np.asarray(weight) > 0):
            self._kept = np.flatnonzero(np.asarray(weight) > 0)
            X, Y = X[self._kept], Y[self._kept]
        self.X, self.n, self.intercept = X, X.shape[0], intercept
        self.n_classes = n_classes or (int(Y.max()) + 1 if Y.ndim == 1 else Y.shape[1])
        self.q = X.shape[1] + intercept
        self.reference: IntArray = Y if Y.ndim == 1 else Y.argmax(axis=1)
        own = np.zeros((self.n, self.n_classes), dtype=bool)
        own[np.arange(self.n), self.reference] = True
        self.outside = ~own if Y.ndim == 1 else Y == 0
        self.inside = ~(self.outside | own)
        self.eps = (float(np.finfo(X.dtype).eps) if X.dtype.kind == "f" else EPS) if rounding is None else rounding
        self._scale_columns()
        self.observed = self.outside
        self._n_observed, self._held = self.n, np.empty(0, dtype=np.intp)
        if bounds is not None:
            self._add_rows_of_bounds(*bounds)

    def _add_rows_of_bounds(self, lower: FloatArray, upper: FloatArray) -> None:
        """One row for each class that cannot fall in a column, (K, p); of the one logit of two classes, (1, p)."""
        no_way_down, no_way_up = np.isfinite(lower), np.isfinite(upper)
        if len(lower) == 1 and self.n_classes == 2:
            # What the second class gains the first one loses.
            no_way_down, no_way_up = np.vstack([no_way_up, no_way_down]), np.vstack([no_way_down, no_way_up])
        held = self.usable[: lower.shape[1]] & no_way_up.any(axis=0)
        classes, columns = np.nonzero(no_way_down & held)
        fixed = no_way_down & no_way_up
        ties = fixed[:, columns].T & fixed[classes, columns][:, np.newaxis]
        own = classes[:, np.newaxis] == np.arange(self.n_classes)
        below = no_way_up[:, columns].T
        self._held = columns
        self.n += len(columns)
        self.reference = np.concatenate([self.reference, classes])
        self.outside = np.vstack([self.outside, below & ~ties & ~own])
        self.inside = np.vstack([self.inside, ties & ~own])
        self.observed = np.vstack([self.observed, np.zeros_like(own)])

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
        usable = scale > ROUNDINGS * self.eps * top if centred else scale > 0
        self.scale = np.exp2(np.round(np.log2(np.where(usable, scale, 1.0))))
        self.center = np.where(usable, np.round(mean / self.scale) * self.scale, mean)
        self.usable = np.append(usable, np.ones(int(self.intercept), dtype=bool))

    def _slices(self) -> list[slice]:
        """Blocks of some megabytes."""
        step = max(1, BLOCK // max(1, self.X.shape[1]))
        return [slice(start, min(start + step, self.n)) for start in range(0, self.n, step)]

    def design(self, rows: slice | IntArray, columns: IntArray | None = None) -> Design:
        """Rows of the scaled design, the intercept's column of ones last; of all `columns` (q), or some in order."""
        if len(self._held):
            rows = np.arange(self.n)[rows]
            of_bounds = rows >= self._n_observed
            if of_bounds.any():
                return self._design_with_bounds(rows, of_bounds, columns)
        return self._design_of_observed(rows, columns)

    def _design_with_bounds(self, rows: IntArray, of_bounds: BoolArray, columns: IntArray | None) -> Design:
        """As `design`, where some rows are those of bounds."""
        columns = np.arange(self.q) if columns is None else columns
        at = self._held[rows[of_bounds] - self._n_observed]
        ones = sparse.csr_array(at[:, np.newaxis] == columns, dtype=np.float64)
        observed = sparse.csr_array(self._design_of_observed(rows[~of_bounds], columns))
        order = np.argsort(np.argsort(of_bounds, kind="stable"))
        both = sparse.vstack([observed, ones], format="csr")[order]
        return both if sparse.issparse(self.X) else both.toarray()

    def _design_of_observed(self, rows: slice | IntArray, columns: IntArray | None) -> Design:
        X, center, scale, ones = self.X[rows], self.center, self.scale, self.intercept
        if columns is not None:
            ones = self.intercept and len(columns) > 0 and columns[-1] == self.q - 1
            columns = columns[: len(columns) - ones]
            X, center, scale = X[:, columns], center[columns], scale[columns]
        block = X.astype(np.float64)
        if sparse.issparse(block):
            block = block.multiply(1.0 / scale).tocsr()
            return sparse.hstack([block, np.ones((block.shape[0], 1))], format="csr") if ones else block
        block = (block - center) / scale
        return np.hstack([block, np.ones((len(block), 1))]) if ones else block

    def margins(self, V: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Margins m_ik of V (zero for k = c), and what rounding alone can make of a margin of zero."""
        z, size = np.empty((self.n, self.n_classes)), np.empty((self.n, self.n_classes))
        # An intercept of zero may be one but for rounding.
        used = np.flatnonzero(V.any(axis=0) | (np.arange(self.q) >= self.q - self.intercept))
        columns = used if len(used) < self.q else None
        W = V[:, used]
        # Each coefficient of V is known to a rounding of the largest; an entry of X, to its own.
        error = _INPUT_ROUNDINGS * self.eps * np.abs(W)
        error += ROUNDINGS * EPS * np.abs(W).max(axis=1, keepdims=True, initial=0.0)
        for rows in self._slices():
            block = self.design(rows, columns)
            z[rows], size[rows] = block @ W.T, abs(block) @ error.T
        size += _INPUT_ROUNDINGS * self.eps * (np.abs(V[:, : len(self.center)]) @ np.abs(self.center / self.scale))
        own = np.arange(self.n), self.reference
        return z[own][:, np.newaxis] - z, size[own][:, np.newaxis] + size

    def separated(self, V: FloatArray) -> BoolArray:
        """Pairs (n, K) of inequalities of rows of X that V makes strict."""
        margins, rounding = self.margins(V)
        return self.observed & (margins > rounding)

    def given(self, pairs: BoolArray) -> BoolArray:
        """Pairs of all rows as they were given: those without weight have none, those of bounds are left out."""
        out = np.zeros((self._n_given, self.n_classes), dtype=bool)
        out[self._kept] = pairs[: self._n_observed]
        return out

    def gradients(self, pairs: IntArray, columns: IntArray | None = None) -> sparse.csr_array:
        """The a_ik of flat pairs i K + k, one a row, as functions of V_1 ... V_{K-1}, flat; of all columns or some."""
        row, other = np.divmod(pairs, self.n_classes)
        width = self.q if columns is None else len(columns)
        design = sparse.coo_array(self.design(row, columns))
        at, column = design.coords
        parts = []
        for sign, label in ((1.0, self.reference[row]), (-1.0, other)):
            free = label[at] > 0
            parts.append((sign * design.data[free], at[free], (label[at[free]] - 1) * width + column[free]))
        data, i, j = (np.concatenate(part) for part in zip(*parts, strict=True))
        return sparse.csr_array((data, (i, j)), shape=(len(pairs), (self.n_classes - 1) * width))

    def total_gradient(self, pairs: BoolArray | FloatArray) -> tuple[FloatArray, float]:
        """The sum of a_ik over pairs (n, K), or with such weights, flat, and the rounding of it, in 1-norm."""
        pull = -pairs.astype(np.float64)
        pull[np.arange(self.n), self.reference] += pairs.sum(axis=1)
        weight = np.abs(pull[:, 1:]).sum(axis=1)
        total, size = np.zeros((self.n_classes, self.q)), 0.0
        for rows in self._slices():
            design = self.design(rows)
            total += (design.T @ pull[rows]).T
            size += float((abs(design).T @ weight[rows]).sum())
        return total[1:].ravel(), EPS * size

    def column_splits(self) -> "ColumnSplits | None":
        """The single columns that split the classes, and how; None if none does, or for soft labels.

        A column splits them at t if some classes have no entry above t, and the others none below: its direction moves
        the latter up by x - t. A dummy that some class never has splits at 0.
        """
        if self.inside.any():
            return None
        present, low, high = self._ranges()
        order = np.lexsort((high, low), axis=0)
        top = np.maximum.accumulate(np.take_along_axis(high, order, axis=0), axis=0)[:-1]
        bottom = np.take_along_axis(low, order, axis=0)[1:]
        splits = (top <= bottom) & self.usable[: low.shape[1]]
        if not self.intercept:
            splits &= (top <= 0) & (bottom >= 0)
        columns = np.flatnonzero(splits.any(axis=0))
        if not len(columns):
            return None
        slopes, offsets = np.zeros((2, self.n_classes, len(columns)))
        for r in range(len(splits)):
            at = np.flatnonzero(splits[r, columns])
            above = present[order[r + 1 :, columns[at]]]
            slopes[above, at] += 1.0
            if self.intercept:
                offsets[above, at] -= 0.5 * (top[r, columns[at]] + bottom[r, columns[at]])
        return ColumnSplits(self.q, columns, slopes - slopes[0], offsets - offsets[0])

    def _ranges(self) -> tuple[IntArray, FloatArray, FloatArray]:
        """Classes with rows, and the least and largest entry of each scaled column in each of them, (classes, p)."""
        reference = self.reference[: self._n_observed]
        present = np.unique(reference)
        ends: list[list[FloatArray]] = [[], []]
        for c in present:
            own = self.X[np.flatnonzero(reference == c)]
            for end, values in zip(ends, (own.min(axis=0), own.max(axis=0)), strict=True):
                row = values.toarray().ravel() if sparse.issparse(values) else np.asarray(values).ravel()
                end.append((row.astype(np.float64) - self.center) / self.scale)
        return present, np.array(ends[0]), np.array(ends[1])

    def coefficient(self, k: int, j: int) -> FloatArray:
        """Coefficient j of class k, in units of X, as a function of V flat; the sign and zeros are what counts."""
        function = np.zeros((self.n_classes, self.q))
        function[k, j] = 1.0
        if self.intercept and j == self.q - 1:
            function[k, :-1] = -self.center / self.scale * self.usable[:-1]
        return function[1:].ravel()

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
