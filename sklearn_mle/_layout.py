"""Blocks of weights and the flat parameter vector theta. The only file that reshapes theta.

Theta holds layer after layer: the weights of a layer (n_out, n_in), row-major, then its intercepts
(n_out,). The linear model has one layer. Where X is sparse, weights lie feature after feature instead, as the
products of sparse rows take them.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ._typing import BoolArray, FloatArray


@dataclass(frozen=True)
class Layout:
    """Shapes of the layers of a network, and where each block lies in theta.

    Parameters
    ----------
    widths : tuple of int
        Units from input to output: (p, ..., J).
    fit_intercept : bool
        Whether each layer has intercepts.
    by_feature : bool
        Whether the weights (n_out, n_in) are column-major.
    """

    widths: tuple[int, ...]
    fit_intercept: bool = True
    by_feature: bool = False

    @property
    def n_layers(self) -> int:
        """Number of layers of weights."""
        return len(self.widths) - 1

    @property
    def size(self) -> int:
        """Length d of theta."""
        return sum((n_in + self.fit_intercept) * n_out for n_in, n_out in pairwise(self.widths))

    def unpack(self, theta: FloatArray) -> list[tuple[FloatArray, FloatArray | None]]:
        """Views (weights, intercepts or None) of each layer."""
        layers: list[tuple[FloatArray, FloatArray | None]] = []
        start = 0
        for n_in, n_out in pairwise(self.widths):
            stop = start + n_in * n_out
            flat = theta[start:stop]
            weights = flat.reshape(n_in, n_out).T if self.by_feature else flat.reshape(n_out, n_in)
            start = stop
            intercepts = None
            if self.fit_intercept:
                start = stop + n_out
                intercepts = theta[stop:start]
            layers.append((weights, intercepts))
        return layers

    def pack(self, layers: list[tuple[FloatArray, FloatArray | None]]) -> FloatArray:
        """The inverse of `unpack`, as float64."""
        theta = np.empty(self.size)
        for (weights, intercepts), (new_weights, new_intercepts) in zip(self.unpack(theta), layers, strict=True):
            weights[...] = new_weights
            if intercepts is not None:
                intercepts[...] = new_intercepts
        return theta

    def penalty_mask(self) -> BoolArray:
        """True where theta is a weight, which a prior applies to; False at intercepts."""
        mask = np.zeros(self.size, dtype=bool)
        for weights, _ in self.unpack(mask):
            weights[...] = True
        return mask


@lru_cache(maxsize=16)
def gauge_basis(n_outputs: int) -> FloatArray:
    """Orthonormal basis (J, M) of the logits that the likelihood can tell apart.

    Adding one number to all K logits of a row changes no probability. The Helmert contrasts span the logits
    whose sum is zero; in that basis weights have the norm that they have as (K, p) arrays. One output has no
    gauge: the basis is [[1]].
    """
    if n_outputs == 1:
        return _read_only(np.ones((1, 1)))
    basis = np.zeros((n_outputs, n_outputs - 1))
    for m in range(n_outputs - 1):
        basis[: m + 1, m] = 1.0
        basis[m + 1, m] = -(m + 1.0)
        basis[:, m] /= np.sqrt((m + 1.0) * (m + 2.0))
    return _read_only(basis)


def _read_only(array: FloatArray) -> FloatArray:
    array.flags.writeable = False
    return array
