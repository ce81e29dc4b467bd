"""The one yardstick: penalised mean negative log-likelihood, on the raw columns.

Written apart from the package and from every peer, with NumPy alone.
"""

import numpy as np


def standardise(X):
    """Columns with mean 0 and variance 1, as a careful user would scale by hand.

    Returns
    -------
    X : ndarray of shape (n, p)
    mean, scale : ndarray of shape (p,)
        A constant column keeps scale 1.
    """
    mean = X.mean(axis=0)
    scale = X.std(axis=0)
    scale[scale == 0] = 1.0
    return (X - mean) / scale, mean, scale


def to_raw(coef, intercept, mean, scale):
    """Coefficients for raw columns from those for standardised ones."""
    coef = coef / scale
    return coef, intercept - coef @ mean


def full_rows(coef, intercept, K):
    """(K, p) and (K,) from any of the layouts in use.

    A single logit (K = 2) belongs to the second class; K-1 rows lack the first class.
    """
    coef, intercept = np.atleast_2d(coef), np.atleast_1d(intercept)
    missing = K - coef.shape[0]
    return np.pad(coef, ((missing, 0), (0, 0))), np.pad(intercept, (missing, 0))


def penalised_mean_nll(X, y, coef, intercept, C, block=8192):
    """(NLL + ||W||^2 / 2C) / n in nats, row blocks summed in extended precision.

    Parameters
    ----------
    X : ndarray or sparse array of shape (n, p)
    y : ndarray of shape (n,)
        Integers 0 .. K-1.
    coef, intercept : ndarray
        In any layout that `full_rows` knows. With K = 2 a single logit is penalised,
        exactly as given.
    C : float

    Returns
    -------
    float
        nan where a coefficient is not finite.
    """
    n = X.shape[0]
    penalty = 0.0 if np.isinf(C) else np.square(coef, dtype=np.longdouble).sum() / 2 / C
    W, b = full_rows(coef, intercept, int(y.max()) + 1)
    if not (np.isfinite(W).all() and np.isfinite(b).all()):
        return float("nan")
    total = np.longdouble(0)
    for start in range(0, n, block):
        rows = slice(start, start + block)
        logits = X[rows] @ W.T + b
        logits -= logits.max(axis=1, keepdims=True)
        own = np.take_along_axis(logits, y[rows, None], axis=1)[:, 0]
        nll = np.log(np.exp(logits).sum(axis=1)) - own
        total += nll.sum(dtype=np.longdouble)
    return float((total + penalty) / n)
