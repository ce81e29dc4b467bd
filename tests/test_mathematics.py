"""The mathematics of maximum likelihood with a softmax, equation by equation.

n samples, p features, K classes; y is one-hot or any distribution over the classes, `proba` is the model's
prediction, nats everywhere. What holds for any parameters is checked at parameters drawn at random, what
holds at the estimate on a fitted `SoftmaxMLEClassifier`.
"""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import check_grad, minimize
from scipy.special import logsumexp, softmax
from sklearn.datasets import load_iris
from sklearn.metrics import log_loss

from sklearn_mle import SoftmaxMLEClassifier
from sklearn_mle.metrics import cross_entropy, log_likelihood, nll

N, P, K = 120, 4, 3


@pytest.fixture(scope="module")
def data():
    """Overlapping classes, so that the maximum exists; y soft and one-hot; weights."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(N, P))
    true = softmax(X @ rng.normal(size=(P, K)) + [0.5, 0.0, -0.5], axis=1)
    labels = np.array([rng.choice(K, p=row) for row in true])
    soft = rng.dirichlet(np.ones(K), size=N)
    return X, labels, np.eye(K)[labels], soft, rng.uniform(0.2, 3, size=N)


@pytest.fixture(scope="module")
def fitted(data):
    X, labels, *_ = data
    return SoftmaxMLEClassifier().fit(X, labels)


def unpack(theta):
    """theta = (W, b), W (K, p) row by row, then b (K,)."""
    return theta[: K * P].reshape(K, P), theta[K * P :]


def model(theta, X):
    W, b = unpack(theta)
    return softmax(X @ W.T + b, axis=1)


def parameters(estimator):
    return np.r_[estimator.coef_.ravel(), estimator.intercept_]


def random_theta(seed=0):
    return np.random.default_rng(seed).normal(size=K * (P + 1))


def gradient(theta, X, Y, w):
    """Sum of w_i (proba_i - y_i) x_i', flat in the order of theta."""
    residual = w[:, None] * (model(theta, X) - Y)
    return np.r_[(residual.T @ X).ravel(), residual.sum(axis=0)]


def hessian(theta, X, w):
    """Sum of w_i (diag proba_i - proba_i proba_i') (x) x_i x_i', with x_i = (x_i, 1) last."""
    proba = model(theta, X)
    ones = np.c_[X, np.ones(len(X))]
    full = np.zeros((K, P + 1, K, P + 1))
    for p_i, x_i, w_i in zip(proba, ones, w, strict=True):
        full += w_i * np.einsum("kl,ab->kalb", np.diag(p_i) - np.outer(p_i, p_i), np.outer(x_i, x_i))
    order = np.r_[[k * (P + 1) + j for k in range(K) for j in range(P)], [k * (P + 1) + P for k in range(K)]]
    return full.reshape(K * (P + 1), -1)[np.ix_(order, order)]


# 5. The worked example


def test_worked_example():
    y = [0, 0, 1, 0]
    proba = [0.2, 0.1, 0.65, 0.05]
    terms = [y_k * math.log(p_k) for y_k, p_k in zip(y, proba, strict=True)]
    assert sum(terms) == math.log(0.65)
    assert log_likelihood(y, proba) == pytest.approx(math.log(0.65), rel=1e-15)
    # log P(y = 2 | x), classes counted from 0: the label says the same as the vector
    assert log_likelihood(2, proba) == log_likelihood(y, proba)
    assert nll(y, proba) == cross_entropy(y, proba) == -log_likelihood(y, proba)


# 1. The last layer is a softmax: a discrete distribution over the classes


def test_the_prediction_is_the_softmax_of_the_logits(data, fitted):
    X = data[0]
    logits = X @ fitted.coef_.T + fitted.intercept_
    np.testing.assert_allclose(fitted.decision_function(X), logits, rtol=0, atol=1e-12)
    proba = fitted.predict_proba(X)
    np.testing.assert_allclose(proba, softmax(logits, axis=1), rtol=1e-12)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-14)
    assert np.all(proba > 0)
    np.testing.assert_allclose(fitted.predict_log_proba(X), np.log(proba), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[proba.argmax(axis=1)])


def test_two_classes_have_one_logit(data):
    X, labels, *_ = data
    keep = labels < 2
    binary = SoftmaxMLEClassifier().fit(X[keep], labels[keep])
    assert binary.coef_.shape == (1, P)
    assert binary.intercept_.shape == (1,)
    log_odds = X @ binary.coef_[0] + binary.intercept_[0]
    np.testing.assert_allclose(binary.decision_function(X), log_odds, rtol=0, atol=1e-12)
    expected = softmax(np.c_[np.zeros(N), log_odds], axis=1)
    np.testing.assert_allclose(binary.predict_proba(X), expected, rtol=1e-12)


# 2. Targets: one-hot, or any distribution over the classes


def test_labels_and_one_hot_are_the_same_data(data, fitted):
    X, labels, one_hot, _, w = data
    proba = fitted.predict_proba(X)
    for weight in (None, w):
        assert nll(labels, proba, sample_weight=weight) == nll(one_hot, proba, sample_weight=weight)
    again = SoftmaxMLEClassifier().fit(X, one_hot)
    np.testing.assert_array_equal(again.coef_, fitted.coef_)
    np.testing.assert_array_equal(again.intercept_, fitted.intercept_)


def test_a_distribution_is_replicated_weighted_labels(data):
    X, _, _, soft, w = data
    direct = SoftmaxMLEClassifier().fit(X, soft, sample_weight=w)
    replicated = SoftmaxMLEClassifier().fit(
        np.repeat(X, K, axis=0), np.tile(np.arange(K), N), sample_weight=(w[:, None] * soft).ravel()
    )
    np.testing.assert_allclose(replicated.coef_, direct.coef_, rtol=0, atol=1e-8)
    assert replicated.nll_ == pytest.approx(direct.nll_, rel=1e-12)


def test_the_true_distribution_as_target_gives_the_true_parameters(data):
    # y_i = softmax(W x_i + b): the score at these parameters is zero, exactly
    X, *_, w = data
    theta = random_theta(1)
    estimate = SoftmaxMLEClassifier().fit(X, model(theta, X), sample_weight=w)
    W, b = unpack(theta)
    np.testing.assert_allclose(estimate.coef_, W - W.mean(axis=0), rtol=0, atol=1e-8)
    np.testing.assert_allclose(estimate.intercept_, b - b.mean(), rtol=0, atol=1e-8)


# 3. The estimate minimises the negative log-likelihood


@pytest.mark.parametrize("target", ["labels", "soft"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_score_is_zero_at_the_estimate(data, target, weighted):
    X, labels, one_hot, soft, w = data
    w = w if weighted else np.ones(N)
    Y = one_hot if target == "labels" else soft
    estimate = SoftmaxMLEClassifier().fit(X, labels if target == "labels" else soft, sample_weight=w)
    theta = parameters(estimate)
    score = gradient(theta, X, Y, w)
    decrement = score @ np.linalg.pinv(hessian(theta, X, w), rcond=1e-10, hermitian=True) @ score / 2
    assert decrement < 1e-12  # nats that a Newton step would gain


def test_no_other_parameters_are_more_likely(data, fitted):
    X, labels, *_ = data
    theta, best = parameters(fitted), fitted.nll_
    rng = np.random.default_rng(3)
    for size in (1e-3, 1e-1, 1.0):
        for _ in range(20):
            other = theta + size * rng.normal(size=theta.size)
            assert nll(labels, model(other, X)) >= best - 1e-10
    # nor those of an optimiser that starts elsewhere and knows nothing of this package
    elsewhere = minimize(lambda t: nll(labels, model(t, X)), random_theta(2), tol=1e-10)
    assert elsewhere.fun == pytest.approx(best, abs=1e-6)
    assert elsewhere.fun >= best - 1e-10


# 4. The log-likelihood of a pair is a dot product


def test_log_likelihood_is_the_dot_product_y_log_proba(data, fitted):
    X, labels, one_hot, *_ = data
    proba = fitted.predict_proba(X)
    dots = np.einsum("ik,ik->i", one_hot, np.log(proba))
    np.testing.assert_array_equal(dots, np.log(proba[np.arange(N), labels]))
    assert log_likelihood(labels, proba) == pytest.approx(dots.sum(), rel=1e-14)
    assert fitted.log_likelihood(X, labels) == pytest.approx(dots.sum(), rel=1e-12)
    assert fitted.log_likelihood(X, one_hot) == pytest.approx(dots.sum(), rel=1e-12)


def test_the_misprint_is_minus_infinity():
    # proba' log y, with the factors swapped, is -inf for any one-hot y
    y, proba = [0.0, 0.0, 1.0, 0.0], [0.2, 0.1, 0.65, 0.05]
    assert log_likelihood(proba, y) == -np.inf
    assert log_likelihood(y, proba) == pytest.approx(math.log(0.65))


# 6. The cross-entropy


def test_cross_entropy_is_the_mean_of_minus_y_log_proba(data, fitted):
    X, labels, _, soft, _ = data
    proba = fitted.predict_proba(X)
    for Y in (np.eye(K)[labels], soft):
        by_hand = -sum(y_i @ np.log(p_i) for y_i, p_i in zip(Y, proba, strict=True)) / N
        assert cross_entropy(Y, proba) == pytest.approx(by_hand, rel=1e-13)
    assert fitted.loss_ == pytest.approx(cross_entropy(labels, proba), abs=1e-12)
    assert fitted.loss_ == pytest.approx(log_loss(labels, proba), abs=1e-12)


# 7. NLL = N CE


def test_nll_is_n_times_the_cross_entropy(data, fitted):
    X, labels, _, soft, _ = data
    for seed in range(3):
        proba = model(random_theta(seed), X)
        assert nll(soft, proba) == pytest.approx(N * cross_entropy(soft, proba), rel=1e-13)
    assert fitted.nll_ == pytest.approx(N * fitted.loss_, rel=1e-13)
    assert fitted.nll_ == pytest.approx(nll(labels, fitted.predict_proba(X)), rel=1e-12)


def test_minimising_the_mean_gives_the_same_parameters(data, fitted):
    # dividing all weights by N makes the objective the mean
    X, labels, *_ = data
    mean = SoftmaxMLEClassifier().fit(X, labels, sample_weight=np.full(N, 1 / N))
    np.testing.assert_allclose(mean.coef_, fitted.coef_, rtol=0, atol=1e-7)
    assert mean.nll_ == pytest.approx(fitted.loss_, rel=1e-10)


def test_gradients_of_sum_and_mean_differ_by_n(data):
    X, _, _, soft, _ = data
    theta, step = random_theta(), 1e-5

    def central(f):
        return np.array([(f(theta + step * e) - f(theta - step * e)) / (2 * step) for e in np.eye(theta.size)])

    of_sum = central(lambda t: nll(soft, model(t, X)))
    of_mean = central(lambda t: cross_entropy(soft, model(t, X)))
    np.testing.assert_allclose(of_sum, N * of_mean, rtol=1e-6, atol=1e-6)


# 8. Conventions at the edge


def test_zero_log_zero_is_zero_and_log_zero_is_minus_infinity():
    assert log_likelihood([0.0, 1.0], [0.0, 1.0]) == 0.0
    assert log_likelihood([1.0, 0.0], [0.0, 1.0]) == -np.inf
    assert cross_entropy([0, 1], [[0.0, 1.0], [0.0, 1.0]]) == np.inf


def test_nothing_is_clipped_where_log_loss_clips(fitted):
    rows = [[0.0, 1.0], [0.5, 0.5]]
    eps = np.finfo(np.float64).eps
    assert log_loss([0, 1], rows) == pytest.approx((-math.log(eps) + math.log(2)) / 2)
    assert cross_entropy([0, 1], rows) == np.inf
    # the fitted model never takes the logarithm of a probability: logits of 1e4 cost 1e4
    far = fitted.coef_[0] - fitted.coef_[1]
    far = far * (1e4 / (far @ far))
    log_proba = fitted.predict_log_proba(far[None])
    assert np.all(np.isfinite(log_proba))
    logits = fitted.decision_function(far[None])
    np.testing.assert_allclose(log_proba, logits - logsumexp(logits, axis=1, keepdims=True), rtol=1e-12)
    assert log_proba[0, 0] - log_proba[0, 1] > 9e3


# 9. Weights and the Gaussian prior


def test_weights_multiply_terms_and_their_sum_divides(data):
    X, _, _, soft, w = data
    proba = model(random_theta(), X)
    by_hand = -np.sum(w * np.einsum("ik,ik->i", soft, np.log(proba)))
    assert nll(soft, proba, sample_weight=w) == pytest.approx(by_hand, rel=1e-13)
    assert cross_entropy(soft, proba, sample_weight=w) == pytest.approx(by_hand / w.sum(), rel=1e-13)
    estimate = SoftmaxMLEClassifier().fit(X, soft, sample_weight=w)
    fitted_proba = estimate.predict_proba(X)
    assert estimate.nll_ == pytest.approx(nll(soft, fitted_proba, sample_weight=w), rel=1e-12)
    assert estimate.loss_ == pytest.approx(estimate.nll_ / w.sum(), rel=1e-13)


@pytest.mark.parametrize("C", [1e-2, 1.0, 1e2])
def test_the_map_estimate_balances_score_and_prior(data, C):
    # d NLL / dW + W / C = 0, and the intercept has no prior
    X, labels, one_hot, _, w = data
    estimate = SoftmaxMLEClassifier(C=C).fit(X, labels, sample_weight=w)
    dW, db = unpack(gradient(parameters(estimate), X, one_hot, w))
    np.testing.assert_allclose(dW, -estimate.coef_ / C, rtol=0, atol=1e-5)
    np.testing.assert_allclose(db, 0, rtol=0, atol=1e-5)


def test_a_wide_prior_is_the_mle(data, fitted):
    X, labels, *_ = data
    gaps = [np.abs(SoftmaxMLEClassifier(C=C).fit(X, labels).coef_ - fitted.coef_).max() for C in (1e2, 1e4, 1e6)]
    assert gaps[0] > 10 * gaps[1] > 100 * gaps[2]
    assert gaps[2] < 1e-5


# 10. The gauge


@given(
    hnp.arrays(float, (5, 4), elements=st.floats(-50, 50)),
    hnp.arrays(float, (5, 1), elements=st.floats(-1e3, 1e3)),
)
def test_a_shift_of_all_logits_changes_nothing(logits, shift):
    y = np.full((5, 4), 0.25)
    expected = log_likelihood(y, softmax(logits, axis=1))
    assert log_likelihood(y, softmax(logits + shift, axis=1)) == pytest.approx(expected, rel=1e-9)


def test_the_symmetric_gauge_is_the_minimum_norm_member(data, fitted):
    X = data[0]
    np.testing.assert_allclose(fitted.coef_.sum(axis=0), 0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(fitted.intercept_.sum(), 0, rtol=0, atol=1e-12)
    proba = fitted.predict_proba(X)
    W, b = unpack(parameters(fitted))
    rng = np.random.default_rng(4)
    shifts = [(-W[0], -b[0]), *((rng.normal(size=P), rng.normal()) for _ in range(5))]
    for dW, db in shifts:  # the first is the base class of the statistician, its logit zero
        member = np.r_[(W + dW).ravel(), b + db]
        np.testing.assert_allclose(model(member, X), proba, rtol=1e-10)
        assert np.linalg.norm(W + dW) > np.linalg.norm(W)


# Derivatives


def test_the_derivative_by_the_logits_is_the_residual(data):
    # d NLL / dz_i = w_i (proba_i - y_i), whatever made the logits
    _, _, _, soft, w = data
    rng = np.random.default_rng(5)
    z = rng.normal(size=(6, K))

    def f(flat):
        return nll(soft[:6], softmax(flat.reshape(6, K), axis=1), sample_weight=w[:6])

    def residual(flat):
        return (w[:6, None] * (softmax(flat.reshape(6, K), axis=1) - soft[:6])).ravel()

    assert check_grad(f, residual, z.ravel()) < 1e-6


def test_the_gradient_of_the_linear_model(data):
    X, _, _, soft, w = data
    theta, step = random_theta(6), 1e-5
    numerical = [
        (nll(soft, model(theta + e, X), sample_weight=w) - nll(soft, model(theta - e, X), sample_weight=w)) / (2 * step)
        for e in step * np.eye(theta.size)
    ]
    exact = gradient(theta, X, soft, w)
    np.testing.assert_allclose(numerical, exact, rtol=0, atol=1e-6 * np.abs(exact).max())


def test_the_hessian_is_free_of_y(data):
    # the same for every target, so that observed and expected information agree
    X, _, one_hot, soft, w = data
    theta, step = random_theta(8), 1e-5
    exact = hessian(theta, X, w)
    for Y in (one_hot, soft, np.full((N, K), 1 / K)):
        numerical = np.array(
            [
                (gradient(theta + e, X, Y, w) - gradient(theta - e, X, Y, w)) / (2 * step)
                for e in step * np.eye(theta.size)
            ]
        )
        np.testing.assert_allclose(numerical, exact, rtol=0, atol=1e-6 * np.abs(exact).max())


def test_the_information_is_the_covariance_of_the_score(data):
    # expectation over y drawn from the model, in closed form: sum over the classes
    X, *_ = data
    theta = random_theta(9)
    proba, ones = model(theta, X), np.ones(N)
    covariance = np.zeros((theta.size, theta.size))
    for k in range(K):
        Y = np.tile(np.eye(K)[k], (N, 1))
        for i in range(N):
            score = gradient(theta, X[[i]], Y[[i]], ones[[i]])
            covariance += proba[i, k] * np.outer(score, score)
    np.testing.assert_allclose(covariance, hessian(theta, X, ones), rtol=0, atol=1e-10 * np.abs(covariance).max())


def test_where_classes_are_separated_there_is_no_maximum():
    # the supremum is approached along a ray and never reached; a Gaussian prior has a maximum
    from sklearn_mle import SeparationWarning

    X, y = load_iris(return_X_y=True)
    with pytest.warns(SeparationWarning, match="separated"):
        estimate = SoftmaxMLEClassifier().fit(X, y == 0)
    assert estimate.nll_ < 1e-3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert SoftmaxMLEClassifier(C=1.0).fit(X, y == 0).nll_ > 1e-3
