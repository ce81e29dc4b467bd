"""Jeffreys' prior for the linear model: Firth's bias-reduced likelihood.

    f(theta) = - sum_i w_i y_i' log softmax(z_i)  -  1/2 log det I(theta)                 (nats)

I(theta) is the Fisher information of the identified parameters. In the coordinates psi of `_precondition` it is
the Hessian of the first term, and changing coordinates changes f by a constant only. The prior removes the
first-order bias of the estimate and has its maximum at a finite theta however the classes are separated (Firth,
1993, Biometrika 80, 27-38; Kosmidis and Firth, 2021, Biometrika 108, 71-82).

With v_i the whitened row, C = I^-1 and d_kl the variance (Q_k - Q_l)' [v_i' C_mn v_i] (Q_k - Q_l) of a contrast of
its logits, the derivative by the logits of row i is

    d/dz_c log det I = w_i p_c (u_c - p'u),    u_k = sum_l p_l d_kl                       K classes
                     = w_i p (1 - p) (1 - 2p) d                                           one logit

in which nothing cancels as p nears a corner.
"""

import numpy as np
from scipy import linalg
from scipy.linalg import lapack

from ._block import Block
from ._curvature import cholesky
from ._objective import NegativeLogLikelihood
from ._precondition import Coordinates
from ._problem import RoundProblem
from ._softmax import softmax
from ._typing import FloatArray

# A rank-one update is skipped where its denominator is this small (Nocedal & Wright, 2nd ed., section 6.2).
_LEAST_DENOMINATOR = 1e-8
# The prior's curvature is taken as far as it leaves this share of the information.
_LEAST_CURVATURE = 0.05


def jeffreys_problem(objective: NegativeLogLikelihood, coordinates: Coordinates) -> "JeffreysProblem":
    """The problem with the origin moved to where every class has some probability, whatever its weight."""
    layout, samples = coordinates.layout, objective.samples
    # Half an observation a class: the estimate of an intercept alone under this prior, nearly.
    logs = np.log(samples.class_weights + 0.5)
    n_outputs = layout.widths[-1]
    intercepts = logs[1:] - logs[:1] if n_outputs == 1 else logs - logs.mean()
    weights = np.zeros((n_outputs, layout.widths[0]))
    theta = layout.pack([(weights, intercepts if layout.fit_intercept else None)])
    return JeffreysProblem(objective, coordinates.moved_to(theta))


class JeffreysProblem(RoundProblem):
    """The penalised objective in round coordinates.

    `hessian` is the information, which is exact for the likelihood, plus an approximation to the curvature of
    the prior that symmetric rank-one updates learn from one call to the next: a structured quasi-Newton method
    (Dennis, Martinez and Tapia, 1989, J. Optim. Theory Appl. 61, 161-178).
    """

    always_exact = True

    @property
    def has_prior(self) -> bool:
        """True."""
        return True

    def __init__(self, objective: NegativeLogLikelihood, coordinates: Coordinates) -> None:
        super().__init__(objective, coordinates)
        self._at: _Point | None = None
        self._seen: _Point | None = None
        self._learnt: FloatArray = np.zeros((self.size, self.size))

    def value_and_grad(self, psi: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient by psi; an infinite value where the information is singular in working precision."""
        nll, grad = super().value_and_grad(psi)
        point = self._point(psi)
        return nll + point.value, grad + point.grad

    def penalty(self, psi: FloatArray) -> float:
        """- 1/2 log det I, I by psi."""
        return self._point(psi).value

    def hessian(self, psi: FloatArray) -> FloatArray:
        """The information plus what is known of the prior's curvature."""
        point = self._point(psi)
        seen, self._seen = self._seen, point
        if seen is None:
            # What is handed out may be changed; the information is kept.
            return point.information.copy()
        self._learnt = _updated(self._learnt, seen, point)
        least = (1 - _LEAST_CURVATURE) * point.information + self._learnt
        if lapack.dpotrf(least, lower=1)[1] != 0:
            self._learnt = _limited(self._learnt, point.information)
        return point.information + self._learnt

    def information(self, psi: FloatArray) -> FloatArray:
        """The Fisher information by psi, (d, d)."""
        return self._point(psi).information

    def _point(self, psi: FloatArray) -> "_Point":
        if self._at is None or not np.array_equal(psi, self._at.psi):
            self._at = _Point(self, psi)
        return self._at


def _updated(learnt: FloatArray, seen: "_Point", point: "_Point") -> FloatArray:
    """A symmetric rank-one update by the change of the prior's gradient from one point to the next."""
    step = point.psi - seen.psi
    if not np.isfinite(point.value + seen.value):
        return learnt
    rest = point.grad - seen.grad - learnt @ step
    denominator = float(rest @ step)
    if abs(denominator) <= _LEAST_DENOMINATOR * np.linalg.norm(rest) * np.linalg.norm(step):
        return learnt
    return learnt + np.outer(rest, rest / denominator)


def _limited(learnt: FloatArray, information: FloatArray) -> FloatArray:
    """What was learnt, with no curvature below the least share of the information in any direction."""
    factor = cholesky(information.T)
    values, vectors = linalg.eigh(lapack.dtrtrs(factor, lapack.dtrtrs(factor, learnt, lower=1)[0].T, lower=1)[0])
    half = factor @ vectors
    return (half * np.maximum(values, _LEAST_CURVATURE - 1)) @ half.T


class _Point:
    """The prior at one psi.

    Attributes
    ----------
    psi, value, grad : - 1/2 log det I and its gradient by psi
    information : I, (d, d)
    """

    def __init__(self, problem: JeffreysProblem, psi: FloatArray) -> None:
        self.psi = np.array(psi)
        self.value, self.grad = np.inf, self.psi * 0.0
        self.information = RoundProblem.hessian(problem, psi)
        factor, info = lapack.dpotrf(self.information, lower=1)
        if info != 0 or not np.isfinite(factor).all():
            return
        self.value = -float(np.log(np.diag(factor)).sum())
        inverse, _ = lapack.dpotri(factor, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        self.grad = _prior_gradient(problem, psi, inverse)


def _prior_gradient(problem: JeffreysProblem, psi: FloatArray, inverse: FloatArray) -> FloatArray:
    """Gradient of - 1/2 log det I by psi: one pass over the data."""
    coordinates, objective = problem.coordinates, problem.objective
    theta = coordinates.push(psi)
    basis = coordinates.basis

    def block_terms(block: Block) -> tuple[FloatArray]:
        point = objective.network.at(theta, block)
        proba = softmax(point.outputs()).astype(np.float64, copy=False)
        forms = quadratic_forms(inverse, whitened_rows(coordinates, block), coordinates.shape)
        if len(basis) == 1:
            p = proba[1]
            dz = (forms[0, 0] * p * proba[0] * (proba[0] - p))[None]
        else:
            contrasts = basis[:, None] - basis
            spread = np.einsum("klm,mnb,kln->klb", contrasts, forms, contrasts, optimize=True)
            u = np.einsum("klb,lb->kb", spread, proba)
            dz = proba * (u - np.einsum("kb,kb->b", proba, u))
        dz *= -0.5 if block.w is None else -0.5 * block.w
        return (point.vjp(dz),)

    (grad,) = objective.samples.sum(block_terms)
    n_logits, q = coordinates.shape
    objective.n_passes += 1 + n_logits * (n_logits + 1) * q / (4 * len(basis))
    return coordinates.pull(grad)


def whitened_rows(coordinates: Coordinates, block: Block) -> FloatArray:
    """Rows in the columns of psi, (q, B): T'(x - m), then the constant of the intercept."""
    fit_intercept = coordinates.layout.fit_intercept
    rows = block.features(coordinates.center, coordinates.transform, with_one=fit_intercept)
    if fit_intercept:
        rows[-1] *= coordinates.constant
    return rows


def quadratic_forms(matrix: FloatArray, rows: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """v' C_mn v for the blocks C_mn of a symmetric matrix (M q, M q) and rows v (q, B): shape (M, M, B)."""
    n_logits, q = shape
    blocks = matrix.reshape(n_logits, q, n_logits, q)
    out = np.empty((n_logits, n_logits, rows.shape[1]))
    for m in range(n_logits):
        for n in range(m + 1):
            out[m, n] = out[n, m] = np.einsum("qb,qb->b", blocks[m, :, n] @ rows, rows)
    return out
