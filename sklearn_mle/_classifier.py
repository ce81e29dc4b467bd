"""`SoftmaxMLEClassifier`: validates, delegates, sets attributes."""

import warnings
from itertools import pairwise
from typing import Any, Self

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted, validate_data

from ._deep import NetworkEstimate, NetworkModel, Validation, estimate_network, network_outputs
from ._estimate import Estimate, LinearModel, estimate_linear
from ._methods import Solver, find_solver
from ._parameters import check_bounds, check_parameters, hidden_units, is_real
from ._separation import SeparationKind
from ._softmax import log_softmax, softmax
from ._targets import (
    ROWS,
    aligned_distributions,
    apply_class_weight,
    are_integers,
    check_classes_have_weight,
    check_rows,
    check_weights,
    distributions,
    encode_labels,
    is_matrix,
    label_indices,
    what_is_wrong_with,
)
from ._typing import FloatArray, Targets
from .exceptions import SeparationWarning

_NAMES_SHOWN = 5
_NETWORK_ATTRIBUTES = (
    "n_layers_",
    "out_activation_",
    "initial_loss_",
    "validation_loss_curve_",
    "best_validation_loss_",
)


class SoftmaxMLEClassifier(ClassifierMixin, BaseEstimator):
    """Maximum-likelihood softmax classifier.

    The model gives each sample a distribution over K classes, ``proba = softmax(W x + b)``, and its
    parameters maximise the likelihood of the data,

        minimise over W, b    - sum_i w_i sum_k y_ik log proba_ik  +  penalty(W) / C

    with ``scipy.optimize.minimize``. y_i is one-hot (from labels) or any distribution over the classes. The
    estimate does not depend on the units of the columns: X need not be scaled.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=()
        Units of each hidden layer; ``()`` is the linear softmax model.
    activation : {"identity", "logistic", "tanh", "relu", "softplus"}, default="tanh"
        Activation of the hidden layers; without effect on the linear model.
    C : float, default=np.inf
        Variance of a zero-mean Gaussian prior on the weights, never on the intercepts: the penalty is
        ``||W||^2 / (2 C)``. ``np.inf`` is maximum likelihood; the meaning is that of
        :class:`~sklearn.linear_model.LogisticRegression`. With hidden layers the weights of all layers are
        penalised, and ``C = 1 / alpha`` of :class:`~sklearn.neural_network.MLPClassifier`.
    l1_ratio : float, default=0.0
        Elastic-net mix as in :class:`~sklearn.linear_model.LogisticRegression`: the penalty is
        ``((1 - l1_ratio) / 2 ||W||^2 + l1_ratio ||W||_1) / C``. Coefficients that it leaves out are exactly 0. At
        l1_ratio=1 four classes, six, ... have coefficients to choose from, with the same probabilities and penalty:
        of each column one of the middle two is 0 then.
    prior : {"gaussian", "jeffreys"}, default="gaussian"
        "jeffreys" is Firth's bias-reduced likelihood, which adds half the log-determinant of the Fisher information
        to the log-likelihood: finite where classes are separated, closer to unbiased in small samples. For the
        linear model with C=inf, without l1_ratio and bounds.
    fit_intercept : bool, default=True
        Whether the logits have intercepts.
    class_weight : {None, "balanced"} or dict, default=None
        Weights of the classes, which multiply `sample_weight`. "balanced" gives all classes the same total.
    bounds : tuple (lower, upper), default=None
        Box constraints on the coefficients, each broadcastable to `coef_`. An estimate exists where they leave no way
        along which the likelihood grows for ever.
    solver : str or callable, default="auto"
        "auto" (Newton steps whose cost is chosen by the size of the problem), any method of
        ``scipy.optimize.minimize`` by its name, "lbfgs" or "newton-cg", or a callable of SciPy's
        custom-method signature. It sees preconditioned coordinates without the softmax gauge.
    solver_options : dict, default=None
        Handed to the method as ``options``.
    tol : float, default=1e-3
        Nats. Iterating may stop when the (penalised) log-likelihood is estimated, with the curvature at that
        point, to be within `tol` of its maximum: the total, not the mean. Up to 5,000 parameters,
        gradient-based methods then polish with Newton steps to 4e-13 nats, 9e-7 standard errors.
    max_iter : int, default=1000
        Outer iterations, at least 1.
    warm_start : bool, default=False
        Start from the estimate of the previous `fit` and, where data and weights are the same, with the curvature that
        it has come to, which the estimator keeps (up to d x d numbers for d parameters; not in clones and pickles).
        Along a grid of `C` that saves two thirds of the passes where a Hessian is dear, half of them on small data, and
        little where rows are so many that a fit takes few.
    n_init : int, default=1
        For hidden layers: starts from so many draws of initial weights, of which the best end counts (by the
        objective, or by the likelihood of the samples held out).
    early_stopping : bool, default=False
        For hidden layers: hold samples out, stop when they do not get likelier, by more than `tol` nats, for
        `n_iter_no_change` iterations, and return the iterate under which they were likeliest.
    validation_fraction : float, default=0.1
        Share of each class that `early_stopping` holds out.
    n_iter_no_change : int, default=10
        Patience of `early_stopping`.
    n_jobs : int, default=None
        Threads for blocks of rows, at most; None is as many as BLAS may use. They change no digit of a fit.
    random_state : int, RandomState instance or None, default=None
        Initial weights of hidden layers; the linear model has none to draw.
    verbose : int, default=0
        Print progress where positive.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The classes, sorted.
    coef_ : ndarray of shape (K, p), or (1, p) for two classes
        Weights; their sum over classes is zero unless there are bounds. For two classes, the weights of the
        log-odds of ``classes_[1]``.
    intercept_ : ndarray of shape (K,) or (1,)
        Intercepts.
    coefs_, intercepts_ : lists of ndarray
        Weights (n_in, n_out) and intercepts (n_out,) of each layer, as in
        :class:`~sklearn.neural_network.MLPClassifier`. There are no `coef_` and `intercept_` with hidden layers.
    n_layers_, out_activation_ : int, str
        With hidden layers, as in :class:`~sklearn.neural_network.MLPClassifier`.
    initial_loss_ : float
        With hidden layers: the objective over the total weight at the start, which `loss_curve_` follows. With
        ``warm_start=True`` the start is `coefs_`, `intercepts_`, be they of a fit or assigned.
    validation_loss_curve_, best_validation_loss_ : list of float, float
        With `early_stopping`: mean NLL of the samples held out, after each iteration and at best. `nll_` and
        `loss_` are then those of the other samples.
    n_features_in_ : int
        Number of features p.
    feature_names_in_ : ndarray of shape (p,)
        Names of the features, where X had names that are all strings.
    n_iter_ : int
        Iterations of the solver, polishing included.
    nll_ : float
        Weighted negative log-likelihood at the estimate, in nats, without the penalty.
    loss_ : float
        `nll_` over the total weight: scikit-learn's ``log_loss`` on the training data.
    loss_curve_ : list of float
        The objective over the total weight after each iteration.
    optimize_result_ : scipy.optimize.OptimizeResult
        What SciPy returned, in the solver's coordinates, with `n_passes` added: passes over the data, a
        Hessian product counting as one. A last exact Newton step that certainly leaves nothing is not
        evaluated: `fun` and `jac` are then those of its quadratic.
    converged_ : bool
        Whether the objective is certified to be within `tol` nats of its minimum (or supremum).

    See Also
    --------
    sklearn_mle.metrics : likelihood scores and scorers.
    sklearn_mle.inference.LikelihoodInference : standard errors, tests and intervals of a fit.

    Notes
    -----
    A :class:`SeparationWarning` says that the estimate does not exist because classes are (quasi-)separated;
    the fit is then finite, with a log-likelihood within `tol` of the supremum. Collinear columns are no
    failure: the coefficients of least norm are returned.

    References
    ----------
    C. M. Bishop (2006), Pattern Recognition and Machine Learning, section 4.3.4.
    A. Albert and J. A. Anderson (1984), Biometrika 71(1), on the existence of the estimates.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_mle import SoftmaxMLEClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> model = SoftmaxMLEClassifier(C=1.0).fit(X, y)
    >>> round(model.loss_, 4)
    0.0359
    """

    def __init__(
        self,
        *,
        hidden_layer_sizes: tuple[int, ...] = (),
        activation: str = "tanh",
        C: float = np.inf,
        l1_ratio: float = 0.0,
        prior: str = "gaussian",
        fit_intercept: bool = True,
        class_weight: Any = None,
        bounds: Any = None,
        solver: Any = "auto",
        solver_options: dict[str, Any] | None = None,
        tol: float = 1e-3,
        max_iter: int = 1000,
        warm_start: bool = False,
        n_init: int = 1,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.C = C
        self.l1_ratio = l1_ratio
        self.prior = prior
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.bounds = bounds
        self.solver = solver
        self.solver_options = solver_options
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.n_init = n_init
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        # Without a prior a network reproduces its training data, not the truth.
        unpenalised = is_real(self.C) and np.isinf(float(self.C))
        tags.classifier_tags.poor_score = bool(np.size(self.hidden_layer_sizes)) and bool(unpenalised)
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Estimate the parameters.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            float32 stays float32; everything else becomes float64. The linear model is estimated in float64 where X
            has no more than a million entries, whose columns are collinear where they are to the rounding of float32.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Labels, or distributions over the classes whose rows sum to one. The classes of a matrix are the
            column names of a DataFrame, sorted, else ``0 .. K - 1``.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weights of the samples, not negative.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For bad data, weights or parameters; the estimator is left as it was.

        Warns
        -----
        ConvergenceWarning
            If the objective could not be certified to be within `tol` of its minimum.
        SeparationWarning
            If the maximum-likelihood estimate does not exist.
        """
        before = self.__dict__.copy()
        try:
            self._fit(X, y, sample_weight)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        check_parameters(self)
        solver = find_solver(self.solver, bounded=self.bounds is not None, l1=self.l1_ratio > 0 and np.isfinite(self.C))
        hidden = hidden_units(self.hidden_layer_sizes)
        previous = self._previous_fit() if self.warm_start and not hidden else None
        X, classes, targets = self._check_data(X, y)
        weights = check_weights(sample_weight, X)
        targets, weights = apply_class_weight(self.class_weight, classes, targets, weights)
        check_classes_have_weight(classes, targets, weights)
        if hidden:
            self._warn(self._fit_network(X, targets, weights, classes, hidden, solver))
            return
        shape = (1 if len(classes) == 2 else len(classes), X.shape[1])
        if previous is not None:
            _check_previous(previous, classes, shape)
        model = LinearModel(
            X,
            targets,
            weights,
            len(classes),
            float(self.C),
            bool(self.fit_intercept),
            float(self.l1_ratio),
            None if self.bounds is None else check_bounds(self.bounds, shape),
            None if previous is None else previous[1:],
            self.__dict__.get("_memory"),
            self.prior,
        )
        estimate = estimate_linear(
            model,
            solver,
            tol=float(self.tol),
            max_iter=int(self.max_iter),
            options=self.solver_options,
            n_threads=self._n_threads(),
            say=print if self.verbose else None,
        )
        self._set_attributes(estimate, classes, X.dtype, X.shape[0], weights)
        self._warn(estimate)

    def _set_attributes(
        self, estimate: Estimate, classes: np.ndarray, dtype: Any, n_rows: int, weights: FloatArray | None
    ) -> None:
        total = float(n_rows if weights is None else weights.sum())
        self._forget(_NETWORK_ATTRIBUTES)
        self.classes_ = classes
        self.coef_ = estimate.W.astype(dtype)
        self.intercept_ = estimate.b.astype(dtype)
        self.coefs_ = [self.coef_.T]
        self.intercepts_ = [self.intercept_]
        self.n_iter_ = max(1, len(estimate.history.objective), int(estimate.result.get("nit", 0)))
        self.nll_ = estimate.nll
        self.loss_ = estimate.nll / total
        self.loss_curve_ = [value / total for value in estimate.history.objective or [estimate.objective]]
        self.optimize_result_ = estimate.result
        self.optimize_result_.n_passes = estimate.n_passes
        self.converged_ = estimate.converged
        if self.warm_start:
            self._memory = estimate.memory
        else:
            self._forget(("_memory",))

    def _fit_network(
        self, X: Any, y: Targets, w: FloatArray | None, classes: np.ndarray, hidden: tuple[int, ...], solver: Solver
    ) -> NetworkEstimate:
        """Fit a model with hidden layers, and set its attributes."""
        n_outputs = 1 if len(classes) == 2 else len(classes)
        start = self._previous_layers(classes, (X.shape[1], *hidden, n_outputs)) if self.warm_start else None
        model = NetworkModel(
            X, y, w, len(classes), float(self.C), bool(self.fit_intercept), hidden, self.activation, start
        )
        validation = None
        if self.early_stopping:
            validation = Validation(float(self.validation_fraction), int(self.n_iter_no_change))
        estimate = estimate_network(
            model,
            solver,
            check_random_state(self.random_state),
            tol=float(self.tol),
            max_iter=int(self.max_iter),
            n_init=int(self.n_init),
            validation=validation,
            options=self.solver_options,
            n_threads=self._n_threads(),
            say=print if self.verbose else None,
        )
        self._forget(("coef_", "intercept_", "_memory", *_NETWORK_ATTRIBUTES))
        total = estimate.total_weight
        self.classes_ = classes
        self.coefs_ = [W.T.astype(X.dtype) for W, _ in estimate.layers]
        self.intercepts_ = [np.zeros(len(W), X.dtype) if b is None else b.astype(X.dtype) for W, b in estimate.layers]
        self.n_layers_ = len(hidden) + 2
        self.out_activation_ = "logistic" if n_outputs == 1 else "softmax"
        self.n_iter_ = max(1, len(estimate.history.objective), int(estimate.result.get("nit", 0)))
        self.nll_ = estimate.nll
        self.loss_ = estimate.nll / total
        self.initial_loss_ = estimate.initial / total
        self.loss_curve_ = [value / total for value in estimate.history.objective or [estimate.value]]
        if estimate.validation is not None:
            self.validation_loss_curve_ = estimate.validation
            self.best_validation_loss_ = min(estimate.validation, default=np.inf)
        self.optimize_result_ = estimate.result
        self.optimize_result_.n_passes = estimate.n_passes
        self.converged_ = estimate.converged
        return estimate

    def _previous_layers(self, classes: np.ndarray, widths: tuple[int, ...]) -> Any:
        """Layers to start from: those of the last fit, or `coefs_` and `intercepts_` as they were assigned."""
        if not hasattr(self, "coefs_"):
            return None
        shapes = list(pairwise(widths))
        found = [np.shape(W) for W in self.coefs_]
        known = getattr(self, "classes_", classes)
        if found != shapes or [np.size(b) for b in self.intercepts_] != list(widths[1:]):
            raise ValueError(
                f"warm_start=True starts from coefs_ and intercepts_, whose layers are {found}; these data and "
                f"hidden_layer_sizes need {shapes}. Use a fresh clone."
            )
        if not np.array_equal(known, classes):
            raise ValueError(
                f"warm_start=True continues a fit with classes {np.asarray(known).tolist()}; these data have "
                f"{classes.tolist()}. Use a fresh clone."
            )
        return [
            (np.asarray(W, dtype=np.float64).T, np.ravel(b).astype(np.float64) if self.fit_intercept else None)
            for W, b in zip(self.coefs_, self.intercepts_, strict=True)
        ]

    def _forget(self, names: tuple[str, ...]) -> None:
        """Drop attributes of an earlier fit that this model has not."""
        for name in names:
            self.__dict__.pop(name, None)

    def __getstate__(self) -> dict[str, Any]:
        """As scikit-learn's, without what only a next fit in this process has a use for."""
        state = dict(super().__getstate__())
        state.pop("_memory", None)
        return state

    def __getattr__(self, name: str) -> Any:
        if name in ("coef_", "intercept_") and len(self.__dict__.get("coefs_", ())) > 1:
            raise AttributeError(
                f"A model with hidden layers has no {name}: its weights are coefs_ and intercepts_, one array a layer."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _warn(self, estimate: Estimate | NetworkEstimate) -> None:
        """The one place that warns; one warning for what went wrong."""
        finding = estimate.finding
        if finding is not None or estimate.absent:
            warnings.warn(self._separation_message(estimate), SeparationWarning, stacklevel=4)
        if finding is None and not estimate.converged:
            left = estimate.decrement
            gap = "" if not np.isfinite(left) else f" About {left:.2g} nats are left to gain (tol={self.tol:g})."
            warnings.warn(
                f"The fit has not converged after {self.n_iter_} iterations.{gap} Raise max_iter, or try another "
                "solver.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _separation_message(self, estimate: Estimate | NetworkEstimate) -> str:
        without = ""
        if estimate.absent:
            absent = _listed([str(self.classes_[k]) for k in estimate.absent])
            without = (
                f"Classes without any weight are separated from the others: {absent}. Their probability goes to 0, "
                "whatever C, as their intercept goes to -inf. Drop them from y, or give them weight. "
            )
        finding = estimate.finding
        if finding is None:
            return without.rstrip()
        remedy = "With a finite C (a Gaussian prior on the weights) an estimate exists; so it does with "
        if self.bounds is None:
            remedy += "prior='jeffreys', which has standard errors, too."
        else:
            remedy += "bounds below and above."
        if finding.kind is SeparationKind.UNDECIDED:
            return (
                f"{without}Classes seem to be separated: coefficients still grow where the likelihood does not, but "
                f"whether the maximum-likelihood estimate exists was not decided ({finding.reason}). {remedy}"
            )
        present = [k for k in range(len(self.classes_)) if k not in estimate.absent]
        involved = _listed([str(self.classes_[present[k]]) for k in finding.classes])
        names = getattr(self, "feature_names_in_", None)
        features = [f"x{j}" if names is None else str(names[j]) for j in finding.features]
        by = f"features {_listed(features)}" if features else "the intercept"
        by += f" ({finding.reason})" if finding.reason else ""
        how = "completely" if finding.kind is SeparationKind.COMPLETE else "quasi-completely"
        return (
            f"{without}Classes are {how} separated: {involved}, by {by}. The maximum-likelihood estimate does not "
            "exist: coefficients grow without bound. The fit is finite, its log-likelihood within tol of the supremum. "
            f"{remedy}"
        )

    def _check_data(self, X: Any, y: Any) -> tuple[Any, np.ndarray, Targets]:
        """Validated X (dense or CSR), the classes, and indices (n,) or distributions (n, K)."""
        targets: Targets
        if is_matrix(y):
            names, targets = distributions(y)
            X = check_rows(self, X)
            if X.shape[0] != targets.shape[0]:
                raise ValueError(f"X has {X.shape[0]} samples, but y has {targets.shape[0]}.")
            classes = np.arange(targets.shape[1]) if names is None else names
            if (targets.max(axis=1) == 1).all():
                # One-hot rows are labels.
                targets = targets.argmax(axis=1).astype(np.int32)
        else:
            if are_integers(y):
                X = check_rows(self, X)
                check_consistent_length(X, y)
                classes, targets = encode_labels(y)
            else:
                X, classes, targets = self._check_labels(X, y)
            if len(classes) < 2:
                raise ValueError(f"y holds one class only, {classes.tolist()}; a classifier needs two or more.")
        return X, classes, targets

    def _check_labels(self, X: Any, y: Any) -> tuple[Any, np.ndarray, Targets]:
        """Validated X, the classes and their indices; scikit-learn's complaint about y in more words."""
        if getattr(y, "shape", ())[1:] == (1,) and (wrong := what_is_wrong_with(y)):
            raise ValueError(wrong)
        try:
            X, labels = validate_data(self, X, y, **ROWS)
            return X, *encode_labels(labels)
        except (TypeError, ValueError) as error:
            wrong = what_is_wrong_with(y) if np.ndim(y) == 1 else None
            if wrong is None:
                raise
            raise ValueError(wrong) from error

    def _previous_fit(self) -> tuple[np.ndarray, FloatArray, FloatArray] | None:
        if not hasattr(self, "coef_"):
            return None
        return self.classes_, self.coef_.astype(np.float64), self.intercept_.astype(np.float64)

    def _n_threads(self) -> int | None:
        return None if self.n_jobs is None else int(effective_n_jobs(self.n_jobs))

    def decision_function(self, X: Any) -> FloatArray:
        """Logits.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, K), or (n_samples,) for two classes
            For two classes, the log-odds of ``classes_[1]``.
        """
        check_is_fitted(self)
        X = check_rows(self, X, reset=False)
        if len(self.coefs_) > 1:
            return self._network_outputs(X)
        z = safe_sparse_dot(X, self.coef_.T.astype(X.dtype, copy=False), dense_output=True) + self.intercept_
        return z[:, 0] if z.shape[1] == 1 else z

    def _network_outputs(self, X: Any) -> FloatArray:
        layers: list[Any] = [(W.T, b) for W, b in zip(self.coefs_, self.intercepts_, strict=True)]
        z = network_outputs(X, layers, self.activation, self._n_threads())
        return z[0] if len(z) == 1 else z.T

    def _logits_by_class(self, X: Any) -> FloatArray:
        """Logits (J, n): class-major, as the likelihood takes them."""
        z = self.decision_function(X)
        if len(self.coefs_) > 1:
            # Networks are sure of themselves: float32 has not the range for their probabilities.
            z = z.astype(np.float64, copy=False)
        return z[None] if z.ndim == 1 else np.ascontiguousarray(z.T)

    def predict_log_proba(self, X: Any) -> FloatArray:
        """Log-probabilities, straight from the logits: finite however confident.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, K), in nats
        """
        return log_softmax(self._logits_by_class(X)).T

    def predict_proba(self, X: Any) -> FloatArray:
        """Probabilities of the classes: softmax of the logits.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, K), rows sum to one
        """
        proba = softmax(self._logits_by_class(X)).T
        # What underflows is rounded up: no outcome is impossible, and `predict_log_proba` is finite for it.
        return np.maximum(proba, np.finfo(proba.dtype).smallest_subnormal)

    def predict(self, X: Any) -> np.ndarray:
        """Most probable class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        z = self.decision_function(X)
        return self.classes_[(z > 0).astype(int) if z.ndim == 1 else z.argmax(axis=1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy; against the most probable class where y is a matrix of probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        if is_matrix(y):
            check_is_fitted(self)
            y = self.classes_[aligned_distributions(y, self.classes_).argmax(axis=1)]
        return super().score(X, y, sample_weight)

    def log_likelihood(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Log-likelihood of y given X: sum_i w_i sum_k y_ik log proba_ik.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Labels that the estimator has seen, or distributions over its classes.
        sample_weight : float or array-like of shape (n_samples,), default=None

        Returns
        -------
        float
            The sum, in nats.

        Raises
        ------
        ValueError
            For labels that were not there in `fit`, and for weights or distributions that are none.
        """
        log_proba = self.predict_log_proba(X).astype(np.float64, copy=False)
        if is_matrix(y):
            rows = np.einsum("nk,nk->n", aligned_distributions(y, self.classes_), log_proba)
        else:
            codes = label_indices(y, self.classes_)
            if len(codes) != len(log_proba):
                raise ValueError(f"X has {len(log_proba)} samples, but y has {len(codes)}.")
            rows = log_proba[np.arange(len(codes)), codes]
        weights = check_weights(sample_weight, log_proba)
        return float(rows.sum() if weights is None else weights @ rows)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} and {len(names) - _NAMES_SHOWN} more"


def _check_previous(
    previous: tuple[np.ndarray, FloatArray, FloatArray], classes: np.ndarray, shape: tuple[int, int]
) -> None:
    if not np.array_equal(previous[0], classes) or previous[1].shape != shape:
        raise ValueError(
            f"warm_start=True continues a fit with classes {previous[0].tolist()} and coef_ of shape "
            f"{previous[1].shape}; these data have classes {classes.tolist()} and shape {shape}. Use a fresh clone."
        )
