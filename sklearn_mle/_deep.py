"""A network with hidden layers, from arrays to estimate: initial weights, restarts, early stopping.

Everything below this file works on one problem; everything above hands in arrays and takes the estimate.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from ._block import Block
from ._descent import Stopped, train
from ._history import Controls, History
from ._layout import Layout
from ._methods import Solution, Solver
from ._network import Network
from ._network_problem import NetworkProblem
from ._objective import NegativeLogLikelihood
from ._samples import Samples
from ._softmax import ABSENT_LOGIT
from ._typing import BoolArray, Design, FloatArray, Targets

# Columns are shifted block by block where their mean is more than this many times their deviation.
_MAX_OFFSET = 1.0

Layers = list[tuple[FloatArray, FloatArray | None]]


@dataclass(frozen=True)
class NetworkModel:
    """What is estimated, from which rows, under what prior, from which start.

    Attributes
    ----------
    X : dense array or CSR, (n, p)
    y : class indices (n,), or distributions (n, K)
    w : weights (n,) or None
    n_classes : K
    C, fit_intercept : prior variance of the weights; whether each layer has intercepts
    hidden, activation : units of the hidden layers, and what they do
    start : layers to start from, as (n_out, n_in) and (n_out,), or None
    """

    X: Design
    y: Targets
    w: FloatArray | None
    n_classes: int
    C: float
    fit_intercept: bool
    hidden: tuple[int, ...]
    activation: str
    start: Layers | None = None


@dataclass(frozen=True)
class Validation:
    """Rows that are held out, and how long to wait for them: `early_stopping`."""

    fraction: float
    patience: int


@dataclass(frozen=True)
class NetworkEstimate:
    """The estimate and what is known about it.

    Attributes
    ----------
    layers : (n_out, n_in) and (n_out,) of each
    nll : sum of w times the NLL on the rows that were fitted, without the penalty
    total_weight : of those rows
    initial : the objective at the start
    value : the objective at the estimate
    history : the objective after each iteration
    validation : mean NLL of the rows held out after each iteration, or None
    absent : indices of classes without weight
    """

    layers: Layers
    nll: float
    total_weight: float
    initial: float
    value: float
    converged: bool
    decrement: float
    history: History
    result: Any
    n_passes: float
    validation: list[float] | None
    absent: tuple[int, ...]
    finding: None = None


@dataclass
class Watch:
    """Follows a fit: the best point by the objective, and by the rows held out.

    Attributes
    ----------
    held_out : objective on the rows held out, without a prior, or None
    supremum : the objective below which there is nothing left to gain (C = inf: a NLL has a least value)
    patience, margin : iterations without a gain of `margin` nats (in total) after which to stop
    """

    held_out: NegativeLogLikelihood | None = None
    patience: int = 10
    margin: float = 0.0
    supremum: float = -np.inf
    point: FloatArray | None = None
    kept: FloatArray | None = None
    curve: list[float] = field(default_factory=list)
    waited: int = 0
    value: float = np.inf
    best: float = np.inf

    def visit(self, theta: FloatArray, value: float) -> None:
        """A point with the least objective so far."""
        self.point, self.value = np.array(theta), value

    def iterated(self) -> None:
        """After each iteration: is the likelihood of the rows held out still growing?"""
        if self.point is None:
            return
        if self.held_out is None:
            if self.value <= self.supremum:
                raise Stopped
            return
        loss = self.held_out.value(self.point)
        if self.kept is None or loss < self.best:
            self.waited = 0 if self.kept is None or loss < self.best - self.margin else self.waited + 1
            self.kept, self.best = self.point, loss
        else:
            self.waited += 1
        self.curve.append(loss / self.held_out.samples.total_weight)
        if self.waited >= self.patience:
            raise Stopped


def estimate_network(
    model: NetworkModel,
    solver: Solver,
    rng: np.random.RandomState,
    *,
    tol: float,
    max_iter: int,
    n_init: int = 1,
    validation: Validation | None = None,
    options: dict[str, Any] | None = None,
    n_threads: int | None = 1,
    say: Callable[[str], None] | None = None,
) -> NetworkEstimate:
    """Fit a network by maximum likelihood or, with finite C, maximum a posteriori, from `n_init` starts.

    Of several starts the one with the least objective counts, or with the least NLL of the rows held out.
    """
    y = model.y if model.y.ndim == 1 else np.ascontiguousarray(model.y.T)
    samples = Samples(model.X, y, model.w, n_classes=model.n_classes, n_threads=n_threads, n_units=sum(model.hidden))
    with samples.pinned():
        weights = samples.class_weights
        absent = tuple(np.flatnonzero(weights == 0).tolist()) if model.fit_intercept and model.n_classes > 2 else ()
        if absent:
            samples = samples.with_classes(np.flatnonzero(weights > 0))
        held_out = None
        if validation is not None:
            samples, held_out = _split(samples, validation.fraction, rng)
        n_outputs = 1 if model.n_classes == 2 else samples.n_classes
        layout = Layout((samples.n_features, *model.hidden, n_outputs), model.fit_intercept)
        network = Network(layout, model.activation)
        columns = Columns.of(samples, model.C)
        if held_out is not None:
            held_out.shift = samples.shift
        best: NetworkEstimate | None = None
        for i in range(n_init):
            start = model.start if i == 0 else None
            if start is None:
                start = initial_layers(network, columns, samples, rng)
            watch = Watch()
            if validation is not None and held_out is not None:
                watch = Watch(NegativeLogLikelihood(network, held_out), validation.patience, tol)
            elif np.isinf(model.C):
                watch = Watch(supremum=tol + samples.total_entropy())
            history = History(_reporter(watch, say))
            controls = Controls(tol, max_iter, float(np.finfo(samples.dtype).eps), dict(options or {}), history=history)
            objective = NegativeLogLikelihood(network, samples, model.C)
            problem = NetworkProblem(objective, columns.mean, columns.scale, watch.visit)
            found = _fit(problem, solver, controls, watch, _to_theta(start, samples, layout, absent))
            if best is None or _merit(found) < _merit(best):
                best = found
        assert best is not None
        return _with_absent(best, samples, network, absent, model.n_classes) if absent else best


def _reporter(watch: "Watch", say: Callable[[str], None] | None) -> Callable[[int, float], None]:
    def report(iteration: int, value: float) -> None:
        if say is not None:
            say(f"iteration {iteration}: {value:.10g} nats")
        watch.iterated()

    return report


def _fit(
    problem: NetworkProblem, solver: Solver, controls: Controls, watch: Watch, start: FloatArray
) -> NetworkEstimate:
    objective, samples = problem.objective, problem.objective.samples
    initial = problem.value_and_grad(start)[0]
    history = controls.history
    solution: Solution | None = None
    try:
        solution = train(problem, solver, controls, start)
        theta, decrement = solution.psi, solution.decrement
        converged, result = solution.converged, solution.result
        if history.objective and problem.mixed:
            # It was evaluated in float32, maybe.
            history.objective[-1] = solution.value
    except Stopped:
        assert watch.point is not None
        theta, decrement, converged = watch.point, np.nan, True
        held_out = watch.held_out is not None
        message = "the rows held out do not get likelier" if held_out else "the NLL is within tol of its least value"
        result = OptimizeResult(x=theta, success=True, status=0, message=message)
        result.nit = len(history.objective)
    if watch.kept is not None:
        theta = watch.kept
    problem.set_precision(False)
    value = objective.value(theta)
    layers = [(np.array(W), None if b is None else np.array(b)) for W, b in objective.layout.unpack(theta)]
    if samples.shift is not None and layers[0][1] is not None:
        layers[0] = (layers[0][0], layers[0][1] - layers[0][0] @ samples.shift.astype(np.float64))
    return NetworkEstimate(
        layers,
        value - objective.penalty(theta),
        samples.total_weight,
        initial,
        value,
        converged,
        decrement,
        history,
        result,
        problem.n_passes,
        watch.curve if watch.held_out is not None else None,
        (),
    )


def _merit(estimate: NetworkEstimate) -> float:
    return estimate.value if estimate.validation is None else min(estimate.validation, default=np.inf)


def _split(samples: Samples, fraction: float, rng: np.random.RandomState) -> tuple[Samples, Samples]:
    """Rows to fit and rows held out, the same share of each class; no rows are copied but those held out."""
    labels = samples.y if samples.y.ndim == 1 else np.zeros(samples.n_rows, dtype=int)
    order = rng.permutation(samples.n_rows)
    order = order[np.argsort(labels[order], kind="stable")]
    # Every row whose place among its class crosses a multiple of 1 / fraction; the first of a class never does.
    counts = np.bincount(labels, minlength=1)
    place = np.arange(samples.n_rows) - np.repeat(np.cumsum(counts) - counts, counts)
    held = np.zeros(samples.n_rows, dtype=bool)
    held[order] = (np.floor((place + 0.5) * fraction + 0.5) > np.floor((place - 0.5) * fraction + 0.5)) & (place > 0)
    if not held.any() or held.all():
        raise ValueError(f"validation_fraction={fraction:g} of {samples.n_rows} samples leaves none to one side.")
    held_out = samples.subset(np.flatnonzero(held))
    weights = np.where(held, 0.0, 1.0 if samples.w is None else samples.w)
    fitted = samples.reweighted(weights)
    if not fitted.total_weight or not held_out.total_weight:
        raise ValueError("early_stopping: the samples held out, or all others, have no weight.")
    return fitted, held_out


@dataclass(frozen=True)
class Columns:
    """Means (after `Samples.shift`) and sizes of the columns; which of them vary."""

    mean: FloatArray
    scale: FloatArray
    varies: BoolArray

    @classmethod
    def of(cls, samples: Samples, C: float) -> "Columns":
        """One pass; sets `samples.shift` where columns lie far from zero."""
        pilot = samples.pilot_mean()
        sums, squares = samples.column_sums(pilot)
        offset = sums / samples.total_weight
        mean = pilot + offset
        variance = np.maximum(squares / samples.total_weight - offset**2, 0.0)
        deviation = np.sqrt(variance)
        varies = deviation > 32 * np.finfo(samples.dtype).eps * np.abs(mean)
        if not samples.is_sparse and np.any(np.abs(mean) > _MAX_OFFSET * deviation):
            samples.shift = mean.astype(samples.dtype)
            mean = mean - samples.shift
        # A prior keeps the weights of columns small that hardly vary.
        scale = np.sqrt(np.where(varies, variance, 0.0) + 1 / (C * samples.total_weight))
        return cls(mean, np.where(scale > 0, scale, 1.0), varies)


def initial_layers(network: Network, columns: Columns, samples: Samples, rng: np.random.RandomState) -> Layers:
    """Glorot's or He's uniform weights, of standardised columns, and the shares of the classes.

    The fit does not depend on the units of the columns, as far as there is no prior.
    """
    layout = network.layout
    layers: Layers = []
    for layer, (n_in, n_out) in enumerate(pairwise(layout.widths)):
        bound = network.activation.initial_bound(n_in, n_out)
        W = rng.uniform(-bound, bound, size=(n_out, n_in))
        b = np.zeros(n_out)
        if layer == 0:
            W = np.where(columns.varies, W / columns.scale, 0.0)
            # Of rows as they are, without the shift.
            b -= W @ (columns.mean + (0.0 if samples.shift is None else samples.shift))
        if layer == layout.n_layers - 1:
            logs = np.log(np.maximum(samples.class_weights / samples.total_weight, 1e-10))
            b += logs[1] - logs[0] if n_out == 1 else logs - logs.mean()
        layers.append((W, b if layout.fit_intercept else None))
    return layers


def _to_theta(layers: Layers, samples: Samples, layout: Layout, absent: tuple[int, ...]) -> FloatArray:
    """Layers of the original rows as theta, which is of shifted rows and of classes that are there."""
    layers = list(layers)
    if absent and len(layers[-1][0]) != layout.widths[-1]:
        W, b = layers[-1]
        layers[-1] = (np.delete(W, absent, axis=0), None if b is None else np.delete(b, absent))
    W, b = layers[0]
    if samples.shift is not None and b is not None:
        layers[0] = (W, b + W @ samples.shift.astype(np.float64))
    return layout.pack(layers)


def _with_absent(
    estimate: NetworkEstimate, samples: Samples, network: Network, absent: tuple[int, ...], n_classes: int
) -> NetworkEstimate:
    """Give classes without weight an output whose weights are zero, and an intercept that all but excludes them."""
    W, b = estimate.layers[-1]
    assert b is not None
    theta = _to_theta(estimate.layers, samples, network.layout, ())
    room = [np.inf]
    samples.each(
        lambda block: float(network.forward(theta, block).max(axis=0).min()),
        lambda least: room.append(min(room[-1], least)),
    )
    present = np.setdiff1d(np.arange(n_classes), absent)
    full_W, full_b = np.zeros((n_classes, W.shape[1])), np.full(n_classes, room[-1] - ABSENT_LOGIT)
    full_W[present], full_b[present] = W, b
    return replace(estimate, layers=[*estimate.layers[:-1], (full_W, full_b)], absent=absent)


def network_outputs(X: Design, layers: Layers, activation: str, n_threads: int | None = 1) -> FloatArray:
    """Outputs (J, n) of a fitted network, block by block: the path of the likelihood itself."""
    widths = (X.shape[1], *(len(W) for W, _ in layers))
    layout = Layout(widths, layers[0][1] is not None)
    network, theta = Network(layout, activation), layout.pack(layers)
    samples = Samples(
        X,
        np.zeros(X.shape[0], dtype=np.int32),
        None,
        n_classes=widths[-1],
        n_threads=n_threads,
        n_units=sum(widths[1:-1]),
    )
    out = np.empty((widths[-1], X.shape[0]), dtype=X.dtype)

    def fill(block: Block) -> None:
        out[:, block.start : block.stop] = network.forward(theta, block)

    samples.each(fill, lambda done: None)
    return out
