"""The interior point method for quadratics with an l1 penalty in a box: the conditions of optimality as an oracle."""

import numpy as np
import pytest
from scipy.optimize import minimize
from test_quadratic import objective, random_quadratic

from sklearn_mle import _quadratic
from sklearn_mle._interior import interior_minimum
from sklearn_mle._region import Region


@pytest.mark.parametrize("condition", [10.0, 1e6, 1e9])
@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_what_is_left_is_the_share_that_may_be(seed, box, condition):
    hessian, x, g, region = random_quadratic(seed, box=box, condition=condition)
    v = interior_minimum(hessian, region, x, g, 1e-9)
    assert (region.lower <= v).all()
    assert (v <= region.upper).all()
    start = objective(hessian, x, g, region, x)
    rough = interior_minimum(hessian, region, x, g, 1e-2)
    assert start - objective(hessian, x, g, region, rough) >= 0.9 * (start - objective(hessian, x, g, region, v))
    # SciPy's L-BFGS-B on the parts above and below zero.
    d = len(x)

    def split(u):
        s = u[:d] - u[d:] - x
        gradient = g + hessian @ s
        return g @ s + 0.5 * s @ hessian @ s + region.l1 @ (u[:d] + u[d:]), np.r_[
            gradient + region.l1, region.l1 - gradient
        ]

    bounds = [(max(low, 0), max(high, 0)) for low, high in zip(region.lower, region.upper, strict=True)]
    bounds += [(max(-high, 0), max(-low, 0)) for low, high in zip(region.lower, region.upper, strict=True)]
    options = {"maxiter": 3000, "maxfun": 10**5, "ftol": 0, "gtol": 1e-9, "maxcor": 30}
    start_split = np.r_[np.maximum(x, 0), np.maximum(-x, 0)]
    other = minimize(split, start_split, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    assert objective(hessian, x, g, region, v) <= other.fun + 1e-6 * max(1.0, abs(other.fun))


def test_zeros_and_bounds_are_exact():
    hessian, x, g, region = random_quadratic(4, box=True, condition=100.0)
    v = interior_minimum(hessian, region, x, g, 1e-10)
    slope = region.slope(v, g + hessian @ (v - x))
    assert np.abs(slope).max() <= 1e-3
    assert (v == 0).any()
    assert ((v == region.lower) | (v == region.upper)).any()


def test_without_penalty_or_box_it_is_newtons_step():
    hessian, x, g, _ = random_quadratic(1, condition=100.0)
    region = Region(np.zeros(25), np.full(25, -np.inf), np.full(25, np.inf))
    v = interior_minimum(hessian, region, x, g, 1e-6)
    np.testing.assert_allclose(v, x - np.linalg.solve(hessian, g), rtol=1e-8)


@pytest.mark.parametrize("factors", [3, 10, 40])
def test_a_singular_hessian_takes_few_factors(factors, monkeypatch):
    """With next to no curvature in most directions a search for signs is long; this is not."""
    rng = np.random.default_rng(factors)
    d = 200
    J = rng.normal(size=(factors, d))
    hessian = J.T @ J + 1e-10 * np.eye(d)
    region = Region(np.full(d, 0.3), np.full(d, -np.inf), np.full(d, np.inf))
    taken = []
    original = _quadratic.interior_minimum
    monkeypatch.setattr(_quadratic, "interior_minimum", lambda *args: taken.append(1) or original(*args))
    quadratic = _quadratic.Quadratic(hessian, region)
    x, g = np.zeros(d), J.T @ rng.normal(size=factors)
    u, gain = quadratic.minimise(x, g)
    assert quadratic.n_steps < 20
    slope = region.slope(u, g + hessian @ (u - x))
    assert 0.5 * slope @ slope <= 0.05 * gain * np.linalg.eigvalsh(hessian)[-1]
