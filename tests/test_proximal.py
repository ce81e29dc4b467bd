"""Proximal Newton steps: where they start, which Hessian they have, and that neither changes where they end."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize

from sklearn_mle import SoftmaxMLEClassifier, _auto, _parts
from sklearn_mle._exact_steps import ExactSteps, _filled
from sklearn_mle._gauge import Gauge
from sklearn_mle._layout import Layout
from sklearn_mle._network import Network
from sklearn_mle._objective import NegativeLogLikelihood
from sklearn_mle._orthants import OrthantSteps
from sklearn_mle._precondition import box_coordinates
from sklearn_mle._problem import RoundProblem
from sklearn_mle._proximal import Proposal, minimize_proximal_newton
from sklearn_mle._region import Region
from sklearn_mle._samples import Samples
from sklearn_mle._steps import model_steps


def drawn(n, p, K, seed=0, power=1, rare=0):
    """Rows of a softmax model; columns to some power, the first ones dummies of a few rows."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    X = np.sign(X) * np.abs(X) ** power
    X[:, :rare] = rng.random((n, rare)) < 3e-4
    z = X @ rng.normal(size=(p, K)) / np.sqrt(p)
    return X, (z + rng.gumbel(size=z.shape)).argmax(axis=1)


@pytest.fixture
def without_samples(monkeypatch):
    """Fits that look at all rows from the start."""

    def fit(X, y, **parameters):
        with monkeypatch.context() as patch:
            for name in ("_rows_of_start", "_rows_of_sample", "_terms_of_sample"):
                patch.setattr(_auto, name, lambda problem: 0)
            return SoftmaxMLEClassifier(**parameters).fit(X, y)

    return fit


CASES = [
    ((20_000, 30, 2), {"C": 0.01, "l1_ratio": 1.0}),
    ((20_000, 30, 2), {"bounds": (-0.2, 0.3)}),
    ((30_000, 25, 4), {"C": 0.01, "l1_ratio": 1.0}),
    ((30_000, 25, 4), {"C": 1.0, "l1_ratio": 0.5}),
    ((30_000, 25, 4), {"C": 0.1, "l1_ratio": 0.5, "bounds": (0.0, np.inf)}),
]


@pytest.mark.parametrize(("shape", "how"), CASES, ids=str)
@pytest.mark.parametrize("rare", [0, 3])
def test_samples_change_passes_and_nothing_else(shape, how, rare, without_samples):
    X, y = drawn(*shape, rare=rare)
    sampled, whole = SoftmaxMLEClassifier(**how).fit(X, y), without_samples(X, y, **how)
    assert sampled.converged_
    assert sampled.optimize_result_.fun == pytest.approx(whole.optimize_result_.fun, abs=1e-9)
    np.testing.assert_allclose(sampled.coef_, whole.coef_, atol=1e-6)
    assert ((sampled.coef_ == 0) == (whole.coef_ == 0)).all()
    if not rare:
        assert sampled.optimize_result_.n_passes < 0.7 * whole.optimize_result_.n_passes


@pytest.mark.parametrize("K", [2, 4])
def test_rows_of_great_leverage_lead_no_start_astray(K, without_samples):
    X, y = drawn(25_000, 12, K, seed=3, power=5, rare=4)
    how = {"C": 10.0, "l1_ratio": 1.0}
    sampled, whole = SoftmaxMLEClassifier(**how).fit(X, y), without_samples(X, y, **how)
    assert sampled.converged_
    assert sampled.optimize_result_.fun == pytest.approx(whole.optimize_result_.fun, abs=1e-8)


def problem_and_region(K=3, n=2000, p=5, strength=20.0):
    X, y = drawn(n, p, K, seed=1)
    layout = Layout((p, 1 if K == 2 else K))
    samples = Samples(X, y.astype(np.int32), None, n_classes=K)
    free = np.full((layout.widths[-1], p), np.inf)
    coordinates, _, _ = box_coordinates(layout, samples, np.inf, (-free, free))
    problem = RoundProblem(NegativeLogLikelihood(Network(layout), samples), coordinates)
    weights = np.zeros(coordinates.shape)
    weights[:, : coordinates.rank] = strength * coordinates.transform
    everywhere = np.full(problem.size, np.inf)
    return problem, Region(weights.ravel(), -everywhere, everywhere)


def run(problem, region, steps):
    return minimize(
        lambda x: problem.value_and_grad(x)[0],
        np.zeros(problem.size),
        jac=lambda x: problem.value_and_grad(x)[1],
        method=minimize_proximal_newton,
        options={"region": region, "model_step": steps, "target": 1e-12, "tol": 1e-3},
    )


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("curvature", [1e-12, 1e-3, 1e6])
def test_a_hessian_that_leads_nowhere_is_followed_by_an_exact_one(K, curvature):
    problem, region = problem_and_region(K)
    expected = run(problem, region, model_steps(problem, region, 1e-3))
    misled = run(problem, region, model_steps(problem, region, 1e-3, hessian=curvature * np.eye(problem.size)))
    assert misled.success
    assert misled.fun == pytest.approx(expected.fun, abs=1e-10)
    assert misled.nit <= expected.nit + 4


def test_a_step_in_an_orthant_that_led_up_is_followed_by_a_shorter_one():
    problem, region = problem_and_region()
    steps = OrthantSteps(problem, region, Gauge(problem, region))
    psi = np.zeros(problem.size)
    grad = problem.value_and_grad(psi)[1]
    proposals = [steps(psi, grad) for _ in range(9)]
    lengths = [np.linalg.norm(proposal.step) for proposal in proposals]
    assert not any(proposal.surely for proposal in proposals[:6])
    assert lengths[6] < 0.01 * lengths[0]
    # The shortest there is: where it leads up too there is no other.
    assert proposals[-1].surely


def test_a_coordinate_that_a_sample_does_not_show_has_the_curvature_of_others():
    hessian = np.diag([1.0, 2.0, 1e-13, 3.0, 0.0])
    np.testing.assert_array_equal(np.diag(_filled(hessian)), [1.0, 2.0, 1.0, 3.0, 1.0])


def test_near_the_end_the_hessian_is_kept(monkeypatch):
    problem, region = problem_and_region(n=20_000)
    taken = []
    hessian = problem.hessian
    monkeypatch.setattr(problem, "hessian", lambda psi: taken.append(1) or hessian(psi))
    result = run(problem, region, model_steps(problem, region, 1e-3))
    assert len(taken) < result.nit + 1


@pytest.mark.parametrize(
    ("shape", "how", "said"),
    [
        ((200, 4, 3), {"C": 1.0, "l1_ratio": 1.0}, "proximal Newton steps with the exact Hessian"),
        ((200, 4, 3), {"bounds": (-1, 1)}, "proximal Newton steps with the exact Hessian"),
        ((30_000, 25, 4), {"C": 1.0, "l1_ratio": 1.0}, "terms of the Hessian, then with all of it"),
        ((30_000, 3, 2), {"C": 1.0, "l1_ratio": 1.0}, "proximal Newton steps with the exact Hessian"),
        ((300, 150, 5), {"C": 1.0, "l1_ratio": 1.0}, "the Hessian on the coordinates that are not zero"),
        ((300, 150, 5), {"bounds": (-1, 1)}, "one orthant after the other, then with the exact Hessian"),
    ],
    ids=str,
)
def test_verbose_says_which_steps(shape, how, said, capsys):
    SoftmaxMLEClassifier(verbose=1, **how).fit(*drawn(*shape))
    assert said in capsys.readouterr().out


def test_verbose_says_that_sparse_columns_come_by_and_by(capsys):
    X, y = drawn(100, 300, 2)
    SoftmaxMLEClassifier(verbose=1, C=0.1, l1_ratio=1.0).fit(sparse.csr_array(X), y)
    assert "the columns that are not zero for as long as they are few" in capsys.readouterr().out


@pytest.mark.parametrize("how", [{}, {"C": 1.0, "l1_ratio": 1.0}], ids=str)
def test_many_sparse_rows_end_where_dense_ones_do(how):
    X, y = drawn(40_000, 30, 2)
    X[np.abs(X) < 1.0] = 0.0
    dense, by_entries = (SoftmaxMLEClassifier(**how).fit(rows, y) for rows in (X, sparse.csr_array(X)))
    assert by_entries.converged_
    assert by_entries.nll_ == pytest.approx(dense.nll_, abs=1e-8)


@pytest.mark.parametrize("K", [2, 3])
def test_all_coefficients_at_their_bounds(K):
    X, y = drawn(2000, 3, K)
    model = SoftmaxMLEClassifier(bounds=(1e-3, 2e-3), fit_intercept=False).fit(X, y)
    assert model.converged_
    assert (model.coef_ >= 1e-3).all()
    assert (model.coef_ <= 2e-3).all()
    gradient = (model.predict_proba(X) - np.eye(K)[y]).T @ X
    gradient = gradient[1:] if K == 2 else gradient
    inside = (model.coef_ > 1e-3) & (model.coef_ < 2e-3)
    # The slope that 4e-13 nats allow where the curvature is at most n / 4.
    slope = np.sqrt(2 * 4e-13 * len(X) / 4)
    assert np.abs(gradient[inside]).max(initial=0) <= slope
    assert (gradient[model.coef_ == 1e-3] >= -slope).all()


def test_with_more_columns_than_rows_no_long_search_for_signs(monkeypatch):
    rng = np.random.default_rng(0)
    n, p, K = 8, 120, 6
    X, y = rng.normal(size=(n, p)), np.r_[np.arange(K), rng.integers(K, size=n - K)]
    factors = []
    original = _parts.DenseCurvature
    monkeypatch.setattr(_parts, "DenseCurvature", lambda block: factors.append(1) or original(block))
    assert SoftmaxMLEClassifier(C=1e4, l1_ratio=0.5).fit(X, y).converged_
    assert len(factors) < 100


@pytest.mark.usefixtures("in_single")
@pytest.mark.parametrize("seed", [51, 52])
def test_single_precision_of_heavy_tails_ends_without_a_warning(seed):
    rng = np.random.default_rng(seed)
    n, p, K = 5000, 10, 4
    X = rng.standard_t(1.5, (n, p)).astype(np.float32)
    z = X / X.std(axis=0) @ rng.normal(size=(p, K)) * 2 + rng.gumbel(size=(n, K))
    how = {"C": 300.0, "l1_ratio": 1.0}
    single = SoftmaxMLEClassifier(**how).fit(X, z.argmax(axis=1))
    double = SoftmaxMLEClassifier(**how).fit(X.astype(float), z.argmax(axis=1))
    assert single.converged_
    assert single.optimize_result_.fun == pytest.approx(double.optimize_result_.fun, abs=0.02)


def test_a_point_with_nothing_left_is_asked_about_twice():
    problem, region = problem_and_region(strength=1e9)
    steps = ExactSteps(problem, region, Gauge(problem, region), hessian=problem.hessian(np.zeros(problem.size)))
    settled = run(problem, region, steps).x
    g = problem.value_and_grad(settled)[1] * (region.l1 > 0)  # intercepts at their minimum, to the last digit
    for _ in range(3):
        assert steps(settled, g).gain == 0


def nearly_collinear(K, seed, apart=2e-7, n=400):
    """Two columns that agree in six digits, whose difference tells the classes; and one more."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.standard_normal((3, n))
    z = np.column_stack([a, b, c]) @ rng.standard_normal((3, K))
    return np.column_stack([a, a + apart * b, c]), (z + rng.gumbel(size=z.shape)).argmax(axis=1)


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("how", [{"bounds": (-1e12, 1e12)}, {"C": 1e14, "l1_ratio": 1.0}], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_columns_that_are_nearly_collinear_take_few_steps(seed, how, K):
    X, y = nearly_collinear(K, seed)
    maximum = SoftmaxMLEClassifier().fit(X, y)
    held = SoftmaxMLEClassifier(**how).fit(X, y)
    assert held.n_iter_ <= 45
    assert abs(held.nll_ - maximum.nll_) <= 1e-6


def test_what_the_last_steps_have_gained_may_be_gained_again():
    """A model of far too much curvature: steps that leave nearly all, and say that nothing is left."""
    region = Region(np.zeros(1), np.full(1, -np.inf), np.full(1, np.inf))

    def creeping(x, g):
        step = -1e-4 * g
        return Proposal(step, 0.5 * float(-g @ step), lambda t: (x + t * step, t * float(g @ step)))

    creeping.hessian = None
    options = {"region": region, "model_step": creeping, "target": 1e-12, "tol": 0.01, "maxiter": 60}
    result = minimize(
        lambda x: 50 + float(x[0]), [10.0], jac=lambda x: np.ones(1), method=minimize_proximal_newton, options=options
    )
    assert result.decrement == pytest.approx(20 * 1e-4, rel=1e-6)


def test_a_step_that_goes_on_keeps_to_the_kinks_and_bounds_where_it_was_to_end():
    region = Region(np.array([0.0, 1.0, 1.0, 1.0, 0.0]), np.full(5, -2.0), np.full(5, 2.0))
    end = np.array([2.0, 0.0, 1.0, -1.0, 1.5])
    point = np.array([1.9, 3.0, -0.5, -1.5, 5.0])
    np.testing.assert_array_equal(region.held_as(end, point), [2.0, 0.0, 0.0, -1.5, 2.0])
