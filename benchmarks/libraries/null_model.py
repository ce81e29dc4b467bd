"""The null baseline: class frequencies, no features."""

import numpy as np

from benchmarks.libraries import Fit


class NullModel:
    """Costs nothing and explains nothing: what the harness itself adds to a time."""

    name = "null model"
    role = "baseline"
    tolerances = (None,)
    raw_columns = True

    def load(self):
        return np.__version__

    def supports(self, shape):
        return True

    def fit(self, X, y, C, tol):
        frequencies = np.bincount(y) / len(y)
        coef = np.zeros((len(frequencies), X.shape[1]))
        if len(frequencies) == 2:  # one logit
            return Fit(coef[:1], np.diff(np.log(frequencies)))
        return Fit(coef, np.log(frequencies))
