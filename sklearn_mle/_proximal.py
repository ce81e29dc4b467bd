"""Proximal Newton under box constraints and an l1 penalty, as a custom method of `scipy.optimize.minimize`.

    minimise F(x) = f(x) + sum_j l1_j |x_j|    subject to    lower <= x <= upper

Each step minimises the quadratic model of f, with penalty and box as they are, and backtracks (Lee, Sun & Saunders,
2014, SIAM J. Optim. 24(3)): exactly (`_exact_steps`) where a Hessian can be factored, or that on the coordinates that
are not zero (`_support_steps`), else in one orthant by conjugate gradients (`_orthants`).

Coordinates end at zero, or at their bounds, exactly. What the model still gains is the certificate: at zero the
subgradient condition holds for all coordinates.

With three classes or more the likelihood does not see a number that is added to the coefficients of a column in all
classes. The penalty alone chooses it, with a pull that is next to nothing where a column is large; so each step ends
with the best one, in closed form (`Gauge`).
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.optimize import OptimizeResult

from ._gauge import Gauge
from ._line_search import LAST_STEPS, NOISE, TOLD_APART
from ._region import Region
from ._typing import FloatArray

_ARMIJO = 1e-4
_MAX_BACKTRACKS = 40
# Of the objective, what is so small a part of it that it is no exponential's.
_SMALL_PART = 0.01
# So many times the objective is more than a model can gain, even roughly.
_FAR_MORE = 10.0
# Steps in the rounding of f that leave no less than this share of what was left are let be so many.
_STALLED = 0.5
_MAX_STALLS = 4
# Where they have to be cut, as many as it takes to leave where curvature moves fast.
_MANY_STALLS = 20
# Steps in a row that had to be cut, and did not lower f by more than its rounding.
_MAX_IDLE = 5
# Of what the model gains by a whole step, the fall that says that there was next to no curvature along it, and by how
# much longer the next trial is; so often.
_NO_CURVATURE = 1.8
_LONGER = 4.0
_MOST_EXTENSIONS = 60
# Relative to coordinates of curvature one: keeps what the data do not determine where it is, and costs Newton's step
# nothing that shows.
DAMPING = 1e-13
# A gain so small is rounding of the slope, whatever the condition: there is nothing that could be hidden.
NO_SLOPE = 1e-20


@dataclass(frozen=True)
class Proposal:
    """Where the model wants to go, and what it expects there.

    Attributes
    ----------
    step : the whole step
    gain : nats that the model gains by it
    path : the point at a share t of the step, and the first-order change of the objective up to there
    is_open : whether the path goes on beyond t = 1, as far as kinks and bounds let it
    surely : whether no other model would propose a step that leads down where this one does not
    cheap : whether steps cost so little that the last digits are worth them
    expected : nats that the step itself gains by the model, which may be far more than there is; 0 where it is not said
    """

    step: FloatArray
    gain: float
    path: Callable[[float], tuple[FloatArray, float]]
    surely: bool = True
    cheap: bool = False
    expected: float = 0.0
    is_open: bool = False


def straight_to(
    end: FloatArray,
    x: FloatArray,
    g: FloatArray,
    gain: float,
    region: Region,
    gauge: Gauge,
    surely: bool = True,
    cheap: bool = False,
    expected: float = 0.0,
) -> Proposal:
    """From x, where the smooth part has gradient g, straight to where the model has its minimum, and the gauge its own.

    From t = 1 on what the model puts at zero or at a bound is there exactly.
    """
    end = gauge.settled(end)
    change = float(g @ (end - x)) + region.penalty(end) - region.penalty(x)

    def path(t: float) -> tuple[FloatArray, float]:
        if t == 1.0:
            return end, change
        point = x + t * (end - x)
        return gauge.settled(region.held_as(end, point) if t > 1.0 else point), t * change

    return Proposal(end - x, gain, path, surely, cheap, expected, is_open=True)


class StepSolver(Protocol):
    """A way from one point to the next.

    Attributes
    ----------
    hessian : that of the last step, where there is one
    """

    @property
    def hessian(self) -> FloatArray | None: ...
    def __call__(self, x: FloatArray, g: FloatArray, /) -> Proposal: ...


def minimize_proximal_newton(
    fun: Callable[..., float],
    x0: FloatArray,
    args: tuple[Any, ...] = (),
    *,
    jac: Callable[..., FloatArray],
    region: Region,
    model_step: StepSolver,
    target: float,
    tol: float,
    polish: bool = True,
    share: float = 0.0,
    resolution: float = np.finfo(float).eps,
    maxiter: int = 1000,
    callback: Callable[[OptimizeResult], object] | None = None,
    **unused: Any,
) -> OptimizeResult:
    """Minimise a smooth convex function plus an l1 penalty in a box.

    Parameters
    ----------
    fun, x0, args, jac, callback
        As `scipy.optimize.minimize` hands them to a custom method; `fun` and `jac` are of the smooth part.
    region : Region
        Penalty and box.
    model_step : StepSolver
        Called with (x, g): a `Proposal` from the model at x.
    target, tol, resolution, maxiter
        As in `minimize_newton`; the decrement is the gain of the model.
    polish : bool
        Whether steps that are not cheap go on to the target, once the decrement is within `tol`.
    share : float
        Of the first decrement, what may be left.

    Returns
    -------
    OptimizeResult
        `fun` includes the penalty; `jac` is the gradient of the smooth part.
    """
    x = np.asarray(x0, dtype=float)
    inside = np.clip(x, region.lower, region.upper)
    if not np.array_equal(inside, x):
        x = inside
    f, g = fun(x, *args) + region.penalty(x), jac(x, *args)
    nit = 0
    least, n_stalls, n_idle, whole = np.inf, 0, 0, True
    last: deque[float] = deque(maxlen=LAST_STEPS)
    message, success = "maximum number of iterations reached", False
    while True:
        proposal = model_step(x, g)
        decrement = proposal.gain
        if not nit:
            target = max(target, share * decrement)
        rounding = resolution * abs(f)
        noise = NOISE * rounding
        # Of what falls like an exponential, as where rows are all but separated, the quadratic sees half.
        enough = tol if decrement <= _SMALL_PART * f else 0.5 * tol
        if decrement <= (target if polish or proposal.cheap else max(target, enough)):
            message, success = "the decrement is at the target", True
            break
        if proposal.expected > _FAR_MORE * f and not proposal.surely:
            # Far more than there is: neither the likelihood nor a penalty falls below zero.
            continue
        # Where differences of f are rounding, steps are taken for as long as they leave less and less.
        least, n_stalls = (decrement, 0) if decrement < _STALLED * least else (least, n_stalls + 1)
        if n_stalls >= (_MAX_STALLS if whole else _MANY_STALLS) and decrement < TOLD_APART * rounding:
            success = decrement <= max(tol, noise)
            message = "rounding ends the decrease"
            break
        if nit >= maxiter:
            # A model that sees too much curvature is no judge of what is left: no less than the last steps have gained.
            decrement = max(decrement, last[0] - f) if len(last) == last.maxlen else decrement
            break
        t, moved = 1.0, None
        for _ in range(_MAX_BACKTRACKS):
            trial, change = proposal.path(t)
            f_trial = fun(trial, *args) + region.penalty(trial)
            if f_trial <= f + _ARMIJO * change + noise * (-change < TOLD_APART * rounding):
                moved = trial
                break
            t *= 0.5
        if moved is None and not proposal.surely:
            continue
        n_idle = 0 if t == 1.0 or f - f_trial > noise else n_idle + 1
        if moved is None or np.array_equal(moved, x) or n_idle >= _MAX_IDLE:
            success = decrement <= max(tol, noise)
            message = "rounding ends the decrease"
            break
        whole = t == 1.0
        if whole and proposal.is_open and f - f_trial > max(_NO_CURVATURE * decrement, noise):
            moved, f_trial = _farther(lambda at: fun(at, *args) + region.penalty(at), proposal, moved, f_trial)
        last.append(f)
        x, f, g = moved, f_trial, jac(moved, *args)
        nit += 1
        if callback is not None:
            callback(OptimizeResult(x=x, fun=f, jac=g, decrement=decrement))
    return OptimizeResult(
        x=x,
        fun=f,
        jac=g,
        nit=nit,
        success=success,
        status=0 if success else 1,
        message=message,
        decrement=decrement,
        step=proposal.step,
        crawling=False,
    )


def _farther(
    whole_fun: Callable[[FloatArray], float], proposal: Proposal, end: FloatArray, f: float
) -> tuple[FloatArray, float]:
    """Go on from the end of a whole step that fell twice as far as its model: for as long as that leads down.

    Along it the objective is a line, as far as can be told, and the length of the step is the model's own damping: of
    columns that are all but collinear, or rows all but separated.
    """
    t = 1.0
    for _ in range(_MOST_EXTENSIONS):
        t *= _LONGER
        trial, _ = proposal.path(t)
        f_trial = whole_fun(trial)
        if not f_trial < f or np.array_equal(trial, end):
            break
        end, f = trial, f_trial
    return end, f
