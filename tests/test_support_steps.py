"""Steps on the coordinates that are not zero: the subgradient of all of them as an oracle, and the other ways."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits

from sklearn_mle import SoftmaxMLEClassifier, _steps
from sklearn_mle._gauge import Gauge
from sklearn_mle._kept import KeptProblem
from sklearn_mle._layout import Layout
from sklearn_mle._network import Network
from sklearn_mle._objective import NegativeLogLikelihood
from sklearn_mle._precondition import box_coordinates
from sklearn_mle._problem import RoundProblem
from sklearn_mle._region import Region
from sklearn_mle._samples import Samples
from sklearn_mle._selection import Selection
from sklearn_mle._support_steps import SupportSteps


def correlated(n=300, p=120, K=4, factors=10, seed=0, noise=1.0):
    """Rows whose columns share a few factors, and whose classes depend on some of the columns."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, factors)) @ rng.normal(size=(factors, p)) + noise * rng.normal(size=(n, p))
    B = np.zeros((p, K))
    B[:8] = rng.normal(size=(8, K))
    y = (X @ B + rng.gumbel(size=(n, K))).argmax(axis=1)
    y[:K] = np.arange(K)
    return X, y


def slopes(model, X, y):
    """How far zero is from the subdifferential by each coefficient."""
    residual = model.predict_proba(X) - (y[:, None] == model.classes_)
    residual = residual[:, 1:] if len(model.coef_) == 1 else residual
    weight = model.l1_ratio / model.C
    gradient = residual.T @ X + (1 - model.l1_ratio) / model.C * model.coef_
    at_zero = np.maximum(np.abs(gradient) - weight, 0)
    return np.where(model.coef_ == 0, at_zero, gradient + weight * np.sign(model.coef_))


def objective(model):
    return model.optimize_result_.fun


@pytest.fixture
def sizes(monkeypatch):
    """How many coordinates each Hessian was on."""
    found = []
    original = Selection.of.__func__

    def of(cls, coordinates, mask):
        found.append(int(np.count_nonzero(mask)))
        return original(cls, coordinates, mask)

    monkeypatch.setattr(Selection, "of", classmethod(of))
    return found


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("K", [2, 3, 5])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_hessian_on_some_coordinates_is_part_of_the_whole(kept, K, fit_intercept, weighted):
    X, y = correlated(p=30, K=K)
    rng = np.random.default_rng(3)
    w = rng.exponential(size=len(y)) * (rng.random(len(y)) < 0.9) if weighted else None
    samples = Samples(X, y, w, n_classes=K)
    layout = Layout((30, 1 if K == 2 else K), fit_intercept=fit_intercept)
    unbounded = np.full((30,), -np.inf), np.full((30,), np.inf)
    coordinates, _, _ = box_coordinates(layout, samples, 2.0, unbounded)
    objective = NegativeLogLikelihood(Network(layout), samples, 2.0)
    problem = (KeptProblem if kept else RoundProblem)(objective, coordinates)
    psi = 0.3 * rng.normal(size=problem.size)
    whole = problem.hessian(psi)
    for share in (0.0, 0.1, 0.5, 1.0):
        mask = rng.random(problem.size) < share
        selection = Selection.of(coordinates, mask)
        assert sorted(selection.flat) == list(np.flatnonzero(mask))
        expected = whole[np.ix_(selection.flat, selection.flat)]
        np.testing.assert_allclose(problem.hessian_on(psi, selection), expected, rtol=1e-10, atol=1e-10)


def test_curvature_of_rows_that_are_all_but_certain_keeps_its_digits():
    # Of p (1 - p) with p one but for 1e-12, the difference of p and its square would keep four digits.
    proba = np.array([[1 - 3e-12], [1e-12], [2e-12]])
    selection = Selection(np.arange(3), np.arange(1), np.zeros(3, dtype=int), np.arange(4))
    found = selection.curvature(np.ones((1, 1)), proba, None)
    assert found[0, 0] == pytest.approx(3e-12, rel=1e-9, abs=0)


@pytest.mark.parametrize("K", [2, 3, 5])
@pytest.mark.parametrize(("C", "l1_ratio"), [(0.03, 1.0), (1.0, 1.0), (100.0, 1.0), (0.3, 0.5), (30.0, 0.1)])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_the_subgradient_of_all_coefficients_certifies(K, C, l1_ratio, fit_intercept, sizes):
    X, y = correlated(K=K)
    model = SoftmaxMLEClassifier(C=C, l1_ratio=l1_ratio, fit_intercept=fit_intercept).fit(X, y)
    assert model.converged_
    assert np.abs(slopes(model, X, y)).max() <= 2e-5
    if C == 0.03 and K > 2:
        # What is not zero, and some that want to be: not all classes of all columns.
        assert sizes
        assert max(sizes) < 0.5 * model.optimize_result_.x.size


@pytest.mark.parametrize("C", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
def test_ends_where_other_steps_do(C, l1_ratio, sizes, monkeypatch):
    X, y = correlated(n=200, p=90, K=3)
    found = SoftmaxMLEClassifier(C=C, l1_ratio=l1_ratio).fit(X, y)
    assert sizes
    monkeypatch.setattr(_steps, "_keeps_few", lambda problem, region: False)
    expected = SoftmaxMLEClassifier(C=C, l1_ratio=l1_ratio).fit(X, y)
    assert objective(found) == pytest.approx(objective(expected), abs=1e-9)
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-5 * np.abs(expected.coef_).max())


def test_more_columns_than_rows_end_where_sparse_ones_do():
    X, y = correlated(n=60, p=2000, K=4)
    dense = SoftmaxMLEClassifier(C=1.0, l1_ratio=1.0).fit(X, y)
    by_columns = SoftmaxMLEClassifier(C=1.0, l1_ratio=1.0).fit(sparse.csr_array(X), y)
    assert dense.converged_
    assert objective(dense) == pytest.approx(objective(by_columns), abs=1e-3)
    assert dense.optimize_result_.n_passes < 200


def test_constant_columns_leave_the_gauge_free():
    """They are fixed, which is no box: what is added to all classes is chosen in closed form."""
    X, y = load_digits(return_X_y=True)
    varies = X.std(axis=0) > 0
    assert not varies.all()
    model = SoftmaxMLEClassifier(C=0.1, l1_ratio=1.0).fit(X, y)
    without = SoftmaxMLEClassifier(C=0.1, l1_ratio=1.0).fit(X[:, varies], y)
    assert not model.coef_[:, ~varies].any()
    assert objective(model) == pytest.approx(objective(without), abs=1e-8)
    assert model.n_iter_ <= without.n_iter_ + 5
    fixed, unbounded = np.array([0.0, 0.0]), np.array([-np.inf, np.inf])
    assert not Region(np.ones(2), np.array([0.0, -np.inf]), np.array([0.0, np.inf])).is_boxed
    assert Region(np.ones(2), unbounded[:1].repeat(2), np.array([1.0, np.inf])).is_boxed
    assert not Region(np.ones(2), fixed, fixed).is_boxed


@pytest.mark.parametrize("seed", range(4))
def test_all_but_separated_rows_with_a_weak_penalty(seed):
    """The quadratic promises far more than there is; a share of the diagonal keeps the steps short."""
    X, y = correlated(n=150, p=60, K=4, seed=seed, noise=0.1)
    model = SoftmaxMLEClassifier(C=1e3, l1_ratio=1.0).fit(X, y)
    exact = SoftmaxMLEClassifier(C=1e3, l1_ratio=1.0, tol=1e-9).fit(X, y)
    assert model.converged_
    assert objective(model) == pytest.approx(objective(exact), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_large_problems_do_not_end_while_coordinates_are_left_out(seed):
    """Each of those promises little near the end, and all of them together more than `tol`."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(150, 1300)) * 10.0 ** rng.uniform(-4, 4, 1300)
    y = rng.integers(5, size=150)
    y[:5] = np.arange(5)
    model = SoftmaxMLEClassifier(C=0.8, l1_ratio=0.1).fit(X, y)
    exact = SoftmaxMLEClassifier(C=0.8, l1_ratio=0.1, tol=1e-9).fit(X, y)
    assert model.converged_
    assert objective(model) - objective(exact) <= 1e-3


def problem_and_steps(l1):
    X, y = correlated(K=3)
    samples = Samples(X, y, None, n_classes=3)
    layout = Layout((120, 3), fit_intercept=False)
    coordinates, _, _ = box_coordinates(layout, samples, 1.0, (np.full(120, -np.inf), np.full(120, np.inf)))
    problem = RoundProblem(NegativeLogLikelihood(Network(layout), samples), coordinates)
    free = np.full(problem.size, np.inf)
    region = Region(np.full(problem.size, l1), -free, free)
    return problem, SupportSteps(problem, region, Gauge(problem, region), 1e-3)


@pytest.mark.parametrize("how", ["far", "near"])
def test_a_step_that_leads_up_is_followed_by_shorter_ones_and_then_by_the_end(how):
    problem, steps = problem_and_steps(1.0)
    x = np.zeros(problem.size)
    if how == "near":
        for _ in range(40):
            x = steps(x, problem.value_and_grad(x)[1]).path(1.0)[0]
    g = problem.value_and_grad(x)[1]
    lengths = []
    for _ in range(20):
        proposal = steps(x, g)
        lengths.append(np.linalg.norm(proposal.step))
        if proposal.surely:
            break
    assert proposal.surely
    if how == "far":
        assert len(lengths) > 3
        assert lengths[-1] < 0.1 * lengths[0]


def test_a_point_with_nothing_left_stays():
    problem, steps = problem_and_steps(1e9)
    origin = np.zeros(problem.size)
    proposal = steps(origin, problem.value_and_grad(origin)[1])
    assert proposal.gain == 0
    assert not proposal.step.any()


def test_warm_starts_cost_less():
    X, y = correlated(K=3)
    model = SoftmaxMLEClassifier(C=1.0, l1_ratio=1.0, warm_start=True).fit(X, y)
    cold = model.optimize_result_.n_passes
    coef = model.coef_
    model.set_params(C=1.1).fit(X, y)
    assert model.optimize_result_.n_passes < 0.7 * cold
    model.set_params(C=1.0).fit(X, y)
    np.testing.assert_allclose(model.coef_, coef, atol=1e-6)


@pytest.mark.usefixtures("in_single")
def test_single_precision():
    X, y = correlated(K=3)
    single = SoftmaxMLEClassifier(C=0.3, l1_ratio=1.0).fit(X.astype(np.float32), y)
    double = SoftmaxMLEClassifier(C=0.3, l1_ratio=1.0).fit(X, y)
    assert single.converged_
    assert objective(single) == pytest.approx(objective(double), rel=1e-5)
