"""`SoftmaxMLEClassifier` from outside: the contract, one promise a test."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

from sklearn_mle import SeparationWarning, SoftmaxMLEClassifier


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


# Parameters that are none

BAD_PARAMETERS = [
    {"C": 0},
    {"C": -1.0},
    {"C": np.nan},
    {"C": "1"},
    {"C": None},
    {"C": 5e-324},
    {"tol": 0},
    {"tol": -1e-3},
    {"tol": np.nan},
    {"tol": np.inf},
    {"max_iter": 0},
    {"max_iter": 1.5},
    {"solver": "sgd"},
    {"solver": None},
    {"solver_options": {"maxiter": 3}},
    {"solver_options": [("maxiter", 3)], "solver": "lbfgs"},
    {"l1_ratio": 2},
    {"l1_ratio": None},
    {"prior": "cauchy"},
    {"activation": "gelu"},
    {"fit_intercept": "no"},
    {"fit_intercept": None},
    {"warm_start": "yes"},
    {"verbose": -1},
    {"verbose": "loud"},
    {"random_state": "seed"},
    {"n_jobs": 0},
    {"n_jobs": 1.5},
    {"class_weight": "heavy"},
    {"class_weight": {7: 1.0}},
    {"n_init": 2},
    {"early_stopping": True},
    {"validation_fraction": 0.2},
    {"n_iter_no_change": 0},
]


@pytest.mark.parametrize("bad", BAD_PARAMETERS, ids=str)
def test_parameters_that_are_none_are_named(iris, bad):
    """Each ValueError names the parameter; nothing is ignored."""
    name = next(iter(bad)) if "random_state" not in bad else "RandomState"
    with pytest.raises(ValueError, match=name):
        SoftmaxMLEClassifier(**{"C": 1.0, **bad}).fit(*iris)


# Classes without weight


def test_a_class_without_weight_is_named_beside_what_separates_the_others(iris):
    X, y = iris
    with pytest.warns(SeparationWarning, match=r"without any weight.*: 2\..* completely separated: 0, 1") as caught:
        SoftmaxMLEClassifier().fit(X, y, sample_weight=(y < 2).astype(float))
    assert len(caught) == 1
    assert caught[0].filename == __file__
