"""f_theta: rows in, outputs z before the softmax out, and derivatives by theta.

    h_0 = x,    a_l = W_l h_{l-1} + b_l,    h_l = phi(a_l) for l < L,    z = a_L

The linear model is the network without hidden layers, z = W x + b, on the same path. Blocks of rows multiply
themselves (`Block.outputs`, `Block.pull` in `_samples`), so that nothing here asks whether X is sparse.

With J = dz/dtheta at one theta (Pearlmutter, 1994, Neural Computation 6(1); Schraudolph, 2002, ibid. 14(7)):

    jvp           J v                                 forward, along a direction v
    vjp           J' r                                backward, from residuals r
    jvp_of_vjp    J' (dr) + sum_j r_j d2z_j v          the derivative of J' r along v, r moving by dr
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import expit

from ._layout import Layout
from ._typing import FloatArray


class Rows(Protocol):
    """A block of rows that can be multiplied from either side."""

    def outputs(self, weights: FloatArray) -> FloatArray:
        """Weights (J, p) times the transposed rows: (J, B)."""

    def pull(self, residual: FloatArray) -> FloatArray:
        """Residuals (J, B) times the rows: (J, p)."""


@dataclass(frozen=True)
class Activation:
    """An elementwise function h = phi(a), and its derivatives in terms of h.

    Attributes
    ----------
    apply : phi, in place
    slope : phi'(a) from h
    bend : phi''(a) from h; None where it is zero (almost) everywhere
    rectifies : whether it switches off half of the line, all but, which He's initial variance makes up for
    smooth : whether it has no kink
    """

    apply: Callable[[FloatArray], FloatArray]
    slope: Callable[[FloatArray], FloatArray]
    bend: Callable[[FloatArray], FloatArray] | None
    rectifies: bool = False
    smooth: bool = True

    def initial_bound(self, n_in: int, n_out: int) -> float:
        """Initial weights are uniform between this and its negative: Glorot & Bengio (2010), He et al. (2015)."""
        return float(np.sqrt(6 / n_in if self.rectifies else 6 / (n_in + n_out)))


def _softplus(a: FloatArray) -> FloatArray:
    top = np.maximum(a, 0)
    np.abs(a, out=a)
    np.negative(a, out=a)
    np.exp(a, out=a)
    np.log1p(a, out=a)
    a += top
    return a


ACTIVATIONS = {
    "identity": Activation(lambda a: a, np.ones_like, None),
    "logistic": Activation(lambda a: expit(a, out=a), lambda h: h * (1 - h), lambda h: h * (1 - h) * (1 - 2 * h)),
    "tanh": Activation(lambda a: np.tanh(a, out=a), lambda h: 1 - h * h, lambda h: -2 * h * (1 - h * h)),
    "relu": Activation(lambda a: np.maximum(a, 0, out=a), lambda h: (h > 0).astype(h.dtype), None, True, smooth=False),
    # phi' is the logistic function: 1 - exp(-h), and phi'' is phi' (1 - phi').
    "softplus": Activation(_softplus, lambda h: -np.expm1(-h), lambda h: -np.expm1(-h) * np.exp(-h), rectifies=True),
}


class Network:
    """Outputs of the model for a block of rows, and their derivatives by theta.

    Parameters
    ----------
    layout : Layout
        Widths (p, ..., J).
    activation : str
        Key of `ACTIVATIONS`, for the hidden layers.
    """

    def __init__(self, layout: Layout, activation: str = "identity") -> None:
        self.layout = layout
        self.activation = ACTIVATIONS[activation]

    def at(self, theta: FloatArray, rows: Rows) -> "Pass":
        """The network at one theta on one block of rows."""
        return Pass(self, theta, rows)

    def forward(self, theta: FloatArray, rows: Rows) -> FloatArray:
        """Outputs (J, B)."""
        return self.at(theta, rows).outputs()


class Pass:
    """One theta, one block of rows: the outputs and what multiplies their derivatives.

    Activations are computed when they are first asked for, and go with the block: the linear model has none,
    and its derivatives need no forward pass.
    """

    def __init__(self, network: Network, theta: FloatArray, rows: Rows) -> None:
        self.layout = network.layout
        self.activation = network.activation
        self.rows = rows
        self.layers = network.layout.unpack(theta)
        self._hidden: list[FloatArray] | None = None
        self._slopes: list[FloatArray] | None = None

    @property
    def hidden(self) -> list[FloatArray]:
        """h_1, ..., h_{L-1}, each (units, B)."""
        if self._hidden is None:
            self._hidden = []
            for layer in range(len(self.layers) - 1):
                self._hidden.append(self.activation.apply(self._affine(layer, self._hidden)))
        return self._hidden

    @property
    def slopes(self) -> list[FloatArray]:
        """phi'(a_1), ..., phi'(a_{L-1})."""
        if self._slopes is None:
            self._slopes = [self.activation.slope(h) for h in self.hidden]
        return self._slopes

    def _affine(self, layer: int, hidden: list[FloatArray]) -> FloatArray:
        """W h + b of a layer, counted from 0."""
        W, b = self.layers[layer]
        a = self.rows.outputs(W) if layer == 0 else _like(W, hidden[layer - 1]) @ hidden[layer - 1]
        if b is not None:
            a += b[:, None].astype(a.dtype, copy=False)
        return a

    def outputs(self) -> FloatArray:
        """z, (J, B): a new array."""
        return self._affine(len(self.layers) - 1, self.hidden)

    def vjp(self, residual: FloatArray) -> FloatArray:
        """Gradient by theta, flat, of sum(residual * z) for a fixed residual (J, B)."""
        out: list[tuple[FloatArray, FloatArray | None]] = []
        for layer in range(len(self.layers) - 1, -1, -1):
            out.append((self._pull(layer, residual), self._sums(residual)))
            if layer:
                residual = _like(self.layers[layer][0], residual).T @ residual
                residual *= self.slopes[layer - 1]
        return self.layout.pack(out[::-1])

    def _pull(self, layer: int, residual: FloatArray) -> FloatArray:
        if layer:
            return residual @ self.hidden[layer - 1].T
        if residual.ndim == 2:
            return self.rows.pull(residual)
        return self.rows.pull(residual.reshape(-1, residual.shape[-1])).reshape(*residual.shape[:-1], -1)

    def _sums(self, residual: FloatArray) -> FloatArray | None:
        return residual.sum(axis=-1, dtype=np.float64) if self.layout.fit_intercept else None

    def jvp(self, direction: FloatArray) -> FloatArray:
        """Derivative (J, B) of the outputs along a direction of theta."""
        return self._tangents(direction)[-1]

    def _tangents(self, direction: FloatArray) -> list[FloatArray]:
        """Derivatives of a_1, ..., a_L along a direction, or (m, ...) along some of them."""
        tangents: list[FloatArray] = []
        for layer, ((W, _), (dW, db)) in enumerate(zip(self.layers, self._unpacked(direction), strict=True)):
            da: FloatArray
            if layer:
                h = self.hidden[layer - 1]
                da = _like(dW, h) @ h
                da += _like(W, h) @ (self.slopes[layer - 1] * tangents[-1])
            elif dW.ndim == 2:
                da = self.rows.outputs(dW)
            else:
                da = self.rows.outputs(dW.reshape(-1, dW.shape[-1])).reshape(*dW.shape[:-1], -1)
            if db is not None:
                da += db[..., None].astype(da.dtype, copy=False)
            tangents.append(da)
        return tangents

    def jvp_of_vjp(
        self, residual: FloatArray, direction: FloatArray, moved: Callable[[FloatArray], FloatArray]
    ) -> FloatArray:
        """Derivative along a direction of theta of vjp(residual), the residual moving with z.

        Parameters
        ----------
        residual : array (J, B)
        direction : array (d,), or (m, d) for some of them at a time
        moved : callable
            From dz, the derivative of z along the direction, the derivative of the residual, (J, B) or (m, J, B).
        """
        tangents = self._tangents(direction)
        directions = self._unpacked(direction)
        change = moved(tangents[-1])
        out: list[tuple[FloatArray, FloatArray | None]] = []
        for layer in range(len(self.layers) - 1, -1, -1):
            gradient = self._pull(layer, change)
            if layer:
                slope, da = self.slopes[layer - 1], tangents[layer - 1]
                gradient += residual @ (slope * da).swapaxes(-1, -2)
            out.append((gradient, self._sums(change)))
            if layer:
                W, dW = _like(self.layers[layer][0], change), _like(directions[layer][0], change)
                back = W.T @ residual
                change = W.T @ change
                change += dW.swapaxes(-1, -2) @ residual
                change *= slope
                if self.activation.bend is not None:
                    change += back * self.activation.bend(self.hidden[layer - 1]) * da
                back *= slope
                residual = back
        if direction.ndim == 1:
            return self.layout.pack(out[::-1])
        stacked = [[(W[i], None if b is None else b[i]) for W, b in out[::-1]] for i in range(len(direction))]
        return np.stack([self.layout.pack(layers) for layers in stacked])

    def _unpacked(self, direction: FloatArray) -> list[tuple[FloatArray, FloatArray | None]]:
        """The layers of a direction, (out, in) and (out,), or of some of them with one more axis in front."""
        if direction.ndim == 1:
            return self.layout.unpack(direction)
        each = [self.layout.unpack(one) for one in direction]
        weights = [np.stack([W for W, _ in layer]) for layer in zip(*each, strict=True)]
        if not self.layout.fit_intercept:
            return [(W, None) for W in weights]
        biases = [np.stack([b for _, b in layer if b is not None]) for layer in zip(*each, strict=True)]
        return list(zip(weights, biases, strict=True))


def _like(weights: FloatArray, block: FloatArray) -> FloatArray:
    """Weights in the dtype of the block that they multiply."""
    return weights.astype(block.dtype, copy=False)
