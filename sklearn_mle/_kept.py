"""The objective of few rows in round coordinates: their whitened columns are made once, and kept.

With V_i = (T' (x_i - m), c) the logits are linear in psi, z_i = z0_i + Q Psi V_i, so that a pass needs neither theta
nor blocks of rows. What a fit of little data costs is calls, not arithmetic, and this takes few.
"""

from dataclasses import replace
from functools import reduce

import numpy as np

from ._draws import representative
from ._moments import moments_of_columns, square
from ._network import Network
from ._objective import NegativeLogLikelihood
from ._pairs import pair_weights
from ._precondition import Coordinates
from ._problem import RoundProblem
from ._selection import Selection
from ._softmax import curvature_product, nll_and_proba_of_wrong, nll_and_residual, one_hot, total_nll_and_residual
from ._typing import FloatArray, IntArray

# Entries of the whitened columns: a megabyte, which stays in a core's own cache.
_MOST_ENTRIES = 1 << 17
# Entries of the weights of all pairs of classes: 32 MiB.
_MOST_WEIGHTS = 1 << 22


def round_problem(objective: NegativeLogLikelihood, coordinates: Coordinates) -> RoundProblem:
    """The problem in these coordinates, its columns kept where they are few."""
    entries = objective.samples.n_rows * coordinates.shape[1]
    if entries <= _MOST_ENTRIES and not objective.samples.is_sparse:
        return KeptProblem(objective, coordinates)
    return RoundProblem(objective, coordinates)


def sampled_problem(problem: RoundProblem, n_rows: int, n_of_class: int, whole: IntArray | None = None) -> RoundProblem:
    """The problem on some rows that stand for all of them (`Samples.representative`)."""
    objective = problem.objective
    samples = representative(objective.samples, n_rows, n_of_class, whole)
    variance = 1 / objective.precision if objective.precision else np.inf
    return round_problem(NegativeLogLikelihood(objective.network, samples, variance), problem.coordinates)


def problem_on_columns(problem: RoundProblem, columns: IntArray) -> RoundProblem:
    """The problem on some columns (which are copied), in coordinates that do not mix them; all other weights are zero.

    They have to be zero at psi = 0.
    """
    objective, coordinates = problem.objective, problem.coordinates
    n_outputs = coordinates.layout.widths[-1]
    layout = replace(coordinates.layout, widths=(len(columns), n_outputs))
    ((_, b),) = coordinates.layout.unpack(coordinates.origin)
    part = replace(
        coordinates,
        layout=layout,
        transform=coordinates.transform[columns],
        center=coordinates.center[columns],
        scale=coordinates.scale[columns],
        origin=layout.pack([(np.zeros((n_outputs, len(columns))), b)]),
        null=np.zeros((len(columns), 0)),
        feature_metric=coordinates.feature_metric[columns],
    )
    samples = objective.samples.of_columns(columns)
    variance = 1 / objective.precision if objective.precision else np.inf
    return round_problem(NegativeLogLikelihood(Network(layout), samples, variance), part)


class KeptProblem(RoundProblem):
    """A problem of few rows.

    Where there are two classes, and labels, the rows kept are (1 - 2 y_i) V_i, whose product with psi is the logit of
    the wrong class: the likelihood then has no y, and its derivatives no signs.
    """

    of_few_rows = True

    def __init__(self, objective: NegativeLogLikelihood, coordinates: Coordinates) -> None:
        super().__init__(objective, coordinates)
        samples = objective.samples
        self._columns = samples.whole().features(coordinates.center, coordinates.transform, self._has_intercept)
        if self._has_intercept:
            self._columns[-1] = coordinates.constant
        self._origin = self._logits_of_origin()
        self._signed = samples.y.ndim == 1 and len(coordinates.basis) == 1
        if self._signed:
            signs = 1.0 - 2.0 * samples.y
            self._columns *= signs
            self._origin = self._origin * signs
        self._rows = np.ascontiguousarray(self._columns.T)
        self._targets = samples.y if self._signed or samples.y.ndim == 2 else one_hot(samples.y, samples.n_classes)
        self._proba = np.empty((len(coordinates.basis), samples.n_rows))
        self._proba_at: bytes | None = None
        self._hessian_passes = objective.passes_of_moments(self._n_pairs, len(self._columns))
        # 1/2 psi' (I (x) P) psi + slope' psi + what the prior is at psi = 0; no slope where weights are 0 there.
        self._prior: tuple[FloatArray | None, float] | None = None
        if objective.precision:
            ((W, _),) = coordinates.layout.unpack(coordinates.origin)
            slope = None
            if W.any():
                intercepts = np.zeros(len(W)) if self._has_intercept else None
                slope = coordinates.pull(coordinates.layout.pack([(objective.precision * W, intercepts)]))
            self._prior = slope, objective.penalty(coordinates.origin)

    @property
    def _has_intercept(self) -> bool:
        return self.coordinates.layout.fit_intercept

    def _logits_of_origin(self) -> FloatArray:
        """Logits (J, n) at psi = 0, or (J, 1) where they are the same in all rows."""
        ((W, b),) = self.coordinates.layout.unpack(self.coordinates.origin)
        if W.any():
            logits = self.objective.network.forward(self.coordinates.origin, self.objective.samples.whole())
            return logits.astype(np.float64, copy=False)
        return np.zeros((len(W), 1)) if b is None else b[:, None].copy()

    def _outputs(self, psi: FloatArray) -> FloatArray:
        """The linear part of the logits, (J, n)."""
        return self.coordinates.logits(psi.reshape(self.coordinates.shape)) @ self._columns

    def _pulled(self, residual: FloatArray) -> FloatArray:
        """The transpose of `_outputs`, for residuals (J, n) before their weights."""
        w = self.objective.samples.w
        if w is not None:
            residual = residual * w
        return self.coordinates.free(residual @ self._rows).ravel()

    def penalty(self, psi: FloatArray) -> float:
        """What the prior adds to the negative log-likelihood."""
        return 0.0 if self._prior is None else self._penalty_and_grad(psi)[0]

    def _times_prior(self, direction: FloatArray) -> FloatArray:
        """(I (x) P) times a direction."""
        blocks, metric = direction.reshape(self.coordinates.shape), self.penalty_metric
        return (blocks * metric if metric.ndim == 1 else blocks @ metric).ravel()

    def _penalty_and_grad(self, psi: FloatArray) -> tuple[float, FloatArray]:
        assert self._prior is not None
        slope, at_zero = self._prior
        grad = self._times_prior(psi)
        value = 0.5 * float(psi @ grad) + at_zero
        if slope is not None:
            value += float(slope @ psi)
            grad += slope
        return value, grad

    def value_and_grad(self, psi: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient by psi."""
        z, w = self._outputs(psi), self.objective.samples.w
        z += self._origin
        if w is None and len(z) > 1:
            value, residual = total_nll_and_residual(z, self._targets, self._proba)
        else:
            if self._signed:
                nll, residual = nll_and_proba_of_wrong(z[0]), z
                self._proba = residual
            else:
                nll, residual = nll_and_residual(z, self._targets, self._proba)
            value = float(nll.sum() if w is None else nll @ w)
        grad = self._pulled(residual)
        self.objective.n_passes += 1
        self._proba_at = psi.tobytes()
        if self._prior is not None:
            penalty, slope = self._penalty_and_grad(psi)
            value += penalty
            grad += slope
        return value, grad

    def _probabilities(self, psi: FloatArray) -> FloatArray:
        """Probabilities (J, n) at psi; those of the last evaluation where it was there."""
        if self._proba_at != psi.tobytes():
            self.value_and_grad(psi)
        return self._proba

    def largest_move(self, direction: FloatArray) -> float:
        """The most that a direction of psi moves two logits of a row apart, whatever its weight."""
        dz = self._outputs(direction)
        return float(np.abs(dz).max() if len(dz) == 1 else (dz.max(axis=0) - dz.min(axis=0)).max())

    def hessp(self, psi: FloatArray, direction: FloatArray) -> FloatArray:
        """Hessian by psi times a direction."""
        product = self._pulled(curvature_product(self._probabilities(psi), self._outputs(direction)))
        self.objective.n_passes += 1
        if self._prior is not None:
            product += self._times_prior(direction)
        return product

    def hessian(self, psi: FloatArray) -> FloatArray:
        """Hessian by psi, (d, d)."""
        proba, w, columns = self._probabilities(psi), self.objective.samples.w, self._columns

        def part(rows: slice) -> FloatArray:
            weights = pair_weights(proba[:, rows])
            if w is not None:
                weights *= w[rows]
            return moments_of_columns(weights, columns[:, rows])

        self.objective.n_passes += self._hessian_passes
        width = max(1, _MOST_WEIGHTS // self._n_pairs)
        parts = [part(slice(start, start + width)) for start in range(0, columns.shape[1], width)]
        return self._assembled(square(parts[0] if len(parts) == 1 else reduce(np.add, parts), len(columns)))

    def hessian_on(self, psi: FloatArray, selection: Selection) -> FloatArray:
        """Hessian by some of psi, (n, n)."""
        proba = self._probabilities(psi)
        hessian = selection.curvature(self._columns[selection.columns], proba, self.objective.samples.w)
        self.objective.n_passes += self.objective.passes_of_moments(1, len(selection))
        return self._with_prior(hessian, selection)
