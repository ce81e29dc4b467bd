"""What a fit leaves for the next one that starts from its end: the curvature there.

Along a path of C only the prior's part of the Hessian changes where a fit begins, and that part is known. So the model
of the curvature with which the last fit came to its end, put into the coordinates of this one and with its prior, is
what the first steps need, at the price of no pass over the data. It is a model like any other: what it is not good for
costs passes, never digits.
"""

from dataclasses import dataclass

import numpy as np

from ._curvature import Curvature, DenseCurvature, KroneckerCurvature
from ._precondition import Coordinates
from ._problem import RoundProblem
from ._typing import FloatArray

# Roundings of the likelihood at the start by which it may differ from that where the last fit ended. More says that
# data or weights are others, or that coefficients were assigned.
_ROUNDINGS, _ROUNDINGS_OF_DATA = 1e4, 1e2
# Factor by which a coefficient may be longer in the coordinates of a fit with a weaker prior.
_MOST_GROWN = 1e4
# Rows for each column from which on another model of the curvature costs more than to put this one into coordinates.
_ROWS_PER_COLUMN = 6


@dataclass(frozen=True)
class CurvatureMemory:
    """A model of the curvature at an estimate.

    Attributes
    ----------
    coordinates : those that it is in
    shift : `Samples.shift`, or zero
    penalty : the prior's part of it for each logit, (q, q) or its diagonal (q,)
    nll : of the data at the estimate
    matrix : the Hessian (d, d), or second moments (q, q) of the columns
    classes : (M, M), of Kronecker's model; None where the matrix is the Hessian
    """

    coordinates: Coordinates
    shift: FloatArray | float
    penalty: FloatArray
    nll: float
    matrix: FloatArray
    classes: FloatArray | None = None

    @property
    def is_hessian(self) -> bool:
        """Whether it is the Hessian, or that of a sample."""
        return self.classes is None

    def is_of(self, problem: RoundProblem, nll: float) -> bool:
        """Whether it is of these data, which have this likelihood at the start, and of use for the problem."""
        old, new, samples = self.coordinates, problem.coordinates, problem.objective.samples
        if old.layout != new.layout or old.shape != new.shape or old.transform.shape != new.transform.shape:
            return False
        if old.transform.ndim == 2 and not np.array_equal(old.transform, new.transform):
            n_features, rank = old.transform.shape
            if n_features > rank or samples.n_rows < _ROWS_PER_COLUMN * rank:
                return False
        # The prior's part was taken from the sum: what rounding has left there must not count where C is much larger.
        grown = _lengths(new.transform) > _MOST_GROWN * _lengths(old.transform)
        if grown.any():
            return False
        rounding = max(_ROUNDINGS * np.finfo(np.float64).eps, _ROUNDINGS_OF_DATA * samples.rounding)
        mean = new.center + _shift_of(problem)
        moved = np.abs(old.center + self.shift - mean) > rounding * np.abs(mean)
        return not moved.any() and abs(nll - self.nll) <= rounding * abs(self.nll)

    def model(self, problem: RoundProblem) -> Curvature:
        """The curvature at the start of a fit of these data."""
        if self.classes is None:
            return DenseCurvature(self.hessian(problem), elsewhere=True)
        mixing = self._mixing(problem.coordinates)
        return KroneckerCurvature(self.classes, mixing @ self.matrix @ mixing.T, problem.penalty_metric)

    def hessian(self, problem: RoundProblem) -> FloatArray:
        """The same as a matrix (d, d), where it is one."""
        coordinates, (n_logits, q) = problem.coordinates, problem.coordinates.shape
        mixing, size = self._mixing(coordinates), coordinates.size
        order, shape = (0, 1, 2, 3), (n_logits, q, n_logits, q)
        if coordinates.by_feature:
            order, shape = (1, 0, 3, 2), (q, n_logits, q, n_logits)
        blocks = self.matrix.reshape(shape).transpose(order).copy()
        _add_to_logits(blocks, -self.penalty)
        # (I (x) G) H (I (x) G'), a side at a time.
        if coordinates.transform.ndim == 1:
            scales = np.diag(mixing)
            blocks *= scales[:, None, None]
            blocks *= scales
        else:
            for _ in range(2):
                half = (mixing @ blocks.reshape(n_logits, q, size)).reshape(size, size)
                blocks = np.ascontiguousarray(half.T).reshape(n_logits, q, n_logits, q)
        _add_to_logits(blocks, problem.penalty_metric)
        return np.ascontiguousarray(blocks.transpose(order)).reshape(size, size)

    def _mixing(self, new: Coordinates) -> FloatArray:
        """G (q, q): the whitened columns and constant of new coordinates are G times those it was."""
        old = self.coordinates
        mixing = np.eye(new.shape[1])
        T = mixing[: new.rank, : new.rank]
        if old.transform.ndim == 1:
            np.fill_diagonal(T, new.transform / old.transform)
        elif not np.array_equal(old.transform, new.transform):
            # Rows of T are in the inverse units of the columns, which may be anything.
            units = np.linalg.norm(old.transform, axis=1, keepdims=True)
            T[...] = np.linalg.solve(old.transform / units, new.transform / units).T
        if new.layout.fit_intercept:
            mixing[-1, -1] = new.constant / old.constant
        return mixing


def remembered(problem: RoundProblem, model: Curvature | FloatArray | None, nll: float) -> CurvatureMemory | None:
    """Memory of the curvature at an estimate: of a Hessian or Kronecker's model; others are made anew."""
    if problem.always_exact:
        return None
    matrix, classes = model, None
    if isinstance(model, DenseCurvature):
        matrix = model.hessian
    elif isinstance(model, KroneckerCurvature):
        matrix, classes = model.columns, model.classes
    if not isinstance(matrix, np.ndarray):
        return None
    return CurvatureMemory(problem.coordinates, _shift_of(problem), problem.penalty_metric, nll, matrix, classes)


def _shift_of(problem: RoundProblem) -> FloatArray | float:
    shift = problem.objective.samples.shift
    return 0.0 if shift is None else shift.astype(np.float64)


def _lengths(transform: FloatArray) -> FloatArray:
    """Of the rows of T, or its entries where it is diagonal."""
    return transform if transform.ndim == 1 else np.linalg.norm(transform, axis=1)


def _add_to_logits(blocks: FloatArray, metric: FloatArray) -> None:
    """Add to the blocks (M, q, M, q) of each logit with itself."""
    own = np.einsum("mimj->mij", blocks)
    own += np.diag(metric) if metric.ndim == 1 else metric
