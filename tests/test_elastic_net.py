"""The elastic net: saga as an outside oracle, the subgradient certificate, exact zeros, warm starts."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sklearn_mle import SoftmaxMLEClassifier, _steps


def subgradient_residual(model, X, y, C, l1_ratio):
    """How far zero is from the subdifferential of the objective by each coefficient and intercept."""
    proba = model.predict_proba(X)
    residual = proba - (y[:, None] == model.classes_)
    if len(model.coef_) == 1:
        residual = residual[:, 1:]
    gradient = residual.T @ X + (1 - l1_ratio) / C * model.coef_
    weight = l1_ratio / C
    at_zero = np.maximum(np.abs(gradient) - weight, 0)
    elsewhere = np.abs(gradient + weight * np.sign(model.coef_))
    return np.where(model.coef_ == 0, at_zero, elsewhere), np.abs(residual.sum(axis=0))


@pytest.mark.parametrize("load", [load_iris, load_wine])
@pytest.mark.parametrize(("C", "l1_ratio"), [(1.0, 1.0), (0.1, 0.5), (0.05, 1.0)])
def test_equals_saga(load, C, l1_ratio):
    X, y = load(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    ours = SoftmaxMLEClassifier(C=C, l1_ratio=l1_ratio).fit(X, y)
    saga = LogisticRegression(C=C, l1_ratio=l1_ratio, solver="saga", tol=1e-10, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(ours.coef_, saga.coef_, atol=1e-4)
    assert ((ours.coef_ == 0) == (saga.coef_ == 0)).all()


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_digits])
@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
def test_the_subgradient_certifies_raw_columns(load, l1_ratio):
    X, y = load(return_X_y=True)
    model = SoftmaxMLEClassifier(C=0.1, l1_ratio=l1_ratio).fit(X, y)
    weights, intercepts = subgradient_residual(model, X, y, 0.1, l1_ratio)
    scale = np.abs(X).sum(axis=0)
    assert (weights <= 1e-8 * scale + 1e-6).all()
    assert intercepts.max() <= 1e-6
    assert (model.coef_ == 0).any()
    assert model.converged_


def test_the_likelihood_is_without_the_penalty():
    X, y = load_wine(return_X_y=True)
    model = SoftmaxMLEClassifier(C=0.5, l1_ratio=0.7).fit(X, y)
    assert model.nll_ == pytest.approx(-model.log_likelihood(X, y), rel=1e-10)


def test_without_a_prior_the_mix_has_nothing_to_mix():
    X, y = load_breast_cancer(return_X_y=True)
    X = X[:, :3]
    np.testing.assert_array_equal(
        SoftmaxMLEClassifier(l1_ratio=0.5).fit(X, y).coef_, SoftmaxMLEClassifier().fit(X, y).coef_
    )


@pytest.mark.parametrize("solver", ["L-BFGS-B", "TNC", "SLSQP", "trust-constr"])
def test_methods_that_take_bounds_see_split_weights(solver):
    X, y = load_iris(return_X_y=True)
    auto = SoftmaxMLEClassifier(C=0.1, l1_ratio=0.5).fit(X, y)
    named = SoftmaxMLEClassifier(C=0.1, l1_ratio=0.5, solver=solver).fit(X, y)
    np.testing.assert_allclose(named.coef_, auto.coef_, atol=1e-6)


@pytest.mark.parametrize("solver", ["BFGS", "Nelder-Mead", lambda fun, x0, **kw: None])
def test_other_methods_refuse(solver):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="l1_ratio"):
        SoftmaxMLEClassifier(C=0.1, l1_ratio=0.5, solver=solver).fit(X, y)


def test_bounds_and_penalty_together():
    X, y = load_wine(return_X_y=True)
    model = SoftmaxMLEClassifier(C=0.1, l1_ratio=0.5, bounds=(-0.2, 0.2)).fit(X, y)
    weights, _ = subgradient_residual(model, X, y, 0.1, 0.5)
    inside = np.abs(model.coef_) < 0.2
    assert (np.abs(model.coef_) <= 0.2).all()
    assert not inside.all()
    assert (weights[inside] <= 1e-8 * np.abs(X).sum(axis=0).max()).all()


@pytest.mark.parametrize("as_rows", [np.asarray, sparse.csr_array])
def test_wide_problems_take_orthant_steps(as_rows, monkeypatch):
    X, y = load_wine(return_X_y=True)
    exact = SoftmaxMLEClassifier(C=0.1, l1_ratio=0.5).fit(X, y)
    monkeypatch.setattr(_steps, "MAX_EXACT_SIZE", 0)
    wide = SoftmaxMLEClassifier(C=0.1, l1_ratio=0.5).fit(as_rows(X), y)
    np.testing.assert_allclose(wide.coef_, exact.coef_, atol=1e-5)
    assert ((wide.coef_ == 0) == (exact.coef_ == 0)).all()


def unlike_columns(n=1000, p=12, K=4, correlated=0.0, seed=3):
    """Rows whose columns have scales of 1e-3 to 1e3 and means far from zero."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) + correlated * rng.normal(size=(n, 1))
    z = X @ (rng.normal(size=(K, p)) * (rng.random((K, p)) < 0.5)).T
    y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    return (X + 3 * rng.normal(size=p)) * 10.0 ** rng.uniform(-3, 3, p), y


@pytest.mark.parametrize("K", [2, 3, 4, 5])
@pytest.mark.parametrize(("C", "l1_ratio"), [(1.0, 1.0), (1.0, 0.5), (0.01, 1.0)])
def test_units_of_the_columns_cost_no_steps(K, C, l1_ratio):
    X, y = unlike_columns(K=K, correlated=2.0)
    model = SoftmaxMLEClassifier(C=C, l1_ratio=l1_ratio).fit(X, y)
    assert model.n_iter_ <= 20
    weights, intercepts = subgradient_residual(model, X, y, C, l1_ratio)
    assert (weights <= 1e-8 * np.abs(X).sum(axis=0)).all()
    assert intercepts.max() <= 1e-6


@pytest.mark.parametrize("K", [2, 4])
@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
def test_many_parameters_end_where_few_do(K, l1_ratio, monkeypatch):
    X, y = unlike_columns(K=K, n=300, p=30, correlated=1.0)
    exact = SoftmaxMLEClassifier(C=1.0, l1_ratio=l1_ratio).fit(X, y)
    monkeypatch.setattr(_steps, "_FEW_PASSES", 0)
    through_orthants = SoftmaxMLEClassifier(C=1.0, l1_ratio=l1_ratio).fit(X, y)
    assert through_orthants.optimize_result_.fun == pytest.approx(exact.optimize_result_.fun, abs=1e-9)
    np.testing.assert_allclose(through_orthants.coef_, exact.coef_, rtol=1e-4, atol=1e-9 * np.abs(exact.coef_).max())
    monkeypatch.setattr(_steps, "MAX_EXACT_SIZE", 0)
    in_orthants = SoftmaxMLEClassifier(C=1.0, l1_ratio=l1_ratio, tol=1e-4).fit(X, y)
    assert in_orthants.converged_
    assert in_orthants.optimize_result_.fun == pytest.approx(exact.optimize_result_.fun, abs=1e-4)


@pytest.mark.filterwarnings("ignore:The fit has not converged")
@pytest.mark.parametrize("seed", [0, 1, 3])
def test_orthants_do_not_claim_what_they_have_not_reached(seed, monkeypatch):
    """What a step within one orthant gains is next to nothing here, and far from all."""
    n, p, K = 150, 40, 3
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, p // 4))
    X = factors @ rng.normal(size=(p // 4, p)) + 0.01 * rng.normal(size=(n, p))
    z = X @ (rng.normal(size=(K, p)) * (rng.random((K, p)) < 0.3)).T
    y = (z / z.std() + rng.gumbel(size=z.shape)).argmax(axis=1)
    X *= 10.0 ** rng.uniform(-2, 2, p)
    best = SoftmaxMLEClassifier(C=1.0, l1_ratio=1.0).fit(X, y)
    monkeypatch.setattr(_steps, "_FEW_PASSES", 0)
    monkeypatch.setattr(_steps, "MAX_EXACT_SIZE", 0)
    monkeypatch.setattr(_steps, "_keeps_few", lambda problem, region: False)
    reached = []
    for max_iter in (10, 40, 1000):
        model = SoftmaxMLEClassifier(C=1.0, l1_ratio=1.0, max_iter=max_iter).fit(X, y)
        reached.append(model.optimize_result_.fun <= best.optimize_result_.fun + model.tol)
        assert model.converged_ <= reached[-1]
    assert not reached[0]


@pytest.mark.usefixtures("in_single")
@pytest.mark.parametrize("K", [2, 3, 5])
@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
def test_single_precision_ends_where_its_rounding_does(K, l1_ratio):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(2000, 6))
    y = (X @ rng.normal(size=(6, K)) + rng.gumbel(size=(2000, K))).argmax(axis=1)
    X *= np.geomspace(1e-2, 1e2, 6)
    double = SoftmaxMLEClassifier(C=1.0, l1_ratio=l1_ratio).fit(X.astype(np.float32).astype(float), y)
    single = SoftmaxMLEClassifier(C=1.0, l1_ratio=l1_ratio).fit(X.astype(np.float32), y)
    assert single.n_iter_ <= 20
    assert single.optimize_result_.fun == pytest.approx(double.optimize_result_.fun, abs=2e-3)


@pytest.mark.parametrize("K", [2, 4])
@pytest.mark.parametrize("how", [{"l1_ratio": 1.0}, {"bounds": (-1e9, 1e9)}])
def test_a_start_in_other_units_is_no_start(K, how):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(400, 5))
    y = (X @ rng.normal(size=(5, K)) + rng.gumbel(size=(400, K))).argmax(axis=1)
    warm = SoftmaxMLEClassifier(C=1e3, warm_start=True, **how).fit(X * 1e-3, y).fit(X * 1e5, y)
    cold = SoftmaxMLEClassifier(C=1e3, **how).fit(X * 1e5, y)
    assert warm.n_iter_ <= cold.n_iter_
    np.testing.assert_allclose(warm.coef_, cold.coef_, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("as_rows", [np.asarray, sparse.csr_array])
def test_the_lasso_of_more_columns_than_rows(as_rows):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 1300)) * (rng.random((80, 1300)) < 0.2)
    y = (X[:, :3] @ [[2, -1, 0], [-1, 2, 1], [0, 0, 2]] + 0.3 * rng.gumbel(size=(80, 3))).argmax(axis=1)
    model = SoftmaxMLEClassifier(C=1.0, l1_ratio=1.0).fit(as_rows(X), y)
    weights, intercepts = subgradient_residual(model, X, y, 1.0, 1.0)
    assert model.converged_
    assert max(weights.max(), intercepts.max()) <= 1e-4
    assert (model.coef_ == 0).mean() > 0.9


def test_what_all_classes_share_costs_the_least_penalty():
    for K in (3, 4, 5):
        for l1_ratio in (0.4, 1.0):
            X, y = unlike_columns(K=K, n=300, p=6)
            W = SoftmaxMLEClassifier(C=1.0, l1_ratio=l1_ratio).fit(X, y).coef_
            cost = l1_ratio * np.abs(W).sum(axis=0) + (1 - l1_ratio) / 2 * (W**2).sum(axis=0)
            for shift in np.array([-1e-3, 1e-3, -0.3, 0.3])[:, None] * np.abs(W).max(axis=0):
                other = W + shift
                there = l1_ratio * np.abs(other).sum(axis=0) + (1 - l1_ratio) / 2 * (other**2).sum(axis=0)
                assert (there >= cost * (1 - 1e-12)).all()
            if l1_ratio == 1:
                assert (W == 0).any(axis=0).all()


def test_a_path_of_warm_starts_ends_where_independent_fits_do():
    X, y = load_wine(return_X_y=True)
    warm = SoftmaxMLEClassifier(l1_ratio=0.5, warm_start=True)
    iterations = 0
    for C in (0.01, 0.02, 0.04, 0.08):
        warm.set_params(C=C).fit(X, y)
        iterations += warm.n_iter_
    cold = SoftmaxMLEClassifier(C=0.08, l1_ratio=0.5).fit(X, y)
    np.testing.assert_allclose(warm.coef_, cold.coef_, atol=1e-7)
    assert ((warm.coef_ == 0) == (cold.coef_ == 0)).all()
