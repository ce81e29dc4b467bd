"""Where the objective is not smooth: the kinks of an l1 penalty, and the faces of a box."""

import numpy as np

from ._typing import BoolArray, FloatArray, IntArray


class Region:
    """An l1 penalty and a box.

    Parameters
    ----------
    l1, lower, upper : arrays of shape (d,)
    """

    def __init__(self, l1: FloatArray, lower: FloatArray, upper: FloatArray) -> None:
        self.l1, self.lower, self.upper = l1, lower, upper

    @property
    def is_boxed(self) -> bool:
        """Whether there are bounds, beside those of coordinates that are fixed."""
        bounded = np.isfinite(self.lower) | np.isfinite(self.upper)
        return bool(np.any(bounded & (self.lower < self.upper)))

    def on(self, coordinates: IntArray) -> "Region":
        """That of some coordinates."""
        return Region(self.l1[coordinates], self.lower[coordinates], self.upper[coordinates])

    def penalty(self, x: FloatArray) -> float:
        """Sum of l1_j |x_j|."""
        return float(self.l1 @ np.abs(x))

    def at_kink(self, x: FloatArray) -> BoolArray:
        """Coordinates at zero, where the penalty is not smooth."""
        return (x == 0) & (self.l1 > 0)

    def held(self, x: FloatArray) -> BoolArray:
        """Coordinates that are free to move to one side at most: at a kink or at a bound."""
        return self.at_kink(x) | (x <= self.lower) | (x >= self.upper)

    def held_as(self, x: FloatArray, point: FloatArray) -> FloatArray:
        """The point, where x is at a kink or at a bound as x, and elsewhere no farther than there."""
        crossed = (self.l1 > 0) & (np.sign(point) != np.sign(x))
        return np.clip(np.where(self.held(x), x, np.where(crossed, 0.0, point)), self.lower, self.upper)

    def slope(self, x: FloatArray, g: FloatArray) -> FloatArray:
        """The subgradient of least norm, where g is the gradient of the smooth part; zero where the box forbids."""
        kinked = np.sign(g) * np.maximum(np.abs(g) - self.l1, 0.0)
        slope = np.where(self.at_kink(x), kinked, g + self.l1 * np.sign(x))
        slope[((x <= self.lower) & (slope >= 0)) | ((x >= self.upper) & (slope <= 0))] = 0.0
        return slope

    def orthant(self, x: FloatArray, slope: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The part of the box where no penalised coordinate changes its sign, on the side that -slope points to."""
        kinked = self.l1 > 0
        side = np.where(x == 0, -np.sign(slope), np.sign(x))
        low = np.where(kinked & (side >= 0), np.maximum(self.lower, 0.0), self.lower)
        high = np.where(kinked & (side <= 0), np.minimum(self.upper, 0.0), self.upper)
        return low, high
