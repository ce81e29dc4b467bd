"""A Kronecker-factored model of a network's curvature: one product of two small matrices for each layer.

The Gauss-Newton Hessian of one layer is a sum over rows of (g g') (x) (h h'), h what the layer sees and g the
derivatives by what it puts out. Martens & Grosse (2015, ICML, "Optimizing neural networks with
Kronecker-factored approximate curvature") take the product of the two sums instead, G (x) A. In the
eigenbases of both, and with the prior's I / C on top, it is diagonal:

    H ~ (U_g (x) U_a) diag(g_i a_j + penalty_j + damping) (U_g (x) U_a)'

Columns of X are centred (algebra on the intercept) and brought to one scale first.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from ._layout import Layout
from ._typing import FloatArray

# Relative to the layer's mean curvature: directions in which the model sees none are the least reliable.
# Passes to a given objective on three data sets were fewest between 0.01 and 0.1.
DAMPING = 0.01


@dataclass(frozen=True)
class Inputs:
    """What a layer sees: second moments, in their eigenbasis.

    Attributes
    ----------
    center, scale : (n_in,) what is subtracted from each input (a matter of the intercept), and divides it
    values : (n_in + 1,) eigenvalues of sum w h h' of scaled inputs and the constant 1
    vectors : their eigenvectors, or None where only the diagonal is known
    """

    center: FloatArray
    scale: FloatArray
    values: FloatArray
    vectors: FloatArray | None

    @classmethod
    def from_moments(cls, center: FloatArray, scale: FloatArray, moments: FloatArray) -> "Inputs":
        """From sum w h h' of scaled inputs and the constant, a matrix or its diagonal."""
        if moments.ndim == 1:
            return cls(center, scale, moments, None)
        values, vectors = linalg.eigh(moments)
        return cls(center, scale, np.maximum(values, 0.0), vectors)


class LayerCurvature:
    """The model at one theta: a factored positive definite matrix, layer by layer.

    Parameters
    ----------
    layout : Layout of theta
    inputs : an `Inputs` for each layer
    outputs : arrays (n_out, n_out), the means of g g', for each layer
    precision : float
        1 / C, on the weights.
    damping : float
        Relative to the mean curvature of each layer.
    dtype : of the arithmetic, for the two maps that a descent needs
    """

    def __init__(
        self,
        layout: Layout,
        inputs: list[Inputs],
        outputs: list[FloatArray],
        precision: float,
        damping: float = DAMPING,
        dtype: Any = np.float64,
    ) -> None:
        self.layout = layout
        self.dtype = dtype
        self.inputs = inputs
        # U_g and U_a. The map is linear whatever they are rounded to: it need not be orthogonal to the last digit.
        self.outer: list[FloatArray] = []
        self.inner: list[FloatArray | None] = []
        self.roots: list[FloatArray] = []
        for layer, G in zip(inputs, outputs, strict=True):
            g, rotation = linalg.eigh(G)
            curvature = np.outer(np.maximum(g, 0.0), layer.values)
            penalty = np.zeros(len(layer.values))
            weights = slice(0, len(layer.scale))
            if layer.vectors is None:
                penalty[weights] = precision / layer.scale**2
            else:
                penalty = precision * (layer.vectors[weights] ** 2).T @ layer.scale**-2.0
            least = damping * float(curvature.mean())
            # Without any curvature, units of weights are as good as others.
            full = curvature + penalty + (least or 1.0)
            self.outer.append(rotation.astype(dtype, copy=False))
            self.inner.append(None if layer.vectors is None else layer.vectors.astype(dtype, copy=False))
            self.roots.append(np.sqrt(full))

    def _gradient_blocks(self, g: FloatArray) -> list[FloatArray]:
        """(n_out, n_in + 1) of each layer: the gradient by the weights of centred and scaled inputs."""
        blocks: list[FloatArray] = []
        for (G, b), layer in zip(self.layout.unpack(g), self.inputs, strict=True):
            if b is None:
                blocks.append(G / layer.scale)
            else:
                blocks.append(np.column_stack([(G - np.outer(b, layer.center)) / layer.scale, b]))
        return blocks

    def _point_blocks(self, theta: FloatArray) -> list[FloatArray]:
        """(n_out, n_in + 1) of each layer: the weights of centred and scaled inputs."""
        blocks: list[FloatArray] = []
        for (W, b), layer in zip(self.layout.unpack(theta), self.inputs, strict=True):
            blocks.append(W * layer.scale if b is None else np.column_stack([W * layer.scale, b + W @ layer.center]))
        return blocks

    def _theta(self, blocks: list[FloatArray]) -> FloatArray:
        """The inverse of `_point_blocks`."""
        layers: list[tuple[FloatArray, FloatArray | None]] = []
        for block, layer in zip(blocks, self.inputs, strict=True):
            if self.layout.fit_intercept:
                W = block[:, :-1] / layer.scale
                layers.append((W, block[:, -1] - W @ layer.center))
            else:
                layers.append((block / layer.scale, None))
        return self.layout.pack(layers)

    def _rotated(self, blocks: list[FloatArray]) -> list[FloatArray]:
        """U_g' M U_a."""
        out = []
        for block, outer, inner in zip(blocks, self.outer, self.inner, strict=True):
            block = outer.T @ block.astype(self.dtype, copy=False)
            out.append(block if inner is None else block @ inner)
        return out

    def _back(self, blocks: list[FloatArray]) -> list[FloatArray]:
        """U_g M U_a'."""
        out = []
        for block, outer, inner in zip(blocks, self.outer, self.inner, strict=True):
            block = outer @ block.astype(self.dtype, copy=False)
            out.append(block if inner is None else block @ inner.T)
        return out

    def _split(self, phi: FloatArray) -> list[FloatArray]:
        start = 0
        blocks = []
        for root in self.roots:
            blocks.append(phi[start : start + root.size].reshape(root.shape))
            start += root.size
        return blocks

    def whiten(self, g: FloatArray) -> FloatArray:
        """L^-1 g: a gradient by phi from one by theta."""
        blocks = self._rotated(self._gradient_blocks(g))
        return np.concatenate([(block / root).ravel() for block, root in zip(blocks, self.roots, strict=True)])

    def unwhiten(self, phi: FloatArray) -> FloatArray:
        """L^-T phi: theta from phi."""
        blocks: list[FloatArray] = [block / root for block, root in zip(self._split(phi), self.roots, strict=True)]
        return self._theta(self._back(blocks))

    def solve(self, g: FloatArray) -> FloatArray:
        """H^-1 g."""
        return self.unwhiten(self.whiten(g))

    def whiten_point(self, theta: FloatArray) -> FloatArray:
        """L' theta: phi from theta."""
        blocks = self._rotated(self._point_blocks(theta))
        return np.concatenate([(block * root).ravel() for block, root in zip(blocks, self.roots, strict=True)])
