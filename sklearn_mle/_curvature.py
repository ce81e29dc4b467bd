"""Positive definite models of the Hessian in the coordinates psi, and when to take which.

A model is factored, H ~ L L'. It preconditions conjugate gradients (`solve`), and it turns psi into
phi = L' psi, in which the Hessian is near the identity and SciPy's own methods are at their best.

    DenseCurvature      the Hessian itself, or that of a sample of the rows: d^2 numbers
    KroneckerCurvature  A (x) S + I (x) P, one factor for each eigenvalue of A: M q^2 numbers
    CoupledCurvature    for wide or sparse X: the classes of each column coupled, 2 d numbers
    DiagonalCurvature   the same for two classes: d numbers
"""

import math
from typing import Protocol

import numpy as np
from scipy import linalg
from scipy.linalg import lapack

from ._typing import FloatArray

# Steps of the fixed point for the blocks of classes, and the least of 1 - e_k / sum(e): a class that all others are
# compared with has next to none left.
_COUPLINGS = 2
_LEAST_SHARE = 0.02
# Ratio of eigenvalues up to which one factor serves a model well; the time of a factor is that of many products.
_LIKE = 2.0
# Eigenvalues that differ by no more than rounding are the same.
_SAME = 1 + 1e-12


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
    """A matrix of all d parameters.

    Parameters
    ----------
    hessian : array of shape (d, d)
    elsewhere : bool
        Whether it is that of other rows, or of another point, than those where it is taken for the Hessian.
    """

    def __init__(self, hessian: FloatArray, elsewhere: bool = False) -> None:
        self.hessian = hessian
        self.elsewhere = elsewhere
        # dpotrf wants column-major order; the matrix is symmetric.
        self.factor = cholesky(hessian.T)

    @property
    def weakest(self) -> float:
        """The least pivot of the factor over the median one: small where a direction has next to no curvature."""
        pivots = np.diag(self.factor) ** 2
        return float(pivots.min() / np.median(pivots))

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


class CoupledCurvature:
    """For each column a block diag(e + c) - e e' / sum(e) over the K classes, for wide or sparse X.

    With p the same in all rows that have the column, that is the Hessian's own block sum x^2 (diag p - p p') + c, and
    e = sum x^2 p. In general e is chosen to give the diagonal sum x^2 p_k (1 - p_k) of the block. Adding one number to
    the weights of all classes, which changes no probability, then meets the prior c alone, as it does in the Hessian.

    Parameters
    ----------
    diagonal : array (K, q)
        Of the data's part of the Hessian, not negative.
    penalty : array (q,)
        c, of the prior.
    by_column : bool
        Whether psi holds the classes of a column side by side.
    """

    def __init__(self, diagonal: FloatArray, penalty: FloatArray, by_column: bool) -> None:
        axis = 1 if by_column else 0
        h = np.ascontiguousarray(diagonal.T if by_column else diagonal)
        c = penalty[:, None] if by_column else penalty
        e = h.copy()
        room = np.empty_like(h)
        for _ in range(_COUPLINGS):
            # e_k - e_k^2 / sum(e) = h_k
            total = e.sum(axis=axis, keepdims=True)
            np.divide(e, np.where(total > 0, total, 1.0), out=room)
            np.subtract(1, room, out=room)
            np.maximum(room, _LEAST_SHARE, out=room)
            np.divide(h, room, out=e)
        total = e.sum(axis=axis, keepdims=True)
        total[total <= 0] = 1.0
        # Where there is no prior nothing decides what is added to all classes; a column without entries has no block.
        c = np.maximum(c, _LEAST_SHARE**4 * total)
        self._sum = "qk,qk->q" if by_column else "kq,kq->q"
        self._axis = axis
        self._inverse = 1 / (e + c)
        self._root = np.sqrt(e + c)
        # D^-1/2 e / |.|, and |.|^2 / sum(e): the block is D^1/2 (I - share w w') D^1/2.
        w = e / self._root
        squares = np.einsum(self._sum, w, w)
        share = np.expand_dims(squares, axis) / total
        w /= np.sqrt(np.expand_dims(np.where(squares > 0, squares, 1.0), axis))
        self._w = w
        # 1 - share without the difference: sum of e c / (e + c) over sum(e).
        rest = np.expand_dims(np.einsum(self._sum, e * self._inverse, np.broadcast_to(c, e.shape)), axis) / total
        rest[rest <= 0] = 1.0
        self._shrink = np.sqrt(rest)
        self._share = share
        # (D - e e' / s)^-1 = D^-1 + D^-1 e e' D^-1 / (s - e'D^-1 e)
        self._gain = 1 / (rest * total)
        self._e = e
        self._room = room

    def solve(self, g: FloatArray) -> FloatArray:
        """H^-1 g."""
        blocks = g.reshape(self._e.shape)
        out = blocks * self._inverse
        np.multiply(self._e, self._along(self._e, out) * self._gain, out=self._room)
        self._room *= self._inverse
        out += self._room
        return out.ravel()

    def _along(self, a: FloatArray, b: FloatArray) -> FloatArray:
        """Products a'b of each column, with room for the classes."""
        return np.expand_dims(np.einsum(self._sum, a, b), self._axis)

    def whiten(self, g: FloatArray) -> FloatArray:
        """L^-1 g, L = D^1/2 (I - share w w')^1/2."""
        return self._stretched(g.reshape(self._e.shape) / self._root, 1 / self._shrink).ravel()

    def unwhiten(self, phi: FloatArray) -> FloatArray:
        """L^-T phi."""
        return (self._stretched(phi.reshape(self._e.shape), 1 / self._shrink) / self._root).ravel()

    def whiten_point(self, psi: FloatArray) -> FloatArray:
        """L' psi."""
        return self._stretched(psi.reshape(self._e.shape) * self._root, self._shrink).ravel()

    def _stretched(self, rows: FloatArray, factor: FloatArray) -> FloatArray:
        """What lies along w, multiplied."""
        return rows + self._w * ((factor - 1) * self._along(self._w, rows))


class KroneckerCurvature:
    """A (x) S + I (x) P for psi of shape (M, q).

    With A = U diag(a) U' the rows of U' psi decouple: a Cholesky factor of a_i S + P for each. Without P one factor
    serves all, but for its length.

    Parameters
    ----------
    A : array of shape (M, M), positive definite
    S, P : arrays of shape (q, q)
    like : float
        Of eigenvalues of A that share a factor under a prior, that of their geometric mean: the ratio of the largest to
        the least. No direction is then rated at more than its root times what it is.
    """

    def __init__(self, A: FloatArray, S: FloatArray, P: FloatArray, like: float = _LIKE) -> None:
        self.classes, self.columns = A, S
        values, self.rotation = linalg.eigh(A)
        values = np.maximum(values, values[-1] * 1e-12)
        self.shape = (len(values), S.shape[0])
        if P.any():
            groups = _of_like_size(values, like * _SAME)
            means = [math.sqrt(values[group.start] * values[group.stop - 1]) for group in groups]
            self._scale: FloatArray | None = None
            self._factors = [(group, cholesky(a * S + P)) for group, a in zip(groups, means, strict=True)]
        else:
            self._scale = np.sqrt(values)[:, None]
            self._factors = [(slice(0, len(values)), cholesky(S))]

    def _rotated(self, g: FloatArray) -> FloatArray:
        return self.rotation.T @ g.reshape(self.shape)

    def whiten(self, g: FloatArray) -> FloatArray:
        """L^-1 g."""
        rows = self._rotated(g)
        if self._scale is not None:
            rows /= self._scale
        # The transpose of a row-major (m, q) is the column-major (q, m) that LAPACK solves in place.
        for group, factor in self._factors:
            rows[group] = lapack.dtrtrs(factor, rows[group].T, lower=1, overwrite_b=1)[0].T
        return rows.ravel()

    def unwhiten(self, phi: FloatArray) -> FloatArray:
        """L^-T phi."""
        # SciPy's trust-constr hands over integers.
        rows = np.array(phi, dtype=float).reshape(self.shape)
        for group, factor in self._factors:
            rows[group] = lapack.dtrtrs(factor, rows[group].T, lower=1, trans=1, overwrite_b=1)[0].T
        if self._scale is not None:
            rows /= self._scale
        return (self.rotation @ rows).ravel()

    def solve(self, g: FloatArray) -> FloatArray:
        """H^-1 g."""
        return self.unwhiten(self.whiten(g))

    def whiten_point(self, psi: FloatArray) -> FloatArray:
        """L' psi."""
        rows = self._rotated(psi)
        for group, factor in self._factors:
            rows[group] = rows[group] @ factor
        if self._scale is not None:
            rows *= self._scale
        return rows.ravel()


def _of_like_size(values: FloatArray, ratio: float) -> list[slice]:
    """Runs of ascending positive values, of which none is more than `ratio` times the first."""
    groups, start = [], 0
    for i, value in enumerate(values):
        if value > ratio * values[start]:
            groups.append(slice(start, i))
            start = i
    return [*groups, slice(start, len(values))]
