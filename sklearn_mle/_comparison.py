"""Comparisons of models: likelihood statistics, Wald and likelihood-ratio tests."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, stats

from ._jeffreys import JeffreysProblem
from ._maximum import Maximum
from ._pipeline import INTERCEPT, FittedModel, open_model
from ._profile import restricted_minimum
from ._typing import FloatArray

# A restricted model may come out above the full one by the tolerance of its fit.
_NESTED = 1e-6
# A Wald test has as many degrees of freedom as its covariance has rank, down to this share of a deviation.
_RANK = 1e-10


@dataclass(frozen=True)
class LikelihoodTest:
    """A test of a hypothesis on coefficients.

    Attributes
    ----------
    statistic : float
        Chi-squared with `df` degrees of freedom under the hypothesis, in large samples.
    df : int
    pvalue : float
    """

    statistic: float
    df: int
    pvalue: float


def likelihoods(maximum: Maximum) -> dict[str, Any]:
    """The attributes of an inference that are functions of the likelihood alone."""
    samples = maximum.samples
    n_classes, p, n_obs = maximum.n_classes, samples.n_features, samples.total_weight
    size = maximum.problem.size
    log_likelihood = -maximum.nll
    if maximum.fit_intercept:
        weights = samples.class_weights
        weights = weights[weights > 0]
        null = float(weights @ np.log(weights / n_obs))
    else:
        null = -n_obs * float(np.log(n_classes))
    df_model = (n_classes - 1) * p
    if isinstance(maximum.problem, JeffreysProblem):
        prior = maximum.nll - maximum.objective - maximum.log_det_of_contrasts
        coef, B = maximum.contrasts(0)
        slopes = np.kron(B, maximum.feature_map[:p])
        statistic = 2 * (restricted_minimum(maximum, slopes, -coef[:, :p].ravel()) - maximum.objective)
    else:
        prior, statistic = 0.0, 2 * (log_likelihood - null)
    return {
        "log_likelihood_": log_likelihood,
        "null_log_likelihood_": null,
        "penalised_log_likelihood_": log_likelihood + prior,
        "n_obs_": n_obs,
        "df_model_": df_model,
        "df_resid_": n_obs - size,
        "aic_": 2 * size - 2 * log_likelihood,
        "bic_": size * float(np.log(n_obs)) - 2 * log_likelihood,
        "deviance_": -2 * log_likelihood,
        "mcfadden_r2_": 1 - log_likelihood / null,
        "lr_statistic_": statistic,
        "lr_pvalue_": float(stats.chi2.sf(statistic, df_model)),
    }


def wald_statistic(part: FloatArray, coef: FloatArray) -> LikelihoodTest:
    """The test that coefficients (m,) are zero, `part` (rows, m) a factor of their covariance.

    Raises
    ------
    ValueError
        If the covariance is singular.
    """
    scale = np.linalg.norm(part, axis=0)
    triangle = linalg.qr(part / scale, mode="r")[0][: len(coef)]
    if len(triangle) < len(coef) or np.abs(np.diag(triangle)).min() < _RANK:
        raise ValueError(
            f"The covariance has too low a rank to test {len(coef)} coefficients at once: there are too few "
            "clusters. Test fewer, or use another cov_type."
        )
    whitened = linalg.solve_triangular(triangle, coef / scale, trans="T")
    return chi2_test(float(whitened @ whitened), len(coef))


def ratio_test(full: float, size: int, restricted: float, n_parameters: int) -> LikelihoodTest:
    """The likelihood-ratio test of two log-likelihoods and numbers of parameters.

    Raises
    ------
    ValueError
        If the second is no restriction of the first.
    """
    statistic = 2 * (full - restricted)
    if n_parameters >= size:
        raise ValueError(
            f"The restricted model has {n_parameters} parameters, this one has {size}: a likelihood-ratio test "
            "compares with a model of fewer."
        )
    if statistic < -_NESTED * max(1.0, abs(restricted)):
        raise ValueError(
            f"The restricted model is the more likely one, by {-statistic / 2:.4g} nats: it is not nested in this "
            "one, or was fitted to other rows or weights."
        )
    return chi2_test(max(statistic, 0.0), size - n_parameters)


def check_restricted(estimator: Any, maximum: Maximum) -> FittedModel:
    """A fitted estimator as a restricted model of the same rows.

    Raises
    ------
    ValueError
        If it is none.
    """
    other = open_model(estimator)
    classifier, own = other.classifier, maximum.model.classifier
    if len(classifier.coefs_) > 1 or np.isfinite(classifier.C) or classifier.bounds is not None:
        raise ValueError("The restricted model must be linear, fitted with C=np.inf and without bounds.")
    if classifier.prior != own.prior:
        raise ValueError("Both models must have the same prior; refit the restricted one.")
    if not np.array_equal(classifier.classes_, own.classes_):
        raise ValueError("The restricted model has other classes; fit it to the same rows.")
    if not classifier.converged_:
        raise ValueError("The restricted model has not converged; raise its max_iter.")
    n_obs = maximum.samples.total_weight
    total = other.weight_unlike(n_obs)
    if total is not None:
        raise ValueError(
            f"The restricted model was fitted to {total:.10g} observations, this one to {n_obs:.10g}; a "
            "likelihood-ratio test wants the same rows and weights."
        )
    if classifier.fit_intercept and not own.fit_intercept:
        raise ValueError("The restricted model has intercepts, which this one has not: it is not nested in it.")
    return other


def left_out(other: FittedModel, maximum: Maximum) -> list[str]:
    """Names of the columns that a restricted model leaves out, which it must have names to say.

    Raises
    ------
    ValueError
        If it has none, or others.
    """
    names = maximum.model.names
    named = other.steps is not None or hasattr(other.classifier, "feature_names_in_")
    missing = [name for name in names if name not in other.names]
    if not named or not set(other.names) <= set(names) or not missing:
        raise ValueError(
            "With Jeffreys' prior the restricted likelihood is penalised by the information of the full model: "
            "hand in the names of the columns to leave out, instead of an estimator."
        )
    if bool(other.classifier.fit_intercept) != maximum.fit_intercept:
        missing.append(INTERCEPT)
    return missing


def chi2_test(statistic: float, df: int) -> LikelihoodTest:
    """A statistic with its upper tail."""
    return LikelihoodTest(statistic, df, float(stats.chi2.sf(statistic, df)))
