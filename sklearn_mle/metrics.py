"""Likelihood scores and scorers, in nats, without clipping.

The log-likelihood of one pair is a dot product, ``log P(y | x) = y . log(proba)``;
summed over samples and negated it is the negative log-likelihood (NLL), and the
NLL divided by the total weight is the cross-entropy:

    log_likelihood = sum_i w_i sum_k y_ik log(proba_ik)
    nll            = -log_likelihood
    cross_entropy  = nll / sum_i w_i

Conventions at the edge: ``0 * log 0 = 0``, so that a one-hot target costs minus the
log-probability of its class and nothing else, a sample of zero weight costs nothing,
and ``log 0 = -inf``: an outcome that was declared impossible costs infinitely much.
:func:`sklearn.metrics.log_loss` clips probabilities at the machine epsilon of their
dtype instead (36.04 nats in float64). Where it does not clip, :func:`cross_entropy`
and ``log_loss`` are the same function.

References
----------
C. M. Bishop, "Pattern Recognition and Machine Learning", section 4.3.4.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.metadata_routing import MetadataRequest
from sklearn.utils.validation import check_is_fitted

__all__ = [
    "cross_entropy",
    "log_likelihood",
    "neg_cross_entropy_scorer",
    "neg_nll_scorer",
    "nll",
]

# A softmax in single precision over a thousand classes, cast to double, misses a sum
# of one by a few 1e-7; coarser dtypes get the square root of their epsilon.
_SUM_TOLERANCE = 1e-6


def log_likelihood(
    y_true: Any,
    y_proba: Any,
    *,
    sample_weight: ArrayLike | None = None,
    labels: ArrayLike | None = None,
) -> float:
    """Log-likelihood of targets under predicted probabilities, in nats.

    ``sum_i w_i sum_k y_ik log(proba_ik)`` with ``0 * log 0 = 0`` and ``log 0 = -inf``.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), (n_samples, n_classes) or (n_classes,)
        Class labels of any kind that scikit-learn takes, or distributions over the
        classes, one per row (one-hot or soft). The columns of a DataFrame are put
        into sorted order by name, as in ``SoftmaxMLEClassifier.fit``.
    y_proba : array-like of shape (n_samples, n_classes) or (n_classes,)
        Predicted probabilities, columns in the sorted order of the classes. A
        DataFrame whose column names are the classes is aligned by name. A vector is
        the distribution of a *single* sample over the classes, never scikit-learn's
        shorthand for the positive class; `y_true` is then a vector of the same shape
        or one label (without `labels`: an integer, classes counted from 0).
    sample_weight : float or array-like of shape (n_samples,), default=None
        Non-negative weights, not all zero. A float weighs all samples alike.
    labels : array-like of shape (n_classes,), default=None
        The classes. Sorted, they name the columns of `y_proba`, and as in
        scikit-learn's ``log_loss`` a UserWarning says so where they are not sorted.
        Needed where `y_true` does not contain all of them.

    Returns
    -------
    float
        The weighted sum in nats, at most 0 up to rounding; -inf if an outcome of
        probability zero occurs.

    Raises
    ------
    ValueError
        If probabilities are negative, not finite or do not sum to one in each row
        (to 1e-6 in float64), if labels and columns cannot be matched, or if a weight
        is negative or not finite, all are zero, or their shape is wrong.

    Examples
    --------
    >>> from sklearn_mle.metrics import log_likelihood
    >>> round(log_likelihood([0, 0, 1, 0], [0.2, 0.1, 0.65, 0.05]), 6)
    -0.430783
    """
    weight, rows = _weighted_rows(y_true, y_proba, sample_weight, labels)
    return _total(weight, rows)


def nll(
    y_true: Any,
    y_proba: Any,
    *,
    sample_weight: ArrayLike | None = None,
    labels: ArrayLike | None = None,
) -> float:
    """Negative log-likelihood of targets under predicted probabilities, in nats.

    The total over the samples, not their mean: ``nll = -log_likelihood``.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), (n_samples, n_classes) or (n_classes,)
        Labels or distributions, as in :func:`log_likelihood`.
    y_proba : array-like of shape (n_samples, n_classes) or (n_classes,)
        Predicted probabilities, as in :func:`log_likelihood`.
    sample_weight : float or array-like of shape (n_samples,), default=None
        Non-negative weights, not all zero.
    labels : array-like of shape (n_classes,), default=None
        The classes, where `y_true` does not contain all of them.

    Returns
    -------
    float
        The weighted sum in nats, inf if an outcome of probability zero occurs.

    Raises
    ------
    ValueError
        As :func:`log_likelihood`.

    Examples
    --------
    >>> from sklearn_mle.metrics import nll
    >>> round(nll(["ham", "spam"], [[0.9, 0.1], [0.2, 0.8]]), 6)
    0.328504
    """
    # 0.0 - x instead of -x: a certain and right prediction costs 0.0, not -0.0
    weight, rows = _weighted_rows(y_true, y_proba, sample_weight, labels)
    return 0.0 - _total(weight, rows)


def cross_entropy(
    y_true: Any,
    y_proba: Any,
    *,
    sample_weight: ArrayLike | None = None,
    labels: ArrayLike | None = None,
) -> float:
    """Cross-entropy of targets and predicted probabilities, in nats per sample.

    ``cross_entropy = nll / sum_i w_i``. Equal to :func:`sklearn.metrics.log_loss`
    where that is defined and does not clip.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), (n_samples, n_classes) or (n_classes,)
        Labels or distributions, as in :func:`log_likelihood`.
    y_proba : array-like of shape (n_samples, n_classes) or (n_classes,)
        Predicted probabilities, as in :func:`log_likelihood`.
    sample_weight : float or array-like of shape (n_samples,), default=None
        Non-negative weights, not all zero.
    labels : array-like of shape (n_classes,), default=None
        The classes, where `y_true` does not contain all of them.

    Returns
    -------
    float
        The weighted mean in nats, inf if an outcome of probability zero occurs.

    Raises
    ------
    ValueError
        As :func:`log_likelihood`.

    Examples
    --------
    >>> from sklearn_mle.metrics import cross_entropy
    >>> round(cross_entropy(["ham", "spam"], [[0.9, 0.1], [0.2, 0.8]]), 6)
    0.164252
    """
    weight, rows = _weighted_rows(y_true, y_proba, sample_weight, labels)
    return 0.0 - _total(weight, rows) / float(np.sum(weight))


class _LikelihoodScorer:
    """A scikit-learn scorer of the likelihood, greater is better.

    Called as ``scorer(estimator, X, y, sample_weight=None)``. It differs from
    ``make_scorer(log_loss, ...)`` in what it asks of the estimator:

    - the classes come from ``estimator.classes_`` and not from the labels at hand, so
      that a test fold which lacks a class scores the right number;
    - ``predict_log_proba`` is used where there is one, so that a confident wrong
      answer costs its true price and not -log(eps);
    - `y` may be a matrix of probabilities, its columns those of the estimator's
      classes, or a DataFrame with columns named by class.

    Parameters
    ----------
    name : str
        What ``repr`` prints.
    mean : bool
        Whether the score is the mean over the weights or their sum.
    """

    def __init__(self, name: str, *, mean: bool) -> None:
        self.__name__ = name
        self._mean = mean
        self._metadata_request = _score_request(name, None)

    def __repr__(self) -> str:
        return self.__name__

    def __sklearn_clone__(self) -> _LikelihoodScorer:
        return copy.deepcopy(self)

    def __call__(self, estimator: Any, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Score a fitted classifier on X and y.

        Parameters
        ----------
        estimator : estimator object
            A fitted classifier, or a pipeline or a search that ends in one, with
            ``classes_`` and ``predict_log_proba`` or ``predict_proba``.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            What the estimator predicts from.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Labels, or distributions over the classes: an array with columns in the
            order of ``estimator.classes_``, or a DataFrame with columns named by
            class (a class without a column has probability zero).
        sample_weight : float or array-like of shape (n_samples,), default=None
            Non-negative weights, not all zero.

        Returns
        -------
        float
            Nats (per unit of weight for the mean); greater is better. -inf, with one
            UserWarning, where `y` holds a class that the estimator never saw.

        Raises
        ------
        AttributeError
            If the estimator predicts no probabilities.
        ValueError
            If it has no single list of classes, its probabilities do not sum to one
            or are not numbers, or `y` or `sample_weight` do not match.
        """
        classes = _estimator_classes(estimator)
        log_proba = _predicted_log_proba(estimator, X, len(classes))
        n_samples = len(log_proba)
        weight = _check_weight(sample_weight, n_samples)
        target, unseen = _targets_by_name(y, classes)
        if len(target) != n_samples:
            raise ValueError(f"y has {len(target)} samples, but the estimator predicted {n_samples}.")
        rows = _row_log_likelihood(target, log_proba)
        impossible = np.zeros(n_samples, dtype=bool)
        for present in unseen.values():
            impossible |= present
        rows[impossible] = -np.inf
        named = [label for label, at in unseen.items() if np.any(weight[at] > 0)]
        if named:
            warnings.warn(
                f"y holds classes that the estimator never saw in fit: {named}. Their "
                "predicted probability is zero, so the log-likelihood is -inf.",
                UserWarning,
                stacklevel=2,
            )
        total = _total(weight, rows)
        return total / float(np.sum(weight)) if self._mean else total

    def set_score_request(self, *, sample_weight: bool | str | None) -> _LikelihoodScorer:
        """Say whether sample weights are to be routed to this scorer.

        As for the scorers of :func:`sklearn.metrics.make_scorer`, the scorer itself
        is changed; ``sklearn.base.clone(scorer)`` is a copy to change instead.

        Parameters
        ----------
        sample_weight : bool, str or None
            True to take ``sample_weight``, False to ignore it, None to raise when it
            is passed, or the name under which it is passed.

        Returns
        -------
        self
            The scorer.

        Raises
        ------
        RuntimeError
            If metadata routing is not enabled.
        """
        if not get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                "This method is only available when metadata routing is enabled. You "
                "can enable it using sklearn.set_config(enable_metadata_routing=True)."
            )
        self._metadata_request = _score_request(self.__name__, sample_weight)
        return self

    def get_metadata_routing(self) -> MetadataRequest:
        """Metadata that this scorer requests.

        Returns
        -------
        sklearn.utils.metadata_routing.MetadataRequest
            The request for the method ``score``.
        """
        return self._metadata_request

    def _accept_sample_weight(self) -> bool:
        # asked by scikit-learn >= 1.7 when metadata routing is off
        return True


def _score_request(name: str, sample_weight: bool | str | None) -> MetadataRequest:
    request = MetadataRequest(owner=name)
    request.score.add_request(param="sample_weight", alias=sample_weight)
    return request


neg_cross_entropy_scorer = _LikelihoodScorer("neg_cross_entropy_scorer", mean=True)
neg_nll_scorer = _LikelihoodScorer("neg_nll_scorer", mean=False)


# Arithmetic: targets are either indices of classes (n,) or distributions (n, K)


def _weighted_rows(
    y_true: Any,
    y_proba: Any,
    sample_weight: ArrayLike | None,
    labels: ArrayLike | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights and log-likelihoods of the samples, (n,) each."""
    target, proba = _targets_and_probabilities(y_true, y_proba, labels)
    weight = _check_weight(sample_weight, len(proba))
    with np.errstate(divide="ignore"):
        return weight, _row_log_likelihood(target, np.log(proba))


def _row_log_likelihood(target: NDArray[Any], log_proba: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sum_k y_ik log(proba_ik) of each sample, with 0 * -inf = 0."""
    if target.ndim == 1:
        return log_proba[np.arange(len(target)), target]
    terms = np.zeros_like(log_proba)
    np.multiply(target, log_proba, out=terms, where=target > 0)
    return np.asarray(terms.sum(axis=1))


def _total(weight: NDArray[np.float64], rows: NDArray[np.float64]) -> float:
    counted = weight > 0  # 0 * -inf = 0: a sample without weight costs nothing
    return float(np.sum(weight[counted] * rows[counted]))


# What the arguments are


def _targets_and_probabilities(
    y_true: Any, y_proba: Any, labels: ArrayLike | None
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Targets, indices (n,) or distributions (n, K), and probabilities (n, K)."""
    proba, is_vector = _check_probabilities(y_proba, "y_proba")
    n_samples, n_classes = proba.shape
    classes = None
    if labels is not None:
        classes, _ = _distinct_labels(np.asarray(labels), "labels")
        if len(classes) != n_classes:
            raise ValueError(f"labels names {len(classes)} classes, but y_proba has {n_classes} columns.")
    y = np.asarray(y_true)
    if is_vector:
        y = _of_one_sample(y, n_classes, classes)
    elif y.ndim == 1 and n_samples == 1 and len(y) == n_classes > 1:
        y = y[np.newaxis]  # a vector (K,) against a matrix of one row
    if y.ndim == 2 and (y.shape[1] > 1 or n_classes == 1):
        target: NDArray[Any] = _check_probabilities(y, "y_true")[0]
        if target.shape[1] != n_classes:
            raise ValueError(f"y_true has {target.shape[1]} columns, but y_proba has {n_classes}.")
        names = _column_names(y_true, "y_true")
        if names is not None:
            if classes is None:
                classes, _ = _distinct_labels(np.asarray(names), "y_true's column names")
            target = target[:, _columns_in_order(names, classes, "y_true")]
    else:
        target, classes = _label_indices(y, classes, n_classes)
    if len(target) != n_samples:
        raise ValueError(f"y_true has {len(target)} samples, but y_proba has {n_samples}.")
    names = _column_names(y_proba, "y_proba")
    if classes is None:
        return target, proba
    # names that are no classes at all, "p_0" say, leave only the position
    if names and not set(names).isdisjoint(classes.tolist()):
        proba = proba[:, _columns_in_order(names, classes, "y_proba")]
    elif labels is not None and np.asarray(labels).tolist() != classes.tolist():
        warnings.warn(
            f"labels is not sorted: the columns of y_proba are taken to be {classes.tolist()}, in this order.",
            UserWarning,
            stacklevel=4,
        )
    return target, proba


def _label_indices(
    y: NDArray[Any], classes: NDArray[Any] | None, n_classes: int
) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return for each label its place among the classes, and the classes."""
    values, inverse = _distinct_labels(y, "y_true")
    if classes is None:
        if len(values) != n_classes:
            raise ValueError(
                f"y_true holds {len(values)} classes, but y_proba has {n_classes} columns. Pass all classes as labels=."
            )
        return inverse, values
    codes = _positions(values, classes)
    if np.any(codes < 0):
        raise ValueError(f"y_true holds {values[codes < 0].tolist()}, which labels= does not: {classes.tolist()}.")
    return codes[inverse], classes


def _of_one_sample(y: NDArray[Any], n_classes: int, classes: NDArray[Any] | None) -> NDArray[Any]:
    """Return the target of one sample as a label (1,) or a distribution (1, K)."""
    if y.shape == (n_classes,) and n_classes > 1:
        return y[np.newaxis]
    if y.shape == (1, n_classes) and n_classes > 1:
        return y
    if y.size != 1:
        raise ValueError(
            f"A one-dimensional y_proba is the distribution of one sample over "
            f"{n_classes} classes; y_true of shape {y.shape} is neither a vector of "
            "that length nor one label. For a binary problem pass both columns, "
            "np.column_stack([1 - p, p])."
        )
    y = y.reshape(1)
    if classes is not None:
        return y
    if y.dtype.kind not in "iu" or not 0 <= int(y[0]) < n_classes:
        raise ValueError(
            f"y_true={y[0]!r} does not say which of the {n_classes} classes it is. "
            "Pass all classes as labels=, or an integer counted from 0."
        )
    one_hot: NDArray[Any] = np.eye(n_classes)[y]
    return one_hot


def _targets_by_name(y: Any, classes: NDArray[Any]) -> tuple[NDArray[Any], dict[Any, NDArray[np.bool_]]]:
    """Targets in the order of `classes`, and where each other class occurs.

    Labels that are not among the classes stand as index 0, the columns of such
    classes are left out.
    """
    values = np.asarray(y)
    if values.ndim != 2 or (values.shape[1] == 1 and len(classes) > 1):
        labels, inverse = _distinct_labels(values, "y")
        codes = _positions(labels, classes)
        unseen = {label: inverse == j for j, label in enumerate(labels.tolist()) if codes[j] < 0}
        return np.maximum(codes, 0)[inverse], unseen
    target, _ = _check_probabilities(values, "y")
    names = _column_names(y, "y")
    if names is None:
        if target.shape[1] != len(classes):
            raise ValueError(
                f"y has {target.shape[1]} columns, but the estimator knows "
                f"{len(classes)} classes: {classes.tolist()}. Name the columns of a "
                "DataFrame by class to leave some out."
            )
        return target, {}
    position = {label: k for k, label in enumerate(classes.tolist())}
    if set(names).isdisjoint(position):
        raise ValueError(
            f"None of the columns of y, {names}, is a class of the estimator: "
            f"{classes.tolist()}. Name the columns by class, or pass an array with "
            "columns in that order."
        )
    aligned = np.zeros((len(target), len(classes)))
    unseen = {}
    for name, column in zip(names, target.T, strict=True):
        if name in position:
            aligned[:, position[name]] = column
        elif np.any(column > 0):
            unseen[name] = column > 0
    return aligned, unseen


def _estimator_classes(estimator: Any) -> NDArray[Any]:
    try:
        classes = estimator.classes_
    except AttributeError:
        check_is_fitted(estimator)
        raise ValueError(
            f"{type(estimator).__name__} has no classes_: the scorer cannot tell "
            "which class a column of its probabilities belongs to."
        ) from None
    if any(np.ndim(label) for label in classes):
        raise ValueError(
            f"{type(estimator).__name__} was fitted on several outputs; the scorer needs a single list of classes."
        )
    return np.asarray(classes)


def _predicted_log_proba(estimator: Any, X: Any, n_classes: int) -> NDArray[np.float64]:
    # scikit-learn's own predict_log_proba is log(predict_proba) and may take log 0
    with np.errstate(divide="ignore"):
        if hasattr(estimator, "predict_log_proba"):
            raw = np.asarray(estimator.predict_log_proba(X))
        elif hasattr(estimator, "predict_proba"):
            raw = np.log(np.asarray(estimator.predict_proba(X)))
        else:
            raise AttributeError(
                f"{type(estimator).__name__} has none of the following attributes: predict_log_proba, predict_proba."
            )
    log_proba = raw.astype(np.float64)
    if log_proba.ndim != 2 or log_proba.shape[1] != n_classes:
        raise ValueError(
            f"{type(estimator).__name__} predicted an array of shape {log_proba.shape} for {n_classes} classes."
        )
    with np.errstate(over="ignore"):
        sums = np.exp(log_proba).sum(axis=1)
    _check_sums(sums, raw.dtype, f"the probabilities of {type(estimator).__name__}")
    return log_proba


def _check_probabilities(values: Any, name: str) -> tuple[NDArray[np.float64], bool]:
    """Return distributions (n, K) in float64, and whether a vector was given."""
    checked = check_array(values, dtype="numeric", ensure_2d=False, input_name=name)
    proba = np.asarray(checked, dtype=np.float64)
    is_vector = proba.ndim == 1
    if is_vector:
        proba = proba[np.newaxis]
    if np.any(proba < 0):
        raise ValueError(
            f"{name} has negative entries (the least is {proba.min():g}); probabilities are between 0 and 1."
        )
    hint = (
        " A one-dimensional y_proba is the distribution of one sample over the "
        "classes; for a binary problem pass both columns."
        if is_vector
        else ""
    )
    _check_sums(proba.sum(axis=1), checked.dtype, name, hint)
    return proba, is_vector


def _check_sums(sums: NDArray[np.float64], dtype: Any, name: str, hint: str = "") -> None:
    tolerance = _SUM_TOLERANCE
    if dtype.kind == "f":
        tolerance = max(tolerance, float(np.sqrt(np.finfo(dtype).eps)))
    wrong = np.flatnonzero(~(np.abs(sums - 1.0) <= tolerance))  # nan is wrong, too
    if len(wrong):
        raise ValueError(f"The rows of {name} must sum to one; row {wrong[0]} sums to {sums[wrong[0]]:.10g}.{hint}")


def _check_weight(sample_weight: ArrayLike | None, n_samples: int) -> NDArray[np.float64]:
    if sample_weight is None:
        return np.ones(n_samples)
    try:
        weight = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"sample_weight must hold numbers: {error}") from error
    if weight.ndim == 0:
        weight = np.full(n_samples, weight)
    if weight.shape != (n_samples,):
        raise ValueError(f"sample_weight has shape {weight.shape}; expected ({n_samples},) or a single number.")
    if not np.all(np.isfinite(weight)):
        raise ValueError("sample_weight contains nan or infinite values.")
    if np.any(weight < 0):
        raise ValueError(f"sample_weight has negative entries (the least is {weight.min():g}).")
    if not np.any(weight):
        raise ValueError("sample_weight is zero for every sample.")
    return weight


# Labels and names


def _distinct_labels(y: NDArray[Any], name: str) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the sorted distinct labels, and for each sample which one it has."""
    y = column_or_1d(y, warn=True)
    if y.dtype.kind == "f":
        if not np.all(np.isfinite(y)):
            raise ValueError(f"{name} contains NaN or infinity.")
        if np.any(y != np.round(y)):
            raise ValueError(
                f"{name} is continuous; expected class labels or one distribution over the classes per row."
            )
    try:
        values, inverse = np.unique(y, return_inverse=True)
        missing = any(value != value for value in values.tolist())
    except TypeError as error:  # None, pd.NA, numbers among strings
        raise ValueError(f"{name} must hold labels of one kind, without missing values: {error}") from error
    if missing:
        raise ValueError(f"{name} contains NaN.")
    return values, inverse


def _positions(values: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.intp]:
    """Return where each value stands among the classes, -1 where it does not."""
    position = {label: k for k, label in enumerate(classes.tolist())}
    return np.array([position.get(v, -1) for v in values.tolist()], dtype=np.intp)


def _column_names(values: Any, argument: str) -> list[Any] | None:
    columns = getattr(values, "columns", None)
    if columns is None:
        return None
    names = list(columns)
    if len(set(names)) != len(names):
        raise ValueError(f"The columns of {argument} must be distinct: {names}.")
    return names


def _columns_in_order(names: list[Any], classes: NDArray[Any], argument: str) -> NDArray[np.intp]:
    """Return the column of each class; names and classes must be the same set."""
    where = {name: j for j, name in enumerate(names)}
    wanted = classes.tolist()
    if len(names) != len(wanted) or set(where) != set(wanted):
        raise ValueError(f"The columns of {argument}, {names}, are not the classes {wanted}.")
    return np.array([where[label] for label in wanted], dtype=np.intp)
