"""Displays draw what they were given, on the axes that they were given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from sklearn_mle import SoftmaxMLEClassifier
from sklearn_mle.display import CoefficientDisplay, LossCurveDisplay, ProfileLikelihoodDisplay
from sklearn_mle.inference import LikelihoodInference


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def inference():
    X, y = load_wine(return_X_y=True)
    X = X[:, :3]
    return LikelihoodInference.from_estimator(SoftmaxMLEClassifier().fit(X, y), X, y)


def test_the_loss_curve():
    X, y = load_wine(return_X_y=True)
    model = make_pipeline(StandardScaler(), SoftmaxMLEClassifier(C=1.0, solver="lbfgs")).fit(X, y)
    display = LossCurveDisplay.from_estimator(model, color="red")
    assert_allclose(display.line_.get_ydata(), model[-1].loss_curve_)
    assert display.ax_.figure is display.figure_
    _, ax = plt.subplots()
    again = display.plot(ax, name="mine", above_best=True)
    assert again is display
    assert display.ax_ is ax
    assert ax.get_yscale() == "log"
    assert (display.line_.get_ydata() > 0).all()
    with pytest.raises(ValueError, match="loss_curve_"):
        LossCurveDisplay.from_estimator(LogisticRegression())


@pytest.mark.parametrize("method", ["wald", "profile"])
def test_coefficients(inference, method):
    display = CoefficientDisplay.from_inference(inference, level=0.9, method=method)
    assert display.feature_names == ["x0", "x1", "x2"]
    assert len(display.containers_) == 2
    assert_allclose(display.containers_[0].lines[0].get_xdata(), inference.coef_[0, :3])
    assert_allclose(display.intervals, inference.conf_int(0.9, method)[:, :3])
    segments = display.containers_[1].lines[2][0].get_segments()
    assert_allclose([s[:, 0] for s in segments], display.intervals[1])
    display.plot(odds_ratios=True)
    assert_allclose(display.containers_[0].lines[0].get_xdata(), np.exp(inference.coef_[0, :3]))
    assert display.ax_.get_xscale() == "log"


def test_coefficients_by_name(inference):
    display = CoefficientDisplay.from_inference(inference, features=["intercept", "x1"])
    assert_allclose(display.coef, inference.coef_[:, [3, 1]])
    with pytest.raises(ValueError, match="nothing"):
        CoefficientDisplay.from_inference(inference, features=["nothing"])


def test_names_of_a_pipeline():
    X, y = load_wine(return_X_y=True, as_frame=True)
    powers = ColumnTransformer([("powers", PolynomialFeatures(2, include_bias=False), ["alcohol", "ash"])])
    model = make_pipeline(powers, SoftmaxMLEClassifier()).fit(X, y)
    found = LikelihoodInference.from_estimator(model, X, y)
    display = CoefficientDisplay.from_inference(found, features=["ash", "powers__alcohol^2"])
    assert display.feature_names == [f"powers__{name}" for name in ("ash", "alcohol ash", "ash^2", "alcohol^2")]
    assert_allclose(display.coef, found.coef_[:, [1, 3, 4, 2]])
    with pytest.raises(ValueError, match="stands for 3 columns"):
        ProfileLikelihoodDisplay.from_inference(found, "ash", target=2)


def test_a_profile(inference):
    _, ax = plt.subplots()
    display = ProfileLikelihoodDisplay.from_inference(inference, "x1", target=2, n_points=9, ax=ax)
    assert display.ax_ is ax
    y = display.line_.get_ydata()
    assert_allclose(y[4], 0, atol=1e-8)
    assert (y[[0, -1]] < -1.92).all()
    # near the estimate the profile is its parabola
    assert_allclose(y[3:6], display.parabola_.get_ydata()[3:6], atol=0.05)
    for wrong in ({"feature": "x9", "target": 2}, {"feature": "x1"}, {"feature": "x1", "target": 0}):
        with pytest.raises(ValueError, match=r"x9|target|base class"):
            ProfileLikelihoodDisplay.from_inference(inference, **wrong)
