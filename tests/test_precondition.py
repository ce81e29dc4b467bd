"""Round coordinates: the same objective, its exact Hessian at the null model, the null space of X."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import linalg, sparse

from sklearn_mle import _precondition
from sklearn_mle._auto import null_curvature, null_hessian
from sklearn_mle._layout import Layout
from sklearn_mle._network import Network
from sklearn_mle._objective import NegativeLogLikelihood
from sklearn_mle._precondition import box_coordinates, box_point, null_coordinates, rewhitened
from sklearn_mle._problem import RoundProblem
from sklearn_mle._samples import Samples

N, P = 90, 4
UNITS = np.array([1e-6, 1.0, 1e3, 1e6])
SHIFT = np.array([0.0, 1e3, -1e5, 1e9])


def problem(K=3, C=np.inf, fit_intercept=True, change=lambda X: X, weighted=False, seed=0):
    """The problem in round coordinates, and its class metric."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, P)) @ (np.eye(P) + 0.3 * rng.normal(size=(P, P)))
    y = rng.choice(K, size=N, p=np.arange(1.0, K + 1) / (K * (K + 1) / 2)).astype(np.int32)
    w = rng.uniform(0.2, 3.0, size=N) if weighted else None
    samples = Samples(change(X), y, w, n_classes=K)
    layout = Layout((samples.n_features, 1 if K == 2 else K), fit_intercept)
    coordinates, class_metric = null_coordinates(layout, samples, C)
    return RoundProblem(NegativeLogLikelihood(Network(layout), samples, C), coordinates), class_metric


def dense_of(curvature, size):
    """The matrix whose inverse a curvature model applies."""
    return linalg.inv(np.array([curvature.solve(e) for e in np.eye(size)]))


CHANGES = {
    "as it is": lambda X: X,
    "units": lambda X: X * UNITS,
    "shifts": lambda X: X + SHIFT,
    "units and shifts": lambda X: X * UNITS + SHIFT,
    "float32": lambda X: X.astype(np.float32),
    "sparse": sparse.csr_array,
    "sparse units": lambda X: sparse.csr_array(X * UNITS),
}


@pytest.fixture(params=CHANGES.values(), ids=CHANGES.keys())
def change(request, in_single):
    return request.param


@pytest.mark.parametrize("C", [np.inf, 0.3])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("K", [2, 3])
def test_the_pulled_back_objective_is_the_original(K, fit_intercept, C, change):
    round_, _ = problem(K, C, fit_intercept, change, weighted=True)
    objective, coordinates = round_.objective, round_.coordinates
    rng = np.random.default_rng(1)
    psi, direction = rng.normal(size=(2, round_.size))
    theta = coordinates.push(psi)
    value, grad = round_.value_and_grad(psi)
    assert value == objective.value_and_grad(theta)[0]
    # <grad, direction> is the same number in either coordinates.
    original = objective.value_and_grad(theta)[1] @ coordinates.push_direction(direction)
    assert_allclose(grad @ direction, original, rtol=1e-9)
    assert_allclose(coordinates.push(psi + direction) - theta, coordinates.push_direction(direction), rtol=1e-6)
    # The penalty is that of W itself.
    ((W, _),) = objective.layout.unpack(theta)
    assert_allclose(objective.penalty(theta), 0.5 / C * (W**2).sum())


@pytest.mark.parametrize("C", [np.inf, 0.3])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("K", [2, 3, 5])
def test_the_null_metric_is_the_hessian_there(K, fit_intercept, C):
    round_, class_metric = problem(K, C, fit_intercept, weighted=True)
    start = np.zeros(round_.size)
    hessian = round_.hessian(start)
    metric = dense_of(null_curvature(round_, class_metric), round_.size)
    assert_allclose(metric, hessian, atol=1e-12 * np.abs(hessian).max())
    assert_allclose(null_hessian(round_, class_metric), hessian, atol=1e-12 * np.abs(hessian).max())
    if K == 2:
        assert_allclose(hessian, np.eye(round_.size), atol=1e-12)


@pytest.mark.parametrize("C", [np.inf, 0.3])
def test_the_null_metric_in_any_units(C, change):
    round_, class_metric = problem(3, C, change=change)
    hessian = round_.hessian(np.zeros(round_.size))
    metric = dense_of(null_curvature(round_, class_metric), round_.size)
    # Entries of float32 rows, and of rows 1e9 off zero, are no better known.
    assert_allclose(metric, hessian, atol=2e-5 * np.abs(hessian).max())


@pytest.mark.parametrize("K", [2, 4])
def test_the_origin_is_the_best_model_without_features(K):
    for fit_intercept in (True, False):
        round_, _ = problem(K, fit_intercept=fit_intercept, weighted=True)
        ((W, b),) = round_.objective.layout.unpack(round_.coordinates.push(np.zeros(round_.size)))
        assert_array_equal(W, 0)
        if fit_intercept:
            shares = round_.objective.samples.class_weights
            shares = shares / shares.sum()
            logits = np.append(0, b) if K == 2 else b
            assert_allclose(np.exp(logits) / np.exp(logits).sum(), shares, rtol=1e-13)
            assert_allclose(b.sum() if K > 2 else 0, 0, atol=1e-14)


@given(st.integers(0, 5), st.integers(0, 10**6))
def test_whitened_columns_are_white(n_copies, seed):
    """T' S T = I / (mean curvature), copies and sums of columns left out of T."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(40, 3)) * 10.0 ** rng.uniform(-4, 4, size=3)
    X = np.hstack([X, X @ rng.integers(-1, 2, size=(3, n_copies))])
    w = rng.uniform(0.2, 3, size=40)
    samples = Samples(X, rng.integers(2, size=40).astype(np.int32), w, n_classes=2)
    if not (samples.class_weights > 0).all():
        return
    coordinates, _ = null_coordinates(Layout((3 + n_copies, 1)), samples, np.inf)
    assert coordinates.rank == 3
    v = (X - w @ X / w.sum()) @ coordinates.transform / coordinates.constant
    assert_allclose((v.T * w) @ v / w.sum(), np.eye(3), atol=1e-9)


DEFICIENT = {
    "copy": (lambda X: np.c_[X, X[:, 0]], 1),
    "copy in other units": (lambda X: np.c_[X, 1e6 * X[:, 0]], 1),
    "sum": (lambda X: np.c_[X, X[:, 0] - X[:, 1]], 1),
    "constant": (lambda X: np.c_[X, np.full(N, 3.7)], 1),
    "constant far out": (lambda X: np.c_[X, np.full(N, 1e6 + 0.1)], 1),
    "zero": (lambda X: np.c_[X, np.zeros(N)], 1),
    "dummies": (lambda X: np.c_[X, np.eye(3)[np.arange(N) % 3]], 1),
    "dummies, shifted copy": (lambda X: np.c_[X, np.eye(3)[np.arange(N) % 3], 2 * X[:, 1] + 5], 2),
    "wide": (lambda X: X @ np.random.default_rng(5).normal(size=(P, 150)), 146),
    "units and shifts": (lambda X: np.c_[X * UNITS + SHIFT, 3 * (X * UNITS + SHIFT)[:, 3]], 1),
}


def assert_independent(null):
    assert_allclose(np.linalg.norm(null, axis=0), 1)
    assert np.linalg.matrix_rank(null) == null.shape[1]


@pytest.mark.usefixtures("in_single")
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array, lambda X: X.astype(np.float32)])
@pytest.mark.parametrize("change, n_null", DEFICIENT.values(), ids=DEFICIENT.keys())
def test_directions_without_variation_are_found(change, n_null, convert):
    single = convert(np.ones((1, 1))).dtype == np.float32
    if single and change in (DEFICIENT["units and shifts"][0], DEFICIENT["copy in other units"][0]):
        pytest.skip("as float32 these columns are constant, or other columns")
    round_, _ = problem(3, change=lambda X: convert(change(X)))
    coordinates = round_.coordinates
    X = np.asarray(change(problem(3)[0].objective.samples.X), dtype=np.float64)
    n_features = X.shape[1]
    assert coordinates.null.shape == (n_features, n_null)
    assert coordinates.rank == n_features - n_null
    assert_independent(coordinates.null)
    moved = (X - X.mean(axis=0)) @ coordinates.null
    eps = np.finfo(np.float32 if single else np.float64).eps
    assert np.abs(moved).max() <= 100 * eps * np.abs(X).max()


@pytest.mark.parametrize("change, n_null", DEFICIENT.values(), ids=DEFICIENT.keys())
def test_the_member_of_least_norm_has_the_same_probabilities(change, n_null):
    round_, _ = problem(3, change=change)
    objective, coordinates = round_.objective, round_.coordinates
    rng = np.random.default_rng(2)
    theta = coordinates.push(rng.normal(size=round_.size))
    # Along the null directions, and along the gauge, nothing but the coefficients changes.
    ((W, b),) = objective.layout.unpack(theta)
    along = rng.normal(size=(3, n_null)) @ coordinates.null.T
    moved = objective.layout.pack([(W + along + 0.1, b - along @ coordinates.center + 0.3)])
    least, from_moved = coordinates.minimum_norm(theta), coordinates.minimum_norm(moved)
    ((W_least, b_least),) = objective.layout.unpack(least)
    value = objective.value_and_grad(theta)[0]
    # Coefficients that lie 1e12 apart are known to a rounding of the largest.
    rtol = 1e-3 if change is DEFICIENT["units and shifts"][0] else 1e-9
    assert_allclose(objective.value_and_grad(least)[0], value, rtol=rtol)
    assert_allclose(W_least @ coordinates.null, 0, atol=1e-12 * np.abs(W_least).max())
    assert_allclose(W_least.sum(axis=0), 0, atol=1e-12 * np.abs(W_least).max())
    assert_allclose(b_least.sum(), 0, atol=1e-10 * (1 + np.abs(b_least).max()))
    ((W_again, _),) = objective.layout.unpack(from_moved)
    assert_allclose(W_again, W_least, atol=1e-9 * np.abs(W + along).max() + 1e-9)


@pytest.mark.parametrize("ratio", [1e4, 1e12, 1e16, 1e20])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_member_of_least_norm_in_units_that_lie_far_apart(fit_intercept, ratio):
    u = np.sqrt(ratio)

    def change(X):
        a, b, c, _ = X.T
        return np.c_[a * u, b / u, a - b, 1.37 * a / u, c, 3 * c * u]

    round_, _ = problem(3, fit_intercept=fit_intercept, change=change)
    coordinates, samples = round_.coordinates, round_.objective.samples
    assert coordinates.rank == 3
    theta = coordinates.push(np.random.default_rng(2).normal(size=round_.size))
    logits, least = (
        round_.objective.network.forward(at, samples.whole()) for at in (theta, coordinates.minimum_norm(theta))
    )
    assert_allclose(least - least.mean(axis=0), logits - logits.mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
def test_rounding_is_no_part_of_a_direction_without_variation(convert):
    """Of a column of a small unit, which has nothing to do with the others, it would be the largest entry."""
    units = np.array([2.4e3, 5e9, 1.6e-12, 3.2e-4, 2.4e3])
    for seed in range(10):
        round_, _ = problem(change=lambda X: convert(np.c_[X, X[:, 0] - X[:, 1]] * units), seed=seed)
        null = round_.coordinates.null
        assert null.shape == (5, 1)
        assert_array_equal(null[2:4], 0)
        assert_allclose(null[[0, 1, 4], 0] * units[[0, 1, 4]] / (null[0] * units[0]), [1, -1, -1], rtol=1e-9)


def test_a_nearly_collinear_column_is_kept():
    """Down to the rounding of its entries a column says something of its own."""
    rng = np.random.default_rng(3)
    for gap in (1e-3, 1e-6, 1e-9, 1e-11):
        round_, class_metric = problem(2, change=lambda X, gap=gap: np.c_[X, X[:, 0] + gap * rng.normal(size=N)])
        assert round_.coordinates.null.shape[1] == 0, gap
        hessian = round_.hessian(np.zeros(round_.size))
        metric = dense_of(null_curvature(round_, class_metric), round_.size)
        assert_allclose(metric, hessian, atol=1e-3)


def test_with_a_prior_nothing_is_null():
    """Collinear columns share their coefficient; the penalty decides how."""
    round_, class_metric = problem(3, C=0.3, change=lambda X: np.c_[X, X[:, 0], np.ones(N)])
    assert round_.coordinates.null.shape[1] == 0
    assert round_.coordinates.rank == P + 2
    hessian = round_.hessian(np.zeros(round_.size))
    metric = dense_of(null_curvature(round_, class_metric), round_.size)
    assert_allclose(metric, hessian, atol=1e-12 * np.abs(hessian).max())


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
def test_many_columns_get_a_diagonal_metric(convert, monkeypatch):
    monkeypatch.setattr("sklearn_mle._precondition._MAX_DENSE_FEATURES", 3)
    monkeypatch.setattr("sklearn_mle._precondition._MAX_SPARSE_FEATURES", 3)
    for C in (np.inf, 0.3):
        round_, class_metric = problem(3, C, change=lambda X: convert(np.c_[X * UNITS, np.ones(N)]))
        assert round_.coordinates.transform.shape == (P + 1,)
        hessian = round_.hessian(np.zeros(round_.size))
        metric = dense_of(null_curvature(round_, class_metric), round_.size)
        varying = np.diag(hessian) > 0
        assert_allclose(np.diag(metric)[varying], np.diag(hessian)[varying], rtol=1e-10)


def test_far_columns_are_shifted_before_the_product():
    """W x + b would lose the digits of W x; the rows of a block are shifted, X itself is not."""
    X = np.random.default_rng(0).normal(size=(N, P)) + SHIFT
    before = X.copy()
    round_, _ = problem(3, change=lambda _: X)
    assert round_.objective.samples.shift is not None
    assert_allclose(round_.coordinates.center, 0, atol=1e-4)
    assert_array_equal(X, before)


@pytest.mark.parametrize("K", [2, 3])
def test_box_coordinates_keep_the_box(K):
    layout = Layout((P, 1 if K == 2 else K))
    samples = problem(K, change=lambda X: X * UNITS)[0].objective.samples
    J = layout.widths[-1]
    rng = np.random.default_rng(4)
    lower, upper = -rng.uniform(size=(J, P)) / UNITS, np.where(rng.random((J, P)) < 0.5, np.inf, 1 / UNITS)
    coordinates, box, _ = box_coordinates(layout, samples, np.inf, (lower, upper))
    for side, bound in zip(box, (lower, upper), strict=True):
        finite = side.copy()
        finite[~np.isfinite(side)] = 0.0
        ((W, _),) = layout.unpack(coordinates.push(finite))
        assert_allclose(W, np.where(np.isfinite(bound), bound, 0.0), rtol=1e-12)
        assert np.isinf(side.reshape(J, -1)[:, -1]).all()
    theta = layout.pack([(rng.normal(size=(J, P)) / UNITS, rng.normal(size=J))])
    assert_allclose(coordinates.push(box_point(coordinates, theta)), theta, rtol=1e-12, atol=1e-12)


def test_a_constant_column_has_the_least_coefficient_in_its_box():
    samples = problem(3, change=lambda X: np.c_[X, np.full(N, 3.7)])[0].objective.samples
    lower = np.array([[-1.0], [0.2], [-np.inf]]) * np.ones(P + 1)
    upper = np.array([[np.inf], [0.5], [-0.3]]) * np.ones(P + 1)
    _, box, bounds = box_coordinates(Layout((P + 1, 3)), samples, np.inf, (lower, upper))
    for side, bound in zip(box, bounds, strict=True):
        assert_array_equal(side.reshape(3, -1)[:, P], [0.0, 0.2, -0.3])
        assert_array_equal(bound[:, P], [0.0, 0.2, -0.3])


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
def test_columns_too_large_to_square_are_named(convert):
    with pytest.raises(ValueError, match=r"too large to be squared.* in columns \[2\]"):
        problem(3, change=lambda X: convert(X * [1.0, 1.0, 1e200, 1.0]))


@pytest.mark.parametrize("C", [np.inf, 0.3])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("K", [2, 3])
def test_moments_that_are_whitened_afterwards_give_the_same_hessian(K, fit_intercept, C, monkeypatch):
    # Without an intercept columns that are far from zero are nearly collinear.
    change = CHANGES["units and shifts" if fit_intercept else "units"]
    round_, _ = problem(K, C, fit_intercept, change, weighted=True)
    psi = np.random.default_rng(1).normal(size=round_.size)
    assert round_.coordinates.mild
    afterwards = round_.hessian(psi)
    monkeypatch.setattr(_precondition, "_MILD", 0.0)
    round_.coordinates = replace(round_.coordinates)
    assert not round_.coordinates.mild
    assert_allclose(afterwards, round_.hessian(psi), rtol=1e-10, atol=1e-10 * np.abs(afterwards).max())


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize(("near", "fit_intercept"), [(True, True), (True, False), (False, True)])
def test_moments_that_are_whitened_afterwards_may_be_of_collinear_columns(near, fit_intercept, K, monkeypatch):
    def change(X):
        X = X * UNITS + (0.0 if near else SHIFT)
        # Constant, and twice a sum of two.
        return np.column_stack([X[:, 0], 0 * X[:, 0] + (not near), X, 2 * X[:, 1] - X[:, 2]])

    round_, _ = problem(K, np.inf, fit_intercept, change, weighted=True)
    coordinates = round_.coordinates
    assert coordinates.rank == P
    psi = np.random.default_rng(1).normal(size=round_.size)
    afterwards = round_.hessian(psi)
    monkeypatch.setattr(_precondition, "_MILD", 0.0)
    round_.coordinates = replace(coordinates)
    assert coordinates.mild
    assert coordinates.near == near
    assert not round_.coordinates.mild
    assert_allclose(afterwards, round_.hessian(psi), rtol=1e-10, atol=1e-10 * np.abs(afterwards).max())


def test_rows_of_nearly_collinear_columns_are_whitened_before():
    round_, _ = problem(change=lambda X: np.column_stack([X, X[:, 0] + 1e-4 * X[:, 1] ** 2]))
    assert not round_.coordinates.mild


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
def test_moments_of_rows_as_they_are_give_the_same_hessian(convert, fit_intercept, K, monkeypatch):
    round_, _ = problem(K, 2.0, fit_intercept, lambda X: convert(X + [0.0, 2.0, -1.0, 0.5]), weighted=True)
    psi = np.random.default_rng(1).normal(size=round_.size)
    assert round_.coordinates.near
    uncentred = round_.hessian(psi), round_.sampled_hessian(psi, 500)
    monkeypatch.setattr(_precondition, "_NEAR", -1.0)
    round_.coordinates = replace(round_.coordinates)
    assert not round_.coordinates.near
    for hessian, centred in zip(uncentred, (round_.hessian(psi), round_.sampled_hessian(psi, 500)), strict=True):
        assert_allclose(hessian, centred, rtol=1e-10, atol=1e-12 * np.abs(centred).max())


def test_columns_far_from_zero_are_centred_before():
    round_, _ = problem(change=CHANGES["units and shifts"])
    assert round_.coordinates.mild
    assert not round_.coordinates.near


# Where the curvature has moved


@pytest.mark.parametrize("C", [np.inf, 0.3])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_new_coordinates_are_round_where_they_were_made(fit_intercept, C, change):
    round_, _ = problem(2, C, fit_intercept, change, weighted=True)
    objective = round_.objective
    psi = np.random.default_rng(2).normal(size=round_.size)
    theta = round_.coordinates.push(psi)
    curvature = objective.row_curvature(theta)
    moved = RoundProblem(objective, rewhitened(round_.coordinates, objective.samples, curvature, C, theta))
    null = np.zeros(moved.size)
    assert_allclose(
        moved.hessian(null), np.eye(moved.size), atol=1e-3 if objective.samples.dtype == np.float32 else 1e-6
    )
    assert_allclose(moved.value_and_grad(null)[0], round_.value_and_grad(psi)[0], rtol=1e-9)


def test_columns_that_vary_in_certain_rows_alone_keep_their_coordinates():
    round_, _ = problem()
    samples = round_.objective.samples
    curvature = np.zeros(N)
    assert rewhitened(round_.coordinates, samples, curvature, np.inf, round_.coordinates.origin) is None
    curvature[:3] = 1.0
    assert rewhitened(round_.coordinates, samples, curvature, np.inf, round_.coordinates.origin) is None


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("breaks", ["nowhere", "in a row", "in a row without weight"])
def test_a_dependence_found_in_a_sample_is_looked_for_in_all_rows(breaks, fit_intercept, kind):
    n = 20_000
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3)) * [1e-4, 1.0, 1e5] + [0.0, 5.0, 0.0]
    X = np.c_[X, X @ [1e4, 2.0, 1e-5], 3 * X[:, 0] - 1e-5 * X[:, 1]]
    w = np.ones(n)
    # No stretch of rows begins with this one.
    if breaks != "nowhere":
        X[4321, 3] += 1e-3
        w[4321] = breaks == "in a row"
    samples = Samples(kind(X), rng.integers(0, 3, n).astype(np.int32), w, n_classes=3)
    coordinates, _ = null_coordinates(Layout((5, 3), fit_intercept), samples, np.inf)
    assert coordinates.rank == 3 + (breaks == "in a row")
    assert coordinates.of_sample == (breaks != "in a row")
    assert_independent(coordinates.null)
    kept = w > 0
    along = (X - coordinates.center * fit_intercept)[kept] @ coordinates.null
    size = np.abs(X[kept]) @ np.abs(coordinates.null)
    assert np.all(np.abs(along) <= 1e-12 * size.max(axis=0))
