"""When to stop, what each iteration leaves behind, and the bridge to SciPy's callbacks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from ._typing import FloatArray

# Up to here estimates are polished to rounding; `tol` alone counts beyond. So many nats move no coefficient by more
# than sqrt(2 nats), 9e-7 of a standard error.
POLISHED_SIZE = 5000
POLISHED_NATS = 4e-13


@dataclass
class History:
    """The objective after each iteration, and the best point evaluated.

    Parameters
    ----------
    report : callable, optional
        Called after each iteration with its number and the objective.
    """

    report: Callable[[int, float], None] | None = None
    objective: list[float] = field(default_factory=list)

    def add(self, value: float) -> None:
        """Record one iteration."""
        self.objective.append(float(value))
        if self.report is not None:
            self.report(len(self.objective), float(value))


@dataclass
class Controls:
    """The stopping words of one fit."""

    tol: float
    max_iter: int
    resolution: float
    options: dict[str, Any] = field(default_factory=dict)
    bounds: tuple[FloatArray, FloatArray] | None = None
    l1: FloatArray | None = None
    history: History = field(default_factory=History)

    @property
    def left(self) -> int:
        """Iterations that are left."""
        return max(self.max_iter - len(self.history.objective), 0)


class Tracked:
    """A function that remembers its last and its best evaluation.

    `scipy.optimize.minimize` hands some callbacks x alone, and some methods return a point that is not the
    best they have seen.

    Parameters
    ----------
    value_and_grad : callable
    at : tuple (x, value, grad), optional
        Where it has been evaluated.
    """

    def __init__(
        self,
        value_and_grad: Callable[[FloatArray], tuple[float, FloatArray]],
        at: tuple[FloatArray, float, FloatArray] | None = None,
    ) -> None:
        self._evaluate = value_and_grad
        self.last = at
        self.best = at

    def value_and_grad(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient; those of the last and of the best point are not evaluated again."""
        for known in (self.last, self.best):
            if known is not None and np.array_equal(x, known[0]):
                self.last = known
                return known[1], known[2]
        f, g = self._evaluate(x)
        self.last = (np.array(x, dtype=float), f, g)
        if self.best is None or f < self.best[1]:
            self.best = self.last
        return f, g

    def value(self, x: FloatArray) -> float:
        """The value alone, for methods that take no gradient."""
        return self.value_and_grad(x)[0]


class Paired:
    """A function and its gradient, for methods that ask for both at one array x, and never write to it.

    Parameters
    ----------
    value_and_grad : callable
    at : tuple (x, value, grad), optional
        Where it has been evaluated.
    """

    def __init__(
        self,
        value_and_grad: Callable[[FloatArray], tuple[float, FloatArray]],
        at: tuple[FloatArray, float, FloatArray] | None = None,
    ) -> None:
        self._evaluate = value_and_grad
        self._last = at

    def _at(self, x: FloatArray) -> tuple[FloatArray, float, FloatArray]:
        if self._last is None or self._last[0] is not x:
            self._last = x, *self._evaluate(x)
        return self._last

    def value(self, x: FloatArray) -> float:
        """The value."""
        return self._at(x)[1]

    def grad(self, x: FloatArray) -> FloatArray:
        """The gradient."""
        return self._at(x)[2]


def scipy_callback(history: History, tracked: Tracked) -> Callable[..., None]:
    """A callback of SciPy's newer form, which gets f as well as x."""

    def callback(intermediate_result: OptimizeResult) -> None:
        fun = intermediate_result.get("fun")
        history.add(tracked.value(intermediate_result.x) if fun is None else float(fun))

    return callback


def scipy_callback_x(history: History, tracked: Tracked) -> Callable[[FloatArray], None]:
    """A callback of the older form, for the methods that know no other."""

    def callback(xk: FloatArray) -> None:
        history.add(tracked.value(xk))

    return callback
