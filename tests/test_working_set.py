"""Under an l1 penalty, sparse columns by and by: the subgradient of all as an oracle, and the way that takes all."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from sklearn_mle import SoftmaxMLEClassifier, _minimize, _steps, _working_set

WIDE = 400


def wide(n=120, p=WIDE, K=3, signal=8):
    """Rows whose classes depend on a few of many correlated columns."""
    rng = np.random.default_rng(0)
    X = 0.5 * rng.normal(size=(n, 10)) @ rng.normal(size=(10, p)) + rng.normal(size=(n, p))
    B = np.zeros((p, K))
    B[:signal] = 2 * rng.normal(size=(signal, K))
    y = (X @ B + rng.gumbel(size=(n, K))).argmax(axis=1)
    y[:K] = np.arange(K)
    return X, y


def sparse_wide(**shape):
    X, y = wide(**shape)
    return sparse.csr_array(X), y


def n_outputs(K):
    return 1 if K == 2 else K


def subgradient(model, X, y, w=None):
    """How far zero is from the subdifferential of the objective by each coefficient and intercept."""
    residual = model.predict_proba(X) - (y[:, None] == model.classes_)
    if len(model.coef_) == 1:
        residual = residual[:, 1:]
    if w is not None:
        residual = residual * w[:, None]
    weight = model.l1_ratio / model.C
    gradient = (X.T @ residual).T + (1 - model.l1_ratio) / model.C * model.coef_
    at_zero = np.maximum(np.abs(gradient) - weight, 0)
    return np.where(model.coef_ == 0, at_zero, gradient + weight * np.sign(model.coef_)), residual.sum(axis=0)


def without_working_sets(monkeypatch):
    monkeypatch.setattr(_minimize, "_MANY_COLUMNS", np.inf)


@pytest.fixture
def sets(monkeypatch):
    """How many columns each set had."""
    found = []
    original = _minimize.WorkingSet.part

    def part(self):
        found.append(len(self.columns))
        return original(self)

    monkeypatch.setattr(_minimize.WorkingSet, "part", part)
    return found


@pytest.mark.parametrize("K", [2, 3, 5])
@pytest.mark.parametrize(("C", "l1_ratio"), [(0.1, 1.0), (1.0, 1.0), (0.3, 0.5)])
def test_the_subgradient_of_all_columns_certifies(K, C, l1_ratio, sets):
    X, y = sparse_wide(K=K)
    model = SoftmaxMLEClassifier(C=C, l1_ratio=l1_ratio).fit(X, y)
    weights, intercepts = subgradient(model, X, y)
    assert sets
    assert max(sets) <= WIDE / 2
    assert model.converged_
    # So much is left of a slope where 4e-13 nats are, of a curvature of 40.
    assert np.abs(weights).max() <= 1e-5
    assert np.abs(intercepts).max() <= 1e-5
    assert len(model.optimize_result_.x) == n_outputs(K) * (WIDE + 1)
    assert model.optimize_result_.nit == model.n_iter_
    assert 0 < np.count_nonzero(model.coef_.any(axis=0)) < WIDE / 2


@pytest.mark.parametrize(
    "how",
    [
        {"l1_ratio": 1.0},
        {"l1_ratio": 0.5},
        {"l1_ratio": 1.0, "bounds": (-0.1, 0.2)},
        {"l1_ratio": 1.0, "fit_intercept": False},
        {"l1_ratio": 1.0, "class_weight": "balanced"},
    ],
)
@pytest.mark.parametrize("K", [2, 4])
def test_ends_where_steps_on_all_columns_do(how, K, sets, monkeypatch):
    X, y = sparse_wide(K=K)
    w = np.random.default_rng(1).exponential(size=len(y))
    found = SoftmaxMLEClassifier(C=0.3, **how).fit(X, y, sample_weight=w)
    assert sets
    del sets[:]
    without_working_sets(monkeypatch)
    expected = SoftmaxMLEClassifier(C=0.3, **how).fit(X, y, sample_weight=w)
    assert not sets
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-6)
    np.testing.assert_allclose(found.intercept_, expected.intercept_, atol=1e-5)
    assert found.nll_ == pytest.approx(expected.nll_, rel=1e-6)


def test_units_of_the_columns_change_nothing(sets):
    X, y = wide()
    units = 10.0 ** np.random.default_rng(2).uniform(-1, 1, WIDE)
    scaled = SoftmaxMLEClassifier(C=0.3, l1_ratio=1.0).fit(sparse.csr_array(X * units), y)
    assert len(sets) > 1
    weights, _ = subgradient(scaled, X * units, y)
    assert (np.abs(weights) <= 1e-6 * np.maximum(units, 1)).all()


def test_few_columns_cost_few_passes(monkeypatch):
    X, y = sparse_wide(n=100, p=2000, K=2)
    few = SoftmaxMLEClassifier(C=0.3, l1_ratio=1.0).fit(X, y)
    without_working_sets(monkeypatch)
    all_of_them = SoftmaxMLEClassifier(C=0.3, l1_ratio=1.0).fit(X, y)
    assert few.optimize_result_.n_passes < 0.1 * all_of_them.optimize_result_.n_passes
    assert few.nll_ == pytest.approx(all_of_them.nll_, rel=1e-4)


def test_a_penalty_that_leaves_nothing(sets):
    X, y = sparse_wide(K=3)
    model = SoftmaxMLEClassifier(C=1e-4, l1_ratio=1.0).fit(X, y)
    assert not model.coef_.any()
    assert not sets
    shares = np.bincount(y) / len(y)
    np.testing.assert_allclose(model.predict_proba(X[:1])[0], shares, rtol=1e-8)


def test_where_most_columns_matter_all_are_taken(sets):
    X, y = sparse_wide(n=600, p=300, K=3, signal=300)
    model = SoftmaxMLEClassifier(C=10.0, l1_ratio=0.5).fit(X, y)
    weights, _ = subgradient(model, X, y)
    assert np.count_nonzero(model.coef_.any(axis=0)) > 150
    assert np.abs(weights).max() <= 1e-5
    assert max(sets) <= 150


def test_no_large_part_of_large_data_is_copied(sets, monkeypatch):
    X, y = sparse_wide(p=1200, K=2)
    monkeypatch.setattr(_working_set, "_LARGE", 1000)
    model = SoftmaxMLEClassifier(C=3.0, l1_ratio=0.2).fit(X, y)
    weights, _ = subgradient(model, X, y)
    assert sets
    assert max(sets) <= 150
    assert np.count_nonzero(model.coef_) > 150
    assert np.abs(weights).max() <= 1e-4


def test_iterations_that_run_out_are_told(sets):
    X, y = sparse_wide()
    with pytest.warns(ConvergenceWarning):
        model = SoftmaxMLEClassifier(C=0.3, l1_ratio=1.0, max_iter=3).fit(X, y)
    assert sets
    assert not model.converged_
    assert model.n_iter_ == 3
    assert np.isfinite(model.coef_).all()


def test_warm_starts_begin_with_the_columns_of_the_last_fit(sets):
    X, y = sparse_wide(p=1000)
    model = SoftmaxMLEClassifier(C=0.3, l1_ratio=1.0, warm_start=True).fit(X, y)
    coef, cold = model.coef_, model.optimize_result_.n_passes
    del sets[:]
    model.fit(X, y)
    assert sets[0] == np.count_nonzero(coef.any(axis=0))
    assert model.optimize_result_.n_passes < 0.5 * cold
    np.testing.assert_allclose(model.coef_, coef, atol=1e-8)


@pytest.mark.usefixtures("in_single")
def test_single_precision(sets):
    X, y = sparse_wide()
    single = SoftmaxMLEClassifier(C=0.3, l1_ratio=1.0).fit(X.astype(np.float32), y)
    double = SoftmaxMLEClassifier(C=0.3, l1_ratio=1.0).fit(X, y)
    assert sets
    np.testing.assert_allclose(single.coef_, double.coef_, atol=1e-2)


@pytest.mark.parametrize("as_rows", [np.asarray, sparse.csr_array])
def test_large_problems_end_within_tol_by_what_is_cheap(as_rows, monkeypatch):
    """No exact Hessian on a set where conjugate gradients are done sooner."""
    X, y = wide(n=300, p=3000, K=3)
    monkeypatch.setattr(_minimize, "_PASSES_OF_LAST_DIGITS", 0.0)
    monkeypatch.setattr(_steps, "_FEW_PASSES", 0.0)
    model = SoftmaxMLEClassifier(C=0.03, l1_ratio=0.5).fit(as_rows(X), y)
    monkeypatch.undo()
    exact = SoftmaxMLEClassifier(C=0.03, l1_ratio=0.5, tol=1e-9).fit(as_rows(X), y)

    def objective(m):
        return m.nll_ + (0.25 * np.square(m.coef_).sum() + 0.5 * np.abs(m.coef_).sum()) / 0.03

    assert model.converged_
    assert objective(model) - objective(exact) <= 1e-3
