"""What a Newton step leaves, before its end is evaluated: the last one of a fit needs no pass over the data.

A Newton step from an error e0 leaves some e = H^-1 (H - H(e0)) e0 / 2, which squares it. A step with the Hessian H0 of
the point before leaves H0^-1 (H0 - H) e, where the change of the Hessian is that of the whole e0: of the size of
2 (e / e0) e. Decrements, squares of the errors, tell e / e0.
"""

import math
from collections.abc import Callable

import numpy as np

from ._history import POLISHED_NATS
from ._typing import FloatArray

# Of the target, what the rate at which decrements shrink has to promise: it varies tenfold and more from step to step.
SURELY = 0.04
_MOMENTS = 3
# Nats from which on steps with the Hessian of the point before do not pay.
FAR_FROM_DONE = 1.0
# Nats that are to be left after the last step.
_GOAL = SURELY * POLISHED_NATS


def least_told_from_elsewhere(double: bool) -> float:
    """Nats: that no more is left is not for a Hessian of another fit to say. In single precision fits end earlier."""
    return POLISHED_NATS if double else FAR_FROM_DONE


def left_by_old_hessian(shrunk: float) -> float:
    """Share of the decrement that a step with the Hessian of the point before leaves, whose step has shrunk it so."""
    return 4 * shrunk


def old_hessian_does(left: float, shrunk: float, exact_passes: float) -> bool:
    """Whether steps with the Hessian of the point before, which has shrunk what is left so, cost the fewest passes.

    They shrink what is left by the same factor each. A new Hessian, at its price, squares it.
    """
    old = _passes_of_steps(left, left_by_old_hessian(shrunk))
    if old == np.inf:
        return False
    new, after = exact_passes, left * shrunk**2
    if after > _GOAL:
        new += 1 + _passes_of_steps(after, left_by_old_hessian(after / left))
    return old <= new


def _passes_of_steps(left: float, share: float) -> float:
    """Evaluations of steps that leave the given share of what was left each: the last one needs none (`_newton`)."""
    if share >= 1:
        return np.inf
    return max(math.ceil(math.log(_GOAL / left) / math.log(share)) - 1, 0) if left > 0 else 0.0


class LastStep:
    """Whether a step leaves so little that it may be the last.

    Parameters
    ----------
    bend : callable
        With a direction: a bound of the change of the logarithm of the Hessian along it.
    quadratic : bool
        Whether the Hessian is that of the function.
    """

    def __init__(self, bend: Callable[[FloatArray], float], quadratic: bool) -> None:
        self._bend = bend
        self._quadratic = quadratic
        self._expected = np.inf
        # Where the Hessian was taken, and the decrements since then.
        self._origin: FloatArray | None = None
        self._decrements: list[float] = []

    def leaves(self, x: FloatArray, decrement: float, shrunk: float, fresh: bool, elsewhere: bool = False) -> float:
        """Nats that are left by the step from x, by an estimate.

        Parameters
        ----------
        x, decrement : the point, and what is left there
        shrunk : `decrement` over that of the point before
        fresh : whether the Hessian is that of x
        elsewhere : whether it only stands for that
        """
        if fresh:
            self._origin, self._decrements = None if elsewhere else x, []
        else:
            self._decrements.append(decrement)
        # What the last step has left of what was expected of it, the next one may leave, too.
        missed = decrement / self._expected if self._expected else 1.0
        self._expected = decrement * (shrunk**2 if fresh and self._quadratic else left_by_old_hessian(shrunk))
        return self._expected * max(missed, 1.0)

    def certainly_leaves(self, target: float, x: FloatArray, step: FloatArray, decrement: float) -> bool:
        """Whether the step cannot leave more than the target, even in directions that no step so far has gone in.

        A row of great leverage may bend the likelihood along this step as it has along none before.
        """
        if len(self._decrements) >= _MOMENTS and _most_after(self._decrements) <= target:
            return True
        if self._origin is None:
            return False
        # The gradient at the end is the step times the mean change of the Hessian on the way, at most expm1(bend).
        if self._decrements:
            # From where the Hessian was taken to the end of the step, and a step back to x.
            bend = 2 * self._bend(x + step - self._origin)
            error = math.expm1(min(bend, 1.0))
        else:
            bend = self._bend(step)
            error = math.expm1(bend) / bend - 1 if 1e-6 < bend < 1 else bend
        return bend < 1 and decrement * math.exp(bend) * error**2 <= target


def _most_after(decrements: list[float]) -> float:
    """The most that may follow the last three of decrements at steps with one Hessian, which make no error larger.

    Near the minimum one matrix multiplies the errors, and the decrements are moments of a measure on [0, 1]. The next
    moment is the largest where the measure has an atom at one (Gauss and Radau; Golub & Meurant, 2010, Matrices,
    Moments and Quadrature).
    """
    m0, m1, m2 = decrements[-_MOMENTS:]
    if not m0 > m1 > m2:
        return np.inf
    at = (m1 - m2) / (m0 - m1)
    if at >= 1:
        return np.inf
    slow = max((m2 - at * m1) / (1 - at), 0.0)
    return (m1 - slow) * at**2 + slow
