"""Networks with hidden layers: the objective of MLPClassifier, its minimum, restarts, early stopping, methods."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import OptimizeResult
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, load_wine, make_classification, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_mle import SeparationWarning, SoftmaxMLEClassifier
from sklearn_mle._deep import network_outputs
from sklearn_mle._layout import Layout
from sklearn_mle._methods import METHODS
from sklearn_mle._network import Network
from sklearn_mle._network_problem import NetworkProblem
from sklearn_mle._objective import NegativeLogLikelihood
from sklearn_mle._samples import Samples

IRIS = load_iris(return_X_y=True)
MOONS = make_moons(120, noise=0.3, random_state=0)


def network(hidden=(6,), **kwargs):
    return SoftmaxMLEClassifier(hidden_layer_sizes=hidden, **{"C": 1.0, "random_state": 0, **kwargs})


def fit_mlp(X, y, hidden, activation, alpha, max_iter, seed=0):
    options = {"solver": "lbfgs", "max_iter": max_iter, "random_state": seed}
    mlp = MLPClassifier(hidden, activation=activation, alpha=alpha, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mlp.fit(X, y)


def penalised(model, X, y, C, **kwargs):
    return -model.log_likelihood(X, y, **kwargs) + sum(np.sum(W**2) for W in model.coefs_) / (2 * C)


class TestObjectiveOfMLPClassifier:
    @pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
    @pytest.mark.parametrize("hidden", [(9,), (7, 4)])
    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_loss_and_gradient_at_its_weights(self, activation, hidden, n_classes):
        X, y = IRIS
        X, y = StandardScaler().fit_transform(X), np.minimum(y, n_classes - 1)
        mlp = fit_mlp(X, y, hidden, activation, 0.7, max_iter=4)
        seen = []

        def keep_start(fun, x0, args=(), jac=None, **kwargs):
            seen.append((fun(x0), jac(x0)))
            return OptimizeResult(x=x0, fun=seen[0][0], success=True, nit=0)

        ours = network(hidden, activation=activation, C=1 / 0.7, warm_start=True, solver=keep_start)
        ours.coefs_, ours.intercepts_ = mlp.coefs_, mlp.intercepts_
        ours.fit(X, y)
        assert ours.initial_loss_ == pytest.approx(mlp.loss_, abs=1e-10)
        assert seen[0][0] / len(X) == pytest.approx(mlp.loss_, abs=1e-10)
        # A callable sees theta itself: weights (n_out, n_in) and intercepts, layer by layer.
        activations = [X] + [np.empty((len(X), n)) for n in (*hidden, mlp.n_outputs_)]
        packed = mlp._pack(mlp.coefs_, mlp.intercepts_) if hasattr(mlp, "_pack") else None
        if packed is None:
            from sklearn.neural_network._multilayer_perceptron import _pack

            packed = _pack(mlp.coefs_, mlp.intercepts_)
        grads = [np.empty_like(W) for W in mlp.coefs_], [np.empty_like(b) for b in mlp.intercepts_]
        deltas = [np.empty_like(a) for a in activations[1:]]
        Y = mlp._label_binarizer.transform(y)
        try:
            mlp._loss_grad_lbfgs(packed, X, Y, None, activations, deltas, *grads)
        except TypeError:  # before sample weights
            mlp._loss_grad_lbfgs(packed, X, Y, activations, deltas, *grads)
        layers = [part.ravel() for W, b in zip(*grads, strict=True) for part in (W.T, b)]
        np.testing.assert_allclose(seen[0][1] / len(X), np.concatenate(layers), atol=1e-8)
        assert ours.out_activation_ == mlp.out_activation_
        assert ours.n_layers_ == mlp.n_layers_
        assert [W.shape for W in ours.coefs_] == [W.shape for W in mlp.coefs_]
        assert [b.shape for b in ours.intercepts_] == [b.shape for b in mlp.intercepts_]
        np.testing.assert_allclose(ours.predict_proba(X), mlp.predict_proba(X), atol=1e-12)

    def test_the_loss_at_the_start_is_there_after_one_iteration(self):
        X, y = IRIS
        mlp = fit_mlp(X, y, (5,), "tanh", 1.0, max_iter=30)
        ours = network((5,), warm_start=True, max_iter=1)
        ours.coefs_, ours.intercepts_ = mlp.coefs_, mlp.intercepts_
        with pytest.warns(ConvergenceWarning):
            ours.fit(X, y)
        assert ours.initial_loss_ == pytest.approx(mlp.loss_, abs=1e-10)
        assert len(ours.loss_curve_) == ours.n_iter_ == 1
        assert ours.loss_curve_[0] < ours.initial_loss_


class TestMinimum:
    @pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "softplus"])
    def test_the_gradient_vanishes(self, activation):
        X, y = StandardScaler().fit_transform(IRIS[0]), IRIS[1]
        model = network(activation=activation, C=1.0, tol=1e-6).fit(X, y)
        assert model.converged_
        layout = Layout((4, 6, 3))
        objective = NegativeLogLikelihood(Network(layout, activation), Samples(X, y, None, n_classes=3), 1.0)
        theta = layout.pack([(W.T, b) for W, b in zip(model.coefs_, model.intercepts_, strict=True)])
        value, grad = objective.value_and_grad(theta)
        assert value == pytest.approx(penalised(model, X, y, 1.0), rel=1e-12)
        assert np.abs(grad).max() < 0.02
        assert value / len(X) == pytest.approx(model.loss_curve_[-1], rel=1e-10)

    def test_loss_is_log_loss(self):
        model = network().fit(*MOONS)
        assert model.loss_ == pytest.approx(log_loss(MOONS[1], model.predict_proba(MOONS[0])), rel=1e-10)
        assert model.nll_ == pytest.approx(-model.log_likelihood(*MOONS), rel=1e-12)

    def test_an_identity_network_is_the_linear_model(self):
        X, y = make_classification(300, 5, n_informative=4, n_redundant=0, n_classes=3, flip_y=0.2, random_state=0)
        linear = SoftmaxMLEClassifier().fit(X, y)
        deep = network((4,), activation="identity", C=np.inf).fit(X, y)
        assert deep.nll_ == pytest.approx(linear.nll_, abs=2e-3)

    @pytest.mark.parametrize("max_iter", [300, 350])
    def test_fits_that_are_ended_on_the_way_say_so(self, max_iter):
        """Two spirals: two hundred rows that a network follows for a thousand iterations."""
        y = np.arange(200) % 2
        t = np.sqrt(np.random.default_rng(1).uniform(0.02, 1, size=200))
        angle = 3.5 * np.pi * t + np.pi * y
        X = t[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        fits = {}
        for iterations in (max_iter, 2 * max_iter):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                fits[iterations] = network((20, 20), C=1e4, max_iter=iterations).fit(X, y)
            assert fits[iterations].converged_ == (not caught)
        gained = fits[max_iter].optimize_result_.fun - fits[2 * max_iter].optimize_result_.fun
        assert gained > 2 * fits[max_iter].tol
        assert not fits[max_iter].converged_

    def test_units_that_do_the_same_do_not_stand_in_the_way(self):
        """The Gauss-Newton Hessian has no curvature between them; the objective has that of the prior."""
        X, y = make_moons(500, noise=0.25, random_state=0)
        model = network((32,), C=0.1, max_iter=1000).fit(X, y)
        assert model.converged_
        better = network((32,), C=0.1, tol=1e-7, max_iter=5000).fit(X, y)
        assert model.optimize_result_.fun <= better.optimize_result_.fun + model.tol

    def test_no_worse_than_mlp_classifier(self):
        X, y = make_classification(400, 10, n_informative=6, n_classes=3, random_state=0)
        theirs = [fit_mlp(X, y, (10,), "tanh", 1.0, max_iter=500, seed=seed).loss_ for seed in range(7)]
        ours = [network((10,), random_state=seed).fit(X, y).loss_curve_[-1] for seed in range(7)]
        assert np.median(ours) < np.median(theirs) + 0.01

    def test_separable_data_without_a_prior_end_at_the_supremum(self):
        X, y = IRIS[0][:100], IRIS[1][:100]
        model = network(C=np.inf).fit(X, y)
        assert model.converged_
        assert model.nll_ <= model.tol
        assert np.isfinite(model.predict_log_proba(X)).all()

    def test_units_of_the_columns_do_not_matter_without_a_prior(self):
        X, y = MOONS
        one = network(C=np.inf, max_iter=15)
        other = clone(one)
        with pytest.warns(ConvergenceWarning):
            one.fit(X, y)
        with pytest.warns(ConvergenceWarning):
            other.fit(X * [1e-3, 1e4] + [0.5, -7e4], y)
        np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-5)

    def test_integer_weights_are_repetitions(self):
        X, y = MOONS
        w = np.random.default_rng(0).integers(0, 3, size=len(y))
        weighted = network(tol=1e-8).fit(X, y, sample_weight=w)
        repeated = network(tol=1e-8).fit(X.repeat(w, axis=0), y.repeat(w))
        np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-4)

    def test_soft_targets(self):
        X, y = IRIS
        hard = network().fit(X, y)
        onehot = network().fit(X, np.eye(3)[y])
        np.testing.assert_array_equal(hard.coefs_[0], onehot.coefs_[0])
        Y = np.random.default_rng(0).dirichlet(np.ones(3), size=len(X))
        soft = network().fit(X, Y)
        assert soft.nll_ == pytest.approx(-np.sum(Y * soft.predict_log_proba(X)), rel=1e-10)

    def test_class_without_weight(self):
        X, y = IRIS
        with pytest.warns(SeparationWarning, match="2"):
            model = network().fit(X, y, sample_weight=(y != 2).astype(float))
        assert model.coefs_[-1].shape == (6, 3)
        assert model.predict_proba(X)[:, 2].max() < 1e-15

    def test_without_intercepts(self):
        model = network(fit_intercept=False).fit(*MOONS)
        assert not any(b.any() for b in model.intercepts_)


class TestData:
    def test_sparse_rows_are_dense_rows(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(150, 6)) * (rng.uniform(size=(150, 6)) < 0.4)
        y = rng.integers(3, size=150)
        theta, found = None, []
        layout = Layout((6, 5, 3))
        theta = rng.normal(size=layout.size)
        for rows in (X, sparse.csr_array(X)):
            objective = NegativeLogLikelihood(Network(layout, "tanh"), Samples(rows, y, None, n_classes=3), 1.0)
            problem = NetworkProblem(objective, X.mean(axis=0), np.ones(6))
            found.append(problem.curvature(theta).solve(problem.value_and_grad(theta)[1]))
        np.testing.assert_allclose(found[0], found[1], rtol=1e-8)
        model = network().fit(sparse.csr_matrix(X), y)
        np.testing.assert_allclose(model.predict_proba(sparse.coo_array(X)), model.predict_proba(X), atol=1e-12)

    def test_wide_sparse_rows_stay_sparse(self):
        rng = np.random.default_rng(0)
        X = sparse.random_array((400, 50_000), density=2e-4, rng=rng, format="csr")
        y = rng.integers(2, size=400)
        model = network((4,), max_iter=3)
        tracemalloc.start()
        with pytest.warns(ConvergenceWarning):
            model.fit(X, y)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # Dense rows would take 160 MB; theta has 200,000 entries, of which L-BFGS-B keeps some dozens of copies.
        assert peak < 110e6

    def test_activations_are_kept_for_one_block_at_a_time(self):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(60_000, 2)), rng.integers(2, size=60_000)
        model = network((100,), max_iter=2, n_jobs=1)
        tracemalloc.start()
        with pytest.warns(ConvergenceWarning):
            model.fit(X, y)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # One layer of activations would take 48 MB.
        assert peak < 25e6

    def test_float32_stays(self):
        X, y = StandardScaler().fit_transform(IRIS[0]).astype(np.float32), IRIS[1]
        model = network().fit(X, y)
        assert all(part.dtype == np.float32 for part in (*model.coefs_, *model.intercepts_))
        assert model.decision_function(X).dtype == np.float32
        double = network().fit(X.astype(np.float64), y)
        assert model.loss_curve_[-1] == pytest.approx(double.loss_curve_[-1], rel=1e-4)

    def test_predictions_do_not_depend_on_blocks(self, monkeypatch):
        X, y = MOONS
        model = network((5, 4)).fit(X, y)
        layers = [(W.T, b) for W, b in zip(model.coefs_, model.intercepts_, strict=True)]
        whole = network_outputs(X, layers, "tanh")
        monkeypatch.setattr(Samples, "_rows_per_block", lambda self: 7)
        np.testing.assert_allclose(network_outputs(X, layers, "tanh", 2), whole, rtol=1e-12)

    def test_single_precision_starts_and_double_ends(self, monkeypatch):
        X, y = make_classification(500, 10, n_informative=6, n_classes=3, random_state=0)
        double = network((10,)).fit(X, y)
        monkeypatch.setattr("sklearn_mle._descent._SINGLE_WORK", 0)
        mixed = network((10,)).fit(X, y)
        assert mixed.converged_
        assert mixed.loss_curve_[-1] * len(X) == pytest.approx(penalised(mixed, X, y, 1.0), rel=1e-10)
        assert mixed.loss_curve_[0] == pytest.approx(double.loss_curve_[0], rel=1e-3)


class TestEstimator:
    def test_coef_says_why_it_is_not_there(self):
        model = network().fit(*MOONS)
        assert not hasattr(model, "coef_")
        with pytest.raises(AttributeError, match="hidden layers"):
            _ = model.intercept_
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = model.nothing
        assert not hasattr(network(), "coef_")

    def test_refitting_as_the_other_model_leaves_nothing_behind(self):
        X, y = MOONS
        model = network().fit(X, y).set_params(hidden_layer_sizes=()).fit(X, y)
        assert model.coef_.shape == (1, 2)
        assert not hasattr(model, "n_layers_")
        model.set_params(hidden_layer_sizes=(3,)).fit(X, y)
        assert not hasattr(model, "coef_")

    def test_same_seed_same_fit(self):
        one, two = network().fit(*MOONS), network().fit(*MOONS)
        np.testing.assert_array_equal(one.coefs_[0], two.coefs_[0])
        copy = pickle.loads(pickle.dumps(one))
        np.testing.assert_array_equal(copy.predict_proba(MOONS[0]), one.predict_proba(MOONS[0]))

    def test_more_starts_are_no_worse(self):
        one = network((3,), C=10.0).fit(*MOONS)
        many = network((3,), C=10.0, n_init=5).fit(*MOONS)
        assert penalised(many, *MOONS, 10.0) <= penalised(one, *MOONS, 10.0) + 1e-9

    def test_warm_start_goes_on(self):
        model = network(warm_start=True, max_iter=5)
        with pytest.warns(ConvergenceWarning):
            model.fit(*MOONS)
        before = model.loss_curve_[-1]
        model.set_params(max_iter=1000).fit(*MOONS)
        assert model.initial_loss_ == pytest.approx(before, rel=1e-10)
        assert model.loss_curve_[-1] < before
        with pytest.raises(ValueError, match="fresh clone"):
            model.set_params(hidden_layer_sizes=(7,)).fit(*MOONS)

    @pytest.mark.parametrize(
        "parameters, match",
        [
            ({"bounds": (-1, 1)}, "bounds"),
            ({"l1_ratio": 0.5}, "l1_ratio"),
            ({"prior": "jeffreys", "C": np.inf}, "jeffreys"),
            ({"n_init": 0}, "n_init"),
            ({"early_stopping": "yes"}, "early_stopping"),
            ({"early_stopping": True, "validation_fraction": 1.5}, "validation_fraction"),
            ({"validation_fraction": 0.3}, "validation_fraction"),
            ({"hidden_layer_sizes": (5, 0)}, "hidden_layer_sizes"),
            ({"hidden_layer_sizes": (2.5,)}, "hidden_layer_sizes"),
            ({"activation": "sine"}, "activation"),
        ],
    )
    def test_what_does_not_apply_is_refused(self, parameters, match):
        with pytest.raises(ValueError, match=match):
            network().set_params(**parameters).fit(*MOONS)

    @pytest.mark.parametrize("sizes", [5, [5], np.array([5])])
    def test_sizes_as_mlp_classifier_takes_them(self, sizes):
        assert network(sizes).fit(*MOONS).coefs_[0].shape == (2, 5)


class TestEarlyStopping:
    def test_the_best_iterate_for_the_rows_held_out(self):
        X, y = make_moons(200, noise=0.4, random_state=0)
        model = network((20,), C=np.inf, early_stopping=True, validation_fraction=0.25).fit(X, y)
        curve = model.validation_loss_curve_
        assert model.best_validation_loss_ == min(curve)
        assert len(curve) == model.n_iter_ >= np.argmin(curve) + 1
        assert len(curve) - 1 - np.argmin(curve) <= model.n_iter_no_change
        assert model.converged_
        fresh = make_moons(2000, noise=0.4, random_state=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            overfit = network((20,), C=np.inf).fit(X, y)
        assert model.log_likelihood(*fresh) > overfit.log_likelihood(*fresh)

    def test_each_class_is_held_out_in_proportion(self):
        X, y = IRIS
        model = network(early_stopping=True, validation_fraction=0.2).fit(X, y)
        rows = -model.nll_ / model.loss_
        assert rows == pytest.approx(-120)

    def test_some_samples_must_be_left(self):
        X, y = IRIS[0][48:53], IRIS[1][48:53]
        with pytest.raises(ValueError, match="validation_fraction"):
            network(early_stopping=True, validation_fraction=0.01).fit(X, y)

    def test_any_method(self):
        model = network(early_stopping=True, solver="TNC", C=np.inf).fit(*make_moons(200, noise=0.4, random_state=0))
        assert model.best_validation_loss_ == min(model.validation_loss_curve_)


class TestMethods:
    @pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
    def test_every_method_trains_a_small_network(self, method):
        X, y = MOONS
        limit = 60 if method.name in ("COBYQA", "COBYLA", "Powell", "Nelder-Mead") else 200
        model = network((2,), solver=method.name, max_iter=limit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, y)
        assert model.loss_curve_[-1] < 0.9 * model.initial_loss_

    @pytest.mark.parametrize("name", ["Newton-CG", "trust-ncg", "trust-krylov", "L-BFGS-B", "BFGS", "TNC"])
    def test_methods_with_derivatives_converge(self, name):
        model = network((3,), solver=name).fit(*MOONS)
        assert model.converged_

    @pytest.mark.parametrize("name", ["dogleg", "trust-exact", "COBYQA", "BFGS"])
    def test_methods_on_dense_matrices_say_why_they_cannot(self, name):
        X, y = np.random.default_rng(0).normal(size=(30, 300)), np.arange(30) % 2
        with pytest.raises(ValueError, match="parameters"):
            network((50,), solver=name).fit(X, y)

    def test_options_that_a_method_does_not_know(self):
        with pytest.raises(ValueError, match="Unknown solver options"):
            network(solver="BFGS", solver_options={"colour": 1}).fit(*MOONS)


@parametrize_with_checks([SoftmaxMLEClassifier(hidden_layer_sizes=(8,))])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn_mle.SeparationWarning")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


class TestValleys:
    """Where L-BFGS-B goes on for thousands of steps."""

    @pytest.mark.parametrize("C", [100.0, 1.0, 0.01])
    @pytest.mark.parametrize("load", [load_wine, load_breast_cancer])
    def test_raw_columns_converge(self, load, C):
        X, y = load(return_X_y=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = network(C=C).fit(X, y)
        assert model.converged_
        assert model.n_iter_ < 300

    @pytest.mark.parametrize("solver", ["L-BFGS-B", "BFGS"])
    @pytest.mark.parametrize("C", [1.0, 0.01])
    def test_named_methods_are_asked_for_more_until_they_have_converged(self, C, solver):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            network(C=C, solver=solver).fit(*load_wine(return_X_y=True))

    @pytest.mark.parametrize(("activation", "C"), [("relu", 1.0), ("tanh", np.inf)])
    def test_hessians_are_not_taken_where_they_do_not_help(self, activation, C, monkeypatch):
        monkeypatch.setattr(NetworkProblem, "hessian", None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            network(activation=activation, C=C, max_iter=150).fit(*load_wine(return_X_y=True))
