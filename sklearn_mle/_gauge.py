"""The number that is added to the coefficients of a column in all classes, where the penalty alone chooses it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ._problem import RoundProblem
from ._region import Region
from ._typing import BoolArray, FloatArray


class Gauge:
    """The number that is added to the coefficients of a column in all classes, for the least penalty.

    With l1 weight a and ridge r of the column it minimises sum_k a |w_k + c| + r (w_k + c)^2 / 2 over c. The derivative
    is a line with K jumps: its root is the median of the K points -w_k and of the K + 1 roots of its pieces.
    """

    def __init__(self, problem: RoundProblem, region: Region) -> None:
        coordinates = problem.coordinates
        self._blocks: Callable[[Any], Any] = coordinates.blocks
        self._rank = coordinates.rank
        self._exists = len(coordinates.basis) > 1
        self._is_free = self._exists and not region.is_boxed and bool(region.l1.any())
        self._l1 = coordinates.blocks(region.l1)[0, : self._rank]
        self._ridge = problem.penalty_metric
        self._has_ridge = bool(self._ridge.any())

    def without_rounding(self, psi: FloatArray, g: FloatArray) -> FloatArray:
        """The gradient of the smooth part, without what rounding has left of the likelihood's along the gauge.

        Where nothing but a weak penalty resists, it would be a long way.
        """
        if not self._exists:
            return g
        g = g.copy()
        G = self._blocks(g)
        ridge = self._ridge * self._blocks(psi)
        G -= (G - ridge).mean(axis=0)
        return g

    def hold(self, free: BoolArray, psi: FloatArray, slope: FloatArray) -> None:
        """Hold one coordinate at zero of each column that is free in all classes, in place.

        Where the others are at their minimum, and the gauge at its own, it has nothing to gain; with it the quadratic
        would have a direction without curvature. It is the one of the least slope.
        """
        if not self._is_free:
            return
        all_free = self._blocks(free)[:, : self._rank].all(axis=0)
        if not all_free.any():
            return
        at_zero = self._blocks(psi)[:, : self._rank] == 0
        columns = np.flatnonzero(all_free & at_zero.any(axis=0))
        slopes = np.abs(self._blocks(slope)[:, columns])
        rows = np.where(at_zero[:, columns], slopes, np.inf).argmin(axis=0)
        self._blocks(free)[rows, columns] = False

    def settled(self, psi: FloatArray) -> FloatArray:
        """The point with the same likelihood and the least penalty."""
        if not self._is_free:
            return psi
        psi = psi.copy()
        W = self._blocks(psi)[:, : self._rank]
        kinks = np.sort(-W, axis=0)
        K = len(W)
        ridge = self._ridge[: self._rank]
        if self._has_ridge:
            roots = kinks.mean(axis=0) - (2 * np.arange(K + 1)[:, None] - K) * (self._l1 / (K * ridge))
            shift = np.sort(np.concatenate([kinks, roots]), axis=0)[K]
        elif K % 2:
            shift = kinks[K // 2]
        else:
            # Two kinks and all between them are as good: the one nearer to the mean.
            low, high, mean = kinks[K // 2 - 1], kinks[K // 2], kinks.mean(axis=0)
            shift = np.where(mean - low <= high - mean, low, high)
        W += shift
        return psi
