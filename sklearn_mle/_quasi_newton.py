"""SciPy's L-BFGS-B in the metric of a model of the curvature, down to the last digits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from ._curvature import Curvature
from ._history import History, Tracked
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
    left : half the squared gradient at the last point, in the metric
    slow : whether it was ended as too slow
    """

    point: FloatArray
    value: float
    grad: FloatArray
    left: float
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
    below: float = -np.inf,
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
    below : float
        End where the value is.
    slowest : float
        End where four steps leave more than this to the fourth power of the squared gradient.
    """
    value, grad = tracked.value_and_grad(start)
    unit = float(np.linalg.norm(metric.whiten(grad)))
    if unit**2 <= 2 * enough:
        return Descent(start, value, grad, 0.5 * unit**2, False)

    def psi(phi: FloatArray) -> FloatArray:
        return start + metric.unwhiten(phi * unit)

    way = _Way()

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
        way.evaluated(value_here, left)
        return value, whitened

    def stop(intermediate_result: OptimizeResult) -> None:
        # An iterate is the point that was evaluated last.
        way.step()
        if history is not None:
            history.add(way.value)
        if way.left <= enough or way.value <= below or way.is_slow(slowest):
            raise StopIteration

    options = {"ftol": 0.0, "gtol": 0.0, "maxcor": pairs, "maxiter": max_iter, "maxfun": 10**7}
    minimize(scaled, np.zeros(len(start)), jac=True, method="L-BFGS-B", callback=stop, options=options)
    found = tracked.last if anchor and way.left <= enough else tracked.best
    assert found is not None
    return Descent(*found, way.left, way.left > enough and way.is_slow(slowest))


class _Way:
    """The progress of a descent in a metric."""

    def __init__(self) -> None:
        self.value = np.nan
        self.left = np.inf
        self._lefts: list[float] = []

    def evaluated(self, value: float, left: float) -> None:
        """The point evaluated last, with its value in nats and half its squared gradient."""
        self.value, self.left = value, left
        if not self._lefts:
            self._lefts.append(left)

    def step(self) -> None:
        """The last point is the next iterate."""
        self._lefts.append(self.left)

    def is_slow(self, slowest: float) -> bool:
        """Whether the last four steps, if there were so many, left more than slowest^4."""
        return len(self._lefts) > 4 and self.left > slowest**4 * self._lefts[-5]
