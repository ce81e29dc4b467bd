"""Where the rows live: blocks of (X, y, w), and sums of a function over them. The only file that asks what X is.

Nothing of the size of X is ever copied: a block is a view of dense rows, or a view into the arrays of a CSR
matrix. Where columns lie so far from zero that W x + b would cancel, the rows of one block at a time are
shifted by `shift`; theta then holds the intercept of the shifted rows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import entr

from ._block import Block
from ._moments import moments_of_groups, moments_of_rows, square
from ._products import own_product, sum_over_rows
from ._targets import rows_by_class
from ._threads import available_threads, shared_out, single_threaded_blas, threads_worth
from ._typing import Design, FloatArray, IntArray, Targets

# The (J, B) temporaries of a block of rows stay in a core's own cache, its rows in the one that cores share; smaller
# blocks spend their time between calls, and in threads waiting for the interpreter's lock.
_BLOCK_BYTES = 1 << 22
_BLOCK_BYTES_OF_X = 1 << 23
_BLOCK_ROWS = (512, 1 << 16)
# Up to so many entries single precision saves no time that would be worth its digits.
_ENTRIES_IN_DOUBLE = 1 << 20
# Columns that are made of a block, for moments, stay in a core's own cache.
_COLUMN_BYTES = 1 << 19
# More rows than columns at a time, so that adding up moments is less than their products; up to so many entries.
_MANY_ENTRIES = 1 << 20
# Blocks that are made for threads: few machines have more cores.
_MOST_BLOCKS = 16
# Entries of a sparse block for each of its columns, so that the sum over blocks is little beside their products; and of
# all rows, for two blocks to be worth that sum.
_ENTRIES_OF_COLUMN = 32
_LEAST_OF_COLUMN = 8
# So many products of moments take the time of one of an evaluation.
_PRODUCTS_OF_MOMENTS = 5
# Up to so many products of entries a group of rows costs its calls.
_FEW_PRODUCTS = 20_000
# Up to so many multiplications of matrices, of a matrix and a vector, and rows of a triangle, BLAS takes one thread of
# its own accord.
_UNTHREADED_WORK, _UNTHREADED_ENTRIES, _UNTHREADED_SIZE = 1 << 16, 1 << 13, 32
# Softmax and residual of one logit, in units of a product.
_SOFTMAX_WORK = 10


class Samples:
    """Rows, targets and weights, cut into blocks.

    Parameters
    ----------
    X : dense array or CSR matrix of shape (n, p)
    y : array of shape (n,) of class indices, or of shape (K, n) of probabilities
    w : array of shape (n,) or None
        Weights; None is one for each row.
    n_classes : int
    shift : array of shape (p,), optional
        Subtracted from the (dense) rows of each block.
    n_threads : int or None
        Threads for blocks of rows; BLAS runs single-threaded inside. None is as many as BLAS may use, which is asked
        for where rows are enough for more than one.
    n_units : int
        Hidden units of the network that will see the blocks.
    single : bool
        Whether (dense) blocks are handed out in float32.
    rounding : float, optional
        Relative rounding of the entries; that of their dtype by default.

    Attributes
    ----------
    dtype : of the blocks
        Few rows in float32 are handed out in float64, as `X` is then, unless a network is to see them.
    """

    def __init__(
        self,
        X: Design,
        y: Targets,
        w: FloatArray | None,
        *,
        n_classes: int,
        shift: FloatArray | None = None,
        n_threads: int | None = 1,
        n_units: int = 0,
        single: bool = False,
        rounding: float | None = None,
    ) -> None:
        self.rounding = float(np.finfo(X.dtype).eps) if rounding is None else rounding
        if X.dtype == np.float32 and not n_units and (X.nnz if sparse.issparse(X) else X.size) <= _ENTRIES_IN_DOUBLE:
            X = X.astype(np.float64)
        self.X = X
        self.y = y
        self.w = w
        self.n_classes = n_classes
        self.shift = shift
        self.n_rows, self.n_features = X.shape
        self.is_sparse = sparse.issparse(X)
        self.dtype = np.dtype(np.float32) if single and not self.is_sparse else X.dtype
        self.n_units = n_units
        if n_threads is None:
            n_threads = 1 if self._is_small else available_threads()
        self.n_threads = n_threads
        self.total_weight = float(self.n_rows) if w is None else float(w.sum(dtype=np.float64))
        self._bounds = self._cut(self._rows_per_block())
        # Passes spent on moments of the columns, in units of one evaluation of value and gradient.
        self.n_passes = 0.0
        self._pinned = False
        self._pool: ThreadPoolExecutor | None = None
        self._views = [self._view(a, b) for a, b in self._bounds] if self.is_sparse else None

    @property
    def n_entries(self) -> int:
        """Entries of X that are stored."""
        return int(self.X.nnz) if self.is_sparse else self.n_rows * self.n_features

    @property
    def _work_a_row(self) -> int:
        """Products of one evaluation, more or less, for each row."""
        entries = self.n_entries // max(1, self.n_rows)
        return (entries + _SOFTMAX_WORK) * max(self.n_classes, self.n_units)

    def _rows_per_block(self) -> int:
        """Rows of a block: as many as its core's cache holds, or fewer, where that is work for more threads.

        It does not depend on the number of threads, so that sums do not either.
        """
        most = threads_worth(self.n_rows * self._work_a_row)
        if self.is_sparse:
            # The transposed product fills (J, p) a block: few blocks, each of many entries for that.
            rows = (1 << 23) // (self.n_classes + 4 * self.n_units)
            a_column = self.n_entries // max(1, self.n_features)
            few = 2 if a_column >= _LEAST_OF_COLUMN else 1
            return max(256, self._even_share(rows, min(max(few, a_column // _ENTRIES_OF_COLUMN), most)))
        low, high = _BLOCK_ROWS
        temporaries = _BLOCK_BYTES // ((2 * self.n_classes + 4 * self.n_units) * self.dtype.itemsize)
        rows = min(max(low, min(temporaries, _BLOCK_BYTES_OF_X // (self.n_features * self.dtype.itemsize))), high)
        return self._even_share(rows, most)

    def _even_share(self, rows: int, most: int) -> int:
        """Rows of each of an even number of equal blocks of at most so many: `most` blocks, if not too many."""
        n_blocks = max(-(-self.n_rows // rows), min(most, _MOST_BLOCKS), 1)
        if n_blocks > 1:
            n_blocks += n_blocks % 2
        return max(1, -(-self.n_rows // n_blocks))

    def _cut(self, rows: int) -> list[tuple[int, int]]:
        """Where blocks of so many rows start and stop."""
        return [(a, min(a + rows, self.n_rows)) for a in range(0, self.n_rows, rows)]

    def _view(self, a: int, b: int) -> Design:
        """Rows a to b of a CSR matrix, sharing its arrays."""
        X = self.X
        lo, hi = X.indptr[a], X.indptr[b]
        return sparse.csr_array(
            (X.data[lo:hi], X.indices[lo:hi], X.indptr[a : b + 1] - lo), shape=(b - a, self.n_features), copy=False
        )

    def _block(self, i: int, a: int, b: int) -> Block:
        """The rows a to b; of a sparse X they are those of the i-th view."""
        X = self.X[a:b] if self._views is None else self._views[i]
        return self._made(X, self.y[..., a:b], None if self.w is None else self.w[a:b], a, b)

    def _made(self, X: Design, y: Targets, w: FloatArray | None, a: int, b: int) -> Block:
        """A block of rows, shifted and in the precision of these samples."""
        if not self.is_sparse:
            X = np.asarray(X)
            if X.dtype != self.dtype and self.shift is None:
                X = X.astype(self.dtype)
            if self.shift is not None:
                X = (X - self.shift.astype(X.dtype, copy=False)).astype(self.dtype, copy=False)
        return Block(X, y, w, a, b)

    def whole(self) -> Block:
        """All rows as one block, for few of them."""
        return self._made(self.X, self.y, self.w, 0, self.n_rows)

    def each(
        self, function: Callable[[Block], Any], consume: Callable[[Any], None], work_a_row: int | None = None
    ) -> None:
        """Call `consume` with the function of each block, in the order of the rows whatever the threads.

        `work_a_row` is what the function does, in products; that of one evaluation if it is not said.
        """
        work_a_row = self._work_a_row if work_a_row is None else work_a_row
        bounds = self._bounds
        work = self.n_rows * work_a_row
        most = threads_worth(work)
        if len(bounds) == 1 and not self.is_sparse and most > 1:
            # Moments of many columns are worth threads where an evaluation is not.
            bounds = self._cut(self._even_share(self.n_rows, min(most, self.n_rows // _BLOCK_ROWS[0])))

        def result(i: int) -> Any:
            # Made when it is its turn: where rows are shifted a block is a copy.
            return function(self._block(i, *bounds[i]))

        for part in self._mapped(result, range(len(bounds)), work):
            consume(part)

    def _mapped(self, function: Callable[[Any], Any], items: Sequence[Any], work: int) -> Iterator[Any]:
        """The function of each item, in their order, with BLAS on one thread; in as many as so many operations need."""
        n_threads = min(self.n_threads, len(items), threads_worth(work))
        with nullcontext() if self._pinned else single_threaded_blas():
            if n_threads > 1:
                yield from shared_out(self._threads(), n_threads, function, items)
            else:
                yield from map(function, items)

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            # Its threads end when these samples are collected.
            self._pool = ThreadPoolExecutor(self.n_threads - 1)
        return self._pool

    @property
    def _is_small(self) -> bool:
        """Whether BLAS would not use threads for these rows anyway: waking them may take longer than the fit."""
        width = max(self.n_classes, self.n_features)
        few_entries = self.n_rows * width <= _UNTHREADED_ENTRIES
        few_products = few_entries and self.n_rows * self.n_features * width <= _UNTHREADED_WORK
        return few_products and (self.n_classes - 1) * (self.n_features + 1) <= _UNTHREADED_SIZE and not self.n_units

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """Keep BLAS single-threaded throughout.

        Its idle threads spin for a while after each call, where the threads for blocks of rows would work.
        """
        with nullcontext() if self._is_small else single_threaded_blas():
            self._pinned = True
            try:
                yield
            finally:
                self._pinned = False

    def sum(
        self, function: Callable[[Block], tuple[Any, ...]], n_columns: int = 0, n_moments: int = 1
    ) -> tuple[Any, ...]:
        """Sums over the blocks of a function that returns a tuple of numbers or float64 arrays.

        Where the function makes so many columns (`n_columns`) of a block, for so many second moments of them, it sees
        a few rows at a time.
        """
        if self._is_small and len(self._bounds) == 1 and not self.is_sparse:
            # There is nothing to share out, nor to add up.
            return function(self.whole())
        total = _Total()
        if not n_columns:
            self.each(function, total.add)
            return tuple(total.parts)
        width = max(_BLOCK_ROWS[0], _COLUMN_BYTES // (8 * n_columns), min(2 * n_columns, _MANY_ENTRIES // n_columns))

        def in_pieces(block: Block) -> list[Any]:
            of_block = _Total()
            for piece in block.split(width):
                of_block.add(function(piece))
            return of_block.parts

        products = n_columns * (n_columns * n_moments + self.n_features)
        self.each(in_pieces, total.add, products // _PRODUCTS_OF_MOMENTS)
        return tuple(total.parts)

    def outputs_like(self, n_outputs: int) -> FloatArray:
        """Room for (J, n) values, laid out as the blocks' outputs are."""
        if self.is_sparse:
            return np.empty((self.n_rows, n_outputs), dtype=self.dtype).T
        return np.empty((n_outputs, self.n_rows), dtype=self.dtype)

    @cached_property
    def class_weights(self) -> FloatArray:
        """Total weight of each class, shape (K,)."""
        if self.y.ndim == 2:
            w = np.ones(self.n_rows) if self.w is None else self.w
            return self.y.astype(np.float64, copy=False) @ w.astype(np.float64, copy=False)
        if self.w is None:
            return rows_by_class(self.y, self.n_classes).astype(np.float64)
        return np.bincount(self.y, self.w, minlength=self.n_classes).astype(np.float64)

    def total_entropy(self) -> float:
        """The NLL of a model that reproduces the targets: no model has less. Zero for labels."""
        if self.y.ndim == 1:
            return 0.0
        rows = entr(self.y.astype(np.float64, copy=False)).sum(axis=0)
        return float(rows.sum() if self.w is None else rows @ self.w)

    def pilot_mean(self) -> FloatArray:
        """Means of a few evenly spaced rows: near enough to centre by before sums of squares are taken."""
        step = max(1, self.n_rows // 512)
        rows = self.X[::step]
        w = np.ones(rows.shape[0]) if self.w is None else self.w[::step]
        total = w.sum()
        if self.is_sparse or not total:
            return np.zeros(self.n_features)
        return np.asarray(w.astype(np.float64) @ rows) / total

    def gram(self, center: FloatArray, transform: FloatArray | None) -> tuple[FloatArray, FloatArray]:
        """Weighted sums (r,) and second moments (r, r) of transform' (x - center)."""

        def block_terms(block: Block) -> tuple[FloatArray, FloatArray]:
            columns = block.features(center, transform)
            if block.w is None:
                return columns.sum(axis=1), own_product(columns)
            weighted = columns * block.w
            return weighted.sum(axis=1), sum_over_rows(weighted, columns.T)

        rank = self.n_features if transform is None else transform.shape[-1]
        self.n_passes += rank / (4 * self.n_classes)
        return self.sum(block_terms, rank)

    def block_of(self, rows: IntArray) -> Block:
        """The given rows as a block."""
        return self._made(self.X[rows], self.y[..., rows], None if self.w is None else self.w[rows], 0, len(rows))

    def moments_of(
        self,
        rows: IntArray,
        sizes: IntArray,
        center: FloatArray | None,
        transform: FloatArray | None,
        with_one: bool,
    ) -> FloatArray:
        """Sums of v v' over groups of so many of the rows in turn, of weight one each: (n_groups, q, q).

        v = (transform' (x - center), 1), or (x, 1) where there is no center.
        """
        q = (self.n_features if transform is None else transform.shape[-1]) + with_one
        width = max(_BLOCK_ROWS[0], _COLUMN_BYTES // (8 * q))
        ends = np.cumsum(sizes)
        is_few = sizes * (q * (q + 1)) <= _FEW_PRODUCTS
        of_few = np.flatnonzero(is_few & (sizes > 0))
        rows_of_few = rows[np.repeat(is_few, sizes)]
        pieces = []
        # Where what counts is the number of calls, many groups are one piece.
        done = 0
        cuts = np.flatnonzero(np.diff(np.cumsum(sizes[of_few]) // width)) + 1
        for groups in np.split(of_few, cuts) if len(of_few) else []:
            n_rows = int(sizes[groups].sum())
            pieces.append((groups, rows_of_few[done : done + n_rows]))
            done += n_rows
        for g in np.flatnonzero(~is_few):
            a, b = ends[g] - sizes[g], ends[g]
            pieces += [(np.array([g]), rows[i : min(i + width, b)]) for i in range(a, b, width)]

        def moments(piece: tuple[IntArray, IntArray]) -> FloatArray:
            groups, rows = piece
            block = self.block_of(rows)
            if is_few[groups[0]]:
                shift = np.zeros(self.n_features) if center is None else center
                return square(moments_of_groups(block.features(shift, transform, with_one), sizes[groups]), q)
            if center is None:
                return moments_of_rows(block.rows(), None, with_one)
            return own_product(block.features(center, transform, with_one))

        out = np.zeros((len(sizes), q, q))
        work = len(rows) * q * q // _PRODUCTS_OF_MOMENTS
        for (groups, _), part in zip(pieces, self._mapped(moments, pieces, work), strict=True):
            out[groups] += part
        return out

    def column_sums(self, center: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weighted sums of x - center and of its squares, each (p,)."""
        return self.sum(lambda block: block.weighted_squares(block.weights(), center))

    def with_classes(self, present: IntArray) -> "Samples":
        """The same rows with the other classes, which have no weight, left out of the targets."""
        if self.y.ndim == 2:
            y = np.ascontiguousarray(self.y[present])
        else:
            # Rows of the classes that are left out weigh nothing: any index does.
            place = np.zeros(self.n_classes, dtype=self.y.dtype)
            place[present] = np.arange(len(present))
            y = place[self.y]
        return self._like(self.X, y, self.w, n_classes=len(present))

    def subset(self, rows: IntArray) -> "Samples":
        """The given rows as samples of their own (a copy of those rows)."""
        w = None if self.w is None else self.w[rows]
        return self._like(self.X[rows], np.ascontiguousarray(self.y[..., rows]), w, n_classes=self.n_classes)

    def of_columns(self, columns: IntArray) -> "Samples":
        """The given columns as samples of their own (a copy of those columns)."""
        X = self.X[:, columns]
        if not self.is_sparse:
            X = np.ascontiguousarray(X)
        return self._like(X, self.y, self.w, n_classes=self.n_classes, columns=columns)

    def reweighted(self, w: FloatArray) -> "Samples":
        """The same rows with other weights."""
        return self._like(self.X, self.y, w, n_classes=self.n_classes)

    def in_single(self) -> "Samples":
        """The same rows, their blocks in float32: half the time of a pass, six digits of the objective."""
        return self._like(self.X, self.y, self.w, n_classes=self.n_classes, single=True)

    def _like(
        self,
        X: Design,
        y: Targets,
        w: FloatArray | None,
        *,
        n_classes: int,
        single: bool = False,
        columns: IntArray | slice = slice(None),
    ) -> "Samples":
        other = Samples(
            X,
            y,
            w,
            n_classes=n_classes,
            shift=None if self.shift is None else self.shift[columns],
            n_threads=self.n_threads,
            n_units=self.n_units,
            single=single or self.dtype != X.dtype,
            rounding=self.rounding,
        )
        other._pinned = self._pinned
        return other


class _Total:
    """A running sum of tuples of numbers or arrays."""

    def __init__(self) -> None:
        self.parts: list[Any] = []

    def add(self, parts: Iterable[Any]) -> None:
        if self.parts:
            for i, value in enumerate(parts):
                self.parts[i] += value
        else:
            self.parts.extend(parts)
