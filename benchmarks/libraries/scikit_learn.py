"""scikit-learn's LogisticRegression, as it comes and tuned."""

from typing import Any, ClassVar

import numpy as np

from benchmarks.libraries import Fit, decades

_MAX_ITER = 100_000  # tuned: only the tolerance stops
_TOLERANCES = {
    "newton-cholesky": decades(-2, -8),
    "newton-cg": decades(-2, -8),
    "lbfgs": decades(-2, -8),
    "saga": decades(-2, -7),
}


class SklearnDefault:
    """``LogisticRegression(C=C)`` on raw columns."""

    name = "scikit-learn default"
    role = "default"
    tolerances = (None,)
    raw_columns = True
    _parameters: ClassVar[dict[str, Any]] = {}

    def load(self):
        import sklearn
        from sklearn.linear_model import LogisticRegression

        self._estimator = LogisticRegression
        return sklearn.__version__

    def supports(self, shape):
        return True

    def fit(self, X, y, C, tol):
        parameters = dict(self._parameters)
        if tol is not None:
            parameters["tol"] = tol
        model = self._estimator(C=C, **parameters).fit(X, y)
        return Fit(model.coef_, model.intercept_, int(np.max(model.n_iter_)))


class SklearnTuned(SklearnDefault):
    """One solver over its grid of tolerances, never stopped by ``max_iter``."""

    role = "tuned"
    raw_columns = False

    def __init__(self, solver):
        self.name = f"scikit-learn {solver}"
        self.tolerances = _TOLERANCES[solver]
        self._parameters = {"solver": solver, "max_iter": _MAX_ITER, "random_state": 0}

    def supports(self, shape):
        # newton-cholesky stores the d x d Hessian: 10,000 parameters are 800 MB
        cholesky = self._parameters["solver"] == "newton-cholesky"
        return not cholesky or shape.K * (shape.p + 1) <= 10_000
