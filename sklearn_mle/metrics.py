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
from sklearn.utils.metadata_routing import MetadataRequest
from sklearn.utils.validation import check_is_fitted

from ._score_inputs import check_sums, targets_and_probabilities, targets_by_name
from ._targets import check_weights

__all__ = [
    "cross_entropy",
    "log_likelihood",
    "neg_cross_entropy_scorer",
    "neg_nll_scorer",
    "nll",
]


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
        weight = _weights(sample_weight, log_proba)
        target, unseen = targets_by_name(y, classes)
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
    target, proba = targets_and_probabilities(y_true, y_proba, labels)
    weight = _weights(sample_weight, proba)
    with np.errstate(divide="ignore"):
        return weight, _row_log_likelihood(target, np.log(proba))


def _weights(sample_weight: ArrayLike | None, proba: NDArray[np.float64]) -> NDArray[Any]:
    """Weights (n,), those of no weights too."""
    weight = check_weights(sample_weight, proba)
    return np.ones(len(proba)) if weight is None else weight


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
    check_sums(sums, raw.dtype, f"the probabilities of {type(estimator).__name__}")
    return log_proba
