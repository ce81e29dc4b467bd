"""This package, with its defaults, on raw columns."""

from benchmarks.libraries import Fit


class SoftmaxMLE:
    """``SoftmaxMLEClassifier(C=C)``; nothing else is set."""

    name = "sklearn_mle"
    role = "ours"
    tolerances = (None,)
    raw_columns = True

    def load(self):
        import sklearn_mle

        self._estimator = sklearn_mle.SoftmaxMLEClassifier
        return getattr(sklearn_mle, "__version__", "unknown")

    def supports(self, shape):
        return True

    def fit(self, X, y, C, tol):
        model = self._estimator(C=C).fit(X, y)
        return Fit(model.coef_, model.intercept_, int(model.n_iter_))
