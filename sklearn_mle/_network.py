"""f_theta: rows in, outputs z before the softmax out, and derivatives by theta.

The linear model is the network without hidden layers: z = W x + b. Blocks of rows multiply themselves
(`Block.outputs`, `Block.pull` in `_samples`), so that nothing here asks whether X is sparse.
"""

from typing import Protocol

import numpy as np

from ._layout import Layout
from ._typing import FloatArray


class Rows(Protocol):
    """A block of rows that can be multiplied from either side."""

    def outputs(self, weights: FloatArray) -> FloatArray:
        """Weights (J, p) times the transposed rows: (J, B)."""

    def pull(self, residual: FloatArray) -> FloatArray:
        """Residuals (J, B) times the rows: (J, p)."""


class Network:
    """Outputs of the model for a block of rows, and their derivatives by theta.

    Parameters
    ----------
    layout : Layout
        Widths (p, J).
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def forward(self, theta: FloatArray, rows: Rows) -> FloatArray:
        """Outputs (J, B)."""
        ((weights, intercepts),) = self.layout.unpack(theta)
        z = rows.outputs(weights)
        if intercepts is not None:
            z += intercepts[:, None].astype(z.dtype, copy=False)
        return z

    def vjp(self, rows: Rows, dz: FloatArray) -> FloatArray:
        """Gradient by theta, flat, of sum(dz * z) for fixed dz (J, B)."""
        intercepts = dz.sum(axis=1, dtype=np.float64) if self.layout.fit_intercept else None
        return self.layout.pack([(rows.pull(dz), intercepts)])

    def jvp(self, rows: Rows, direction: FloatArray) -> FloatArray:
        """Derivative (J, B) of the outputs along a direction of theta; the linear model is its own."""
        return self.forward(direction, rows)
