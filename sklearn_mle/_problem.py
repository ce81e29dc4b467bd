"""The objective in round coordinates: what the solvers see."""

from collections.abc import Callable
from functools import cached_property, partial

import numpy as np

from ._block import Block
from ._curvature import CoupledCurvature, Curvature, DiagonalCurvature, KroneckerCurvature
from ._moments import together
from ._objective import NegativeLogLikelihood
from ._pairs import between_logits, number_of_pairs
from ._precondition import Coordinates
from ._selection import Selection
from ._typing import FloatArray, IntArray

# The Hessian that priced a step may be that of the point before.
_CURVATURE_MAY_BE_OLD = 100.0

# Probabilities of rows that steps by and by would not have made, and the share of its curvature that a column has lost.
_IMPROBABLE = 1e-13
_NO_CURVATURE = 1e-12
_SOME_ROWS, _MANY = 2000, 4


class RoundProblem:
    """An objective in the coordinates psi: what the solvers see.

    Parameters
    ----------
    objective : NegativeLogLikelihood of the linear model
    coordinates : Coordinates
    """

    def __init__(self, objective: NegativeLogLikelihood, coordinates: Coordinates) -> None:
        self.objective = objective
        self.coordinates = coordinates
        self._pushed: tuple[Coordinates, FloatArray, FloatArray] | None = None

    # Whether no model of the curvature but `hessian` will do.
    always_exact = False
    # Whether what an evaluation costs is its calls.
    of_few_rows = False

    @property
    def has_prior(self) -> bool:
        """Whether a prior sees to it that there is a minimum."""
        return self.objective.precision > 0

    @property
    def is_double(self) -> bool:
        """Whether the data are in double precision."""
        return self.objective.samples.dtype == np.float64

    @cached_property
    def separated_below(self) -> float:
        """Where the negative log-likelihood is below this each row is more probable than not: the estimate separates.

        No row costs log 2 then. The infimum is 0, and at infinity. -inf where there is a prior, or soft labels.
        """
        samples = self.objective.samples
        if self.has_prior or self.always_exact or samples.y.ndim == 2:
            return -np.inf
        least = 1.0 if samples.w is None else float(samples.w[samples.w > 0].min())
        return least * float(np.log(2))

    def separates(self, psi: FloatArray) -> bool:
        """Whether psi makes each row more probable than not: the infimum is 0 then, and at infinity."""
        possible = np.isfinite(self.separated_below)
        return possible and not len(self.objective.rows_above(self._theta(psi), float(np.log(2))))

    def penalty(self, psi: FloatArray) -> float:
        """What the prior adds to the negative log-likelihood."""
        return self.objective.penalty(self.coordinates.push(psi))

    @property
    def size(self) -> int:
        """Number of free coordinates."""
        return self.coordinates.size

    def _theta(self, psi: FloatArray) -> FloatArray:
        """Theta at psi; kept for the products that are asked for at one point."""
        if self._pushed is None or self._pushed[0] is not self.coordinates or not np.array_equal(psi, self._pushed[1]):
            self._pushed = self.coordinates, psi.copy(), self.coordinates.push(psi)
        return self._pushed[2]

    def value_and_grad(self, psi: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient by psi."""
        value, grad = self.objective.value_and_grad(self._theta(psi))
        return value, self.coordinates.pull(grad)

    def hessp(self, psi: FloatArray, direction: FloatArray) -> FloatArray:
        """Hessian by psi times a direction."""
        coordinates = self.coordinates
        product = self.objective.hessp(self._theta(psi), coordinates.push_direction(direction))
        return coordinates.pull(product)

    def hessian(self, psi: FloatArray) -> FloatArray:
        """Hessian by psi, (d, d)."""
        theta, n_rows = self._theta(psi), self.objective.samples.n_rows
        by_column = together(self._n_pairs, self.coordinates.shape[1])
        return self._hessian_of(partial(self.objective.pair_moments, theta), n_rows, by_column)

    def hessian_on(self, psi: FloatArray, selection: Selection) -> FloatArray:
        """Hessian by some of psi, (n, n), where T is diagonal and Q the identity (`box_coordinates`)."""
        coordinates, objective = self.coordinates, self.objective
        n_columns = len(selection.columns)
        constant = coordinates.layout.fit_intercept and n_columns and selection.columns[-1] == coordinates.rank
        columns = selection.columns[: n_columns - bool(constant)]
        center, scale = coordinates.center[columns, None], coordinates.transform[columns, None]

        def of_block(block: Block, proba: FloatArray) -> FloatArray:
            white = np.empty((n_columns, proba.shape[1]))
            np.subtract(block.columns(columns).T, center, out=white[: len(columns)])
            white[: len(columns)] *= scale
            if constant:
                white[-1] = coordinates.constant
            return selection.curvature(white, proba, block.w)

        return self._with_prior(objective.sum_of_moments(self._theta(psi), of_block, len(selection)), selection)

    def _with_prior(self, hessian: FloatArray, selection: Selection) -> FloatArray:
        if self.has_prior:
            whole = self.coordinates.flat(np.broadcast_to(self.penalty_metric, self.coordinates.shape))
            hessian[np.diag_indices_from(hessian)] += whole[selection.flat]
        return hessian

    def sampled_hessian(self, psi: FloatArray, n_terms: int) -> FloatArray:
        """Hessian by psi from about so many terms of its sum (`NegativeLogLikelihood.sampled_pair_moments`)."""
        return self._hessian_of(partial(self.objective.sampled_pair_moments, self._theta(psi), n_terms), n_terms)

    def _hessian_of(
        self,
        moments_by: Callable[[FloatArray | None, FloatArray | None], FloatArray],
        n_rows: int,
        by_column: bool = False,
    ) -> FloatArray:
        """The Hessian from moments of so many rows, centred and transformed before or after they are taken.

        Columns that have to be laid out one by one are centred in doing so.
        """
        coordinates = self.coordinates
        late = n_rows > 2 * self._n_pairs * coordinates.rank and coordinates.mild
        near = late and coordinates.near and not by_column
        moments = moments_by(None if near else coordinates.center, None if late else coordinates.transform)
        if late:
            moments = coordinates.mixed(moments, centred=not near)
        if self.objective.layout.fit_intercept:
            moments[:, :, -1] *= coordinates.constant
            moments[:, -1, :] *= coordinates.constant
        return self._assembled(moments)

    def _assembled(self, moments: FloatArray) -> FloatArray:
        """The Hessian from second moments (n_pairs, q, q) of whitened columns and the constant."""
        coordinates = self.coordinates
        n_logits, q = coordinates.shape
        hessian = between_logits(moments.reshape(len(moments), q * q), len(coordinates.basis), coordinates.all_logits)
        if self.objective.precision:
            penalty = self.penalty_metric
            # Of (M M, q q), the blocks of a logit with itself.
            hessian[:: n_logits + 1] += (np.diag(penalty) if penalty.ndim == 1 else penalty).ravel()
        # (M, M, q, q) to (M, q, M, q), which is (d, d).
        order = (2, 0, 3, 1) if coordinates.by_feature else (0, 2, 1, 3)
        return hessian.reshape(n_logits, n_logits, q, q).transpose(order).reshape(self.size, self.size)

    @cached_property
    def penalty_metric(self) -> FloatArray:
        """T'T / C with a zero for the intercept, or its diagonal."""
        return self.coordinates.penalty_metric(self.objective.precision)

    def surprising_rows(self, psi: FloatArray) -> IntArray:
        """Rows that no sample of this size would have, were the model at psi true: of a chance below 1 / (10 n)."""
        return self.objective.rows_above(self._theta(psi), np.log(10 * self.objective.samples.n_rows))

    def largest_move(self, direction: FloatArray) -> float:
        """The most that a direction of psi moves two logits of a row apart.

        The third derivative of a row along it is at most that times the second: so much may the logarithm of its
        curvature change (Bach, 2010, Electronic Journal of Statistics 4, on self-concordance).
        """
        return self.objective.largest_logit_change(self.coordinates.push_direction(direction))

    def moves_logits(self, psi: FloatArray, step: FloatArray, decrement: float, most: float) -> bool:
        """Whether the Newton step s from psi, which leaves so much, moves two logits of a row apart by over `most`.

        s'Hs, twice the decrement, is a sum over rows and pairs of classes of w p_k p_l times the squared change of
        z_k - z_l: where the step is small, only rows that hardly bend the likelihood can be moved so far.
        """
        little = _CURVATURE_MAY_BE_OLD * 2 * decrement / most**2
        rows = self.objective.rows_of_little_curvature(self._theta(psi), little) if np.isfinite(little) else None
        return self.objective.largest_logit_change(self.coordinates.push_direction(step), rows) > most

    def has_leapt(self, psi: FloatArray) -> bool:
        """Whether rows have been moved so far that some column has no curvature left, and shows none by its gradient.

        Columns that separate some rows are, by a step that is not Newton's own: where the likelihood is all but linear
        in them, as far as the model of the curvature says.
        """
        theta, objective, center = self._theta(psi), self.objective, self.coordinates.center
        rows = objective.rows_of_little_curvature(theta, _IMPROBABLE**2)
        if rows is not None and not len(rows):
            return False
        if objective.samples.n_rows > _MANY * _SOME_ROWS:
            # A column without curvature in all rows has none in some of them, or is constant there.
            left = objective.of_some_rows(_SOME_ROWS).curvature_left(theta, center)
            if np.all(left >= _NO_CURVATURE):
                return False
        return bool((objective.curvature_left(theta, center) < _NO_CURVATURE).any())

    def is_certain(self, psi: FloatArray) -> bool:
        """Whether some row is so certain of its class, or that it is not of another, that it has no curvature left."""
        theta = self._theta(psi)
        rows = self.objective.rows_of_little_curvature(theta, _IMPROBABLE**2)
        if rows is None:
            # The last point that a method has tried was another.
            self.objective.value_and_grad(theta)
            rows = self.objective.rows_of_little_curvature(theta, _IMPROBABLE**2)
        return rows is not None and len(rows) > 0

    @property
    def _n_pairs(self) -> int:
        return number_of_pairs(len(self.coordinates.basis))

    def diagonal_curvature(self, psi: FloatArray) -> Curvature:
        """A model of the Hessian at psi from its diagonal."""
        coordinates = self.coordinates
        if coordinates.basis.shape[0] == 1:
            return DiagonalCurvature(self.hessian_diagonal(psi))
        return CoupledCurvature(self._data_diagonal(psi), self.penalty_metric, coordinates.by_feature)

    def hessian_diagonal(self, psi: FloatArray) -> FloatArray:
        """Diagonal of the Hessian by psi, (d,), where T is diagonal and Q the identity (`box_coordinates`)."""
        return self.coordinates.flat(self._data_diagonal(psi) + self.penalty_metric)

    def _data_diagonal(self, psi: FloatArray) -> FloatArray:
        """The diagonal of the data's part of the Hessian, as blocks (M, q)."""
        coordinates = self.coordinates
        shares, squares = self.objective.diagonal_moments(self._theta(psi), coordinates.center)
        diagonal = coordinates.blocks(np.empty(self.size))
        diagonal[:, : coordinates.rank] = squares * coordinates.transform**2
        if self.objective.layout.fit_intercept:
            diagonal[:, -1] = shares * coordinates.constant**2
        return diagonal

    def cheap_curvature(self, psi: FloatArray) -> Curvature:
        """A model of the Hessian at psi for a pass or a few: Kronecker's, or the diagonal where T is diagonal."""
        coordinates = self.coordinates
        if coordinates.transform.ndim == 1:
            return self.diagonal_curvature(psi)
        A, sums, S, mass = self.objective.kronecker_moments(self._theta(psi), coordinates.center, coordinates.transform)
        if self.objective.layout.fit_intercept:
            c = coordinates.constant
            S = np.block([[S, c * sums[:, None]], [c * sums, c * c * mass]])
        A = coordinates.basis.T @ A @ coordinates.basis
        # In directions of less curvature than that the gradient is rounding.
        S[np.diag_indices_from(S)] += np.finfo(self.objective.samples.dtype).eps * np.trace(S) / len(S)
        return KroneckerCurvature(A, S, self.penalty_metric)

    def count(self, part: "RoundProblem") -> None:
        """Count what was spent on some of the rows, or of the columns."""
        part_samples, samples = part.objective.samples, self.objective.samples
        share = part_samples.n_rows * part_samples.n_features / (samples.n_rows * samples.n_features)
        self.objective.n_passes += part.objective.n_passes * share
