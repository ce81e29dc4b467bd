"""Coordinates in which the linear problem is round.

Theta = (W, b) is written as

    W = W0 + Q V T',    b = b0 + Q beta c - Q V T' m            psi = (V, beta), shape (M, q), flat

Q (J, M) spans the logits that the likelihood can tell apart, T (p, r) whitens the columns of X, m is their
mean (centring is algebra on the intercept) and c a constant. Directions of X without variation beyond the
rounding of its entries, collinear columns among them, are left out of T, so that psi is identified; what W
has in them is removed at the end (`Coordinates.minimum_norm`), which gives the minimum-norm member of the
equivalent estimates.

The map is affine and the penalty is always that of W itself, so the estimate does not depend on the map. At
the model without features (W = 0, b = log class shares) the Hessian is exactly A (x) N S, where
A = Q' (diag pi - pi pi') Q, S are the second moments of X about m, and N is the total weight. T makes
a N S + I / C the identity, with a the mean eigenvalue of A.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from ._layout import Layout, gauge_basis
from ._samples import Samples
from ._typing import FloatArray, Scalar
from ._whitening import Columns, columns_of, diagonal_transform, is_level, penalised_whitening, whitening

# Above this many columns second moments cost more than they gain: only scales are taken.
_MAX_DENSE_FEATURES = 3000
_MAX_SPARSE_FEATURES = 500
# Moments of columns that are mixed afterwards lose so much to cancellation, of sixteen digits.
_MILD = 1e4
# Means of so many deviations cost moments two digits.
_NEAR = 10.0
# The second finds what rounding has left of the first.
_PROJECTIONS = 2
# W x + b loses log10 of (mean / scale) digits; above this, blocks of rows are shifted instead.
_MAX_OFFSET = {"d": 1e4, "f": 1.0}


@dataclass(frozen=True)
class Coordinates:
    """The map psi -> theta of the module's docstring, for one set of samples.

    Attributes
    ----------
    layout : Layout of theta
    basis : Q, shape (J, M)
    transform : T, shape (p, r), or (p,) where it is diagonal
    center : m, shape (p,), relative to `Samples.shift`
    scale : deviations of the columns from their means, shape (p,)
    constant : c, what the intercept's coordinate is multiplied by
    origin : theta at psi = 0
    null : directions (p, n_null) of the original columns in which X does not vary, of length one
    feature_metric : T' (a N S) T as (r, r), or its diagonal (r,): curvature at the null model, per unit of A / a
    of_sample : whether S is that of a sample of the rows
    all_logits : whether Q is the identity, so that psi keeps the gauge of K logits
    centred : whether there is anything to centre
    rank, shape, size : r whitened columns, (M, q) of psi, and M q
    by_feature : whether psi holds (M, q) column after column: where theta does, and T does not mix columns
    """

    layout: Layout
    basis: FloatArray
    transform: FloatArray
    center: FloatArray
    scale: FloatArray
    constant: float
    origin: FloatArray
    null: FloatArray
    feature_metric: FloatArray
    of_sample: bool = False

    all_logits: bool = field(init=False)
    centred: bool = field(init=False)
    rank: int = field(init=False)
    shape: tuple[int, int] = field(init=False)
    size: int = field(init=False)
    by_feature: bool = field(init=False)

    def __post_init__(self) -> None:
        rank, (n_outputs, n_logits) = int(self.transform.shape[-1]), self.basis.shape
        shape = n_logits, rank + self.layout.fit_intercept
        derived = {
            "all_logits": n_outputs == n_logits,
            "centred": bool(self.center.any()),
            "rank": rank,
            "shape": shape,
            "size": shape[0] * shape[1],
            "by_feature": self.layout.by_feature and self.transform.ndim == 1,
        }
        # Asked for at each evaluation, where a cached property takes a lock. The dataclass is frozen.
        self.__dict__.update(derived)

    def blocks(self, psi: NDArray[Scalar]) -> NDArray[Scalar]:
        """Psi, or what there is of each of its coordinates, as (M, q), a view."""
        return psi.reshape(self.shape[::-1]).T if self.by_feature else psi.reshape(self.shape)

    def flat(self, blocks: FloatArray) -> FloatArray:
        """Psi of blocks (M, q)."""
        return blocks.T.ravel() if self.by_feature else blocks.ravel()

    def push_direction(self, psi: FloatArray) -> FloatArray:
        """The linear part of psi -> theta."""
        blocks = self.blocks(psi)
        V = blocks[:, : self.rank]
        W = self.logits(V * self.transform if self.transform.ndim == 1 else V @ self.transform.T)
        if not self.layout.fit_intercept:
            return self.layout.pack([(W, None)])
        b = self.logits(blocks[:, -1]) * self.constant
        return self.layout.pack([(W, b - W @ self.center if self.centred else b)])

    def logits(self, free: FloatArray) -> FloatArray:
        """Q times rows (M, ...)."""
        return free if self.all_logits else self.basis @ free

    def free(self, logits: FloatArray) -> FloatArray:
        """Q' times rows (J, ...)."""
        return logits if self.all_logits else self.basis.T @ logits

    def without_gauge(self, logits: FloatArray) -> FloatArray:
        """Rows (J, ...) less what moves all logits of a sample alike."""
        if len(logits) == 1:
            return logits
        return logits - logits.mean(axis=0)

    def push(self, psi: FloatArray) -> FloatArray:
        """Theta at psi."""
        return self.origin + self.push_direction(psi)

    def pull(self, grad: FloatArray) -> FloatArray:
        """Gradient by psi from the gradient by theta: the transpose of `push_direction`."""
        ((G, g),) = self.layout.unpack(grad)
        G = self.free(G)
        psi = np.empty(self.size)
        out = self.blocks(psi)
        if g is not None:
            g = self.free(g)
            out[:, -1] = g * self.constant
            if self.centred:
                # In the order of G: mixed orders are slow.
                G = (G.T - np.outer(self.center, g)).T if self.by_feature else G - np.outer(g, self.center)
        if self.transform.ndim == 1:
            np.multiply(G, self.transform, out=out[:, : self.rank])
        else:
            np.matmul(G, self.transform, out=out[:, : self.rank])
        return psi

    def penalty_metric(self, precision: float) -> FloatArray:
        """T'T / C with a zero for the intercept: (q, q), or its diagonal (q,) for a diagonal T."""
        q = self.shape[1]
        if self.transform.ndim == 1:
            diagonal = np.zeros(q)
            diagonal[: self.rank] = precision * self.transform**2
            return diagonal
        out = np.zeros((q, q))
        out[: self.rank, : self.rank] = precision * (self.transform.T @ self.transform)
        return out

    @cached_property
    def mild(self) -> bool:
        """Whether second moments of columns, whitened afterwards, keep all but a few digits; whatever their units."""
        if self.transform.ndim == 1:
            return False
        whitened = np.abs(self.transform) * (self.scale / self.constant)[:, None]
        return bool(np.max(np.sum(whitened, axis=0), initial=0.0) ** 2 <= _MILD)

    @cached_property
    def near(self) -> bool:
        """Whether the columns lie so near to zero that moments centred afterwards keep all but two digits."""
        return bool(np.all(np.abs(self.center) <= _NEAR * self.scale))

    def mixed(self, moments: FloatArray, centred: bool = True) -> FloatArray:
        """Moments (..., q, q) of whitened columns and the constant, from those of the columns, centred or not."""
        n_features, fit_intercept = len(self.transform), self.layout.fit_intercept
        mixing = np.zeros((n_features + fit_intercept, self.shape[1]))
        mixing[:n_features, : self.rank] = self.transform
        if fit_intercept:
            mixing[-1, -1] = 1.0
        if fit_intercept and not centred:
            mixing[-1, : self.rank] = -self.center @ self.transform
        return mixing.T @ moments @ mixing

    def moved_to(self, theta: FloatArray) -> "Coordinates":
        """The same coordinates with theta at psi = 0."""
        return replace(self, origin=theta)

    def minimum_norm(self, theta: FloatArray) -> FloatArray:
        """Theta of the same probabilities with the least ||W||: no component in `null`, sums over classes zero.

        What is taken off is a sum of the directions themselves, whose small entries are known as well as the large
        ones: an orthonormal basis has rounding in them, which columns of a large unit would make logits of.
        """
        ((W, b),) = self.layout.unpack(theta)
        if self.null.shape[1]:
            basis, triangle = linalg.qr(self.null, mode="economic")
            for _ in range(_PROJECTIONS):
                spurious = self.null @ linalg.solve_triangular(triangle, basis.T @ W.T)
                if b is not None:
                    # Along a null direction X is constant: its mean times the component goes to the intercept.
                    b = b + self.center @ spurious
                W = W - spurious.T
        return self.layout.pack([(self.without_gauge(W), None if b is None else self.without_gauge(b))])


def null_coordinates(
    network_layout: Layout, samples: Samples, C: float, *, whiten: bool = False
) -> tuple[Coordinates, FloatArray]:
    """Coordinates that are round at the model without features.

    Parameters
    ----------
    network_layout : Layout of the linear model
    samples : Samples
        Its `shift` is set where the columns lie too far from zero for W x + b to keep its digits.
    C : float
    whiten : bool
        Take second moments however many columns there are: who inverts the Hessian afterwards can afford them.

    Returns
    -------
    coordinates : Coordinates, with that model at psi = 0
    class_metric : array (M, M), the curvature A there divided by its mean eigenvalue
    """
    fit_intercept = network_layout.fit_intercept
    basis = gauge_basis(network_layout.widths[-1])
    shares = samples.class_weights / samples.total_weight
    A, intercepts = _null_model(shares, basis, fit_intercept)
    a = np.trace(A) / A.shape[0]
    widest = _MAX_SPARSE_FEATURES if samples.is_sparse else _MAX_DENSE_FEATURES
    wide = samples.n_features > widest and not whiten
    columns, rows = columns_of(samples, fit_intercept, wide)
    mass = a * samples.total_weight
    class_metric = A / a
    if wide:
        transform, feature_metric, null = diagonal_transform(columns, mass, C)
        # Without second moments the model of the curvature is a diagonal: one for each logit.
        basis = np.eye(basis.shape[0])
        class_metric = np.diag(shares * (1 - shares)) / a if len(basis) > 1 else class_metric
    elif np.isinf(C):
        transform, null = whitening(columns, rows, fit_intercept)
        if null.shape[1] and rows is not samples and not is_level(samples, columns, null):
            # What does not vary in some rows may vary in others.
            columns, rows = Columns(samples, fit_intercept, with_moments=True), samples
            transform, null = whitening(columns, samples, fit_intercept)
        transform, null = transform / np.sqrt(mass), null / np.linalg.norm(null, axis=0)
        feature_metric = np.eye(transform.shape[1])
    else:
        transform, feature_metric = penalised_whitening(columns, mass, C)
        null = np.zeros((samples.n_features, 0))
    center = _shifted_center(samples, columns)
    layers = [(np.zeros((basis.shape[0], samples.n_features)), intercepts)]
    coordinates = Coordinates(
        network_layout,
        basis,
        transform,
        center,
        columns.scale,
        1.0 / np.sqrt(mass),
        network_layout.pack(layers),
        null,
        feature_metric,
        rows is not samples,
    )
    return coordinates, class_metric


def rewhitened(
    coordinates: Coordinates, samples: Samples, curvature: FloatArray, C: float, theta: FloatArray
) -> Coordinates | None:
    """Coordinates that are round where the rows bend the likelihood as they do at theta, which is psi = 0 in them.

    Where rows of huge entries have saturated, what is left of the curvature may be below the rounding of columns that
    these rows have scaled: codes such as 1e9 for a missing value, among values of order one.

    Parameters
    ----------
    coordinates : Coordinates, with a dense transform
    samples : Samples
    curvature : array (n,), the trace of w (diag p - p p') of each row (`NegativeLogLikelihood.row_curvature`)
    C : float
    theta : array (d,)

    Returns
    -------
    Coordinates, or None where columns do not vary in the rows that bend it but do in others
    """
    rows = samples.reweighted(curvature)
    if not rows.total_weight > 0:
        return None
    columns = Columns(rows, coordinates.layout.fit_intercept, with_moments=True)
    mass = rows.total_weight / coordinates.shape[0]
    if np.isinf(C):
        transform, _ = whitening(columns, rows, coordinates.layout.fit_intercept)
        if transform.shape[1] < coordinates.rank:
            return None
        transform /= np.sqrt(mass)
        feature_metric: FloatArray = np.eye(transform.shape[1])
    else:
        transform, feature_metric = penalised_whitening(columns, mass, C)
    samples.n_passes += rows.n_passes
    return replace(
        coordinates,
        transform=transform,
        center=columns.mean,
        scale=columns.scale,
        constant=1.0 / np.sqrt(mass),
        origin=theta,
        feature_metric=feature_metric,
        of_sample=False,
    )


def _null_model(shares: FloatArray, basis: FloatArray, fit_intercept: bool) -> tuple[FloatArray, FloatArray | None]:
    """Curvature A in the class basis, and the intercepts, of the best model without features."""
    if not fit_intercept:
        shares = np.full_like(shares, 1 / len(shares))
    # A class without weight would have a share of zero, and a curvature of zero.
    shares = np.maximum(shares, 1e-300)
    if basis.shape[0] == 1:
        return np.array([[shares[0] * shares[1]]]), np.log(shares[1:] / shares[:1]) if fit_intercept else None
    A = basis.T @ (np.diag(shares) - np.outer(shares, shares)) @ basis
    logs = np.log(shares)
    return A, logs - logs.mean() if fit_intercept else None


def box_coordinates(
    layout: Layout, samples: Samples, C: float, bounds: tuple[FloatArray, FloatArray]
) -> tuple[Coordinates, tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
    """Coordinates for box constraints on W, which admit no more than a scaling of each column.

    Returns
    -------
    coordinates : Coordinates with all J outputs and a diagonal T
    box : arrays (J, q), flat: the bounds of psi; intercepts are free
    bounds : the bounds of W. A column that varies nowhere is held at the least coefficient that its own allow.
    """
    n_outputs = layout.widths[-1]
    basis = np.eye(n_outputs)
    shares = samples.class_weights / samples.total_weight
    _, intercepts = _null_model(shares, gauge_basis(n_outputs), layout.fit_intercept)
    mass = float(np.mean(shares * (1 - shares))) * samples.total_weight
    columns = Columns(samples, layout.fit_intercept, with_moments=False)
    curvature = mass * columns.scale**2 + 1 / C
    transform = 1 / np.sqrt(np.where(curvature > 0, curvature, 1.0))
    least = np.clip(0.0, *bounds)
    bounds = np.where(columns.scale > 0, bounds[0], least), np.where(columns.scale > 0, bounds[1], least)
    coordinates = Coordinates(
        layout,
        basis,
        transform,
        _shifted_center(samples, columns),
        columns.scale,
        1.0 / np.sqrt(mass),
        layout.pack([(np.zeros((n_outputs, layout.widths[0])), intercepts)]),
        np.zeros((layout.widths[0], 0)),
        mass * columns.scale**2 * transform**2,
    )
    box = []
    for bound, free in zip(bounds, (-np.inf, np.inf), strict=True):
        side = np.full(coordinates.shape, free)
        side[:, : coordinates.rank] = bound / transform
        box.append(coordinates.flat(side))
    return coordinates, (box[0], box[1]), bounds


def box_point(coordinates: Coordinates, theta: FloatArray) -> FloatArray:
    """Psi at theta, in the coordinates of `box_coordinates`."""
    ((W, b),) = coordinates.layout.unpack(theta - coordinates.origin)
    blocks = np.empty(coordinates.shape)
    blocks[:, : coordinates.rank] = W / coordinates.transform
    if b is not None:
        blocks[:, -1] = (b + W @ coordinates.center) / coordinates.constant
    return coordinates.flat(blocks)


def _shifted_center(samples: Samples, columns: Columns) -> FloatArray:
    """Set `samples.shift` where W x + b would lose its digits; return the means that are left."""
    offsets = np.abs(columns.mean) > _MAX_OFFSET[samples.dtype.char] * columns.scale
    if samples.is_sparse or not (offsets & (columns.scale > 0)).any():
        return columns.mean
    samples.shift = columns.mean.astype(samples.dtype)
    return columns.mean - samples.shift
