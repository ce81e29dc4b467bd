"""What maximum likelihood gives beside the estimate: errors, tests, intervals, effects.

``LikelihoodInference.from_estimator(model, X, y)`` holds them; its ``summary()`` prints the table.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Self

import numpy as np
from scipy import stats

from ._comparison import LikelihoodTest, check_restricted, left_out, likelihoods, ratio_test, wald_statistic
from ._covariance import COV_TYPES, covariance_factor
from ._effects import average_effects, discrete_effects, probability_intervals, zero_one_columns
from ._jeffreys import JeffreysProblem
from ._maximum import Maximum, find_maximum, names_of, unseen
from ._pipeline import INTERCEPT, open_model
from ._profile import profile, restricted_minimum
from ._summary import Summary, summarise
from ._typing import FloatArray, IntArray

__all__ = ["LikelihoodInference", "LikelihoodTest"]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class LikelihoodInference:
    """Inference about the maximum-likelihood estimate of a linear softmax model.

    Made by :meth:`from_estimator`; its attributes cannot be changed. Shapes: K classes, p columns; one more
    parameter, the intercept, comes last where there is one, and is written p + 1 throughout.

    Attributes
    ----------
    coef_ : ndarray of shape (K - 1, p + 1)
        Differences of the logits' parameters to those of the base class: log odds ratios. Rows in the order of
        `classes_` without `base_class_`.
    se_, z_, pvalues_ : ndarray of shape (K - 1, p + 1)
        Standard errors, coef_ / se_, and two-sided p-values of the normal distribution.
    covariance_ : ndarray of shape ((K - 1) (p + 1), (K - 1) (p + 1))
        Of `coef_`, class after class.
    classes_ : ndarray of shape (K,)
    base_class_ : object
        One of them.
    feature_names_ : tuple of str
        Of the p columns, then "intercept".
    log_likelihood_, null_log_likelihood_ : float
        Nats; of the model, without any prior, and of the intercepts alone (of the uniform distribution, if the
        model has no intercepts).
    penalised_log_likelihood_ : float
        With Jeffreys' prior: `log_likelihood_` plus half the log-determinant of the information of `coef_`.
        Otherwise `log_likelihood_`.
    n_obs_ : float
        Sum of the weights.
    df_model_, df_resid_ : int, float
        (K - 1) p, and `n_obs_` less all parameters.
    aic_, bic_ : float
        2 k - 2 log L and k log(n_obs_) - 2 log L, k = (K - 1) (p + 1).
    deviance_ : float
        - 2 log L.
    mcfadden_r2_ : float
        1 - log L / log L_null.
    lr_statistic_, lr_pvalue_ : float
        Likelihood-ratio test of all columns, `df_model_` degrees of freedom. With Jeffreys' prior the
        likelihoods are penalised, the restricted one by the information of the full model (Heinze and
        Schemper, 2002, Stat. Med. 21, 2409-2419).
    cov_type_ : {"observed", "robust", "cluster"}

    Notes
    -----
    `sample_weight` are frequencies: a weight of 3 is three rows. Soft labels are taken as shares; their standard
    errors rest on the likelihood, and cov_type="robust" is the one that needs no more than the mean to be right
    (Papke and Wooldridge, 1996, J. Appl. Econom. 11, 619-632).

    References
    ----------
    A. Agresti (2013), Categorical Data Analysis, 3rd ed., chapters 5, 6, 8.
    W. H. Greene (2012), Econometric Analysis, 7th ed., sections 14.4, 17.3.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_mle import SoftmaxMLEClassifier
    >>> from sklearn_mle.inference import LikelihoodInference
    >>> X, y = load_wine(return_X_y=True)
    >>> X = X[:, :2]
    >>> inference = LikelihoodInference.from_estimator(SoftmaxMLEClassifier().fit(X, y), X, y)
    >>> inference.se_.round(2)
    array([[0.73, 0.34, 9.48],
           [0.54, 0.26, 7.18]])
    """

    coef_: FloatArray
    se_: FloatArray
    z_: FloatArray
    pvalues_: FloatArray
    covariance_: FloatArray
    classes_: np.ndarray
    base_class_: Any
    feature_names_: tuple[str, ...]
    log_likelihood_: float
    null_log_likelihood_: float
    penalised_log_likelihood_: float
    n_obs_: float
    df_model_: int
    df_resid_: float
    aic_: float
    bic_: float
    deviance_: float
    mcfadden_r2_: float
    lr_statistic_: float
    lr_pvalue_: float
    cov_type_: str
    _maximum: Maximum = field(metadata={"private": True})
    _factor: FloatArray = field(metadata={"private": True})
    _base: int = field(metadata={"private": True})
    _X: Any = field(metadata={"private": True})
    _covariance_name: str = field(metadata={"private": True})

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        cov_type: str = "observed",
        groups: Any = None,
        base_class: Any = None,
        small_sample: bool = False,
    ) -> Self:
        """Inference from a fitted estimator and the data that it was fitted on.

        Parameters
        ----------
        estimator : SoftmaxMLEClassifier or Pipeline
            Fitted and linear; a pipeline ends in such a classifier, and its names are used.
        X : {array-like, sparse matrix} of shape (n, p)
            As `fit` got it.
        y : array-like of shape (n,) or (n, K)
        sample_weight : float or array-like of shape (n,), default=None
            Frequencies.
        cov_type : {"observed", "robust", "cluster"}, default="observed"
            "observed" is the inverse of the Fisher information; "robust" the sandwich HC0, whose meat is
            sum w s s' over the scores s; "cluster" the sandwich CR0, for rows dependent within `groups`.
        groups : array-like of shape (n,), default=None
            Clusters, for cov_type="cluster".
        base_class : label, default=None
            The class that the others are compared with; the first by default.
        small_sample : bool, default=False
            Multiply the sandwich by n / (n - k), or by G / (G - 1) (n - 1) / (n - k), for n observations, k
            parameters and G clusters: HC1 and CR1.

        Returns
        -------
        LikelihoodInference

        Raises
        ------
        ValueError
            For what the theory does not cover, with the remedy, asked in this order: hidden layers; a finite
            C, l1_ratio, bounds or class_weight; separated classes; collinear columns; a fit that has not
            converged; data or weights that the estimator was not fitted on. And for arguments that do not
            belong together.
        TypeError
            If the estimator is of another kind.
        """
        if cov_type not in COV_TYPES:
            raise ValueError(f"cov_type must be one of {', '.join(map(repr, COV_TYPES))}; got {cov_type!r}.")
        model = open_model(estimator)
        classes = model.classifier.classes_
        base = 0 if base_class is None else _position(base_class, classes)
        maximum = find_maximum(model, X, y, sample_weight)
        with maximum.samples.pinned():
            factor = covariance_factor(maximum, cov_type, groups, small_sample)
            coef, B = maximum.contrasts(base)
            contrast_factor = factor @ np.kron(B, maximum.feature_map).T
            se = np.linalg.norm(contrast_factor, axis=0).reshape(coef.shape)
            statistics = likelihoods(maximum)
        z = coef / se
        arrays: dict[str, Any] = {
            "coef_": coef,
            "se_": se,
            "z_": z,
            "pvalues_": 2 * stats.norm.sf(np.abs(z)),
            "covariance_": contrast_factor.T @ contrast_factor,
            "classes_": classes,
        }
        arrays = {name: _frozen(array) for name, array in arrays.items()}
        return cls(
            **arrays,
            **statistics,
            base_class_=classes[base],
            feature_names_=names_of(model, maximum.fit_intercept),
            cov_type_=cov_type,
            _maximum=maximum,
            _factor=factor,
            _base=base,
            _X=X,
            _covariance_name=_covariance_name(cov_type, small_sample, groups),
        )

    def __repr__(self) -> str:
        return (
            f"LikelihoodInference({len(self.classes_)} classes, {len(self.feature_names_)} parameters of each logit, "
            f"n_obs={self.n_obs_:.10g}, log_likelihood={self.log_likelihood_:.6g}, cov_type={self.cov_type_!r})"
        )

    def conf_int(self, level: float = 0.95, method: str = "wald") -> FloatArray:
        """Confidence intervals of `coef_`.

        Parameters
        ----------
        level : float, default=0.95
        method : {"wald", "profile"}, default="wald"
            "wald" is coef_ +- z se_. "profile" holds the values at which the (penalised) likelihood, maximised
            over all other parameters, lies within half a chi-squared quantile of its maximum: the interval that
            the likelihood-ratio test does not reject.

        Returns
        -------
        ndarray of shape (K - 1, p + 1, 2)

        Raises
        ------
        ValueError
            For a profile with cov_type "robust" or "cluster", which it would disregard.
        """
        _check_level(level)
        if method == "wald":
            half = stats.norm.isf((1 - level) / 2) * self.se_
            return np.stack([self.coef_ - half, self.coef_ + half], axis=-1)
        if method != "profile":
            raise ValueError(f"method must be 'wald' or 'profile'; got {method!r}.")
        self._check_likelihood("A profile interval")
        drop = stats.chi2.isf(1 - level, 1) / 2
        out = np.empty((*self.coef_.shape, 2))
        with self._maximum.samples.pinned():
            for k, j in np.ndindex(*self.coef_.shape):
                curve = profile(self._maximum, self._rows([(k, j)])[0])
                out[k, j] = [self.coef_[k, j] + curve.end(drop, sign) for sign in (-1, 1)]
        return out

    def profile_log_likelihood(
        self, feature: str, target: Any = None, values: Any = None
    ) -> tuple[FloatArray, FloatArray]:
        """The (penalised) log-likelihood as a function of one coefficient, maximised over all others.

        Parameters
        ----------
        feature : str
            One of `feature_names_`, or a feature that a pipeline makes one column of.
        target : label, default=None
            A class other than the base class; may be left out where there are two classes.
        values : array-like of shape (m,), default=None
            Values of the coefficient; 41 within four standard errors of the estimate by default.

        Returns
        -------
        values, log_likelihood : ndarray of shape (m,) each
        """
        self._check_likelihood("A profile")
        k, j = self._class_row(target), self._own_column(feature)
        estimate = self.coef_[k, j]
        if values is None:
            values = estimate + np.linspace(-4, 4, 41) * self.se_[k, j]
        values = np.atleast_1d(np.asarray(values, dtype=np.float64))
        out = np.empty(len(values))
        with self._maximum.samples.pinned():
            curve = profile(self._maximum, self._rows([(k, j)])[0])
            for side in (values >= estimate, values < estimate):
                found = None
                for i in sorted(np.flatnonzero(side), key=lambda i: abs(values[i] - estimate)):
                    found = curve.at(float(values[i] - estimate), found)
                    out[i] = self.penalised_log_likelihood_ - (found.value - self._maximum.objective)
        return values, out

    def wald_test(self, features: str | Sequence[str]) -> LikelihoodTest:
        """Test that columns have no effect on any class.

        Parameters
        ----------
        features : str or sequence of str
            Names from `feature_names_`, or features that a pipeline takes: all columns made of one are tested.

        Returns
        -------
        LikelihoodTest

        Raises
        ------
        ValueError
            For a name that there is none of; and where clusters are too few for so many restrictions.
        """
        columns = self._columns(features)
        places = [(k, int(j)) for k in range(len(self.coef_)) for j in columns]
        coef = np.array([self.coef_[place] for place in places])
        return wald_statistic(self._factor @ self._rows(places).T, coef)

    def lr_test(self, restricted: Any) -> LikelihoodTest:
        """Likelihood-ratio test against a restricted model.

        Parameters
        ----------
        restricted : estimator, (float, int), str or sequence of str
            An estimator or pipeline fitted to the same rows with fewer columns; or its log-likelihood
            (penalised, with Jeffreys' prior) and its number of parameters; or the names of the columns that
            it leaves out, as for :meth:`wald_test`, and it is fitted here.

        Returns
        -------
        LikelihoodTest

        Raises
        ------
        ValueError
            If the models are seen not to be comparable, or cov_type is not "observed". Of an estimator its number of
            columns, classes, total weight and likelihood are known, but not its rows: that its columns are among those
            of this model, or combinations of them, is for you to see to.
        """
        self._check_likelihood("A likelihood-ratio test")
        size = self.coef_.size
        if isinstance(restricted, tuple) and len(restricted) == 2 and isinstance(restricted[0], Real):
            log_likelihood, n_parameters = float(restricted[0]), int(restricted[1])
        elif isinstance(restricted, str) or (
            isinstance(restricted, Iterable) and all(isinstance(name, str) for name in restricted)
        ):
            columns = self._columns(restricted)
            log_likelihood = self._restricted(columns)
            n_parameters = size - len(self.coef_) * len(columns)
        elif hasattr(restricted, "fit"):
            log_likelihood, n_parameters = self._of_estimator(restricted)
        else:
            raise ValueError(
                "restricted must be an estimator fitted to fewer columns, a pair of its log-likelihood and number of "
                f"parameters, or names of columns to leave out, from {list(self.feature_names_)}; got {restricted!r}."
            )
        return ratio_test(self.penalised_log_likelihood_, size, log_likelihood, n_parameters)

    def predict_proba_interval(self, X: Any, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Confidence intervals of the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, p)
        level : float, default=0.95

        Returns
        -------
        lower, upper : ndarray of shape (n, K) each
            By the delta method on the log-odds of each class against all others, mapped to [0, 1].
        """
        _check_level(level)
        rows = unseen(self._maximum.model.transform(X), self._maximum)
        return probability_intervals(self._maximum, rows, self._factor, float(stats.norm.isf((1 - level) / 2)))

    def marginal_effects(self, X: Any = None, *, discrete: bool = False) -> tuple[FloatArray, FloatArray]:
        """Average marginal effects on the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, p), default=None
            Rows to average over; the weighted training rows by default.
        discrete : bool, default=False
            For columns that hold zeros and ones in the training rows, the change of the probability as the
            column goes from 0 to 1, the others being left as they are, instead of the derivative.

        Returns
        -------
        effects, se : ndarray of shape (K, p) each
            Means of dP(class) / dx, in units of the classifier's columns, and delta-method standard errors
            that hold the rows fixed.
        """
        maximum = self._maximum
        rows = maximum.samples if X is None else unseen(maximum.model.transform(X), maximum)
        with maximum.samples.pinned():
            effects, se = average_effects(maximum, rows, self._factor)
            if discrete:
                columns = np.flatnonzero(zero_one_columns(maximum.samples)).tolist()
                if columns:
                    effects[:, columns], se[:, columns] = discrete_effects(maximum, rows, self._factor, columns)
        return effects, se

    def summary_frame(self, level: float = 0.95, method: str = "wald") -> Any:
        """The table of coefficients.

        Parameters
        ----------
        level, method : float, default=0.95, and {"wald", "profile"}, default="wald"
            Of the intervals, as for :meth:`conf_int`.

        Returns
        -------
        pandas.DataFrame
            Indexed by (class, feature), with columns coef, se, z, pvalue, lower, upper, and odds_ratio,
            odds_ratio_lower, odds_ratio_upper, which are exp of coef, lower and upper.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "summary_frame needs pandas, which sklearn_mle[pandas] brings; summary() does without it."
            ) from error
        ends = self.conf_int(level, method)
        columns = {
            "coef": self.coef_,
            "se": self.se_,
            "z": self.z_,
            "pvalue": self.pvalues_,
            "lower": ends[..., 0],
            "upper": ends[..., 1],
        }
        with np.errstate(over="ignore"):
            columns |= {
                "odds_ratio": np.exp(self.coef_),
                "odds_ratio_lower": np.exp(ends[..., 0]),
                "odds_ratio_upper": np.exp(ends[..., 1]),
            }
        index = pd.MultiIndex.from_product([self._other_classes(), self.feature_names_], names=["class", "feature"])
        return pd.DataFrame({name: values.ravel() for name, values in columns.items()}, index=index)

    def summary(self, level: float = 0.95, method: str = "wald") -> Summary:
        """The table of coefficients with what belongs to it, for print and for the notebook.

        Parameters
        ----------
        level, method : float, default=0.95, and {"wald", "profile"}, default="wald"
            Of the intervals, as for :meth:`conf_int`.

        Returns
        -------
        Summary
            ``str`` gives the text; a notebook shows HTML.
        """
        overall = None if self.cov_type_ == "observed" else self._overall_wald()
        notes = []
        if self._maximum.model.per_standard_deviation:
            notes.append("Coefficients are per standard deviation: the step before the classifier is a StandardScaler.")
        if self._is_penalised:
            notes.append("Jeffreys' prior (Firth's bias reduction): the LR statistic is of the penalised likelihood.")
        if method == "profile":
            notes.append("Intervals are those of the profile likelihood; z and P>|z| are Wald's.")
        return summarise(self, self.conf_int(level, method), level, self._covariance_name, overall, tuple(notes))

    def _overall_wald(self) -> LikelihoodTest:
        """The test of all columns, nan where clusters are too few for it."""
        try:
            return self.wald_test([name for name in self.feature_names_ if name != INTERCEPT])
        except ValueError:
            return LikelihoodTest(np.nan, self.df_model_, np.nan)

    @property
    def _is_penalised(self) -> bool:
        return isinstance(self._maximum.problem, JeffreysProblem)

    def _other_classes(self) -> list[Any]:
        return [label for k, label in enumerate(self.classes_.tolist()) if k != self._base]

    def _rows(self, places: list[tuple[int, int]]) -> FloatArray:
        """Rows of B (x) F: derivatives by psi of the coefficients at (class row, column)."""
        _, B = self._maximum.contrasts(self._base)
        F = self._maximum.feature_map
        return np.stack([np.outer(B[k], F[j]).ravel() for k, j in places])

    def columns_of(self, feature: str) -> IntArray:
        """Places among `feature_names_` of the columns that a name stands for.

        Parameters
        ----------
        feature : str
            One of `feature_names_`, or a feature that a pipeline takes: all columns that it makes of it.

        Returns
        -------
        ndarray of int

        Raises
        ------
        ValueError
            If no column goes by the name.
        """
        if feature == INTERCEPT and INTERCEPT in self.feature_names_:
            return np.array([len(self.feature_names_) - 1])
        return self._maximum.model.columns_of(feature, self._X)

    def _columns(self, features: str | Iterable[str]) -> IntArray:
        names = [features] if isinstance(features, str) else list(features)
        if not names:
            raise ValueError("No feature is named: there is nothing to test.")
        return np.unique(np.concatenate([self.columns_of(name) for name in names]))

    def _own_column(self, feature: str) -> int:
        columns = self.columns_of(feature)
        if len(columns) > 1:
            names = ", ".join(self.feature_names_[j] for j in columns)
            raise ValueError(f"{feature!r} stands for {len(columns)} columns; name one of them: {names}.")
        return int(columns[0])

    def _class_row(self, target: Any) -> int:
        if target is None:
            if len(self.classes_) > 2:
                others = ", ".join(map(repr, self._other_classes()))
                raise ValueError(f"With {len(self.classes_)} classes, say which: target must be one of {others}.")
            return 0
        at = _position(target, self.classes_)
        if at == self._base:
            raise ValueError(f"{target!r} is the base class, whose coefficients are zero.")
        return at - (at > self._base)

    def _restricted(self, columns: IntArray) -> float:
        """Log-likelihood, penalised where the fit was, with the coefficients of some columns at zero."""
        places = [(k, int(j)) for k in range(len(self.coef_)) for j in columns]
        values = -np.array([self.coef_[place] for place in places])
        with self._maximum.samples.pinned():
            least = restricted_minimum(self._maximum, self._rows(places), values)
        return self.penalised_log_likelihood_ - (least - self._maximum.objective)

    def _of_estimator(self, estimator: Any) -> tuple[float, int]:
        other = check_restricted(estimator, self._maximum)
        n_parameters = len(self.coef_) * (len(other.names) + bool(other.classifier.fit_intercept))
        if self._is_penalised:
            return self._restricted(self._columns(left_out(other, self._maximum))), n_parameters
        return -float(other.classifier.nll_), n_parameters

    def _check_likelihood(self, what: str) -> None:
        if self.cov_type_ != "observed":
            raise ValueError(
                f"{what} rests on the likelihood, and would disregard cov_type={self.cov_type_!r}. Use "
                "cov_type='observed' for it, or Wald tests and intervals."
            )


def _frozen(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.setflags(write=False)
    return array


def _position(label: Any, classes: np.ndarray) -> int:
    found = np.flatnonzero(classes == label)
    if len(found) != 1:
        raise ValueError(f"{label!r} is not one of the classes {classes.tolist()}.")
    return int(found[0])


def _covariance_name(cov_type: str, small_sample: bool, groups: Any) -> str:
    if cov_type == "observed":
        return "observed information"
    if cov_type == "robust":
        return "HC1" if small_sample else "HC0"
    return f"{'CR1' if small_sample else 'CR0'}, {len(np.unique(np.asarray(groups)))} clusters"


def _check_level(level: Any) -> None:
    if not isinstance(level, Real) or not 0 < float(level) < 1:
        raise ValueError(f"level must be a number between 0 and 1; got {level!r}.")
