"""Every method of `scipy.optimize.minimize`, by name or as a callable, from one table."""

import inspect
import re
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import Bounds, OptimizeResult, minimize
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning

from sklearn_mle import SeparationWarning, SoftmaxMLEClassifier
from sklearn_mle._kept import KeptProblem
from sklearn_mle._methods import METHODS, find_solver

NAMES = [method.name for method in METHODS.values()]
DERIVATIVE_FREE = ["Nelder-Mead", "Powell", "COBYLA", "COBYQA"]
WITH_GRADIENT = [name for name in NAMES if name not in DERIVATIVE_FREE]
WITH_BOUNDS = ["Nelder-Mead", "Powell", "L-BFGS-B", "TNC", "COBYLA", "COBYQA", "SLSQP", "trust-constr"]


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def best(iris):
    return SoftmaxMLEClassifier(C=1.0).fit(*iris)


@pytest.fixture(scope="module")
def small():
    """Two classes and two columns, three parameters: few enough for methods without derivatives."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2))
    return X, (X[:, 0] + rng.logistic(size=80) > 0).astype(int)


# The table


def test_the_table_has_every_method_of_this_scipy():
    documented = re.findall(r"^ *- '([^']+)'", inspect.getdoc(minimize), re.MULTILINE)
    assert set(documented) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_found_in_any_case(name):
    for spelling in (name, name.lower(), name.upper()):
        assert find_solver(spelling, bounded=False).name == name


def test_aliases_and_auto():
    assert find_solver("lbfgs", bounded=True).name == "L-BFGS-B"
    assert find_solver("LBFGS", bounded=True).name == "L-BFGS-B"
    assert find_solver("newton-cg", bounded=False).name == "Newton-CG"
    assert find_solver("auto", bounded=True) is None
    assert find_solver(minimize, bounded=True) is minimize


@pytest.mark.parametrize("solver", ["saga", "", "newton", None, 3, ["lbfgs"]])
def test_unknown_solvers_are_told_what_there_is(solver):
    with pytest.raises(ValueError, match=r"'auto'.*'L-BFGS-B'.*'trust-krylov'"):
        find_solver(solver, bounded=False)


@pytest.mark.parametrize("name", NAMES)
def test_bounds_are_taken_or_refused(name):
    if name in WITH_BOUNDS:
        assert find_solver(name, bounded=True).bounds
        return
    with pytest.raises(ValueError, match=r"cannot take bounds.*'L-BFGS-B'"):
        find_solver(name, bounded=True)


# What they find


@pytest.mark.parametrize("name", [*WITH_GRADIENT, "auto", "lbfgs", "newton-cg"])
def test_methods_with_gradients_reach_the_optimum(iris, best, name):
    X, y = iris
    clf = SoftmaxMLEClassifier(C=1.0, solver=name).fit(X, y)
    assert clf.converged_
    gradient = (clf.predict_proba(X) - np.eye(3)[y]).T @ X + clf.coef_
    assert_allclose(gradient, 0, atol=1e-4)
    assert_allclose(clf.coef_, best.coef_, atol=1e-5)
    assert_allclose(clf.intercept_, best.intercept_, atol=1e-5)
    assert clf.n_iter_ >= 1
    assert len(clf.loss_curve_) == clf.n_iter_
    assert isinstance(clf.optimize_result_, OptimizeResult)
    assert clf.optimize_result_.n_passes > 1


@pytest.mark.parametrize("name", [*WITH_GRADIENT, "auto"])
def test_methods_with_gradients_find_the_maximum_of_the_likelihood(small, name):
    expected = SoftmaxMLEClassifier().fit(*small)
    clf = SoftmaxMLEClassifier(solver=name).fit(*small)
    assert_allclose(clf.coef_, expected.coef_, atol=1e-6)
    assert_allclose(clf.nll_, expected.nll_, atol=1e-9)


@pytest.mark.parametrize("name", DERIVATIVE_FREE)
@pytest.mark.parametrize("C", [np.inf, 0.5])
def test_methods_without_derivatives_come_within_tol(small, name, C):
    X, y = small
    # Columns in their own units: the methods see round coordinates.
    X = X * [1e-3, 1e3]
    expected = SoftmaxMLEClassifier(C=C).fit(X, y)
    clf = SoftmaxMLEClassifier(C=C, solver=name).fit(X, y)
    assert clf.converged_
    assert_allclose(clf.nll_, expected.nll_, atol=1e-3)
    assert_allclose(clf.predict_proba(X), expected.predict_proba(X), atol=0.02)


@pytest.mark.parametrize("solver", [*NAMES, lambda fun, x0, args=(), **kw: minimize(fun, x0, args, jac=kw["jac"])])
def test_a_separated_problem_warns_once_with_any_method(solver):
    """Methods without derivatives, and callables, return what they found: no more is promised of its likelihood."""
    X = np.arange(10.0)[:, None]
    y = (X[:, 0] > 4.5).astype(int)
    with pytest.warns(SeparationWarning, match="separated: 0, 1") as caught:
        clf = SoftmaxMLEClassifier(solver=solver, max_iter=5000).fit(X, y)
    assert len(caught) == 1
    assert clf.converged_
    assert np.isfinite(clf.coef_).all()
    assert clf.score(X, y) == 1
    if solver in WITH_GRADIENT:
        assert clf.nll_ <= 1e-3


@pytest.mark.parametrize("name", ["auto", *NAMES])
def test_nothing_to_choose(small, name):
    """Without intercepts, columns of zeros alone leave the uniform distribution."""
    X, y = small
    clf = SoftmaxMLEClassifier(solver=name, fit_intercept=False).fit(0 * X, y)
    assert clf.converged_
    assert_array_equal(clf.coef_, 0)
    assert_allclose(clf.loss_, np.log(2))
    assert clf.n_iter_ == 1
    assert_allclose(clf.loss_curve_, [np.log(2)])


# Bounds


@pytest.mark.parametrize("name", ["auto", *WITH_BOUNDS])
def test_bounds_are_honoured(small, name):
    X, y = small
    clf = SoftmaxMLEClassifier(solver=name, bounds=([0.0, 0.3], [0.4, np.inf])).fit(X, y)
    assert clf.converged_
    ((first, second),) = clf.coef_
    assert 0 <= first <= 0.4
    assert second >= 0.3
    residual = clf.predict_proba(X)[:, 1] - y
    gradient = np.append(residual @ X, residual.sum())
    # Karush, Kuhn, Tucker: both weights are pushed against their bounds, the intercept is free.
    assert gradient[0] < -1
    assert gradient[1] > 1
    exact = name not in DERIVATIVE_FREE
    assert_allclose([first, second], [0.4, 0.3], atol=0 if exact else 0.02)
    assert_allclose(gradient[2], 0, atol=1e-5 if exact else 0.3)


@pytest.mark.parametrize("name", ["auto", "L-BFGS-B", "TNC", "SLSQP", "trust-constr"])
@pytest.mark.parametrize("C", [np.inf, 1.0])
def test_kkt_of_three_classes(iris, name, C):
    X, y = iris
    X, y = X[::2] * [1e-3, 1.0, 1e3, 1.0], y[::2]
    lower = np.array([[-2e3, -0.5, 0.0, -np.inf], [0.0, -1.0, -1e-3, 0.2], [-np.inf, 0.0, -1e-4, 0.0]])
    upper = np.array([[2e3, 0.5, 1e-3, 0.0], [1e3, 1.0, 1e-3, 0.2], [np.inf, 0.7, 2e-3, np.inf]])
    clf = SoftmaxMLEClassifier(solver=name, bounds=(lower, upper), C=C, max_iter=5000)
    # The last column parts the first class from the others, whose coefficient has no lower bound there.
    warns = pytest.warns(SeparationWarning, match="separated: 0, by features x3") if np.isinf(C) else nullcontext()
    with warns:
        clf.fit(X, y)
    assert clf.converged_
    W = clf.coef_
    assert (lower <= W).all()
    assert (upper >= W).all()
    residual = clf.predict_proba(X) - np.eye(3)[y]
    gradient = (residual.T @ X + W / C) / X.std(axis=0)
    free = (lower < W) & (upper > W)
    assert_allclose(gradient[free], 0, atol=1e-4)
    assert (gradient[(lower == W) & (upper > W)] >= -1e-4).all()
    assert (gradient[(upper == W) & (lower < W)] <= 1e-4).all()
    assert_allclose(residual.sum(axis=0), 0, atol=1e-4)
    assert free.any()
    assert not free.all()


# Options and limits


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{"no_such_option": 1}, {"x0": 1}])
def test_unknown_options_raise(small, name, options):
    with pytest.raises(ValueError, match=f"solver_options.*{name}"):
        SoftmaxMLEClassifier(solver=name, solver_options=options).fit(*small)


@pytest.mark.parametrize("name", NAMES)
def test_options_arrive(small, name):
    limit = "maxfun" if name == "TNC" else "maxiter"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        clf = SoftmaxMLEClassifier(solver=name, solver_options={limit: 1}).fit(*small)
    result = clf.optimize_result_
    if name == "COBYLA":
        assert result.nfev <= 5
    else:
        assert result.nit <= 1


@pytest.mark.parametrize("max_iter", [1, 2, 3])
@pytest.mark.parametrize("name", ["auto", *NAMES])
def test_max_iter_bounds_the_iterations_of_all_stages(iris, name, max_iter):
    X, y = iris
    with pytest.warns(ConvergenceWarning, match="has not converged") as caught:
        clf = SoftmaxMLEClassifier(C=1.0, solver=name, max_iter=max_iter).fit(X, y)
    assert len(caught) == 1
    assert not clf.converged_
    assert 1 <= clf.n_iter_ <= max_iter
    assert 1 <= len(clf.loss_curve_) <= max_iter
    # The best theta so far: no worse than the model without features.
    assert clf.nll_ <= 150 * np.log(3) + 1e-9
    assert_allclose(clf.nll_, -clf.log_likelihood(X, y), rtol=1e-12)


def test_large_problems_restart_in_a_new_metric(iris, best, monkeypatch):
    """Beyond the size that is polished, named methods end within tol, by the curvature there."""
    monkeypatch.setattr("sklearn_mle._minimize.POLISHED_SIZE", 1)
    for name in ("auto", "L-BFGS-B", "CG", "trust-krylov"):
        for tol in (1e-3, 1e-6):
            clf = SoftmaxMLEClassifier(C=1.0, solver=name, tol=tol).fit(*iris)
            assert clf.converged_
            objective = clf.nll_ + 0.5 * (clf.coef_**2).sum()
            assert objective <= best.nll_ + 0.5 * (best.coef_**2).sum() + tol


# Callables


class Recorder:
    """A custom method that hands the work to one of SciPy's, and keeps what it was called with."""

    def __init__(self, method="BFGS", **options):
        self.method, self.options, self.calls = method, options, []

    def __call__(self, fun, x0, args=(), **keywords):
        self.calls.append((fun, x0, args, keywords))
        jac = keywords["jac"]
        self.result = minimize(
            fun, x0, args, jac=jac, method=self.method, bounds=keywords["bounds"], options=self.options
        )
        return self.result


@pytest.mark.parametrize("C", [np.inf, 1.0])
def test_a_callable_is_called_once_with_scipys_signature(small, C):
    solver = Recorder(gtol=1e-8)
    clf = SoftmaxMLEClassifier(C=C, solver=solver, max_iter=77, solver_options={"depth": 3}).fit(*small)
    ((fun, x0, args, keywords),) = solver.calls
    assert callable(fun)
    assert isinstance(x0, np.ndarray)
    assert x0.dtype == np.float64
    assert x0.shape == (3,)
    assert args == ()
    assert {"jac", "hess", "hessp", "bounds", "constraints", "callback"} <= set(keywords)
    assert keywords["depth"] == 3
    assert keywords["maxiter"] == 77
    assert keywords["bounds"] is None
    # jac is callable and belongs to fun.
    step = 1e-6
    rng = np.random.default_rng(0)
    point, direction = x0 + rng.normal(size=3), rng.normal(size=3)
    slope = (fun(point + step * direction) - fun(point - step * direction)) / (2 * step)
    assert_allclose(keywords["jac"](point) @ direction, slope, rtol=1e-6)
    curve = (keywords["jac"](point + step * direction) - keywords["jac"](point - step * direction)) / (2 * step)
    assert_allclose(keywords["hessp"](point, direction), curve, rtol=1e-5, atol=1e-6)
    assert clf.optimize_result_ is solver.result
    assert clf.converged_
    assert_allclose(clf.coef_, SoftmaxMLEClassifier(C=C).fit(*small).coef_, atol=1e-6)


def test_what_a_callable_returns_is_not_polished(small):
    solver = Recorder(maxiter=1)
    with pytest.warns(ConvergenceWarning):
        clf = SoftmaxMLEClassifier(solver=solver).fit(*small)
    assert len(solver.calls) == 1
    assert not clf.converged_
    assert clf.nll_ > SoftmaxMLEClassifier().fit(*small).nll_ + 1e-3


def test_a_callable_that_gives_up_at_the_start_returns_the_start(small):
    X, y = small

    def lazy(fun, x0, args=(), **keywords):
        return OptimizeResult(x=x0, fun=fun(x0), success=True, nit=0)

    clf = SoftmaxMLEClassifier(solver=lazy).fit(X, y)
    assert_array_equal(clf.coef_, 0)
    assert_allclose(clf.predict_proba(X)[:, 1], y.mean())
    assert clf.n_iter_ == 1


def test_a_callable_sees_bounds(small):
    solver = Recorder("L-BFGS-B")
    clf = SoftmaxMLEClassifier(solver=solver, bounds=(0.0, [0.4, 0.1])).fit(*small)
    ((_, x0, _, keywords),) = solver.calls
    assert isinstance(keywords["bounds"], Bounds)
    assert keywords["bounds"].lb.shape == x0.shape == (3,)
    assert (clf.coef_ >= 0).all()
    assert (clf.coef_ <= [0.4, 0.1]).all()


def test_an_error_in_a_callable_comes_through(small):
    def broken(fun, x0, args=(), **keywords):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        SoftmaxMLEClassifier(solver=broken).fit(*small)


def test_a_callable_may_call_the_callback(small):
    def steps(fun, x0, args=(), *, callback, jac, **keywords):
        return minimize(fun, x0, args, jac=jac, method="L-BFGS-B", callback=callback)

    clf = SoftmaxMLEClassifier(solver=steps).fit(*small)
    assert len(clf.loss_curve_) == clf.n_iter_ == clf.optimize_result_.nit
    assert (np.diff(clf.loss_curve_) <= 1e-12).all()


@pytest.mark.parametrize("C", [1.0, np.inf])
def test_a_kept_hessian_certifies_as_well_as_a_new_one(C, monkeypatch):
    X, y = load_wine(return_X_y=True)
    X = X[:, :2]
    taken = []
    hessian = KeptProblem.hessian
    monkeypatch.setattr(KeptProblem, "hessian", lambda self, psi: taken.append((self, psi)) or hessian(self, psi))
    clf = SoftmaxMLEClassifier(C=C).fit(X, y)
    problem, _ = taken[-1]
    # The last point had none of its own.
    assert len(taken) <= clf.n_iter_
    psi = clf.optimize_result_.x
    _, gradient = problem.value_and_grad(psi)
    assert 0.5 * gradient @ np.linalg.solve(hessian(problem, psi), gradient) <= 1e-12


@pytest.mark.filterwarnings("ignore:The fit has not converged")
@pytest.mark.parametrize("name", DERIVATIVE_FREE)
@pytest.mark.parametrize("bounded", [False, True])
def test_methods_without_derivatives_do_not_claim_what_they_have_not_reached(name, bounded):
    """SciPy's own word, when a simplex or a line search gets stuck, is success."""
    outcomes = set()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(60, 3))
        y = (X @ rng.normal(size=(3, 3)) + rng.gumbel(size=(60, 3))).argmax(axis=1)
        how = {"C": 1.0, "bounds": (-0.3, 0.5) if bounded else None}
        auto = SoftmaxMLEClassifier(**how).fit(X, y)
        for max_iter in (3, 300):
            model = SoftmaxMLEClassifier(solver=name, max_iter=max_iter, **how).fit(X, y)
            short = model.nll_ + np.square(model.coef_).sum() / 2 - auto.optimize_result_.fun
            outcomes.add(model.converged_)
            assert short >= -1e-8
            assert short <= 1.01 * model.tol or not model.converged_
    assert False in outcomes


@pytest.mark.parametrize("name", ["L-BFGS-B", "BFGS", "SLSQP", "trust-exact"])
@pytest.mark.parametrize("seed", [0, 2, 5])
def test_columns_of_huge_entries_take_new_coordinates_after_any_method(seed, name):
    """Entries over thirty decades: those of few rows make the scale of a column, and then no difference."""
    rng = np.random.default_rng(seed)
    X = np.exp(rng.normal(scale=12.0, size=(300, 3)))
    z = np.log(X) @ rng.normal(size=(3, 3))
    y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    best = SoftmaxMLEClassifier(C=1.0).fit(X, y)
    named = SoftmaxMLEClassifier(C=1.0, solver=name).fit(X, y)
    assert named.converged_
    assert named.nll_ == pytest.approx(best.nll_, abs=1e-6)
    # What SciPy has returned of the method itself.
    assert named.optimize_result_.fun > named.loss_curve_[-1] * 300
