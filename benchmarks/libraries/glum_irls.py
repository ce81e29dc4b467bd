"""glum's binomial GLM: two classes only."""

import numpy as np

from benchmarks.libraries import Fit, decades


class GlumBinomial:
    """Its default solver for smooth penalties, over a grid of gradient tolerances."""

    name = "glum"
    role = "tuned"
    raw_columns = False
    tolerances = decades(-2, -8)

    def load(self):
        import glum

        self._estimator = glum.GeneralizedLinearRegressor
        return glum.__version__

    def supports(self, shape):
        return shape.K == 2

    def fit(self, X, y, C, tol):
        model = self._estimator(
            family="binomial",
            alpha=0.0 if np.isinf(C) else 1 / (C * len(y)),
            l1_ratio=0,
            gradient_tol=tol,
            max_iter=10_000,
        ).fit(X, y)
        return Fit(model.coef_, np.atleast_1d(model.intercept_), int(model.n_iter_))
