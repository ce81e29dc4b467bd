"""The objective of a network with hidden layers as the solvers see it: theta itself, and models of its curvature."""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from ._block import Block
from ._draws import drawn_evenly
from ._kfac import DAMPING, Inputs, LayerCurvature
from ._network import Network, Pass
from ._objective import NegativeLogLikelihood
from ._samples import Samples
from ._softmax import softmax
from ._typing import FloatArray

# One backward pass for each output gives the factors exactly; of more outputs than this, so many random mixtures.
_MAX_EXACT_OUTPUTS = 16
_MIXTURES = 4
# Rows from which the factors are taken: enough for a model, by the width of the widest layer.
_ROWS = 1024
_ROWS_A_UNIT = 8
_ROWS_A_COLUMN = 30
_OVERFLOWN = 1e100
# Products of the Hessian are made together for as long as derivatives of units take no more room.
_ENTRIES_OF_PRODUCTS = 1 << 19
# Second moments of more inputs than this cost more than they gain: their diagonal stands for them.
MAX_DENSE_INPUTS = 1000
MAX_SPARSE_INPUTS = 500


class NetworkProblem:
    """Value, gradient, Hessian and its models at theta, in float64.

    Parameters
    ----------
    objective : NegativeLogLikelihood
    center, scale : arrays (p,)
        Means of the columns of X, and what they are divided by to be of one size.
    visit : callable, optional
        Called with (theta, value) at each point where the objective is evaluated and is the least so far.
    """

    def __init__(
        self,
        objective: NegativeLogLikelihood,
        center: FloatArray,
        scale: FloatArray,
        visit: Callable[[FloatArray, float], None] | None = None,
    ) -> None:
        self.objective = objective
        self.center = center if objective.layout.fit_intercept else np.zeros_like(center)
        self.scale = scale
        self.visit = visit
        self.best = np.inf
        self._double = objective
        self._single: NegativeLogLikelihood | None = None
        self._last: tuple[FloatArray, float, FloatArray] | None = None
        # SciPy's dogleg factors what it is handed as the Hessian.
        self.definite = False
        self._first_inputs: Inputs | None = None

    @property
    def size(self) -> int:
        """Length of theta."""
        return self.objective.layout.size

    @property
    def n_passes(self) -> float:
        """Passes over the data, in whatever precision."""
        return self._double.n_passes + (0.0 if self._single is None else self._single.n_passes)

    @property
    def mixed(self) -> bool:
        """Whether blocks have been evaluated in float32 that are float64."""
        return self._single is not None

    @property
    def work(self) -> int:
        """Products of weights and inputs in one forward pass."""
        return self._double.samples.n_rows * self.size

    def set_precision(self, single: bool) -> None:
        """Evaluate blocks in float32, or in the precision of X."""
        if single and self._single is None:
            double = self._double
            self._single = NegativeLogLikelihood(
                double.network, double.samples.in_single(), _variance(double.precision)
            )
        self.objective = self._single if single and self._single is not None else self._double
        self.best = np.inf
        self._last = None

    def value_and_grad(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient: one pass."""
        if self._last is not None and np.array_equal(theta, self._last[0]):
            return self._last[1], self._last[2]
        value, grad = self.objective.value_and_grad(theta)
        self._last = (theta.copy(), value, grad)
        if not np.isfinite(value) or not np.isfinite(grad).all():
            # A step so long that activations overflow: far too long, for any line search.
            return _OVERFLOWN, np.zeros_like(grad)
        if self.visit is not None and value < self.best:
            self.best = value
            self.visit(theta, value)
        return value, grad

    def hessp(self, theta: FloatArray, direction: FloatArray) -> FloatArray:
        """Exact Hessian times a direction."""
        return self.objective.hessp(theta, direction)

    def gauss_newton_product(self, theta: FloatArray, direction: FloatArray) -> FloatArray:
        """Gauss-Newton Hessian times a direction."""
        return self.objective.gauss_newton_product(theta, direction)

    def hessian(self, theta: FloatArray) -> FloatArray:
        """All products with unit vectors, (d, d); the Gauss-Newton Hessian, made definite, where that is asked for."""
        units = np.eye(self.size)
        if not self.definite:
            entries_of_one = max(self.objective.layout.widths[1:]) * self.objective.samples.n_rows
            at_a_time = max(1, _ENTRIES_OF_PRODUCTS // entries_of_one)
            parts = [units[i : i + at_a_time] for i in range(0, self.size, at_a_time)]
            hessian = np.concatenate([self.objective.hessp(theta, part) for part in parts])
        else:
            hessian = np.stack([self.gauss_newton_product(theta, unit) for unit in units])
            hessian[np.diag_indices(self.size)] += 1e-6 * max(float(np.diag(hessian).mean()), 1e-300)
        return 0.5 * (hessian + hessian.T)

    def curvature(self, theta: FloatArray, damping: float = DAMPING) -> LayerCurvature:
        """The Kronecker-factored model at theta."""
        layout, samples = self.objective.layout, self.objective.samples
        if self._first_inputs is None:
            self._first_inputs = self._inputs_of_first_layer()
        rows = self._rows
        sums = rows.sum(lambda block: _factors(self.objective.network, theta, block))
        self.objective.n_passes += rows.n_rows / samples.n_rows
        n_hidden, total = layout.n_layers - 1, rows.total_weight
        inputs, outputs = [self._first_inputs], []
        for layer in range(layout.n_layers):
            if layer:
                n_in = layout.widths[layer]
                moments = sums[layer - 1] * (samples.total_weight / total)
                inputs.append(Inputs.from_moments(np.zeros(n_in), np.ones(n_in), moments))
            outputs.append(sums[n_hidden + layer] / total)
        return LayerCurvature(layout, inputs, outputs, self.objective.precision, damping, self.objective.samples.dtype)

    @cached_property
    def _rows(self) -> Samples:
        """Rows that the factors are taken from."""
        return self._some_rows(max(_ROWS, _ROWS_A_UNIT * max(self.objective.layout.widths[1:])))

    def _some_rows(self, enough: int) -> Samples:
        samples = self.objective.samples
        if samples.n_rows < 1.5 * enough:
            return samples
        rows = drawn_evenly(samples, enough)
        return rows if rows.total_weight > 0 else samples

    def _inputs_of_first_layer(self) -> Inputs:
        fit_intercept, p = self.objective.layout.fit_intercept, self.objective.samples.n_features
        samples = self._some_rows(max(2 * _ROWS, _ROWS_A_COLUMN * p))
        share = self.objective.samples.total_weight / samples.total_weight
        center, transform = self.center, 1 / self.scale
        if p > (MAX_SPARSE_INPUTS if samples.is_sparse else MAX_DENSE_INPUTS):
            _, squares = samples.column_sums(center)
            moments: FloatArray = squares * transform**2
            if fit_intercept:
                moments = np.append(moments, samples.total_weight)
        else:
            sums, moments = samples.gram(center, transform)
            if fit_intercept:
                moments = np.block([[moments, sums[:, None]], [sums, samples.total_weight]])
            cost = 4 * self.objective.layout.widths[1] * self.objective.samples.n_rows
            self.objective.n_passes += p * samples.n_rows / cost
        return Inputs.from_moments(center, self.scale, moments * share)


def _variance(precision: float) -> float:
    return 1 / precision if precision else np.inf


def _factors(network: Network, theta: FloatArray, block: Block) -> tuple[FloatArray, ...]:
    """Sums over a block of w h h' for each hidden layer, then of g g' for each layer, first to last.

    g runs over a square root of the curvature of the loss, backward through the network: diag p - p p' = S S' with
    the columns s_k = sqrt(p_k) (e_k - p), or with random mixtures S e of them in the mean.
    """
    point = network.at(theta, block)
    proba = softmax(point.outputs())
    inputs = []
    for h in point.hidden:
        if network.layout.fit_intercept:
            h = np.vstack([h, np.ones((1, h.shape[1]), dtype=h.dtype)])
        weighted = h if block.w is None else h * block.w
        inputs.append((weighted @ h.T).astype(np.float64, copy=False))
    outputs = [np.zeros((n, n)) for n in network.layout.widths[1:]]
    for g in _roots(proba, network.layout.widths[-1], block):
        for layer, product in enumerate(_squares(point, g)):
            outputs[layer] += product
    return (*inputs, *outputs)


def _roots(proba: FloatArray, n_outputs: int, block: Block) -> list[FloatArray]:
    """Residuals (J, B) whose outer products sum to w (diag p - p p')."""
    weight = 1.0 if block.w is None else np.sqrt(block.w)
    if n_outputs == 1:
        return [(np.sqrt(proba[:1] * proba[1:]) * weight).astype(proba.dtype, copy=False)]
    root = np.sqrt(proba)
    if n_outputs <= _MAX_EXACT_OUTPUTS:
        mixtures = np.eye(n_outputs)[:, :, None]
    else:
        rng = np.random.default_rng(block.start)
        mixtures = rng.choice([-1.0, 1.0], size=(_MIXTURES, *proba.shape)) / np.sqrt(_MIXTURES)
    roots = []
    for mixture in mixtures:
        mixed = root * mixture
        roots.append(((mixed - proba * mixed.sum(axis=0)) * weight).astype(proba.dtype, copy=False))
    return roots


def _squares(point: Pass, g: FloatArray) -> list[FloatArray]:
    """g g' for each layer, first to last, g going backward from the outputs."""
    out: list[FloatArray] = [(g @ g.T).astype(np.float64, copy=False)]
    for layer in range(len(point.layers) - 1, 0, -1):
        g = point.layers[layer][0].astype(g.dtype, copy=False).T @ g
        g *= point.slopes[layer - 1]
        out.append((g @ g.T).astype(np.float64, copy=False))
    return out[::-1]
