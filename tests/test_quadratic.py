"""The quadratic with an l1 penalty in a box: optimality conditions on random ones, ill-conditioned and degenerate."""

import numpy as np
import pytest

from sklearn_mle._quadratic import Quadratic
from sklearn_mle._region import Region


def minimise_quadratic(hessian, x, g, region):
    return Quadratic(hessian, region).minimise(x, g)


def objective(hessian, x, g, region, u):
    s = u - x
    return g @ s + 0.5 * s @ hessian @ s + region.penalty(u)


def random_quadratic(seed, d=25, condition=1e6, box=False, penalised=0.8):
    """A Hessian, a feasible point with zeros, a gradient there, and the region."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    hessian = (rotation * np.geomspace(1, 1 / condition, d)) @ rotation.T
    l1 = np.where(rng.random(d) < penalised, rng.exponential(size=d) * 0.3, 0.0)
    side = np.where(rng.random(d) < 0.5, rng.uniform(0.05, 1.0, d), np.inf) if box else np.full(d, np.inf)
    region = Region(l1, -side, np.where((rng.random(d) < 0.5) & box, 0.0, side))
    x = np.clip(np.where(rng.random(d) < 0.4, 0.0, rng.normal(size=d)), region.lower, region.upper)
    return hessian, x, rng.normal(size=d), region


@pytest.mark.parametrize("condition", [10.0, 1e6, 1e9])
@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_what_is_left_is_a_share_of_the_gain(seed, box, condition):
    hessian, x, g, region = random_quadratic(seed, box=box, condition=condition)
    u, gain = minimise_quadratic(hessian, x, g, region)
    assert (region.lower <= u).all()
    assert (u <= region.upper).all()
    reached = objective(hessian, x, g, region, x) - objective(hessian, x, g, region, u)
    assert reached > 0
    # Started again where it ended, it gains no more than it said was left.
    s = u - x
    end, rest = u, gain - reached
    for _ in range(30):
        before = end
        end, more = minimise_quadratic(hessian, before, g + hessian @ (before - x), region)
        if more <= 1e-13:
            break
    total = objective(hessian, x, g, region, x) - objective(hessian, x, g, region, end)
    assert more <= 1e-12 * max(1, total)
    assert total - reached <= 0.05 * total
    # Steps of 1e9 along flat directions: what is told of them is good to the rounding of the Hessian's entries.
    rounding = np.finfo(float).eps * np.abs(s) @ np.abs(hessian) @ np.abs(s)
    assert rest >= -min(1e-9 * max(1, total) + rounding, 1e-6 * max(1, total))
    slope = region.slope(end, g + hessian @ (end - x))
    assert np.abs(slope).max() <= 1e-5 * max(1, np.abs(hessian @ s).max())


def test_without_penalty_or_box_it_is_newtons_step():
    hessian, x, g, _ = random_quadratic(1, condition=100.0)
    region = Region(np.zeros(25), np.full(25, -np.inf), np.full(25, np.inf))
    u, gain = minimise_quadratic(hessian, x, g, region)
    step = -np.linalg.solve(hessian, g)
    np.testing.assert_allclose(u, x + step, rtol=1e-8, atol=1e-8)
    assert gain == pytest.approx(-0.5 * g @ step)


def test_a_minimum_moves_nothing():
    hessian, _, g, region = random_quadratic(2)
    region.l1[:] = 2 * np.abs(g).max()
    u, gain = minimise_quadratic(hessian, np.zeros(25), g, region)
    assert not u.any()
    assert gain == 0


def test_a_flat_direction_is_the_penaltys_to_choose():
    # Of two coordinates only the difference matters; the penalty is least where one is zero, or their signs differ.
    hessian = np.array([[1.0, -1.0], [-1.0, 1.0]]) + 1e-11 * np.eye(2)
    region = Region(np.full(2, 1e-3), np.full(2, -np.inf), np.full(2, np.inf))
    x, g = np.array([5.0, 4.0]), np.array([-1.0, 1.0])
    u, _ = minimise_quadratic(hessian, x, g, region)
    u, _ = minimise_quadratic(hessian, u, g + hessian @ (u - x), region)
    assert u[0] - u[1] == pytest.approx(2.0, abs=5e-3)
    assert np.abs(u).sum() == pytest.approx(u[0] - u[1], abs=1e-9)


def test_everything_held():
    region = Region(np.zeros(3), np.zeros(3), np.zeros(3))
    u, gain = minimise_quadratic(np.eye(3), np.zeros(3), np.ones(3), region)
    assert not u.any()
    assert gain == 0


def test_a_vertex_that_is_reached_by_a_small_gain_is_the_end():
    # The step promises a thousand times what there is to gain before all coordinates are at their bounds.
    region = Region(np.zeros(3), np.full(3, -1e-3), np.full(3, 1e-3))
    u, gain = minimise_quadratic(np.eye(3), np.zeros(3), np.array([-1.0, 2.0, -3.0]), region)
    np.testing.assert_array_equal(u, [1e-3, -1e-3, 1e-3])
    assert gain == pytest.approx(6e-3 - 1.5e-6)
