"""SciPy's L-BFGS-B in the metric of a model of the curvature, down to the last digits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from ._curvature import Curvature
from ._history import History, Tracked
from ._newton import CAUTION
from ._typing import FloatArray

# Curvature pairs that L-BFGS-B keeps; 30 took a third fewer passes than 10 in a good metric.
_PAIRS = 30
# Half the squared gradient is some f'' / 2 times as large as differences of f: these are half rounding here.
_ROUNDINGS_TO_SLOPES = 1e5


@dataclass(frozen=True)
class Descent:
    """Where L-BFGS-B has come to.

    Attributes
    ----------
    point, value, grad : the best point, and the objective there
    least : the least curvature seen on the way, relative to the metric
    slow : whether it was ended as too slow
    """

    point: FloatArray
    value: float
    grad: FloatArray
    least: float
    slow: bool


def quasi_newton(
    tracked: Tracked,
    metric: Curvature,
    start: FloatArray,
    enough: float,
    max_iter: int,
    history: History | None,
    pairs: int = _PAIRS,
    rounding: float = 0.0,
    slowest: float = 1.0,
) -> Descent:
    """Point, value and gradient (by psi) that L-BFGS-B finds.

    It ends where half the squared gradient, in the metric, is at most `enough` nats. L-BFGS-B tries a first step of
    length one along -g: in units of the first gradient's norm that is the step of Newton's method with the metric for
    a Hessian.

    Parameters
    ----------
    tracked : Tracked
        Value and gradient by psi.
    rounding : float
        Nats. Where less than some thousand times this is left, values are no longer taken from f, whose differences
        are rounding, but from the slopes: f is a parabola there, of which the trapezoidal rule integrates the slope.
    slowest : float
        End where four steps leave more than this to the fourth power of the squared gradient.
    """
    value, grad = tracked.value_and_grad(start)
    unit = float(np.linalg.norm(metric.whiten(grad)))
    if unit**2 <= 2 * enough:
        return Descent(start, value, grad, 1.0, False)

    def psi(phi: FloatArray) -> FloatArray:
        return start + metric.unwhiten(phi * unit)

    way = _Way()

    def enough_here() -> float:
        # Towards the last digits, so little that the model certifies it.
        return enough * CAUTION * way.least if rounding else enough

    # Where f is no longer told from rounding: phi, f and slope.
    anchor: list[Any] = []

    def scaled(phi: FloatArray) -> tuple[float, FloatArray]:
        value_here, grad = tracked.value_and_grad(psi(phi) if phi.any() else start)
        whitened = metric.whiten(grad) / unit
        value = value_here / unit**2
        left = 0.5 * unit**2 * float(whitened @ whitened)
        if anchor:
            at, value_there, slope_there = anchor
            value = value_there + 0.5 * float((whitened + slope_there) @ (phi - at))
        elif left <= _ROUNDINGS_TO_SLOPES * rounding:
            anchor.extend((phi.copy(), value, whitened))
        way.evaluated(phi, whitened, value_here, left)
        return value, whitened

    def stop(intermediate_result: OptimizeResult) -> None:
        # An iterate is the point that was evaluated last.
        way.step()
        if history is not None:
            history.add(way.value)
        if way.left <= enough_here() or way.is_slow(slowest):
            raise StopIteration

    options = {"ftol": 0.0, "gtol": 0.0, "maxcor": pairs, "maxiter": max_iter, "maxfun": 10**7}
    minimize(scaled, np.zeros(len(start)), jac=True, method="L-BFGS-B", callback=stop, options=options)
    found = tracked.last if anchor and way.left <= enough_here() else tracked.best
    assert found is not None
    return Descent(*found, way.least, way.left > enough_here() and way.is_slow(slowest))


class _Way:
    """What the iterates of a descent in a metric show of the curvature and of progress."""

    def __init__(self) -> None:
        self.value = np.nan
        self.left = np.inf
        self.least = 1.0
        self._lefts: list[float] = []
        self._here: tuple[FloatArray, FloatArray] | None = None
        self._before: tuple[FloatArray, FloatArray] | None = None

    def evaluated(self, phi: FloatArray, slope: FloatArray, value: float, left: float) -> None:
        """The point evaluated last, with its value in nats and half its squared gradient."""
        self._here = phi.copy(), slope
        self.value, self.left = value, left
        if self._before is None:
            self._before = self._here
            self._lefts.append(left)

    def step(self) -> None:
        """The last point is the next iterate."""
        assert self._here is not None
        assert self._before is not None
        moved, change = (here - before for here, before in zip(self._here, self._before, strict=True))
        length = float(moved @ moved)
        if length:
            self.least = min(self.least, float(moved @ change) / length)
        self._before = self._here
        self._lefts.append(self.left)

    def is_slow(self, slowest: float) -> bool:
        """Whether the last four steps, if there were so many, left more than slowest^4."""
        return len(self._lefts) > 4 and self.left > slowest**4 * self._lefts[-5]
