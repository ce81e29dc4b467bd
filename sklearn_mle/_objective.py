"""The negative log-likelihood of a network on samples, with its derivatives.

    f(theta) = - sum_i w_i y_i' log softmax(f_theta(x_i)) + ||W||^2 / (2 C)            (nats)

C is the variance of a zero-mean Gaussian prior on the weights; C = inf is maximum likelihood. The
derivative by the outputs of a row is w (p - y), for any network (MATHEMATICS: softmax and cross-entropy).
"""

from collections.abc import Callable

import numpy as np

from ._block import Block
from ._draws import SEED, drawn_evenly
from ._layout import Layout
from ._moments import moments_of_columns, moments_of_rows, repeated, square
from ._network import Network
from ._pairs import draw_pairs, number_of_pairs, pair_weights
from ._products import sum_over_rows
from ._samples import Samples
from ._softmax import curvature_product, nll_and_residual, softmax
from ._typing import BoolArray, FloatArray, IntArray

# Probabilities are kept between a gradient and its Hessian products where they take at most this many
# bytes, or this share of X.
_KEEP_BYTES = 1 << 26
_KEEP_SHARE = 0.15
# Of all rows, those that are gathered at less than the price of going through all.
_FEW_ROWS = 0.125

# Of sums of squares: what is left of them about a mean.
_ROUNDINGS = 64 * float(np.finfo(np.float64).eps)


class NegativeLogLikelihood:
    """Value, gradient, Hessian products and Hessian of the penalised NLL at theta (float64, flat).

    The intercepts in theta are those of the shifted rows (`Samples.shift`).

    Parameters
    ----------
    network : Network
    samples : Samples
    C : float
        Prior variance of the weights.
    """

    def __init__(self, network: Network, samples: Samples, C: float = np.inf) -> None:
        self.network = network
        self.samples = samples
        self.precision = 1.0 / C
        self.n_passes = 0.0
        self._kept_at: FloatArray | None = None
        self._proba: FloatArray | None = None
        self._n_outputs = network.layout.widths[-1]
        kept_bytes = self._n_outputs * samples.n_rows * samples.dtype.itemsize
        X_bytes = samples.n_rows * samples.n_features * samples.dtype.itemsize
        # With hidden layers a product needs the forward pass anyway.
        self._keep = network.layout.n_layers == 1 and kept_bytes <= max(_KEEP_BYTES, _KEEP_SHARE * X_bytes)

    @property
    def layout(self) -> Layout:
        """The layout of theta."""
        return self.network.layout

    def penalty(self, theta: FloatArray) -> float:
        """||W||^2 / (2 C), zero at C = inf."""
        squares = 0.0
        for W, _ in self.layout.unpack(theta):
            weights = W.ravel(order="K")
            squares += float(weights @ weights)
        return 0.5 * self.precision * squares

    def _add_penalty_product(self, total: FloatArray, direction: FloatArray) -> None:
        """Add to `total` what the prior makes of a direction: W / C, and nothing for intercepts."""
        for (sums, _), (W, _) in zip(self.layout.unpack(total), self.layout.unpack(direction), strict=True):
            sums += self.precision * W

    def value(self, theta: FloatArray) -> float:
        """f(theta) alone."""

        def block_value(block: Block) -> tuple[float]:
            nll, _ = nll_and_residual(self.network.forward(theta, block), block.y)
            return (float(nll.sum(dtype=np.float64) if block.w is None else nll.astype(np.float64) @ block.w),)

        (value,) = self.samples.sum(block_value)
        self.n_passes += 0.5
        return value + (self.penalty(theta) if self.precision else 0.0)

    def value_without(self, theta: FloatArray, ruled_out: BoolArray) -> float:
        """The negative log-likelihood at theta where pairs (n, K) of row and class are ruled out: no penalty."""

        def block_value(block: Block) -> tuple[float]:
            z = self.network.forward(theta, block)
            z = np.concatenate([np.zeros_like(z), z]) if len(z) == 1 else z
            # No logit of -inf, which a target of zero would make nan of.
            z = np.where(ruled_out[block.start : block.stop].T, np.finfo(z.dtype).min / 4, z)
            nll, _ = nll_and_residual(z, block.y)
            return (float(nll.astype(np.float64) @ block.weights()),)

        (value,) = self.samples.sum(block_value)
        self.n_passes += 0.5
        return value

    def rows_above(self, theta: FloatArray, nats: float) -> IntArray:
        """Rows of positive weight whose negative log-likelihood exceeds so many nats."""
        found: list[IntArray] = []
        kept = self._is_kept(theta) and self.samples.y.ndim == 1 and self.samples.dtype == np.float64

        def block_rows(block: Block) -> IntArray:
            above: BoolArray
            if kept:
                above = _own_below(self._kept_proba(block), block.y, np.exp(-nats))
            else:
                above = nll_and_residual(self.network.forward(theta, block), block.y)[0] > nats
            if block.w is not None:
                above &= block.w > 0
            return block.start + np.flatnonzero(above)

        self.samples.each(block_rows, found.append)
        if not kept:
            self.n_passes += 0.5
        return np.concatenate(found)

    def value_and_grad(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Return f(theta) and its gradient: one pass over the data."""
        if self._keep and self._proba is None:
            self._proba = self.samples.outputs_like(self._n_outputs)

        def block_terms(block: Block) -> tuple[float, FloatArray]:
            point = self.network.at(theta, block)
            z = point.outputs()
            keep = None if self._proba is None else self._proba[:, block.start : block.stop]
            nll, residual = nll_and_residual(z, block.y, keep)
            if block.w is None:
                value = nll.sum(dtype=np.float64)
            else:
                # A row of weight zero costs nothing, whatever its NLL.
                value = np.dot(nll.astype(np.float64, copy=False), block.w)
                residual *= block.w
            return float(value), point.vjp(residual)

        value, grad = self.samples.sum(block_terms)
        self.n_passes += 1
        self._kept_at = theta.copy() if self._keep else None
        if self.precision:
            value += self.penalty(theta)
            self._add_penalty_product(grad, theta)
        return value, grad

    def _block_proba(self, theta: FloatArray, block: Block, kept: bool) -> FloatArray:
        return self._kept_proba(block) if kept else _free_proba(self.network.forward(theta, block))

    def _kept_proba(self, block: Block) -> FloatArray:
        assert self._proba is not None
        return self._proba[:, block.start : block.stop]

    def _is_kept(self, theta: FloatArray) -> bool:
        return self._kept_at is not None and np.array_equal(self._kept_at, theta)

    def hessp(self, theta: FloatArray, direction: FloatArray) -> FloatArray:
        """Hessian at theta times a direction, one pass over the data; times (m, d) of them with hidden layers.

        The derivative of J' w (p - y): J' w (diag p - p p') J direction, and with hidden layers the bending of z.
        """
        if self.layout.n_layers == 1:
            return self.gauss_newton_product(theta, direction)

        def block_terms(block: Block) -> tuple[FloatArray]:
            point = self.network.at(theta, block)
            z = point.outputs()
            proba = np.empty_like(z)
            _, residual = nll_and_residual(z, block.y, proba)
            if block.w is not None:
                residual *= block.w
            return (point.jvp_of_vjp(residual, direction, lambda dz: _weighted_curvature(proba, dz, block)),)

        return self._sum_of_products(block_terms, direction)

    def gauss_newton_product(self, theta: FloatArray, direction: FloatArray) -> FloatArray:
        """J' w (diag p - p p') J direction plus the prior's part: the Hessian, were z linear in theta.

        It is the expected (Fisher) information, positive semi-definite everywhere.
        """
        kept = self._is_kept(theta)

        def block_terms(block: Block) -> tuple[FloatArray]:
            point = self.network.at(theta, block)
            proba = self._kept_proba(block) if kept else _free_proba(point.outputs())
            return (point.vjp(_weighted_curvature(proba, point.jvp(direction), block)),)

        return self._sum_of_products(block_terms, direction)

    def _sum_of_products(self, block_terms: Callable[[Block], tuple[FloatArray]], direction: FloatArray) -> FloatArray:
        (product,) = self.samples.sum(block_terms)
        self.n_passes += 1 if direction.ndim == 1 else len(direction)
        if self.precision:
            for total, one in zip(np.atleast_2d(product), np.atleast_2d(direction), strict=True):
                self._add_penalty_product(total, one)
        return product

    def rows_of_little_curvature(self, theta: FloatArray, least: float) -> IntArray | None:
        """Rows where w p_k p_l is below `least` for some pair of classes; None where no probabilities are kept."""
        if not self._is_kept(theta):
            return None
        found: list[IntArray] = []

        def block_rows(block: Block) -> IntArray:
            proba = self._kept_proba(block)
            if block.w is None and _least_curvature_of(proba) >= least:
                return np.empty(0, dtype=np.intp)
            weights = proba[0] * (1 - proba[0]) if len(proba) == 1 else proba.min(axis=0) ** 2
            if block.w is not None:
                weights *= block.w
            return block.start + np.flatnonzero(weights < least)

        self.samples.each(block_rows, found.append)
        return np.concatenate(found)

    def largest_logit_change(self, direction: FloatArray, rows: IntArray | None = None) -> float:
        """The most that moving theta by `direction` moves two logits of a row, of some or all, apart (linear model)."""
        largest = [0.0]

        def block_change(block: Block) -> float:
            dz = self.network.forward(direction, block)
            change = np.abs(dz[0]) if len(dz) == 1 else dz.max(axis=0) - dz.min(axis=0)
            if block.w is not None:
                change = change[block.w > 0]
            return float(change.max(initial=0.0))

        if rows is not None and not len(rows):
            return 0.0
        if rows is not None and len(rows) <= _FEW_ROWS * self.samples.n_rows:
            return block_change(self.samples.block_of(rows))
        self.samples.each(block_change, largest.append)
        return max(largest)

    def pair_moments(self, theta: FloatArray, center: FloatArray | None, transform: FloatArray | None) -> FloatArray:
        """Weighted second moments of whitened columns, for each pair of classes.

        The data's part of the Hessian of the linear model is

            sum over pairs k < l of (e_k - e_l)(e_k - e_l)' (x) sum_i w_i p_ik p_il v_i v_i'

        with v_i = (transform' (x_i - center), 1); without a transform the columns themselves, and where there is no
        center either the rows as they are, (x_i, 1).

        Returns
        -------
        array of shape (n_pairs, q, q); one pair where K = 2.
        """
        kept = self._is_kept(theta)
        fit_intercept = self.layout.fit_intercept
        n_pairs = number_of_pairs(self._n_outputs)
        q = (self.samples.n_features if transform is None else transform.shape[-1]) + fit_intercept

        def block_terms(block: Block) -> tuple[FloatArray]:
            weights = pair_weights(self._block_proba(theta, block, kept)).astype(np.float64, copy=False)
            if block.w is not None:
                weights *= block.w
            if center is None:
                return (moments_of_rows(block.rows(), weights, fit_intercept),)
            columns = block.features(center, transform, with_one=fit_intercept)
            return (moments_of_columns(weights, columns),)

        (total,) = self.samples.sum(block_terms, q, n_pairs)
        self.n_passes += self.passes_of_moments(n_pairs, q)
        return square(total, q)

    def sum_of_moments(
        self, theta: FloatArray, function: Callable[[Block, FloatArray], FloatArray], n_columns: int
    ) -> FloatArray:
        """Sum over blocks of second moments (n_columns, n_columns), made by a function of block and probabilities."""
        kept = self._is_kept(theta)

        def block_terms(block: Block) -> tuple[FloatArray]:
            return (function(block, self._block_proba(theta, block, kept).astype(np.float64, copy=False)),)

        (total,) = self.samples.sum(block_terms, max(1, n_columns))
        self.n_passes += self.passes_of_moments(1, n_columns)
        return total

    def passes_of_moments(self, n_pairs: float, q: int) -> float:
        """Second moments of q columns with so many weightings, by their operations over those of a pass."""
        return n_pairs * q * (q + 1) / 2 / (2 * self._n_outputs * self.samples.n_features)

    def sampled_pair_moments(
        self, theta: FloatArray, n_terms: int, center: FloatArray | None, transform: FloatArray | None
    ) -> FloatArray:
        """`pair_moments` from about so many of their terms w_i p_ik p_il v_i v_i', without bias.

        A term is drawn with a chance in proportion to its weight: most rows of a good model are certain of their
        class, and the others hesitate between two. What is drawn weighs the same, so that n terms for each of d
        parameters give eigenvalues within (1 +- sqrt(1 / n))^2 of those of the Hessian (Marchenko & Pastur, 1967),
        at the cost of n d of the n_samples K (K - 1) / 2 terms that it has (Xu et al., 2016, NeurIPS 29, draw rows).

        Returns
        -------
        array of shape (n_pairs, q, q)
        """
        kept = self._is_kept(theta)
        curvature = self.row_curvature(theta)
        total = float(curvature.sum())
        rng = np.random.default_rng(SEED)
        rows = repeated(curvature, n_terms / total if total else 0.0, rng)
        if self._n_outputs == 1:
            sizes = np.array([len(rows)])
        else:
            total /= 2
            pairs = draw_pairs(*self._proba_of(theta, rows, kept), rng)
            rows = rows[np.argsort(pairs, kind="stable")]
            sizes = np.bincount(pairs, minlength=number_of_pairs(self._n_outputs))
        q = (self.samples.n_features if transform is None else transform.shape[-1]) + self.layout.fit_intercept
        self.n_passes += self.passes_of_moments(len(rows) / len(curvature), q)
        moments = self.samples.moments_of(rows, sizes, center, transform, self.layout.fit_intercept)
        return moments * (total / n_terms)

    def _proba_of(self, theta: FloatArray, rows: IntArray, kept: bool) -> tuple[FloatArray, IntArray]:
        """Probabilities (K, n) which have those of some rows, in order, and where these are there."""
        if kept:
            assert self._proba is not None
            return self._proba, rows
        is_first = np.diff(rows, prepend=-1) > 0
        proba = softmax(self.network.forward(theta, self.samples.block_of(rows[is_first])))
        return proba, np.cumsum(is_first) - 1

    def row_curvature(self, theta: FloatArray) -> FloatArray:
        """The trace of w (diag p - p p') of each row, (n,): its share of the curvature, but for the size of x."""
        kept = self._is_kept(theta)
        out = np.empty(self.samples.n_rows)

        def block_trace(block: Block) -> None:
            proba = self._block_proba(theta, block, kept)
            here = out[block.start : block.stop]
            if len(proba) == 1:
                np.multiply(proba[0], 1 - proba[0], out=here)
            else:
                np.subtract(1, np.einsum("kb,kb->b", proba, proba), out=here)
                # Rounding may leave a row that is certain below zero.
                np.maximum(here, 0.0, out=here)
            if block.w is not None:
                here *= block.w

        self.samples.each(block_trace, lambda _: None)
        if not kept:
            self.n_passes += 0.5
        return out

    def diagonal_moments(self, theta: FloatArray, center: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Sums over rows of w p_k (1 - p_k), (J,), and of the same times (x_j - center_j)^2, (J, p)."""
        kept = self._is_kept(theta)

        def block_terms(block: Block) -> tuple[FloatArray, FloatArray]:
            proba = self._block_proba(theta, block, kept).astype(np.float64, copy=False)
            h = proba * (1 - proba)
            if block.w is not None:
                h *= block.w
            return h.sum(axis=1), block.weighted_squares(h, center)[1]

        shares, squares = self.samples.sum(block_terms)
        self.n_passes += 0.5
        return shares, squares

    def curvature_left(self, theta: FloatArray, center: FloatArray) -> FloatArray:
        """Share of the curvature of the model without features that each column has left at theta, (J, p).

        That is sum w p_k (1 - p_k) (x_j - mean)^2 about the mean with these weights, against the same with the shares
        of the classes for p; NaN where a column does not vary.
        """
        kept = self._is_kept(theta)

        def block_terms(block: Block) -> tuple[FloatArray, FloatArray, FloatArray]:
            proba = self._block_proba(theta, block, kept).astype(np.float64, copy=False)
            h = np.vstack([proba * (1 - proba), np.ones(proba.shape[1])])
            if block.w is not None:
                h *= block.w
            return h.sum(axis=1), *block.weighted_squares(h, center)

        mass, sums, squares = self.samples.sum(block_terms)
        self.n_passes += 1
        about_mean = squares - sums**2 / np.maximum(mass, np.finfo(np.float64).tiny)[:, None]
        # Rounding of squares that cancel is no curvature.
        about_mean = np.where(about_mean > _ROUNDINGS * squares, about_mean, 0.0)
        shares = self.samples.class_weights[-len(mass) + 1 :] / self.samples.total_weight
        null = (shares * (1 - shares))[:, None] * about_mean[-1]
        return np.divide(about_mean[:-1], null, out=np.full_like(null, np.nan), where=null > 0)

    def of_some_rows(self, n_rows: int) -> "NegativeLogLikelihood":
        """That of some rows, drawn evenly."""
        return NegativeLogLikelihood(self.network, drawn_evenly(self.samples, n_rows))

    def kronecker_moments(
        self, theta: FloatArray, center: FloatArray, transform: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray, float]:
        """Sums that make A (x) S nearest the data's Hessian row by row, with h = 1 - sum_k p_k^2 as weight.

        Returns
        -------
        A : array (J, J), sum w (diag p - p p') over sum w h
        sums : array (r,), sum w h v, with v = transform' (x - center)
        S : array (r, r), sum w h v v'
        mass : sum w h
        """
        kept = self._is_kept(theta)

        def block_terms(block: Block) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, float]:
            proba = self._block_proba(theta, block, kept).astype(np.float64, copy=False)
            if len(proba) == 1:
                h = 2 * proba[0] * (1 - proba[0])
            else:
                h = np.maximum(1 - np.einsum("kb,kb->b", proba, proba), 0.0)
            weighted = proba if block.w is None else proba * block.w
            h = h if block.w is None else h * block.w
            columns = block.features(center, transform)
            moved = columns * h
            return (
                weighted.sum(axis=1),
                sum_over_rows(weighted, proba.T),
                moved.sum(axis=1),
                sum_over_rows(moved, columns.T),
                float(h.sum()),
            )

        rank = transform.shape[-1]
        shares, outer, sums, squares, mass = self.samples.sum(block_terms, rank)
        self.n_passes += 0.5 + rank * rank / (2 * self._n_outputs * self.samples.n_features)
        return (np.diag(shares) - outer) / mass, sums, squares, mass


def _free_proba(z: FloatArray) -> FloatArray:
    """Probabilities (J, B), of the second class alone where J = 1."""
    proba = softmax(z)
    return proba[1:] if len(z) == 1 else proba


def _least_curvature_of(proba: FloatArray) -> float:
    """A bound from below of p_k p_l for all rows and pairs of classes, by the extremes of the probabilities."""
    low = float(proba.min())
    if len(proba) > 1:
        return low**2
    high = float(proba.max())
    return min(low * (1 - low), high * (1 - high))


def _own_below(proba: FloatArray, y: IntArray, limit: float) -> BoolArray:
    """Whether the label of a row has a probability below the limit, from what `nll_and_residual` keeps."""
    if len(proba) == 1:
        return proba[0] > 1 - limit
    return proba[y, np.arange(len(y))] < limit


def _weighted_curvature(proba: FloatArray, dz: FloatArray, block: Block) -> FloatArray:
    """w (diag p - p p') dz, in place."""
    dz = curvature_product(proba, dz)
    if block.w is not None:
        dz *= block.w
    return dz
