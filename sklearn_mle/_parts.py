"""Equations in some coordinates of a matrix, whose factor serves for sets of coordinates that differ by a few.

With the factor L of H on a set B, of which R is left and to which A is added, H s = b on the new set is

    H_BB s_B + H_BA s_A + E_R m = b_B        H_AB s_B + H_AA s_A = b_A        s_R = 0

and with V = L^-1 (H_BA, E_R) and c = L^-1 b_B the small system (V'V - diag(H_AA, 0)) (s_A, m) = V'c - (b_A, 0),
s_B = L^-T (c - V (s_A, m)) (the Schur complement method of Gill, Murray, Saunders & Wright, 1990).
"""

import numpy as np
from scipy import linalg

from ._curvature import DenseCurvature
from ._typing import BoolArray, FloatArray, IntArray

# A factor costs n^3 / 3, m columns of V cost n^2 m: of a set of n, so many may change.
_MOST_CHANGED = 0.1
# Below this a factor costs less than the calls.
_SMALL = 200


class PartialSolver:
    """Solves with H on one set of coordinates after another.

    Parameters
    ----------
    matrix : array of shape (d, d), positive definite
    """

    def __init__(self, matrix: FloatArray) -> None:
        self._matrix = matrix
        self._at: IntArray | None = None
        self._base: IntArray = np.empty(0, dtype=np.intp)
        self._factor: DenseCurvature | None = None
        self._change: _Change | None = None

    def solve(self, coordinates: IntArray, rhs: FloatArray) -> FloatArray:
        """H^-1 rhs on some coordinates, of which `rhs` has the entries."""
        if not len(coordinates):
            return np.zeros(0)
        if self._at is None or not np.array_equal(self._at, coordinates):
            self._move_to(coordinates)
        assert self._factor is not None
        return self._factor.solve(rhs) if self._change is None else self._change.solve(self._factor, rhs)

    def _move_to(self, coordinates: IntArray) -> None:
        self._at = coordinates
        self._change = None
        if self._factor is not None and len(coordinates) > _SMALL:
            left = np.flatnonzero(~np.isin(self._base, coordinates, assume_unique=True))
            added = ~np.isin(coordinates, self._base, assume_unique=True)
            if len(left) + np.count_nonzero(added) <= _MOST_CHANGED * len(coordinates):
                if len(left) or added.any():
                    self._change = _Change(self._matrix, self._factor, self._base, left, coordinates, added)
                return
        block = self._matrix.take(coordinates, axis=0).take(coordinates, axis=1)
        self._base, self._factor = coordinates, DenseCurvature(block)


class _Change:
    """What a set of coordinates has to do with the one that there is a factor of.

    Parameters
    ----------
    matrix : H
    factor, base : the factor of its part on the coordinates B
    left : places in `base` of R
    coordinates, added : the new set, and which of it are A
    """

    def __init__(
        self,
        matrix: FloatArray,
        factor: DenseCurvature,
        base: IntArray,
        left: IntArray,
        coordinates: IntArray,
        added: BoolArray,
    ) -> None:
        entering = coordinates[added]
        self._added, self._n_added = added, len(entering)
        kept = np.ones(len(base), dtype=bool)
        kept[left] = False
        self._kept = kept
        columns = np.zeros((len(base), self._n_added + len(left)), order="F")
        columns[:, : self._n_added] = matrix[np.ix_(base, entering)]
        columns[left, self._n_added + np.arange(len(left))] = 1.0
        self._columns = factor.whiten(columns)
        small = self._columns.T @ self._columns
        small[: self._n_added, : self._n_added] -= matrix[np.ix_(entering, entering)]
        self._small = linalg.lu_factor(small)

    def solve(self, factor: DenseCurvature, rhs: FloatArray) -> FloatArray:
        """The solution on the new set."""
        on_base = np.zeros(len(self._kept))
        on_base[self._kept] = rhs[~self._added]
        white = factor.whiten(on_base)
        small = self._columns.T @ white
        small[: self._n_added] -= rhs[self._added]
        t = linalg.lu_solve(self._small, small)
        out = np.empty(len(rhs))
        out[~self._added] = factor.unwhiten(white - self._columns @ t)[self._kept]
        out[self._added] = t[: self._n_added]
        return out
