"""What a fit leaves for the next: other Hessians as oracle, and estimates that do not depend on it."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from sklearn_mle import SoftmaxMLEClassifier
from sklearn_mle._curvature import DiagonalCurvature
from sklearn_mle._kept import round_problem
from sklearn_mle._layout import Layout
from sklearn_mle._memory import remembered
from sklearn_mle._network import Network
from sklearn_mle._objective import NegativeLogLikelihood
from sklearn_mle._precondition import box_coordinates, box_point, null_coordinates
from sklearn_mle._samples import Samples

N, P = 120, 4
PRIORS = [(0.1, 1.0), (1.0, 0.1), (1.0, 1.0), (1.0, np.inf), (np.inf, 1.0)]


def problem_of(X, y, K, C, theta, w=None, fit_intercept=True, box=False):
    """The problem with theta at psi = 0, or where it is in a box."""
    layout = Layout((X.shape[1], 1 if K == 2 else K), fit_intercept, by_feature=sparse.issparse(X))
    samples = Samples(X, y, w, n_classes=K)
    if box:
        free = np.full((layout.widths[-1], X.shape[1]), np.inf)
        coordinates, _, _ = box_coordinates(layout, samples, C, (-free, free))
        psi = box_point(coordinates, theta)
    else:
        coordinates, _ = null_coordinates(layout, samples, C)
        coordinates, psi = coordinates.moved_to(theta), np.zeros(coordinates.size)
    return round_problem(NegativeLogLikelihood(Network(layout), samples, C), coordinates), psi


def data(K, weighted=False, offset=0.0, kind=np.asarray):
    rng = np.random.default_rng(K)
    units = np.array([1e-3, 1.0, 1e4, 5.0])
    X = units * (rng.normal(size=(N, P)) + np.array([0.0, 3.0, 1.0, -2.0]) + offset)
    n_outputs = 1 if K == 2 else K
    W, b = rng.normal(size=(n_outputs, P)) / units, rng.normal(size=n_outputs)
    b -= W @ X.mean(axis=0)
    X = kind(X)
    theta = Layout((P, n_outputs), by_feature=sparse.issparse(X)).pack([(W, b)])
    return X, rng.integers(0, K, N).astype(np.int32), rng.uniform(size=N) if weighted else None, theta


@pytest.mark.parametrize("K", [2, 3, 6])
@pytest.mark.parametrize(("C", "then"), PRIORS)
@pytest.mark.parametrize(
    "case", [{}, {"weighted": True}, {"offset": 1e3}, {"box": True}, {"box": True, "kind": sparse.csr_array}], ids=str
)
def test_the_hessian_of_one_prior_is_that_of_another(K, C, then, case):
    case = dict(case)
    box = case.pop("box", False)
    X, y, w, theta = data(K, **case)
    (before, psi), (after, there) = (problem_of(X, y, K, c, theta, w, box=box) for c in (C, then))
    memory = remembered(before, before.hessian(psi), 1.0)
    assert memory.is_hessian
    assert memory.is_of(after, 1.0)
    expected = after.hessian(there)
    assert_allclose(memory.hessian(after), expected, atol=1e-9 * np.abs(expected).max())
    assert memory.model(after).elsewhere


@pytest.mark.parametrize("K", [2, 3, 6])
@pytest.mark.parametrize(("C", "then"), PRIORS)
def test_so_is_kroneckers_model(K, C, then):
    X, y, w, theta = data(K, weighted=True)
    (before, psi), (after, there) = (problem_of(X, y, K, c, theta, w) for c in (C, then))
    memory = remembered(before, before.cheap_curvature(psi), 1.0)
    assert not memory.is_hessian
    g, expected = np.random.default_rng(0).normal(size=after.size), after.cheap_curvature(there)
    assert_allclose(memory.model(after).solve(g), expected.solve(g), rtol=1e-5, atol=1e-5 * np.linalg.norm(g))


def test_models_that_cost_next_to_nothing_are_not_kept():
    X, y, _, theta = data(3)
    problem, _ = problem_of(X, y, 3, 1.0, theta)
    assert remembered(problem, None, 1.0) is None
    assert remembered(problem, DiagonalCurvature(np.ones(problem.size)), 1.0) is None


def test_other_data_have_another_memory():
    X, y, _, theta = data(3)
    problem, psi = problem_of(X, y, 3, 1.0, theta)
    memory = remembered(problem, problem.hessian(psi), 100.0)
    assert memory.is_of(problem, 100.0 + 1e-11)
    assert not memory.is_of(problem, 100.0 + 1e-8)
    moved = X + [0.0, 1e-6, 0.0, 0.0]
    assert not memory.is_of(problem_of(moved, y, 3, 1.0, theta)[0], 100.0)
    assert not memory.is_of(problem_of(X, y, 3, 1.0, theta[: 3 * P], fit_intercept=False)[0], 100.0)
    # A direction that does not vary is in no transform of full rank, nor are its coefficients in the memory.
    collinear = np.column_stack([X[:, :3], X[:, 2]])
    free, at = problem_of(collinear, y, 3, np.inf, theta)
    memory = remembered(free, free.hessian(at), 100.0)
    assert memory.is_of(free, 100.0)
    assert not memory.is_of(problem_of(collinear, y, 3, 1.0, theta)[0], 100.0)


PATHS = {
    "digits": (load_digits, 0.0, 0.5),
    "digits, l1": (load_digits, 1.0, 0.45),
    "wine": (load_wine, 0.0, 0.7),
    "breast cancer, l1": (load_breast_cancer, 1.0, 0.6),
}


@pytest.mark.parametrize("name", PATHS)
def test_a_path_costs_a_fraction_of_its_fits(name):
    load, l1_ratio, share = PATHS[name]
    X, y = load(return_X_y=True)
    warm, spent, independent = SoftmaxMLEClassifier(l1_ratio=l1_ratio, warm_start=True), 0.0, 0.0
    for C in np.geomspace(1e-3, 1.0, 13):
        warm.set_params(C=C).fit(X, y)
        cold = SoftmaxMLEClassifier(C=C, l1_ratio=l1_ratio).fit(X, y)
        spent += warm.optimize_result_.n_passes
        independent += cold.optimize_result_.n_passes
        assert_allclose(warm.coef_, cold.coef_, atol=1e-6 * np.abs(cold.coef_).max())
    assert spent < share * independent


class Misled(SoftmaxMLEClassifier):
    """Remembers something else."""

    def mislead(self, how):
        matrix = self._memory.matrix
        if how == "unit":
            matrix = np.eye(len(matrix))
        elif how == "noise":
            A = np.random.default_rng(0).normal(size=matrix.shape)
            matrix = A @ A.T
        else:
            matrix = how * matrix
        self._memory = replace(self._memory, matrix=matrix)
        return self


@pytest.mark.parametrize(
    ("load", "l1_ratio"), [(load_breast_cancer, 0.0), (load_breast_cancer, 0.7), (load_digits, 0.0)]
)
@pytest.mark.parametrize("how", [1e-3, 0.1, 10.0, 1e6, "unit", "noise"])
@pytest.mark.parametrize("then", [0.1, 1.0])
def test_a_false_memory_costs_passes_and_no_digits(load, how, l1_ratio, then):
    X, y = load(return_X_y=True)
    X = X / X.max(axis=0).clip(1)
    cold = SoftmaxMLEClassifier(C=then, l1_ratio=l1_ratio).fit(X, y)
    warm = Misled(C=0.1, l1_ratio=l1_ratio, warm_start=True).fit(X, y).mislead(how).set_params(C=then).fit(X, y)
    assert warm.converged_
    assert_allclose(warm.coef_, cold.coef_, atol=1e-6 * np.abs(cold.coef_).max())


def test_a_column_without_a_coefficient_may_change_unnoticed():
    """The likelihood at the start does not see it; the estimate does."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(400, 6))
    y = (X[:, :2] @ [2.0, -1.0] + rng.logistic(size=400) > 0).astype(int)
    warm = SoftmaxMLEClassifier(C=0.03, l1_ratio=1.0, warm_start=True).fit(X, y)
    assert (warm.coef_[0, 2:] == 0).all()
    changed = X.copy()
    changed[:, 4] = rng.permutation(X[:, 4])
    changed[:, 5] = X[:, 0] + 0.1 * rng.permutation(X[:, 5])
    warm.fit(changed, y)
    cold = SoftmaxMLEClassifier(C=0.03, l1_ratio=1.0).fit(changed, y)
    assert_allclose(warm.coef_, cold.coef_, atol=1e-7)


def test_a_memory_stays_with_the_fit_that_made_it():
    X, y = load_wine(return_X_y=True)
    clf = SoftmaxMLEClassifier(C=1.0, warm_start=True).fit(X, y)
    assert "_memory" in vars(clf)
    assert "_memory" not in vars(pickle.loads(pickle.dumps(clf)))
    assert "_memory" not in vars(clone(clf))
    assert_array_equal(pickle.loads(pickle.dumps(clf)).predict(X), clf.predict(X))
    assert "_memory" not in vars(SoftmaxMLEClassifier(C=1.0).fit(X, y))
    assert "_memory" not in vars(clf.set_params(warm_start=False).fit(X, y))
    deep = SoftmaxMLEClassifier(C=1.0, warm_start=True).fit(X, y)
    deep.set_params(hidden_layer_sizes=(2,), warm_start=False, max_iter=2, tol=1e9).fit(X, y)
    assert "_memory" not in vars(deep)


def test_verbose_says_so(capsys):
    X, y = load_wine(return_X_y=True)
    clf = SoftmaxMLEClassifier(C=1.0, warm_start=True, verbose=1).fit(X, y)
    assert "the last fit has left" not in capsys.readouterr().out
    clf.set_params(C=2.0).fit(X, y)
    assert "the last fit has left" in capsys.readouterr().out
    clf.set_params(solver="lbfgs").fit(X, y)
    assert "solver: L-BFGS-B\n" in capsys.readouterr().out
    clf.set_params(solver="auto").fit(X, y[::-1])
    assert "the last fit has left" not in capsys.readouterr().out


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_the_hessian_from_elsewhere_does_not_certify(l1_ratio):
    """One that is far too large says that nothing is left to gain."""
    X, y = load_wine(return_X_y=True)
    warm = Misled(C=1.0, l1_ratio=l1_ratio, warm_start=True).fit(X, y).mislead(1e14).set_params(C=1.01).fit(X, y)
    cold = SoftmaxMLEClassifier(C=1.01, l1_ratio=l1_ratio).fit(X, y)
    assert_allclose(warm.coef_, cold.coef_, rtol=1e-5, atol=1e-8)


def test_a_prior_that_leaves_no_digits_of_the_data_leaves_no_memory():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 20))
    y = (X[:, :5] + rng.gumbel(size=(2000, 5))).argmax(axis=1)
    for l1_ratio in (0.0, 0.5):
        warm = SoftmaxMLEClassifier(C=1e-30, l1_ratio=l1_ratio, fit_intercept=False, warm_start=True).fit(X, y)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warm.set_params(C=1e300).fit(X, y)
        cold = SoftmaxMLEClassifier(C=1e300, l1_ratio=l1_ratio, fit_intercept=False).fit(X, y)
        assert_allclose(warm.predict_log_proba(X), cold.predict_log_proba(X), atol=1e-6)


@pytest.mark.usefixtures("in_single")
def test_a_memory_of_single_precision_serves():
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    warm = SoftmaxMLEClassifier(C=0.1, warm_start=True).fit(X, y)
    before = warm.optimize_result_.n_passes
    warm.set_params(C=0.15).fit(X, y)
    cold = SoftmaxMLEClassifier(C=0.15).fit(X, y)
    assert warm.coef_.dtype == np.float32
    assert warm.optimize_result_.n_passes < before
    assert warm.optimize_result_.fun <= cold.optimize_result_.fun + 1e-3
