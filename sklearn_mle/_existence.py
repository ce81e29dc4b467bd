"""Is the maximum attained? Asked of a solution, where its last Newton step leaves room for doubt."""

from dataclasses import replace
from typing import Any

import numpy as np

from ._auto import CurvatureSchedule
from ._cost import MAX_EXACT_SIZE
from ._curvature import DenseCurvature
from ._history import Controls
from ._methods import Solution
from ._minimize import polish
from ._problem import RoundProblem
from ._separation import SeparationFinding, SeparationKind, diagnose_separation
from ._typing import FloatArray

# A Newton step that still moves the logits of a row by this much, where nothing is left to gain, points to a
# minimum at infinity: along a direction of recession each step moves them by about one.
MOVING_LOGITS = 0.3
# For linear programs; and for the first ones, where a few more steps may show that there is a maximum.
_SECONDS, _SECONDS_OF_CRAWL = 20.0, 2.0
# Of a row that such a step may move that far between bounds, where steps go on to the last digits.
_LITTLE_CURVATURE = 1e-9
# With a Hessian of some steps before, s, s exp(-s), and so on from one.
_MOVING_LOGITS_OF_OLD = 0.1


def examine(
    problem: RoundProblem,
    schedule: CurvatureSchedule,
    controls: Controls,
    solution: Solution,
    few: int,
    watched: bool,
) -> tuple[Solution, SeparationFinding | None]:
    """Ask whether the maximum is attained, where the last Newton step leaves room for doubt.

    Where it is, iterations go on that were ended as they made for infinity: a `few`. A method that was not `watched`
    may have gone so far that nothing is left of gradient and curvature, nor of a step to doubt.
    """
    separates = solution.value < problem.separated_below or (
        solution.value <= controls.tol and problem.separates(solution.psi)
    )
    if separates and solution.value <= controls.tol:
        # The supremum is 0, whatever single precision makes of the curvature there.
        solution = replace(solution, converged=True)
    if not solution.converged or not problem.size:
        return solution, None
    finding = None
    # The way that was gone, where it leads to separation, or not even rounding is left of the gradient to ask for more.
    step, decrement = solution.psi, np.inf
    if not separates:
        asked = _next_step(problem, schedule, controls, solution)
        if asked is not None and asked.any():
            step, decrement = asked, solution.decrement if solution.step is not None else np.inf
    if (
        separates
        or problem.moves_logits(solution.psi, step, decrement, _moving(solution))
        or (not schedule.exact and problem.has_leapt(solution.psi))
        or (not watched and problem.is_certain(solution.psi))
    ):
        direction = problem.coordinates.push(step) if separates else problem.coordinates.push_direction(step)
        seconds = _SECONDS_OF_CRAWL if (solution.crawling or not watched) and not separates else _SECONDS
        finding = _diagnosed(problem, direction, solution, seconds)
        if finding.kind in (SeparationKind.QUASI_COMPLETE, SeparationKind.COMPLETE):
            return solution, finding
    if solution.crawling:
        undecided = finding is not None and finding.kind is SeparationKind.UNDECIDED
        if not undecided:
            controls = replace(controls, max_iter=min(controls.max_iter, len(controls.history.objective) + few))
        solution = polish(problem, schedule, controls, solution.psi, watch=False)
        if (
            undecided
            and solution.step is not None
            and problem.moves_logits(solution.psi, solution.step, solution.decrement, _moving(solution))
        ):
            direction = problem.coordinates.push_direction(solution.step)
            finding = _diagnosed(problem, direction, solution, _SECONDS)
            return solution, None if finding.kind is SeparationKind.OVERLAP else finding
    return solution, None


def examine_in_box(
    problem: RoundProblem,
    solution: Solution,
    box: tuple[FloatArray, FloatArray],
    bounds: tuple[FloatArray, FloatArray],
) -> SeparationFinding | None:
    """The same of a solution between bounds, those of psi and those of W: is there a way to infinity within?

    Asked where Newton's next step, on the coordinates that are at no bound, moves the logits of a row though nothing is
    left to gain; and, for not so long, where steps have gone so far that nothing is left of the curvature of a row.
    """
    if not solution.converged or not np.isinf(bounds).any():
        return None
    moving = solution.value < problem.separated_below
    if not moving:
        step = _step_in_box(problem, solution, box)
        moving = step is not None and problem.largest_move(step) > _MOVING_LOGITS_OF_OLD
    if not moving and not problem.is_certain(solution.psi):
        return None
    seconds = _SECONDS if moving else _SECONDS_OF_CRAWL
    finding = _diagnosed(problem, problem.coordinates.push(solution.psi), solution, seconds, bounds)
    if finding.kind is SeparationKind.OVERLAP or (finding.kind is SeparationKind.UNDECIDED and not moving):
        return None
    return finding


def _step_in_box(problem: RoundProblem, solution: Solution, box: tuple[FloatArray, FloatArray]) -> FloatArray | None:
    """Newton's next step on the coordinates that are at no bound; None where there are none, or too many."""
    psi, objective = solution.psi, problem.objective
    free = np.flatnonzero((psi > box[0]) & (psi < box[1]))
    # A row that a step moves though little is left to gain hardly bends the likelihood.
    rows = objective.rows_of_little_curvature(problem.coordinates.push(psi), _LITTLE_CURVATURE)
    if not len(free) or problem.size > MAX_EXACT_SIZE or (rows is not None and not len(rows)):
        return None
    hessian = problem.hessian(psi) if solution.hessian is None else solution.hessian
    step = np.zeros_like(psi)
    step[free] = -DenseCurvature(hessian[np.ix_(free, free)]).solve(solution.grad[free])
    return step


def _diagnosed(
    problem: RoundProblem,
    direction: FloatArray,
    solution: Solution,
    seconds: float,
    bounds: tuple[FloatArray, FloatArray] | None = None,
) -> SeparationFinding:
    asked = question(problem, direction, problem.coordinates.push(solution.psi))
    return diagnose_separation(**asked, bounds=bounds, time_limit=seconds)


def _moving(solution: Solution) -> float:
    """Logits by which the last step of a crawl moves some row at least."""
    return MOVING_LOGITS if solution.result.get("fresh", True) else _MOVING_LOGITS_OF_OLD


def _next_step(
    problem: RoundProblem, schedule: CurvatureSchedule, controls: Controls, solution: Solution
) -> FloatArray | None:
    """The next step of Newton's, by psi: along a direction of recession it moves the logits."""
    if solution.step is not None:
        return solution.step
    # What a callable has found stands, but one Newton step is asked for.
    return polish(problem, schedule, controls, solution.psi, max_iter=0).step


def question(problem: RoundProblem, direction: FloatArray, theta: FloatArray) -> dict[str, Any]:
    """Arguments of `diagnose_separation` and `recession_signs`, by a direction to try and an estimate, as theta."""
    samples = problem.objective.samples
    candidate, estimate = (_in_given_columns(problem, way) for way in (direction, theta))
    return {
        "X": samples.X,
        "Y": samples.y if samples.y.ndim == 1 else samples.y.T,
        "sample_weight": samples.w,
        "n_classes": samples.n_classes,
        "fit_intercept": problem.objective.layout.fit_intercept,
        "candidate": candidate if np.isfinite(candidate).all() else None,
        "estimate": estimate,
        "rounding": samples.rounding,
    }


def _in_given_columns(problem: RoundProblem, theta: FloatArray) -> FloatArray:
    """Theta in columns as they were given, (K, p + fit_intercept)."""
    samples, layout = problem.objective.samples, problem.objective.layout
    ((W, b),) = layout.unpack(theta)
    if b is not None:
        if samples.shift is not None:
            b = b - W @ samples.shift.astype(np.float64)
        W = np.column_stack([W, b])
    return np.vstack([np.zeros_like(W), W]) if layout.widths[-1] == 1 else W
