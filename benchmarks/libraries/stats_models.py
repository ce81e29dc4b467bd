"""statsmodels' MNLogit; maximum likelihood only."""

import numpy as np

from benchmarks.libraries import Fit, decades

_TOLERANCE_NAME = {"newton": "tol", "bfgs": "gtol"}


class MNLogitTuned:
    """One of its methods over a grid of tolerances; no standard errors."""

    role = "tuned"
    raw_columns = False

    def __init__(self, method):
        self.name = f"statsmodels {method}"
        self.tolerances = decades(-2, -8)
        self._method = method

    def load(self):
        import statsmodels
        from statsmodels.discrete.discrete_model import MNLogit

        self._model = MNLogit
        return statsmodels.__version__

    def supports(self, shape):
        # it stores a d x d matrix, dense X and no penalty
        return np.isinf(shape.C) and not shape.sparse and shape.d <= 3_000

    def fit(self, X, y, C, tol):
        design = np.column_stack([X, np.ones(len(X))])
        result = self._model(y, design).fit(
            method=self._method,
            maxiter=100_000,
            disp=0,
            skip_hessian=True,
            **{_TOLERANCE_NAME[self._method]: tol},
        )
        params = np.asarray(result.params).T  # classes after the first
        n_iter = (result.mle_retvals or {}).get("iterations")
        return Fit(params[:, :-1], params[:, -1], n_iter)
