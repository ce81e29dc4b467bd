"""Plots, by scikit-learn's Display convention: arrays in `__init__`, drawn by `plot`, kept as `ax_`, `figure_`."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from scipy import stats

from ._typing import FloatArray
from .inference import LikelihoodInference

__all__ = ["CoefficientDisplay", "LossCurveDisplay", "ProfileLikelihoodDisplay"]


class LossCurveDisplay:
    """The objective after each iteration of a fit.

    Parameters
    ----------
    loss_curve : array-like of shape (n_iter,)
        Nats per unit of weight.
    estimator_name : str, default=None

    Attributes
    ----------
    ax_, figure_, line_
        Matplotlib's, after `plot`.
    """

    def __init__(self, *, loss_curve: Sequence[float], estimator_name: str | None = None) -> None:
        self.loss_curve = np.asarray(loss_curve, dtype=float)
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(cls, estimator: Any, *, name: str | None = None, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the loss curve of a fitted estimator.

        Parameters
        ----------
        estimator : fitted SoftmaxMLEClassifier, or a Pipeline that ends in one
        name : str, default=None
            Label of the curve; the name of the class by default.
        ax : matplotlib Axes, default=None
        **kwargs : handed to ``ax.plot``

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        ValueError
            If the estimator has no loss curve.
        """
        last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
        curve = getattr(last, "loss_curve_", None)
        if curve is None:
            raise ValueError(f"{type(last).__name__} has no loss_curve_: hand in a fitted SoftmaxMLEClassifier.")
        return cls(loss_curve=curve, estimator_name=name or type(last).__name__).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, above_best: bool = False, **kwargs: Any) -> Self:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            New ones by default.
        name : str, default=None
            Label of the curve.
        above_best : bool, default=False
            Draw what each iteration lies above the best one, on a logarithmic scale.
        **kwargs : handed to ``ax.plot``

        Returns
        -------
        LossCurveDisplay
        """
        self.ax_, self.figure_ = _axes(ax)
        iterations, values = np.arange(1, len(self.loss_curve) + 1), self.loss_curve
        label = "objective / total weight (nats)"
        if above_best:
            above = values - values.min()
            iterations, values = iterations[above > 0], above[above > 0]
            self.ax_.set_yscale("log")
            label += ", above the best"
        kwargs = {"label": name or self.estimator_name, "marker": ".", **kwargs}
        (self.line_,) = self.ax_.plot(iterations, values, **kwargs)
        self.ax_.set(xlabel="iteration", ylabel=label)
        if kwargs["label"]:
            self.ax_.legend()
        return self


class CoefficientDisplay:
    """Estimates with their confidence intervals, a panel of rows for each class.

    Parameters
    ----------
    coef : ndarray of shape (n_rows, m)
        For each class against the base class, estimates of m features.
    intervals : ndarray of shape (n_rows, m, 2)
    feature_names : sequence of m str
    class_names : sequence of n_rows str
    level : float
    base_class : str

    Attributes
    ----------
    ax_, figure_
        Matplotlib's, after `plot`.
    containers_ : list of matplotlib ErrorbarContainer, one for each class
    """

    def __init__(
        self,
        *,
        coef: FloatArray,
        intervals: FloatArray,
        feature_names: Sequence[str],
        class_names: Sequence[str],
        level: float,
        base_class: str,
    ) -> None:
        self.coef = coef
        self.intervals = intervals
        self.feature_names = list(feature_names)
        self.class_names = list(class_names)
        self.level = level
        self.base_class = base_class

    @classmethod
    def from_inference(
        cls,
        inference: LikelihoodInference,
        *,
        level: float = 0.95,
        method: str = "wald",
        features: Sequence[str] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the coefficients of an inference.

        Parameters
        ----------
        inference : LikelihoodInference
        level, method : as for :meth:`LikelihoodInference.conf_int`
        features : sequence of str, default=None
            Names from ``inference.feature_names_``, or of features that a pipeline takes; all but the intercept by
            default.
        ax : matplotlib Axes, default=None
        **kwargs : handed to :meth:`plot`

        Returns
        -------
        CoefficientDisplay

        Raises
        ------
        ValueError
            For names that there are none of.
        """
        known = inference.feature_names_
        names = [name for name in known if name != "intercept"] if features is None else list(features)
        at = [int(j) for name in names for j in inference.columns_of(name)]
        others = [str(label) for label in inference.classes_.tolist() if label != inference.base_class_]
        display = cls(
            coef=inference.coef_[:, at],
            intervals=inference.conf_int(level, method)[:, at],
            feature_names=[known[j] for j in at],
            class_names=others,
            level=level,
            base_class=_class_name(inference.base_class_),
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, odds_ratios: bool = False, **kwargs: Any) -> Self:
        """Draw them.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            New ones by default.
        odds_ratios : bool, default=False
            Draw exp of all, on a logarithmic scale.
        **kwargs : handed to ``ax.errorbar``

        Returns
        -------
        CoefficientDisplay
        """
        self.ax_, self.figure_ = _axes(ax)
        n_rows, n_features = self.coef.shape
        places = np.arange(n_features)
        self.containers_ = []
        for k, name in enumerate(self.class_names):
            middle, ends = self.coef[k], self.intervals[k]
            if odds_ratios:
                middle, ends = np.exp(middle), np.exp(ends)
            offset = 0.6 * ((k + 0.5) / n_rows - 0.5)
            errors = np.abs(ends - middle[:, None]).T
            style = {"fmt": "o", "capsize": 3, "markersize": 4, "label": name, **kwargs}
            self.containers_.append(self.ax_.errorbar(middle, places + offset, xerr=errors, **style))
        self.ax_.axvline(1.0 if odds_ratios else 0.0, color="0.6", linewidth=1, zorder=0)
        self.ax_.set_yticks(places, self.feature_names)
        self.ax_.invert_yaxis()
        what = "odds ratio" if odds_ratios else "coefficient (log odds ratio)"
        self.ax_.set_xlabel(f"{what} against {self.base_class}, with {100 * self.level:g} % interval")
        if odds_ratios:
            self.ax_.set_xscale("log")
        if n_rows > 1:
            self.ax_.legend(title="class")
        return self


class ProfileLikelihoodDisplay:
    """The profile log-likelihood of one coefficient beside the parabola that Wald's interval takes it for.

    Parameters
    ----------
    values, log_likelihood : ndarray of shape (m,)
        The coefficient, and the log-likelihood maximised over all others, nats.
    estimate, standard_error : float
    maximum : float
        The log-likelihood at the estimate.
    name : str
    level : float

    Attributes
    ----------
    ax_, figure_, line_, parabola_
        Matplotlib's, after `plot`.
    """

    def __init__(
        self,
        *,
        values: FloatArray,
        log_likelihood: FloatArray,
        estimate: float,
        standard_error: float,
        maximum: float,
        name: str,
        level: float = 0.95,
    ) -> None:
        self.values = values
        self.log_likelihood = log_likelihood
        self.estimate = estimate
        self.standard_error = standard_error
        self.maximum = maximum
        self.name = name
        self.level = level

    @classmethod
    def from_inference(
        cls,
        inference: LikelihoodInference,
        feature: str,
        *,
        target: Any = None,
        level: float = 0.95,
        n_points: int = 41,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the profile of one coefficient of an inference.

        Parameters
        ----------
        inference : LikelihoodInference
        feature : str
            One of ``inference.feature_names_``, or a feature that a pipeline makes one column of.
        target : label, default=None
            A class other than the base class; may be left out where there are two classes.
        level : float, default=0.95
            Of the interval that is marked.
        n_points : int, default=41
        ax : matplotlib Axes, default=None
        **kwargs : handed to :meth:`plot`

        Returns
        -------
        ProfileLikelihoodDisplay
        """
        others = [label for label in inference.classes_.tolist() if label != inference.base_class_]
        width = 1.4 * float(stats.norm.isf((1 - level) / 2))
        # The method says what is wrong with a name or a target.
        inference.profile_log_likelihood(feature, target, values=[])
        k = 0 if target is None else others.index(target)
        (j,) = inference.columns_of(feature)
        estimate, error = float(inference.coef_[k, j]), float(inference.se_[k, j])
        at: FloatArray = estimate + np.linspace(-width, width, n_points) * error
        values, log_likelihood = inference.profile_log_likelihood(feature, target, at)
        display = cls(
            values=values,
            log_likelihood=log_likelihood,
            estimate=estimate,
            standard_error=error,
            maximum=inference.penalised_log_likelihood_,
            name=f"{feature}: {_class_name(others[k])} against {_class_name(inference.base_class_)}",
            level=level,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            New ones by default.
        **kwargs : handed to ``ax.plot`` for the profile

        Returns
        -------
        ProfileLikelihoodDisplay
        """
        self.ax_, self.figure_ = _axes(ax)
        style = {"label": "profile likelihood", **kwargs}
        (self.line_,) = self.ax_.plot(self.values, self.log_likelihood - self.maximum, **style)
        parabola = -0.5 * ((self.values - self.estimate) / self.standard_error) ** 2
        (self.parabola_,) = self.ax_.plot(self.values, parabola, linestyle="--", color="0.5", label="Wald")
        drop = 0.5 * float(stats.chi2.isf(1 - self.level, 1))
        self.ax_.axhline(-drop, color="0.7", linewidth=1, zorder=0, label=f"{100 * self.level:g} % interval")
        self.ax_.axvline(self.estimate, color="0.7", linewidth=1, linestyle=":", zorder=0)
        self.ax_.set(xlabel=self.name, ylabel="log-likelihood less its maximum (nats)")
        self.ax_.legend()
        return self


def _class_name(label: Any) -> str:
    """The label, said to be one where it could be taken for a number."""
    return label if isinstance(label, str) else f"class {label}"


def _axes(ax: Any) -> tuple[Any, Any]:
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    return ax, ax.figure
