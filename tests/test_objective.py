"""The objective and its derivatives against central differences; sums over any blocks and threads."""

import threading
import time
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import linalg, sparse
from scipy.special import log_softmax

from sklearn_mle._layout import Layout, gauge_basis
from sklearn_mle._network import Network
from sklearn_mle._objective import NegativeLogLikelihood
from sklearn_mle._precondition import null_coordinates
from sklearn_mle._problem import RoundProblem
from sklearn_mle._samples import Samples

N, P = 61, 3
# What the products of a pass round to, relative to the largest entry.
TOLERANCE = {"d": 1e-12, "f": 3e-5}


def samples(K, *, soft=False, weighted=False, kind=np.asarray, dtype="d", n_threads=1, seed=0, n_rows=N):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, P)) * [1.0, 3.0, 0.2] + [0.0, 1.0, 0.0]
    X[rng.random(X.shape) < 0.2] = 0.0
    y = rng.integers(K, size=n_rows).astype(np.int32)
    if soft:
        y = np.ascontiguousarray(rng.dirichlet(np.ones(K), size=n_rows).T)
    w = rng.uniform(0.2, 3.0, size=n_rows) if weighted else None
    return Samples(kind(X.astype(dtype)), y, w, n_classes=K, n_threads=n_threads)


def likelihood(K, *, C=np.inf, fit_intercept=True, **how):
    network = Network(Layout((P, 1 if K == 2 else K), fit_intercept))
    return NegativeLogLikelihood(network, samples(K, **how), C)


def random_theta(objective, seed=1):
    return 0.5 * np.random.default_rng(seed).normal(size=objective.layout.size)


def by_definition(objective, theta):
    """f(theta), written as in the module's docstring."""
    data = objective.samples
    X = data.X.toarray() if sparse.issparse(data.X) else data.X
    ((W, b),) = objective.layout.unpack(theta)
    z = X.astype(np.float64) @ W.T + (0.0 if b is None else b)
    logits = np.column_stack([np.zeros(len(z)), z]) if z.shape[1] == 1 else z
    Y = np.eye(data.n_classes)[data.y] if data.y.ndim == 1 else data.y.T
    w = np.ones(len(X)) if data.w is None else data.w
    return -(w @ (Y * log_softmax(logits, axis=1)).sum(axis=1)) + objective.precision * (W**2).sum() / 2


def central(function, theta, step=1e-5):
    """Central differences of a scalar or vector function, one row for each entry of theta."""
    rows = []
    for j in range(len(theta)):
        ahead, behind = theta.copy(), theta.copy()
        ahead[j] += step
        behind[j] -= step
        rows.append((function(ahead) - function(behind)) / (2 * step))
    return np.array(rows)


VARIANTS = {
    "dense": {},
    "sparse": {"kind": sparse.csr_array},
    "matrix": {"kind": sparse.csr_matrix},
    "fortran": {"kind": np.asfortranarray},
    "weighted": {"weighted": True},
    "soft": {"soft": True},
    "penalised": {"C": 0.3},
    "no intercept": {"fit_intercept": False},
    "all at once": {
        "kind": sparse.csr_array,
        "weighted": True,
        "soft": True,
        "C": 0.3,
        "fit_intercept": False,
    },
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def how(request):
    return request.param


@pytest.mark.parametrize("K", [2, 3, 5])
def test_value_gradient_and_hessian_products(K, how):
    objective = likelihood(K, **how)
    theta = random_theta(objective)
    value, grad = objective.value_and_grad(theta)
    assert isinstance(value, float)
    assert grad.dtype == np.float64
    assert_allclose(value, by_definition(objective, theta), rtol=1e-13)
    slope = central(lambda t: objective.value_and_grad(t)[0], theta)
    assert_allclose(grad, slope, atol=1e-6 * np.abs(grad).max())
    hessian = central(lambda t: objective.value_and_grad(t)[1], theta)
    products = np.array([objective.hessp(theta, e) for e in np.eye(len(theta))])
    assert_allclose(products, hessian, atol=1e-6 * np.abs(hessian).max())
    assert_allclose(products, products.T, atol=1e-12 * np.abs(hessian).max())


@pytest.mark.usefixtures("in_single")
@pytest.mark.parametrize("K", [2, 3, 5])
def test_float32_rows_are_summed_in_float64(K):
    for how in ({}, {"weighted": True, "soft": True}, {"kind": sparse.csr_array}):
        single, double = likelihood(K, dtype="f", **how), likelihood(K, **how)
        theta = random_theta(single)
        value, grad = single.value_and_grad(theta)
        expected, slope = double.value_and_grad(theta)
        assert grad.dtype == np.float64
        assert_allclose(value, expected, rtol=TOLERANCE["f"])
        assert_allclose(grad, slope, atol=TOLERANCE["f"] * np.abs(slope).max())
        direction = random_theta(single, seed=2)
        product = double.hessp(theta, direction)
        assert_allclose(single.hessp(theta, direction), product, atol=TOLERANCE["f"] * np.abs(product).max())


@pytest.mark.parametrize("K", [2, 3, 5])
def test_pair_moments_make_up_the_hessian(K, how):
    objective = likelihood(K, **{**how, "C": np.inf})
    theta = random_theta(objective)
    rng = np.random.default_rng(3)
    center, transform = rng.normal(size=P), rng.normal(size=(P, 2))
    moments = objective.pair_moments(theta, center, transform)
    n_outputs, q = objective.layout.widths[-1], 2 + objective.layout.fit_intercept
    contrasts = np.ones((1, 1))
    if n_outputs > 1:
        first, second = np.triu_indices(n_outputs, 1)
        contrasts = np.eye(n_outputs)[first] - np.eye(n_outputs)[second]
    assert moments.shape == (len(contrasts), q, q)
    hessian = np.einsum("rk,rl,rab->kalb", contrasts, contrasts, moments).reshape(n_outputs * q, -1)
    # v = (transform' (x - center), 1), so that psi = (V, c) is W = V transform', b = c - W center.
    push = np.zeros((objective.layout.size, n_outputs * q))
    for j, psi in enumerate(np.eye(n_outputs * q)):
        blocks = psi.reshape(n_outputs, q)
        W = blocks[:, :2] @ transform.T
        b = blocks[:, 2] - W @ center if objective.layout.fit_intercept else None
        push[:, j] = objective.layout.pack([(W, b)])
    if not objective.layout.fit_intercept:
        # Without an intercept nothing can take up the centre.
        moments = objective.pair_moments(theta, np.zeros(P), transform)
        hessian = np.einsum("rk,rl,rab->kalb", contrasts, contrasts, moments).reshape(n_outputs * q, -1)
    products = np.array([objective.hessp(theta, e) for e in np.eye(len(theta))])
    expected = push.T @ products @ push
    assert_allclose(hessian, expected, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("K", [2, 4])
@pytest.mark.parametrize("C", [np.inf, 0.3])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_hessian_in_round_coordinates(K, C, fit_intercept):
    objective = likelihood(K, C=C, fit_intercept=fit_intercept, weighted=True)
    coordinates, _ = null_coordinates(objective.layout, objective.samples, C)
    problem = RoundProblem(objective, coordinates)
    psi = 3 * np.random.default_rng(4).normal(size=problem.size)
    hessian = problem.hessian(psi)
    differences = central(lambda x: problem.value_and_grad(x)[1], psi)
    assert_allclose(hessian, differences, atol=1e-6 * np.abs(differences).max())
    products = np.array([problem.hessp(psi, e) for e in np.eye(problem.size)])
    assert_allclose(products, hessian, atol=1e-12 * np.abs(hessian).max())
    slope = central(lambda x: problem.value_and_grad(x)[0], psi)
    assert_allclose(problem.value_and_grad(psi)[1], slope, atol=1e-6 * np.abs(slope).max())


@pytest.mark.parametrize("K", [2, 4])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_moments_by_definition(K, kind):
    objective = likelihood(K, weighted=True, kind=kind)
    theta = random_theta(objective)
    rng = np.random.default_rng(5)
    center, transform = rng.normal(size=P), rng.normal(size=(P, 2))
    X = np.asarray(objective.samples.X.toarray() if kind is sparse.csr_array else objective.samples.X)
    w = objective.samples.w
    ((W, b),) = objective.layout.unpack(theta)
    z = X @ W.T + b
    proba = np.exp(log_softmax(np.column_stack([np.zeros(len(z)), z]) if K == 2 else z, axis=1))
    h = 1 - (proba**2).sum(axis=1)
    inner = sum(w_i * (np.diag(p) - np.outer(p, p)) for w_i, p in zip(w, proba, strict=True))
    if K == 2:
        inner = inner[1:, 1:]
    A, sums, S, mass = objective.kronecker_moments(theta, center, transform)
    v = (X - center) @ transform
    assert_allclose(mass, w @ h, rtol=1e-12)
    assert_allclose(A, inner / mass, rtol=1e-10, atol=1e-13)
    assert_allclose(sums, (w * h) @ v, rtol=1e-10)
    assert_allclose(S, (v.T * (w * h)) @ v, rtol=1e-10)
    shares, squares = objective.diagonal_moments(theta, center)
    curvature = w[:, None] * proba * (1 - proba)
    if K == 2:
        curvature = curvature[:, 1:]
    assert_allclose(shares, curvature.sum(axis=0), rtol=1e-10)
    assert_allclose(squares, curvature.T @ (X - center) ** 2, rtol=1e-10)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@given(rows_a_block=st.integers(1, 80), K=st.sampled_from([2, 3]), soft=st.booleans(), shift=st.booleans())
def test_any_blocks_and_any_threads_give_the_same(kind, n_threads, rows_a_block, K, soft, shift):
    how = {"soft": soft, "weighted": True, "kind": kind}
    whole = likelihood(K, **how)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Samples, "_rows_per_block", lambda self: rows_a_block)
        cut = likelihood(K, n_threads=n_threads, **how)
    if shift and kind is np.asarray:
        whole.samples.shift = cut.samples.shift = np.array([1.0, -2.0, 0.5])
    theta, direction = random_theta(whole), random_theta(whole, seed=2)
    center, transform = np.ones(P), np.eye(P) + 0.1

    def everything(objective):
        value, grad = objective.value_and_grad(theta)
        return [
            value,
            grad,
            objective.hessp(theta, direction),
            objective.pair_moments(theta, center, transform),
            objective.pair_moments(theta, None, None),
            objective.largest_logit_change(direction),
            *objective.kronecker_moments(theta, center, transform),
            *objective.samples.gram(center, transform),
            *objective.samples.column_sums(center),
        ]

    expected = everything(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sklearn_mle._threads._WORK_OF_THREAD", 1)
        # Columns of a few rows at a time.
        patch.setattr("sklearn_mle._samples._BLOCK_ROWS", (3, 80))
        patch.setattr("sklearn_mle._samples._COLUMN_BYTES", 1)
        found = everything(cut)
    for one, other in zip(expected, found, strict=True):
        assert_allclose(other, one, rtol=1e-11, atol=1e-11 * np.abs(one).max())


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_threads_change_no_bit(kind):
    """Rows are cut alike for any number of threads, and blocks summed in their order, whoever finishes first."""

    def everything(n_threads):
        objective = likelihood(3, kind=kind, n_threads=n_threads, n_rows=140_000)
        theta, center, transform = random_theta(objective), np.ones(P), np.eye(P) + 0.1
        value, grad = objective.value_and_grad(theta)
        moments = objective.pair_moments(theta, center, transform)
        sampled = objective.sampled_pair_moments(theta, 400_000, center, transform)
        assert n_threads == 1 or objective.samples._pool is not None
        return np.concatenate([[value], grad, moments.ravel(), sampled.ravel()])

    one = everything(1)
    for n_threads in (2, 3, 16):
        assert_array_equal(everything(n_threads), one)


@pytest.mark.parametrize("fails_on", ["caller", "other"])
def test_an_error_in_a_thread_is_raised_and_ends_all(fails_on):
    caller, n_calls = threading.get_ident(), count()

    def function(block):
        next(n_calls)
        if (threading.get_ident() == caller) == (fails_on == "caller"):
            raise FloatingPointError("here")
        time.sleep(0.05)
        return (1.0,)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Samples, "_rows_per_block", lambda self: 100)
        part = samples(3, n_threads=3, n_rows=140_000)
    with pytest.raises(FloatingPointError, match="here"):
        part.sum(function)
    assert next(n_calls) < 100


@pytest.mark.parametrize("K", [2, 4])
def test_an_integer_weight_is_a_repetition(K):
    base = samples(K)
    w = np.random.default_rng(6).integers(0, 4, size=N)
    network = Network(Layout((P, 1 if K == 2 else K)))
    weighted = NegativeLogLikelihood(network, Samples(base.X, base.y, w * 1.0, n_classes=K))
    repeated = NegativeLogLikelihood(network, Samples(np.repeat(base.X, w, 0), np.repeat(base.y, w), None, n_classes=K))
    theta, direction = random_theta(weighted), random_theta(weighted, seed=2)
    for one, other in zip(weighted.value_and_grad(theta), repeated.value_and_grad(theta), strict=True):
        assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    assert_allclose(weighted.hessp(theta, direction), repeated.hessp(theta, direction), rtol=1e-11, atol=1e-12)


def test_rows_without_weight_do_not_matter_however_far_out():
    base = samples(3)
    X = base.X.copy()
    X[0] = 1e200
    network = Network(Layout((P, 3)))
    w = np.ones(N)
    w[0] = 0.0
    far = NegativeLogLikelihood(network, Samples(X, base.y, w, n_classes=3))
    without = NegativeLogLikelihood(network, Samples(base.X[1:], base.y[1:], None, n_classes=3))
    theta = random_theta(far)
    for one, other in zip(far.value_and_grad(theta), without.value_and_grad(theta), strict=True):
        assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kept", [True, False])
def test_hessian_products_do_not_depend_on_what_was_kept(kept):
    """Probabilities are kept between a gradient and its products; another theta must not be served with them."""
    objective = likelihood(3)
    objective._keep = kept
    theta, other, direction = (random_theta(objective, seed) for seed in (1, 2, 3))
    fresh = likelihood(3).hessp(other, direction)
    objective.value_and_grad(theta)
    assert_allclose(objective.hessp(other, direction), fresh, rtol=1e-13)
    objective.value_and_grad(other)
    assert_allclose(objective.hessp(other, direction), fresh, rtol=1e-13)
    theta = other
    theta += 0.1
    assert_allclose(objective.hessp(theta, direction), likelihood(3).hessp(theta, direction), rtol=1e-13)


def test_the_penalty_is_on_weights():
    objective = likelihood(3, C=0.25)
    ((W, _),) = objective.layout.unpack(theta := random_theta(objective))
    assert_allclose(objective.penalty(theta), 2 * (W**2).sum())
    assert likelihood(3).penalty(theta) == 0.0


@pytest.mark.parametrize("K", [2, 3])
def test_a_pass_counts_one(K):
    objective = likelihood(K)
    theta = random_theta(objective)
    before = objective.n_passes
    objective.value_and_grad(theta)
    objective.hessp(theta, theta)
    assert objective.n_passes == before + 2


@pytest.mark.parametrize("K", [2, 3])
def test_the_largest_change_of_logits(K):
    objective = likelihood(K, weighted=True)
    direction = random_theta(objective)
    ((W, b),) = objective.layout.unpack(direction)
    z = objective.samples.X @ W.T + b
    apart = np.abs(z[:, 0]) if K == 2 else np.ptp(z, axis=1)
    assert_allclose(objective.largest_logit_change(direction), apart.max())
    few = np.argsort(-apart)[[3, 5]]
    assert_allclose(objective.largest_logit_change(direction, few), apart[few[0]])


@pytest.mark.parametrize("K", [2, 3])
def test_rows_of_little_curvature_are_those_that_a_short_step_can_move_far(K):
    objective = likelihood(K, weighted=True)
    theta, step = 3 * random_theta(objective), random_theta(objective, seed=2)
    assert objective.rows_of_little_curvature(theta, 0.1) is None
    objective.value_and_grad(theta)
    ((W, b),) = objective.layout.unpack(step)
    z = objective.samples.X @ W.T + b
    apart = np.abs(z[:, 0]) if K == 2 else np.ptp(z, axis=1)
    energy = step @ objective.hessp(theta, step)
    for most in np.quantile(apart, [0.2, 0.5, 0.9]):
        rows = objective.rows_of_little_curvature(theta, energy / most**2)
        assert set(np.flatnonzero((apart > most) & (objective.samples.w > 0))) <= set(rows)
    assert not len(objective.rows_of_little_curvature(theta, 0.0))


def test_the_gauge_costs_nothing():
    """One vector added to the weights of all classes changes neither value nor gradient."""
    objective = likelihood(4)
    theta = random_theta(objective)
    ((W, b),) = objective.layout.unpack(theta)
    moved = objective.layout.pack([(W + [1.0, -2.0, 0.5], b + 3.0)])
    for one, other in zip(objective.value_and_grad(theta), objective.value_and_grad(moved), strict=True):
        assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    ((G, g),) = objective.layout.unpack(objective.value_and_grad(theta)[1])
    basis = gauge_basis(4)
    assert_allclose(basis @ (basis.T @ G), G, atol=1e-12)
    assert_allclose(g.sum(), 0, atol=1e-12)


@pytest.mark.parametrize("K", [2, 3, 5, 18])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("keep", [True, False])
def test_a_sampled_hessian_has_nearly_the_eigenvalues_of_the_whole(K, weighted, keep):
    rng = np.random.default_rng(K)
    n, p, n_terms = 5000, 4, 20_000
    X = rng.normal(size=(n, p)) * [1e-2, 1.0, 30.0, 5.0] + 1.0
    y = rng.integers(0, K, n).astype(np.int32)
    w = rng.gamma(0.5, size=n) if weighted else None
    objective = NegativeLogLikelihood(
        Network(Layout((p, 1 if K == 2 else K))), Samples(X, y, w, n_classes=K, n_threads=2)
    )
    objective._keep = keep
    coordinates, _ = null_coordinates(objective.layout, objective.samples, np.inf)
    problem = RoundProblem(objective, coordinates)
    psi = 0.05 * rng.normal(size=problem.size) * np.sqrt(n)
    problem.value_and_grad(psi)
    before = objective.n_passes
    sampled = problem.sampled_hessian(psi, n_terms)
    assert objective.n_passes < before + 0.5 * (not keep) + n_terms / n * (p + 1) * (p + 2) / (2 * p) * 1.2
    ratios = linalg.eigvalsh(sampled, problem.hessian(psi))
    # Terms of rank one, n_terms / d of them a parameter: within (1 +- sqrt(d / n_terms))^2, but for the size of x.
    spread = 3 * np.sqrt(problem.size / n_terms)
    assert 1 - spread < ratios[0] < ratios[-1] < 1 + spread


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("K", [2, 3])
def test_rows_above_are_the_same_from_kept_probabilities(K, soft):
    objective = likelihood(K, soft=soft, weighted=True, n_rows=500)
    objective.samples.w[::7] = 0.0
    theta = 4 * random_theta(objective)
    fresh = objective.rows_above(theta, 3.0)
    objective.value_and_grad(theta)
    assert_array_equal(objective.rows_above(theta, 3.0), fresh)
    assert 3 < len(fresh) < 400
    assert not np.any(fresh % 7 == 0)


# -------------------------------------------------------------------------- leaps


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_curvature_that_columns_have_left(K, kind, weighted):
    objective = likelihood(K, kind=kind, weighted=weighted)
    theta, data = random_theta(objective), objective.samples
    X = data.X.toarray() if sparse.issparse(data.X) else data.X
    w = np.ones(N) if data.w is None else data.w
    ((W, b),) = objective.layout.unpack(theta)
    z = X @ W.T + b
    logits = np.column_stack([np.zeros(N), z]) if K == 2 else z
    proba = np.exp(log_softmax(logits, axis=1))[:, -len(W) :]
    shares = data.class_weights[-len(W) :] / w.sum()
    expected = [
        [
            (w * p * (1 - p)).sum()
            * np.cov(x, aweights=w * p * (1 - p), ddof=0)
            / (share * (1 - share) * w.sum() * np.cov(x, aweights=w, ddof=0))
            for x in X.T
        ]
        for p, share in zip(proba.T, shares, strict=True)
    ]
    assert_allclose(objective.curvature_left(theta, np.array([0.3, 1.0, -0.1])), expected, rtol=1e-9)


@pytest.mark.parametrize("K", [2, 4])
def test_a_column_that_has_leapt_to_where_nothing_is_left_of_its_curvature(K):
    rng = np.random.default_rng(0)
    y = rng.integers(K, size=3000).astype(np.int32)
    X = np.c_[rng.standard_normal((3000, 2)), (y == K - 1) & (rng.random(3000) < 0.01), np.ones(3000)]
    data = Samples(X, y, None, n_classes=K)
    layout = Layout((4, 1 if K == 2 else K), True)
    coordinates, _ = null_coordinates(layout, data, np.inf)
    for far, leapt in ((0.0, False), (5.0, False), (20.0, False), (80.0, True), (3000.0, True)):
        W = np.zeros((layout.widths[-1], 4))
        W[-1, 2] = far
        moved = coordinates.moved_to(layout.pack([(W, np.zeros(len(W)))]))
        problem = RoundProblem(NegativeLogLikelihood(Network(layout), data), moved)
        assert problem.has_leapt(np.zeros(problem.size)) is leapt
