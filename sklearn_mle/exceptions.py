"""Warnings of the package."""


class SeparationWarning(UserWarning):
    """The maximum-likelihood estimate does not exist: classes are completely or quasi-completely separated.

    The log-likelihood approaches its supremum only as coefficients grow without bound. The fit that comes
    with the warning is finite, and its log-likelihood is within `tol` nats of the supremum.
    """
