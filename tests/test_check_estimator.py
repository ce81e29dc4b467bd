"""scikit-learn's own checks, all of them, none expected to fail.

Some of their toy data are separated, on purpose or not, and the checks expect no silence of a classifier. Where
the maximum-likelihood estimate does not exist, `SeparationWarning` is right; anything else is an error.
"""

import warnings

from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_mle import SeparationWarning, SoftmaxMLEClassifier

ESTIMATORS = [
    SoftmaxMLEClassifier(),
    SoftmaxMLEClassifier(C=1.0),
    SoftmaxMLEClassifier(solver="trust-ncg"),
    SoftmaxMLEClassifier(solver="Newton-CG"),
    SoftmaxMLEClassifier(solver="lbfgs", C=0.1),
    SoftmaxMLEClassifier(class_weight="balanced"),
]


@parametrize_with_checks(ESTIMATORS)
def test_check_estimator(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SeparationWarning)
        check(estimator)
