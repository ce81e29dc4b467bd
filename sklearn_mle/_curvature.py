"""Positive definite models of the Hessian in the coordinates psi, and when to take which.

A model is factored, H ~ L L'. It preconditions conjugate gradients (`solve`), and it turns psi into
phi = L' psi, in which the Hessian is near the identity and SciPy's own methods are at their best.

    DenseCurvature      the Hessian itself, or that of a sample of the rows: d^2 numbers
    KroneckerCurvature  A (x) S + I (x) P, one factor for each eigenvalue of A: M q^2 numbers
    DiagonalCurvature   for wide or sparse X: d numbers
"""

from typing import Protocol

import numpy as np
from scipy import linalg
from scipy.linalg import lapack

from ._typing import FloatArray


class Curvature(Protocol):
    """A factored positive definite matrix."""

    def solve(self, g: FloatArray) -> FloatArray:
        """H^-1 g."""

    def whiten(self, g: FloatArray) -> FloatArray:
        """L^-1 g: a gradient by phi from one by psi."""

    def unwhiten(self, phi: FloatArray) -> FloatArray:
        """L^-T phi: psi from phi."""

    def whiten_point(self, psi: FloatArray) -> FloatArray:
        """L' psi: phi from psi."""


def cholesky(matrix: FloatArray) -> FloatArray:
    """Lower factor, with the least ridge (relative, by powers of ten) that makes the matrix definite."""
    factor, info = lapack.dpotrf(matrix, lower=1, clean=1)
    ridge = 1e-15
    while info:
        scale = float(np.max(np.diag(matrix), initial=0.0)) or 1.0
        factor, info = lapack.dpotrf(matrix + ridge * scale * np.eye(len(matrix)), lower=1, clean=1)
        ridge *= 10
    return factor


class DenseCurvature:
    """A matrix of all d parameters."""

    def __init__(self, hessian: FloatArray) -> None:
        # dpotrf wants column-major order; the matrix is symmetric.
        self.factor = cholesky(hessian.T)

    def solve(self, g: FloatArray) -> FloatArray:
        """H^-1 g."""
        return lapack.dpotrs(self.factor, g, lower=1)[0]

    def whiten(self, g: FloatArray) -> FloatArray:
        """L^-1 g."""
        return lapack.dtrtrs(self.factor, g, lower=1)[0]

    def unwhiten(self, phi: FloatArray) -> FloatArray:
        """L^-T phi."""
        return lapack.dtrtrs(self.factor, phi, lower=1, trans=1)[0]

    def whiten_point(self, psi: FloatArray) -> FloatArray:
        """L' psi."""
        return self.factor.T @ psi


class DiagonalCurvature:
    """A diagonal matrix.

    Parameters
    ----------
    diagonal : array of shape (d,), not negative
        A zero is a coordinate without curvature, and without gradient either.
    """

    def __init__(self, diagonal: FloatArray) -> None:
        self.diagonal = np.where(diagonal > 0, diagonal, 1.0)
        self.root = np.sqrt(self.diagonal)

    def solve(self, g: FloatArray) -> FloatArray:
        """H^-1 g."""
        return g / self.diagonal

    def whiten(self, g: FloatArray) -> FloatArray:
        """L^-1 g."""
        return g / self.root

    def unwhiten(self, phi: FloatArray) -> FloatArray:
        """L^-T phi."""
        return phi / self.root

    def whiten_point(self, psi: FloatArray) -> FloatArray:
        """L' psi."""
        return psi * self.root


class KroneckerCurvature:
    """A (x) S + I (x) P for psi of shape (M, q).

    With A = U diag(a) U' the rows of U' psi decouple: one Cholesky factor of a_i S + P each.

    Parameters
    ----------
    A : array of shape (M, M), positive definite
    S, P : arrays of shape (q, q)
    """

    def __init__(self, A: FloatArray, S: FloatArray, P: FloatArray) -> None:
        values, self.rotation = linalg.eigh(A)
        values = np.maximum(values, values[-1] * 1e-12)
        self.shape = (len(values), S.shape[0])
        self.factors = [cholesky(a * S + P) for a in values]

    def _rotated(self, g: FloatArray) -> FloatArray:
        return self.rotation.T @ g.reshape(self.shape)

    def whiten(self, g: FloatArray) -> FloatArray:
        """L^-1 g."""
        rows = self._rotated(g)
        return np.concatenate([lapack.dtrtrs(L, r, lower=1)[0] for L, r in zip(self.factors, rows, strict=True)])

    def unwhiten(self, phi: FloatArray) -> FloatArray:
        """L^-T phi."""
        rows = phi.reshape(self.shape)
        solved = [lapack.dtrtrs(L, r, lower=1, trans=1)[0] for L, r in zip(self.factors, rows, strict=True)]
        return (self.rotation @ np.stack(solved)).ravel()

    def solve(self, g: FloatArray) -> FloatArray:
        """H^-1 g."""
        return self.unwhiten(self.whiten(g))

    def whiten_point(self, psi: FloatArray) -> FloatArray:
        """L' psi."""
        rows = self._rotated(psi)
        return np.concatenate([L.T @ r for L, r in zip(self.factors, rows, strict=True)])
