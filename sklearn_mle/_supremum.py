"""How near a fit is to the supremum of a likelihood without a maximum, and the way that is left to go.

Let V be a direction of recession that rules out some pairs of row and class: their probabilities go to 0 along it, and
all others keep their ratios. The negative log-likelihood f then falls along theta + t V from any theta, to

    f_V(theta) = - sum_i w_i y_i' log softmax(z_i without the classes that V rules out in row i),

and inf f = inf f_V (Geyer, 2009, Electron. J. Statist. 3, 259-289, section 3: the limiting conditional model). So what
is left to gain has two parts. f - f_V, at theta, is known without any estimate, and t takes it away. The rest is that
of f_V, which is a matter of Newton's steps.

The steps of f alone do not tell how much is left where separated rows lie unlike distances from the others: each
gains of the nearest, and says nothing of those that would cost something for hundreds of steps to come.
"""

import numpy as np

from ._auto import CurvatureSchedule
from ._history import Controls
from ._kept import round_problem
from ._line_search import NOISE
from ._methods import Solution
from ._minimize import polish
from ._problem import RoundProblem
from ._separation import SeparationFinding
from ._typing import FloatArray

# Of the nats that may be left, what the pairs that are ruled out may cost where the way ahead ends.
_SHARE_OF_TAIL = 0.25
# Doublings of the way, of which logits grow as large.
_MOST_DOUBLINGS = 60
# Ways along a direction of recession, each with Newton steps of what is level along it.
_MOST_WAYS = 5


def to_supremum(
    problem: RoundProblem,
    class_metric: FloatArray,
    schedule: CurvatureSchedule,
    controls: Controls,
    solution: Solution,
    finding: SeparationFinding,
) -> tuple[RoundProblem, CurvatureSchedule, Solution]:
    """Within `tol` of the supremum: along the direction found, and by Newton steps of what is level along it.

    Where no direction was found the solution stands. What is returned is in coordinates about the point reached.
    """
    for _ in range(_MOST_WAYS):
        ahead = _ahead(problem, solution, finding, controls.tol, controls.resolution) if controls.left else None
        if ahead is None:
            break
        theta, value = ahead
        controls.history.add(value)
        problem = round_problem(problem.objective, problem.coordinates.moved_to(theta))
        schedule = CurvatureSchedule(problem, class_metric, warm=True, sampled=False)
        solution = polish(problem, schedule, controls, np.zeros(problem.size))
    return problem, schedule, solution


def _ahead(
    problem: RoundProblem, solution: Solution, finding: SeparationFinding, tol: float, resolution: float
) -> tuple[FloatArray, float] | None:
    """Theta, and the value there, so far along the direction found that what is ruled out costs next to nothing.

    None where `tol` bounds what is left already, or where rounding does not let it.
    """
    if finding.direction is None or finding.separated is None or solution.value <= tol:
        # No likelihood is above one.
        return None
    objective, theta = problem.objective, problem.coordinates.push(solution.psi)
    noise = NOISE * resolution * abs(solution.value)
    level = objective.value_without(theta, finding.separated)
    if solution.value - level + solution.decrement <= max(tol, noise):
        return None
    way = _as_theta(problem, finding.direction)
    best, least, t = theta, solution.value, 1.0
    for _ in range(_MOST_DOUBLINGS):
        ahead = theta + t * way
        value = objective.value(ahead)
        if not value <= least + noise:
            break
        if value < least:
            best, least = ahead, value
        if value - level <= _SHARE_OF_TAIL * tol:
            break
        t *= 2
    return (best, least) if least < solution.value else None


def _as_theta(problem: RoundProblem, direction: FloatArray) -> FloatArray:
    """A direction (K, p + fit_intercept), of the columns as they were given, as one of theta."""
    layout, shift = problem.objective.layout, problem.objective.samples.shift
    if layout.widths[-1] == 1:
        direction = direction[1:] - direction[:1]
    if not layout.fit_intercept:
        return layout.pack([(direction, None)])
    W, b = direction[:, :-1], direction[:, -1]
    return layout.pack([(W, b if shift is None else b + W @ shift.astype(np.float64))])
