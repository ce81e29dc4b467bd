"""Some of the rows in place of all: drawn evenly, or with the weights that make them stand for all.

Draws are the same each time: fitting is deterministic.
"""

from functools import lru_cache

import numpy as np

from ._samples import Samples
from ._typing import FloatArray, IntArray

# None that data are generated from, which would then depend on the draws.
SEED = 0x6D6C_65C5


def drawn_evenly(samples: Samples, n_rows: int) -> Samples:
    """One row of each of so many stretches of the same length."""
    return samples.subset(_spread(samples, n_rows))


def representative(samples: Samples, n_rows: int, n_of_class: int, whole: IntArray | None = None) -> Samples:
    """About so many rows that stand for all: their likelihood, with the weights they get, is without bias.

    Rows are drawn with chances in proportion to their weight, larger ones in rare classes, of which there are to
    be `n_of_class` rows where there are as many; what is drawn weighs its weight over its chance. The rows `whole`
    are all there, at their own weight.
    """
    shares, w = samples.class_weights, samples.w
    rates = np.maximum(n_rows / samples.total_weight, n_of_class / np.maximum(shares, np.finfo(float).tiny))
    if w is None and n_rows < samples.n_rows and rates.min() == rates.max():
        rows = _spread(samples, n_rows)
        weights = np.full(n_rows, samples.n_rows / n_rows)
        if whole is not None:
            others = ~np.isin(rows, whole)
            rows = np.concatenate([rows[others], whole])
            weights = np.concatenate([weights[others], np.ones(len(whole))])
        return samples.subset(rows).reweighted(weights)
    chance = rates[samples.y] if samples.y.ndim == 1 else rates @ samples.y
    if w is not None:
        chance = chance * w
    if whole is not None:
        chance[whole] = 1.0
    rows = np.flatnonzero(np.random.default_rng(SEED).random(samples.n_rows) < chance)
    weights = 1 / np.minimum(chance[rows], 1.0)
    if w is not None:
        weights *= w[rows]
    return samples.subset(rows).reweighted(weights)


def _spread(samples: Samples, n_rows: int) -> IntArray:
    return np.minimum(_places(n_rows) * (samples.n_rows / n_rows), samples.n_rows - 1).astype(np.intp)


@lru_cache(maxsize=8)
def _places(n_rows: int) -> FloatArray:
    """A place in each of so many stretches of length one, drawn once."""
    places = np.arange(n_rows) + np.random.default_rng(SEED).random(n_rows)
    places.flags.writeable = False
    return places
