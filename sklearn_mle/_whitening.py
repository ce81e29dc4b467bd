"""What the columns of X are like, and transforms in which they are white.

Means, scales and second moments of the columns, of a sample of the rows where there are many, and the factors of the
moments that make them, or a penalised curvature, the identity.
"""

import numpy as np
from scipy.linalg import lapack

from ._block import Block
from ._draws import drawn_evenly
from ._samples import Samples
from ._typing import FloatArray

# A residual of at most this many roundings of the entries it came from is taken for rounding.
_ROUNDINGS = 32.0
# Of a column of variance one, the part that Gram's matrix (of squared condition) still shows in digits enough.
_SAFE_PIVOT = 1e-8
_MAX_REFINEMENTS = 6
# Squares taken this many deviations off the mean keep ten digits of the variance.
_FAR = 1e3
# Second moments of a sample of this many rows a column whiten well enough, where there are many more.
_MOMENT_ROWS = 30
_LEAST_MOMENT_ROWS = 4096
_MANY_ROWS = 4


class Columns:
    """Means, scales and (where asked) second moments of the columns about their means; one pass, seldom two."""

    def __init__(self, samples: Samples, center: bool, with_moments: bool) -> None:
        pilot = samples.pilot_mean() if center else np.zeros(samples.n_features)
        self._take(samples, pilot, center, with_moments)
        if center and (np.abs(self.mean - pilot) > _FAR * self.scale).any():
            # The pilot was too far off: squares about it have lost the variance to rounding.
            self._take(samples, self.mean, center, with_moments)
        # The entries of a column are known to their rounding.
        self.rounding = samples.rounding * np.hypot(self.mean, self.scale)
        if center:
            self.scale[self.scale <= _ROUNDINGS * self.rounding] = 0.0

    def _take(self, samples: Samples, pilot: FloatArray, center: bool, with_moments: bool) -> None:
        """Mean, scale and moments from sums about the pilot."""
        gram = None
        # What overflows is refused below.
        with np.errstate(over="ignore", invalid="ignore"):
            if with_moments:
                sums, gram = samples.gram(pilot, None)
                squares = np.diag(gram).copy()
            else:
                sums, squares = samples.column_sums(pilot)
        if not np.isfinite(squares).all():
            large = np.flatnonzero(~np.isfinite(squares)).tolist()
            raise ValueError(f"Entries of X too large to be squared in float64, in columns {large}: change their unit.")
        offset = sums / samples.total_weight if center else np.zeros(samples.n_features)
        self.mean = pilot + offset
        self.scale = np.sqrt(np.maximum(squares / samples.total_weight - offset**2, 0.0))
        self._moments = None if gram is None else gram / samples.total_weight - np.outer(offset, offset)

    @property
    def moments(self) -> FloatArray:
        """Second moments about the means, (p, p), where they were asked for."""
        assert self._moments is not None
        return self._moments


def columns_of(samples: Samples, fit_intercept: bool, wide: bool) -> tuple[Columns, Samples]:
    """Statistics of the columns, and the rows that they are of: a sample does where all columns vary in it."""
    enough = max(_LEAST_MOMENT_ROWS, _MOMENT_ROWS * samples.n_features)
    if not wide and samples.n_rows >= _MANY_ROWS * enough:
        rows = drawn_evenly(samples, enough)
        if rows.total_weight > 0:
            columns = Columns(rows, fit_intercept, with_moments=True)
            if (columns.scale > 0).all():
                return columns, rows
    return Columns(samples, fit_intercept, with_moments=not wide), samples


def whitening(columns: Columns, samples: Samples, center: bool) -> tuple[FloatArray, FloatArray]:
    """T (p, r) with T' S T = I, and directions that span the null space of X, by pivoted Cholesky with refinement.

    A Gram matrix shows a nearly dependent column only down to the square root of the rounding. Columns with
    less of their own than that are replaced by their residual, and the Gram matrix of the replaced columns
    is taken anew from the rows: CholeskyQR2 with pivoting (Fukaya et al., 2020, SIAM J. Sci. Comput. 42(1)).
    """
    n_features = samples.n_features
    varying = np.flatnonzero(columns.scale > 0)
    transform = np.zeros((n_features, len(varying)))
    transform[varying, np.arange(len(varying))] = 1 / columns.scale[varying]
    gram = columns.moments if len(varying) == n_features else columns.moments[np.ix_(varying, varying)]
    gram = (gram / columns.scale[varying]) / columns.scale[varying, None]
    null = [np.eye(n_features)[:, columns.scale == 0]]
    for refinement in range(_MAX_REFINEMENTS + 1):
        deviation = np.sqrt(np.maximum(np.diag(gram), 0.0))
        empty = deviation <= _ROUNDINGS * (columns.rounding @ np.abs(transform))
        null.append(transform[:, empty])
        if empty.any():
            deviation, transform, gram = deviation[~empty], transform[:, ~empty], gram[np.ix_(~empty, ~empty)]
        transform = transform / deviation
        gram = gram / np.outer(deviation, deviation)
        if not transform.shape[1]:
            break
        factor, pivots, rank, _ = lapack.dpstrf(gram, tol=_SAFE_PIVOT, lower=1)
        order = pivots - 1
        own, rest = order[:rank], order[rank:]
        lower = np.tril(factor[:rank, :rank])
        kept = lapack.dtrtrs(lower, transform[:, own].T, lower=1)[0].T
        # What a column has of its own may be rounding even where the column is not.
        spurious = _ROUNDINGS * (columns.rounding @ np.abs(kept)) >= 1.0
        null.append(kept[:, spurious])
        kept = kept[:, ~spurious]
        if not len(rest):
            transform = kept
            break
        residual = transform[:, rest] - kept @ factor[rank:, :rank][:, ~spurious].T
        if refinement == _MAX_REFINEMENTS:
            null.append(residual)
            transform = kept
            break
        transform = np.hstack([kept, residual])
        sums, gram = samples.gram(columns.mean, transform)
        gram /= samples.total_weight
        if center:
            gram -= np.outer(sums, sums) / samples.total_weight**2
    return transform, _without_rounding(np.hstack(null), columns, samples.rounding)


def _without_rounding(null: FloatArray, columns: Columns, eps: float) -> FloatArray:
    """Directions without the entries that are rounding in columns of unit scale.

    In a column of a small unit they might be the largest there are.
    """
    size = np.abs(null) * np.where(columns.scale > 0, columns.scale, 1.0)[:, None]
    return np.where(size > _ROUNDINGS * eps * size.max(axis=0, initial=0.0), null, 0.0)


def is_level(samples: Samples, columns: Columns, directions: FloatArray) -> bool:
    """Whether no row leaves the mean along some directions (p, m) by more than rounding; statistics may be a sample's.

    That takes a thin product with X, where second moments of all columns are one as wide as X.
    """
    means, most = columns.mean @ directions, _ROUNDINGS * (columns.rounding @ np.abs(directions))
    farthest = np.zeros(len(means))

    def block_farthest(block: Block) -> FloatArray:
        away = np.abs(block.outputs(directions.T) - means[:, None])
        if block.w is not None:
            away = away[:, block.w > 0]
        return away.max(axis=1, initial=0.0)

    samples.n_passes += len(means) / (2 * samples.n_classes)
    samples.each(block_farthest, lambda away: np.maximum(farthest, away, out=farthest))
    return bool(np.all(farthest <= most))


def penalised_whitening(columns: Columns, mass: float, C: float) -> tuple[FloatArray, FloatArray]:
    """T with T' (a N S + I / C) T = I, and T' (a N S) T."""
    curvature = mass * columns.moments
    scale = 1 / np.sqrt(np.diag(curvature) + 1 / C)
    scaled = curvature * np.outer(scale, scale)
    full = scaled + np.diag(scale**2 / C)
    # Where collinear columns of large scale leave the prior below rounding, the metric rounds it up.
    factor, info = lapack.dpotrf(full, lower=1, clean=1)
    jitter = len(full) * np.finfo(float).eps
    while info:
        factor, info = lapack.dpotrf(full + jitter * np.eye(len(full)), lower=1, clean=1)
        jitter *= 10
    inverse, _ = lapack.dtrtri(factor, lower=1)
    return scale[:, None] * inverse.T, inverse @ scaled @ inverse.T


def diagonal_transform(columns: Columns, mass: float, C: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Diagonal T, the diagonal of T' (a N S) T, and the constant columns as null space where C is inf."""
    curvature = mass * columns.scale**2
    full = curvature + 1 / C
    transform = np.where(full > 0, 1 / np.sqrt(np.where(full > 0, full, 1.0)), 0.0)
    # Rank is not looked for among so many columns; constant ones keep their coefficient of zero.
    return transform, curvature * transform**2, np.zeros((len(full), 0))
