"""The Hessian on some of the coordinates: classes of columns, not all classes of all columns.

With P = diag p - p p' the curvature of a row's logits, the entry of coordinates (k, j) and (l, i) is

    sum over rows of w P_kl v_j v_i

so that coordinates a, with columns a_i = sqrt(w) p_k v_j, have - A'A between classes: one product of a matrix with its
own transpose, whatever their number of classes. Within a class the weights are w p_k (1 - p_k), whose roots do the same
without a difference.
"""

from dataclasses import dataclass

import numpy as np

from ._precondition import Coordinates
from ._products import own_product
from ._typing import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Selection:
    """Some of the coordinates psi, class after class.

    Attributes
    ----------
    flat : their places in psi
    columns : the columns that they belong to, without repetition
    place : for each coordinate, that of its column in `columns`
    starts : for each class, where its coordinates begin, and their number at the end
    """

    flat: IntArray
    columns: IntArray
    place: IntArray
    starts: IntArray

    @classmethod
    def of(cls, coordinates: Coordinates, mask: BoolArray) -> "Selection":
        """The coordinates where the mask, of the shape of psi, is true."""
        places = coordinates.blocks(np.arange(coordinates.size))
        classes, all_columns = np.nonzero(coordinates.blocks(mask))
        columns, place = np.unique(all_columns, return_inverse=True)
        starts = np.searchsorted(classes, np.arange(len(places) + 1))
        return cls(places[classes, all_columns], columns, place, starts)

    def __len__(self) -> int:
        return len(self.flat)

    def curvature(self, columns: FloatArray, proba: FloatArray, w: FloatArray | None) -> FloatArray:
        """Sum over rows of w P_kl v_j v_i, (n, n).

        Parameters
        ----------
        columns : array of shape (len(self.columns), B), whitened
        proba : array of shape (M, B); of the second class alone where there are two
        w : array of shape (B,), or None for weights of one
        """
        if len(proba) == 1:
            weights = proba[0] * (1 - proba[0])
            return own_product(columns * np.sqrt(weights if w is None else weights * w))
        A = columns[self.place]
        within = []
        for k, part in self._classes():
            others = proba[:k].sum(axis=0) + proba[k + 1 :].sum(axis=0)
            weights = proba[k] * others if w is None else proba[k] * others * w
            within.append((part, own_product(A[part] * np.sqrt(weights))))
            A[part] *= proba[k] if w is None else proba[k] * np.sqrt(w)
        total = own_product(A)
        np.negative(total, out=total)
        for part, moments in within:
            total[part, part] = moments
        return total

    def _classes(self) -> list[tuple[int, slice]]:
        """Classes that have coordinates here, and where these are."""
        bounds = enumerate(zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True))
        return [(k, slice(a, b)) for k, (a, b) in bounds if a < b]
