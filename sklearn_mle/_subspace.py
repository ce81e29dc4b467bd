"""Newton's method on an affine subspace, for profile likelihoods and restricted models.

    minimise f(psi)    subject to    A psi = A psi_start

With the Hessian L L', Z = L^-1 A' and u = L^-1 g, the multipliers are the least-squares solution of Z lambda = u
and the step is - L^-T (u - Z lambda), which leaves A psi as it is (Nocedal & Wright, Numerical Optimization,
2nd ed., section 16.2). The factor is kept for as long as each step divides the decrement by ten: near a
maximum with many rows the curvature hardly changes, and a step then costs one pass over the data.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import linalg

from ._curvature import DenseCurvature
from ._typing import FloatArray

_ARMIJO = 1e-4
_MAX_HALVINGS = 50
_MAX_ITERATIONS = 300
_FAST = 0.1
# Where no step is found, rounding has ended the descent; within this it is the minimum.
_ROUNDING_NATS = 1e-6


class Problem(Protocol):
    """A smooth function with a positive definite model of its Hessian."""

    def value_and_grad(self, psi: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient."""

    def hessian(self, psi: FloatArray) -> FloatArray:
        """Hessian, (d, d)."""


@dataclass(frozen=True)
class SubspaceMinimum:
    """A minimum on an affine subspace.

    Attributes
    ----------
    psi, value : the point (d,), and f there
    multipliers : df / d(A psi), (m,)
    decrement : estimate of what is left to gain
    curvature : the factor in use
    tangent : d psi / d(A psi), (d, m)
    """

    psi: FloatArray
    value: float
    multipliers: FloatArray
    decrement: float
    curvature: DenseCurvature
    tangent: FloatArray


def minimize_on_subspace(
    problem: Problem,
    psi: FloatArray,
    A: FloatArray,
    *,
    target: float = 1e-11,
    curvature: DenseCurvature | None = None,
) -> SubspaceMinimum:
    """Minimise from psi without changing A psi.

    Parameters
    ----------
    problem : Problem
    psi : array of shape (d,), which fixes A psi
    A : array of shape (m, d) of rank m; m may be 0
    target : stop where the decrement is at most this
    curvature : a factor to start with, from a point near by

    Raises
    ------
    ArithmeticError
        If the minimum is not found.
    """
    f, g = problem.value_and_grad(psi)
    fresh = curvature is None
    before = np.inf
    for _ in range(_MAX_ITERATIONS):
        if curvature is None:
            curvature, fresh = DenseCurvature(problem.hessian(psi)), True
        u = curvature.whiten(g)
        basis, triangle = linalg.qr(curvature.whiten(A.T), mode="economic") if len(A) else (np.zeros((len(u), 0)), A)
        along = basis.T @ u
        rest = u - basis @ along
        decrement = 0.5 * float(rest @ rest)
        noise = 8 * np.finfo(float).eps * abs(f)
        moved = None
        if decrement > target and (fresh or decrement <= _FAST * before):
            before = decrement
            moved = _line_search(problem, psi, f, -curvature.unwhiten(rest), 2 * decrement, noise)
        if moved is not None:
            psi, f, g = moved
            fresh = False
        elif decrement > target and not fresh:
            curvature, before = None, np.inf
        else:
            if decrement > max(target, _ROUNDING_NATS):
                break
            multipliers, tangent = along, basis
            if len(A):
                multipliers = linalg.solve_triangular(triangle, along)
                tangent = curvature.unwhiten(linalg.solve_triangular(triangle, basis.T).T)
            return SubspaceMinimum(psi, f, multipliers, decrement, curvature, tangent)
    raise ArithmeticError(f"Newton's method stopped {decrement:.2g} nats short of a restricted maximum.")


def _line_search(
    problem: Problem, psi: FloatArray, f: float, step: FloatArray, slope: float, noise: float
) -> tuple[FloatArray, float, FloatArray] | None:
    t = 1.0
    for _ in range(_MAX_HALVINGS):
        trial = psi + t * step
        value, grad = problem.value_and_grad(trial)
        if value <= f - _ARMIJO * t * slope + (noise if slope < 100 * noise else 0.0):
            return trial, value, grad
        if t * slope < noise:
            return None
        t *= 0.5
    return None
