"""The linear model, from arrays to estimate: coordinates, a solver, and the way back.

Everything below this file works on one problem; everything above hands in arrays and takes the estimate.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import entr

from ._auto import CurvatureSchedule
from ._block import Block
from ._existence import examine, examine_in_box
from ._history import Controls, History
from ._jeffreys import JeffreysProblem, jeffreys_problem
from ._kept import round_problem
from ._layout import Layout
from ._memory import CurvatureMemory, remembered
from ._methods import Method, Solution, Solver
from ._minimize import describe_auto, finished, polish, solve
from ._network import Network
from ._objective import NegativeLogLikelihood
from ._precondition import Coordinates, box_coordinates, box_point, null_coordinates, rewhitened
from ._problem import RoundProblem
from ._samples import Samples
from ._separation import SeparationFinding
from ._softmax import ABSENT_LOGIT
from ._supremum import to_supremum
from ._typing import Design, FloatArray, IntArray, Targets

# Iterations of solver="auto" after which it takes coordinates in which the problem is round where it has come to.
_PATIENT_ITERATIONS = 100


@dataclass(frozen=True)
class LinearModel:
    """What is estimated, from which rows, under what prior and constraints.

    Attributes
    ----------
    X : dense array or CSR, (n, p)
    y : class indices (n,), or distributions (n, K)
    w : weights (n,) or None
    n_classes : K
    C, fit_intercept : prior variance of the weights; whether there are intercepts
    l1_ratio : share of ||W||_1 in the penalty
    prior : "gaussian" of variance C, or "jeffreys"
    bounds : arrays (J, p) below and above W, or None
    start : (W, b) to start from, or None
    memory : what the fit that ended there has left, if anything
    """

    X: Design
    y: Targets
    w: FloatArray | None
    n_classes: int
    C: float
    fit_intercept: bool
    l1_ratio: float = 0.0
    bounds: tuple[FloatArray, FloatArray] | None = None
    start: tuple[FloatArray, FloatArray] | None = None
    memory: CurvatureMemory | None = None
    prior: str = "gaussian"


@dataclass(frozen=True)
class Estimate:
    """The estimate and what is known about it.

    Attributes
    ----------
    W, b : arrays (J, p) and (J,); J = 1 for two classes, else K
    nll : sum of w times the NLL there, without the penalty
    objective : with it
    finding : the diagnosis, where there was a sign that the estimate does not exist
    absent : indices of classes without weight
    memory : the curvature there, for a fit that starts there
    """

    W: FloatArray
    b: FloatArray
    nll: float
    objective: float
    converged: bool
    decrement: float
    history: History
    result: Any
    n_passes: float
    finding: SeparationFinding | None
    absent: tuple[int, ...]
    memory: CurvatureMemory | None


def estimate_linear(
    model: LinearModel,
    solver: Solver,
    *,
    tol: float,
    max_iter: int,
    options: dict[str, Any] | None = None,
    n_threads: int | None = 1,
    say: Callable[[str], None] | None = None,
) -> Estimate:
    """Fit the linear softmax model by maximum likelihood or, with finite C, maximum a posteriori."""
    y = model.y if model.y.ndim == 1 else np.ascontiguousarray(model.y.T)
    samples = Samples(model.X, y, model.w, n_classes=model.n_classes, n_threads=n_threads)
    with samples.pinned():
        return _estimate(model, samples, solver, tol, max_iter, options, say)


def _estimate(
    model: LinearModel,
    samples: Samples,
    solver: Solver,
    tol: float,
    max_iter: int,
    options: dict[str, Any] | None,
    say: Callable[[str], None] | None,
) -> Estimate:
    present = _classes_to_fit(model, samples)
    absent = _others(present, model.n_classes)
    if absent:
        samples = samples.with_classes(present)
    setting = _set_up(model, samples, present)
    problem = setting.problem
    schedule = CurvatureSchedule(problem, setting.class_metric, warm=setting.warm, memory=setting.memory)
    history = History(None if say is None else lambda i, f: say(f"iteration {i}: {f:.10g} nats"))
    resolution = float(np.finfo(samples.dtype).eps)
    controls = Controls(tol, max_iter, resolution, dict(options or {}), setting.box, setting.l1, history)
    if say is not None:
        words = solver.name if isinstance(solver, Method) else solver or describe_auto(problem, schedule, controls)
        say(f"{problem.size} free parameters, solver: {words}")
    # Where these run out new coordinates may help.
    may_move = _may_move(model, setting)
    few = _PATIENT_ITERATIONS if solver is None and may_move else max_iter
    solution = solve(
        problem,
        schedule,
        solver,
        replace(controls, max_iter=min(max_iter, few)),
        setting.start,
        setting.known,
        _PATIENT_ITERATIONS if may_move else None,
    )
    # What SciPy has returned of a named method is handed out, whatever was made of it.
    own = solution.result if isinstance(solver, Method) else None
    setting, schedule, solution = _carried_on(setting, schedule, controls, solution)
    finding = None
    if np.isinf(model.C) and setting.box is None and model.prior != "jeffreys":
        solution, finding = examine(setting.problem, schedule, controls, solution, few, watched=solver is None)
        if finding is None:
            setting, schedule, solution = _carried_on(setting, schedule, controls, solution, watch=False)
        elif solver is None or (isinstance(solver, Method) and solver.takes != "value"):
            # What callables and methods without derivatives have found stands.
            problem, schedule, solution = to_supremum(
                setting.problem, setting.class_metric, schedule, controls, solution, finding
            )
            setting = replace(setting, problem=problem)
    elif np.isinf(model.C) and setting.box is not None and setting.bounds is not None:
        finding = examine_in_box(setting.problem, solution, setting.box, setting.bounds)
    problem = setting.problem
    if finding is None:
        solution = finished(solution, history)
    W, b = _coefficients(model, setting, solution)
    nll = solution.value - problem.penalty(solution.psi)
    if setting.l1 is not None:
        nll -= float(setting.l1 @ np.abs(solution.psi))
    if absent:
        W, b = _with_absent(samples, model, W, b, present)
    return Estimate(
        np.array(W),
        b,
        float(nll),
        solution.value,
        solution.converged,
        solution.decrement,
        history,
        solution.result if own is None else own,
        problem.objective.n_passes,
        finding,
        absent,
        remembered(problem, schedule.last if setting.box is None else solution.hessian, float(nll)),
    )


def _classes_to_fit(model: LinearModel, samples: Samples) -> IntArray:
    """All classes, but those whose intercept the likelihood sends to -inf as they have no weight."""
    if not model.fit_intercept or model.n_classes == 2 or model.prior == "jeffreys":
        return np.arange(model.n_classes)
    return np.flatnonzero(samples.class_weights > 0)


def _others(present: IntArray, n_classes: int) -> tuple[int, ...]:
    """The classes that are not present."""
    return tuple(set(range(n_classes)).difference(present.tolist()))


@dataclass(frozen=True)
class _Setting:
    """A problem in its coordinates, where to start, and the constraints there.

    `bounds` are those of W; `warm` says that the start is another than the model without features, `known` is value and
    gradient there, `memory` what the fit that ended there has left.
    """

    problem: RoundProblem
    class_metric: FloatArray
    start: FloatArray
    box: tuple[FloatArray, FloatArray] | None = None
    bounds: tuple[FloatArray, FloatArray] | None = None
    l1: FloatArray | None = None
    warm: bool = False
    known: tuple[float, FloatArray] | None = None
    memory: CurvatureMemory | None = None


def _set_up(model: LinearModel, samples: Samples, present: IntArray) -> _Setting:
    n_outputs = 1 if model.n_classes == 2 else len(present)
    layout = Layout((model.X.shape[1], n_outputs), model.fit_intercept, by_feature=samples.is_sparse)
    # The part of the penalty that is smooth: (1 - l1_ratio) ||W||^2 / (2 C).
    variance = model.C / (1 - model.l1_ratio) if model.l1_ratio < 1 else np.inf
    if model.bounds is not None or (model.l1_ratio and np.isfinite(model.C)):
        return _set_up_in_box(model, samples, present, layout, variance)
    jeffreys = model.prior == "jeffreys"
    coordinates, class_metric = null_coordinates(layout, samples, variance, whiten=jeffreys)
    objective = NegativeLogLikelihood(Network(layout), samples, variance)
    objective.n_passes += samples.n_passes
    problem: RoundProblem
    if model.start is not None:
        theta = _theta(model.start, present, samples, coordinates)
        if jeffreys:
            if objective.value(theta) <= _null_value(samples, model.fit_intercept):
                problem = JeffreysProblem(objective, coordinates.moved_to(theta))
                return _Setting(problem, class_metric, np.zeros(problem.size), warm=True)
        else:
            warm = _warm_setting(model, round_problem(objective, coordinates.moved_to(theta)), class_metric)
            if warm is not None:
                return warm
    problem = jeffreys_problem(objective, coordinates) if jeffreys else round_problem(objective, coordinates)
    return _Setting(problem, class_metric, np.zeros(problem.size))


def _warm_setting(model: LinearModel, problem: RoundProblem, class_metric: FloatArray) -> _Setting | None:
    """The setting with a start at psi = 0; None where it is worse than the model without features.

    Such a one (other units, a saturated softmax) has a curvature that leads nowhere.
    """
    start = np.zeros(problem.size)
    value, grad = problem.value_and_grad(start)
    if not value <= _null_value(problem.objective.samples, model.fit_intercept):
        return None
    memory = _memory_of(model, problem, value - problem.penalty(start))
    return _Setting(problem, class_metric, start, warm=True, known=(value, grad), memory=memory)


def _memory_of(model: LinearModel, problem: RoundProblem, nll: float) -> CurvatureMemory | None:
    """What the fit that ended at the start has left, where the likelihood there is what it was."""
    return model.memory if model.memory is not None and model.memory.is_of(problem, nll) else None


def _null_value(samples: Samples, fit_intercept: bool) -> float:
    """The negative log-likelihood of the model without features: that of the class shares."""
    weights = samples.class_weights
    if not fit_intercept:
        return float(weights.sum() * np.log(len(weights)))
    return float(weights.sum() * entr(weights / weights.sum()).sum())


def _may_move(model: LinearModel, setting: _Setting) -> bool:
    """Whether there are other coordinates: none under bounds and l1 penalties, or for so many columns."""
    dense = setting.problem.coordinates.transform.ndim == 2
    return dense and setting.box is None and model.prior != "jeffreys"


def _carried_on(
    setting: _Setting, schedule: CurvatureSchedule, controls: Controls, solution: Solution, watch: bool = True
) -> tuple[_Setting, CurvatureSchedule, Solution]:
    """More Newton steps where their number has ended them, in coordinates that are round at the point reached."""
    while solution.result.get("exhausted") and controls.left:
        limit = controls.max_iter
        moved = _moved(setting, solution)
        if moved is not None:
            setting, solution = moved, replace(solution, psi=np.zeros(moved.problem.size))
            limit = min(limit, len(controls.history.objective) + _PATIENT_ITERATIONS)
        schedule = CurvatureSchedule(setting.problem, setting.class_metric, warm=True, sampled=False)
        patient = replace(controls, max_iter=limit)
        solution = polish(setting.problem, schedule, patient, solution.psi, watch=watch)
    return setting, schedule, solution


def _moved(setting: _Setting, solution: Solution) -> _Setting | None:
    """The setting with coordinates that are round at the solution, and psi = 0 there; None where that cannot be."""
    problem, coordinates = setting.problem, setting.problem.coordinates
    objective, theta = problem.objective, coordinates.push(solution.psi)
    curvature = objective.row_curvature(theta)
    variance = 1 / objective.precision if objective.precision else np.inf
    counted = objective.samples.n_passes
    moved = rewhitened(coordinates, objective.samples, curvature, variance, theta)
    objective.n_passes += objective.samples.n_passes - counted
    return None if moved is None else replace(setting, problem=round_problem(objective, moved))


def _set_up_in_box(
    model: LinearModel, samples: Samples, present: IntArray, layout: Layout, variance: float
) -> _Setting:
    shape = (layout.widths[-1], layout.widths[0])
    if model.bounds is None:
        bounds = np.full(shape, -np.inf), np.full(shape, np.inf)
    elif shape[0] == 1:
        bounds = model.bounds
    else:
        bounds = model.bounds[0][present], model.bounds[1][present]
    coordinates, box, bounds = box_coordinates(layout, samples, variance, bounds)
    objective = NegativeLogLikelihood(Network(layout), samples, variance)
    objective.n_passes += samples.n_passes
    problem = round_problem(objective, coordinates)
    start: FloatArray = np.zeros(problem.size)
    if model.start is not None:
        # Bounds and l1 penalty are those of psi, whose zero is W = 0: the start moves, not the origin.
        start = box_point(coordinates, _theta(model.start, present, samples, coordinates))
    l1 = _l1_weights(coordinates, model)
    start, null = np.clip(start, *box), np.clip(np.zeros(problem.size), *box)
    setting = _Setting(problem, np.eye(shape[0]), null, box, bounds, l1)
    if model.start is None:
        return setting

    def penalty(psi: FloatArray) -> float:
        return 0.0 if l1 is None else float(l1 @ np.abs(psi))

    value, grad = problem.value_and_grad(start)
    # As above: what is worse than no start is none.
    if not value + penalty(start) <= objective.value(coordinates.push(null)) + penalty(null):
        return setting
    memory = _memory_of(model, problem, value - problem.penalty(start))
    return replace(setting, start=start, warm=True, known=(value, grad), memory=memory)


def _coefficients(model: LinearModel, setting: _Setting, solution: Solution) -> tuple[FloatArray, FloatArray]:
    """(W, b) of the original columns: within the bounds, and of least norm where the likelihood leaves a choice."""
    problem = setting.problem
    coordinates, samples = problem.coordinates, problem.objective.samples
    theta = coordinates.push(solution.psi)
    if np.isinf(model.C) and setting.box is None:
        theta = coordinates.minimum_norm(theta)
    ((W, b),) = coordinates.layout.unpack(theta)
    b = np.zeros(len(W)) if b is None else b.copy()
    if samples.shift is not None:
        b -= W @ samples.shift.astype(np.float64)
    if setting.box is not None and setting.bounds is not None:
        lower, upper = setting.bounds
        at, lowest, highest = (coordinates.blocks(v)[:, : coordinates.rank] for v in (solution.psi, *setting.box))
        # What is at a bound in psi is at it in W, to the last digit.
        W = np.where(at <= lowest, lower, np.where(at >= highest, upper, np.clip(W, lower, upper)))
        if np.isinf(model.C) and len(W) > 1:
            W = _least_norm_in_box(W, lower, upper)
    return W, b - b.mean() if len(W) > 1 else b


def _l1_weights(coordinates: Coordinates, model: LinearModel) -> FloatArray | None:
    """Weights (d,) of |psi| that make l1_ratio ||W||_1 / C; None where that is nothing."""
    if not model.l1_ratio or np.isinf(model.C):
        return None
    weights = np.zeros(coordinates.shape)
    weights[:, : coordinates.rank] = model.l1_ratio / model.C * coordinates.transform
    return coordinates.flat(weights)


def _theta(
    start: tuple[FloatArray, FloatArray], present: IntArray, samples: Samples, coordinates: Coordinates
) -> FloatArray:
    """(W, b) of the original columns as theta, without what is outside of the span of the class basis."""
    W, b = start if len(start[0]) == 1 else (part[present] for part in start)
    if samples.shift is not None:
        b = b + W @ samples.shift.astype(np.float64)
    basis = coordinates.basis
    intercepts = basis @ (basis.T @ b) if coordinates.layout.fit_intercept else None
    return coordinates.layout.pack([(basis @ (basis.T @ W), intercepts)])


def _least_norm_in_box(W: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Add one number to each column of W (all classes alike, which changes no probability) for the least norm."""
    shift = np.clip(-W.mean(axis=0), (lower - W).max(axis=0), (upper - W).min(axis=0))
    return np.clip(W + shift, lower, upper)


def _with_absent(
    samples: Samples, model: LinearModel, W: FloatArray, b: FloatArray, present: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Give classes without weight the weights zero, and an intercept that makes them all but impossible.

    Zero is what a prior, or the symmetric gauge, makes of their weights as their intercepts go to -inf.
    """
    full_W = np.zeros((model.n_classes, W.shape[1]))
    if model.bounds is not None:
        full_W = np.clip(full_W, *model.bounds)
    full_W[present] = W
    missing = list(_others(present, model.n_classes))
    room = np.full(len(missing), np.inf)

    def block_room(block: Block) -> FloatArray:
        z = block.outputs(full_W).astype(np.float64)
        own = z[present] + b[:, None]
        top = own.max(axis=0)
        return (top - z[missing]).min(axis=1)

    unshifted = Samples(model.X, samples.y, None, n_classes=model.n_classes)
    unshifted.each(block_room, lambda found: np.minimum(room, found, out=room))
    full_b = np.empty(model.n_classes)
    full_b[present] = b
    full_b[missing] = room - ABSENT_LOGIT
    return full_W, full_b - full_b.mean()
