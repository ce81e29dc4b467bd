"""Forward, vjp, jvp and their products, for every activation and depth, on dense and sparse rows."""

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit

from sklearn_mle._layout import Layout
from sklearn_mle._network import ACTIVATIONS, Network
from sklearn_mle._network_problem import NetworkProblem
from sklearn_mle._objective import NegativeLogLikelihood
from sklearn_mle._samples import Samples

DEPTHS = ((), (5,), (5, 4), (6, 5, 4))
PHI = {
    "identity": lambda a: a,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
    "softplus": lambda a: np.logaddexp(0, a),
}


def problem(activation, hidden, *, K=3, kind="dense", weighted=True, C=2.0, dtype=np.float64, fit_intercept=True, n=40):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4)).astype(dtype)
    if kind == "sparse":
        X[rng.uniform(size=X.shape) < 0.5] = 0
        X = sparse.csr_array(X)
    y = rng.integers(K, size=n)
    w = rng.uniform(0.5, 2, size=n) if weighted else None
    layout = Layout((4, *hidden, 1 if K == 2 else K), fit_intercept)
    samples = Samples(X, y, w, n_classes=K, n_units=sum(hidden))
    objective = NegativeLogLikelihood(Network(layout, activation), samples, C)
    return objective, 0.7 * rng.normal(size=layout.size), rng.normal(size=layout.size)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_is_the_textbook_formula(activation):
    objective, theta, _ = problem(activation, (6, 5))
    h = objective.samples.X.T
    layers = objective.layout.unpack(theta)
    for W, b in layers[:-1]:
        h = PHI[activation](W @ h + b[:, None])
    W, b = layers[-1]
    outputs = []
    objective.samples.each(lambda block: objective.network.forward(theta, block), outputs.append)
    np.testing.assert_allclose(np.hstack(outputs), W @ h + b[:, None], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_and_bends(name):
    activation = ACTIVATIONS[name]
    a = np.array([-30.0, -3.0, -0.7, -0.01, 0.02, 0.9, 4.0, 30.0])

    def apply(a):
        return activation.apply(a.copy())

    step = 1e-5
    slope = (apply(a + step) - apply(a - step)) / (2 * step)
    np.testing.assert_allclose(activation.slope(apply(a)), slope, rtol=1e-6, atol=1e-9)
    bend = (activation.slope(apply(a + step)) - activation.slope(apply(a - step))) / (2 * step)
    found = np.zeros_like(a) if activation.bend is None else activation.bend(apply(a))
    np.testing.assert_allclose(found, bend, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", ["logistic", "tanh", "softplus"])
def test_activations_saturate_without_overflow(name):
    a = np.array([-1e300, -800.0, 800.0, 1e300])
    with np.errstate(over="raise", invalid="raise"):
        h = ACTIVATIONS[name].apply(a.copy())
        assert np.isfinite(h).all()
        assert np.isfinite(ACTIVATIONS[name].slope(h)).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", DEPTHS)
@pytest.mark.parametrize("K, kind, weighted, C", [(3, "dense", True, 2.0), (2, "sparse", False, np.inf)])
def test_derivatives_are_central_differences(activation, hidden, K, kind, weighted, C):
    objective, theta, v = problem(activation, hidden, K=K, kind=kind, weighted=weighted, C=C)
    step = 1e-5
    _, grad = objective.value_and_grad(theta)
    above, below = (objective.value_and_grad(theta + s * step * v) for s in (1, -1))
    slope = (above[0] - below[0]) / (2 * step)
    assert grad @ v == pytest.approx(slope, rel=1e-6)
    product = objective.hessp(theta, v)
    difference = (above[1] - below[1]) / (2 * step)
    assert np.abs(product - difference).max() <= 1e-6 * np.abs(difference).max()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", DEPTHS[1:])
@pytest.mark.parametrize(
    "how",
    [{}, {"K": 2, "kind": "sparse", "weighted": False, "C": np.inf}, {"fit_intercept": False}, {"dtype": np.float32}],
    ids=str,
)
def test_products_with_several_directions_are_those_with_each(activation, hidden, how):
    objective, theta, _ = problem(activation, hidden, **how)
    directions = np.random.default_rng(1).normal(size=(3, len(theta)))
    before = objective.n_passes
    together = objective.hessp(theta, directions)
    assert objective.n_passes == before + 3
    assert together.dtype == np.float64
    each = np.stack([objective.hessp(theta, direction) for direction in directions])
    tolerance = 1e-5 if how.get("dtype") is np.float32 else 1e-12
    np.testing.assert_allclose(together, each, rtol=tolerance, atol=tolerance * np.abs(each).max())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", DEPTHS)
def test_float32_agrees_with_float64(activation, hidden):
    single, theta, v = problem(activation, hidden, dtype=np.float32)
    double, _, _ = problem(activation, hidden)
    for name, tolerance in (("value_and_grad", 2e-6), ("hessp", 2e-5), ("gauss_newton_product", 2e-5)):
        args = (theta,) if name == "value_and_grad" else (theta, v)
        found, wanted = getattr(single, name)(*args), getattr(double, name)(*args)
        if name == "value_and_grad":
            assert found[0] == pytest.approx(wanted[0], rel=tolerance)
            found, wanted = found[1], wanted[1]
        assert found.dtype == np.float64
        assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


@pytest.mark.parametrize("K", [2, 3])
def test_gauss_newton_is_the_jacobian_formula(K):
    objective, theta, v = problem("tanh", (5, 4), K=K)
    samples, network = objective.samples, objective.network
    d, J = objective.layout.size, objective.layout.widths[-1]
    jacobian, proba = [], []

    def rows(block):
        point = network.at(theta, block)
        z = point.outputs()
        e = np.exp(np.vstack([np.zeros_like(z), z]) if J == 1 else z)
        units = [point.jvp(unit) for unit in np.eye(d)]
        return np.stack(units), (e / e.sum(axis=0))[-J:]

    samples.each(rows, lambda found: (jacobian.append(found[0]), proba.append(found[1])))
    dz, p = np.concatenate(jacobian, axis=2), np.concatenate(proba, axis=1)
    curvature = np.einsum("kb,kl->bkl", p, np.eye(J)) - np.einsum("kb,lb->bkl", p, p)
    G = np.einsum("dkb,bkl,elb,b->de", dz, curvature, dz, samples.w)
    G += np.diag(objective.precision * objective.layout.penalty_mask())
    np.testing.assert_allclose(objective.gauss_newton_product(theta, v), G @ v, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_for_the_linear_model_both_products_coincide(kind):
    objective, theta, v = problem("tanh", (), kind=kind)
    np.testing.assert_array_equal(objective.hessp(theta, v), objective.gauss_newton_product(theta, v))


def test_hessian_products_are_symmetric():
    objective, theta, v = problem("softplus", (6, 5, 4))
    u = np.random.default_rng(1).normal(size=v.size)
    assert u @ objective.hessp(theta, v) == pytest.approx(v @ objective.hessp(theta, u), rel=1e-10)


def test_vjp_is_the_transpose_of_jvp():
    objective, theta, v = problem("tanh", (6, 5))
    rng = np.random.default_rng(2)

    def both(block):
        point = objective.network.at(theta, block)
        residual = rng.normal(size=(3, block.X.shape[0]))
        return np.sum(point.jvp(v) * residual), point.vjp(residual) @ v

    objective.samples.each(both, lambda pair: np.testing.assert_allclose(*pair, rtol=1e-12))


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_any_blocks_give_the_same_sums(monkeypatch, kind):
    whole, theta, v = problem("tanh", (5, 4), kind=kind, n=300)
    monkeypatch.setattr(Samples, "_rows_per_block", lambda self: 7)
    pieces, _, _ = problem("tanh", (5, 4), kind=kind, n=300)
    np.testing.assert_allclose(pieces.value_and_grad(theta)[1], whole.value_and_grad(theta)[1], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(pieces.hessp(theta, v), whole.hessp(theta, v), rtol=1e-11, atol=1e-11)


def test_without_intercepts():
    objective, theta, v = problem("tanh", (5, 4), fit_intercept=False)
    assert objective.layout.size == 4 * 5 + 5 * 4 + 4 * 3
    step = 1e-5
    difference = (objective.value_and_grad(theta + step * v)[1] - objective.value_and_grad(theta - step * v)[1]) / 2
    np.testing.assert_allclose(objective.hessp(theta, v), difference / step, rtol=1e-5, atol=1e-5)


class TestKroneckerFactors:
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("K", [2, 3])
    def test_the_last_layer_of_one_row_is_exact(self, K, fit_intercept):
        # For one row the Gauss-Newton Hessian of a layer is the Kronecker product itself.
        objective, theta, _ = problem("tanh", (5,), K=K, n=1, C=np.inf, fit_intercept=fit_intercept)
        model = NetworkProblem(objective, np.zeros(4), np.ones(4)).curvature(theta, damping=1e-12)
        G = np.stack([objective.gauss_newton_product(theta, unit) for unit in np.eye(objective.layout.size)])
        last = model.roots[-1] ** 2
        n_last = last.size
        found = np.sort(np.linalg.eigvalsh(G[-n_last:, -n_last:]))
        np.testing.assert_allclose(np.sort(last.ravel())[-2:], found[-2:], rtol=1e-8, atol=1e-10)

    @pytest.mark.parametrize("scaled", [False, True])
    @pytest.mark.parametrize("fit_intercept", [True, False])
    def test_maps_are_inverse_and_transposed(self, scaled, fit_intercept):
        objective, theta, v = problem("tanh", (5, 4), fit_intercept=fit_intercept)
        scale = np.array([1e-3, 1.0, 10.0, 1e4]) if scaled else np.ones(4)
        model = NetworkProblem(objective, np.array([0.1, -2.0, 5.0, 1e3]), scale).curvature(theta)
        phi = np.random.default_rng(3).normal(size=theta.size)
        np.testing.assert_allclose(model.unwhiten(model.whiten_point(theta)), theta, rtol=1e-8, atol=1e-10)
        assert model.whiten(v) @ phi == pytest.approx(v @ model.unwhiten(phi), rel=1e-9)
        assert v @ model.solve(v) > 0

    def test_wide_inputs_have_a_diagonal(self, monkeypatch):
        monkeypatch.setattr("sklearn_mle._network_problem.MAX_DENSE_INPUTS", 2)
        objective, theta, v = problem("tanh", (5,))
        model = NetworkProblem(objective, np.zeros(4), np.ones(4)).curvature(theta)
        assert model.inner[0] is None
        assert v @ model.solve(v) > 0
