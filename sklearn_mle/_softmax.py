"""The softmax likelihood of one block of rows, from logits alone.

Everything here works on network outputs `z` of shape (J, B), class-major. J = K holds one logit a class.
J = 1 is the model of two classes: z is the log-odds of the second, the logits are (0, z).

    -log P(y | z) = logsumexp(z) - y'z                 for any distribution y over the classes
    d/dz          = softmax(z) - y
    d2/dz2        = diag(p) - p p'                     with p = softmax(z)

Logits are shifted by their largest before `exp`, so that any logits up to +-1e300 give finite, right
log-probabilities.
"""

import numpy as np

from ._typing import FloatArray, IntArray, Targets

# The logit of a class without weight lies this far below the least favourable row's others.
ABSENT_LOGIT = 40.0
# Below this the odds for a class are a number of the type.
_MOST_LOGIT = {"d": 700, "f": 80}


def total_nll_and_residual(z: FloatArray, y: FloatArray, keep_proba: FloatArray) -> tuple[float, FloatArray]:
    """As `nll_and_residual`, of all rows together, for z (J, B) of three classes or more and distributions y (J, B).

    What a row costs is a sum of two parts, neither below zero: each may be added up by itself.
    """
    z -= z.max(axis=0)
    fit = float(np.vdot(y, z))
    np.exp(z, out=z)
    total = z.sum(axis=0)
    np.divide(z, total, out=keep_proba)
    np.subtract(keep_proba, y, out=z)
    return float(np.log(total, out=total).sum()) - fit, z


def nll_and_residual(z: FloatArray, y: Targets, keep_proba: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
    """Return the negative log-likelihood of each row, and p - y.

    Parameters
    ----------
    z : array of shape (J, B)
        Network outputs; overwritten by the residual where contiguous.
    y : array of shape (B,) of integers, or of shape (K, B)
        Class indices, or a distribution over the classes for each row.
    keep_proba : array of shape (J, B), optional
        Where to leave the probabilities. When J = 1 they are those of one of the two classes, of the wrong one where
        y holds labels: the curvature p (1 - p) is the same by either.

    Returns
    -------
    nll : array of shape (B,), in nats
    residual : array of shape (J, B), the derivative of `nll` by `z`; in the memory of `z`.
    """
    if z.shape[0] == 1:
        return _binary_nll_and_residual(z, y, keep_proba)
    if not (z.flags.c_contiguous or z.flags.f_contiguous):
        z = np.ascontiguousarray(z)
    z -= z.max(axis=0)
    if y.ndim == 1:
        # Flat indices: two-dimensional ones take as long as all the rest.
        flat = z.ravel(order="K")
        n_outputs, width = z.shape
        if z.flags.c_contiguous:
            own = y * np.intp(width) + np.arange(width)
        else:
            own = np.arange(0, n_outputs * width, n_outputs) + y
        fit = flat.take(own)
    else:
        # y = 0 at a logit of -inf never occurs (logits are finite), so 0 * z is 0.
        fit = np.einsum("kb,kb->b", y, z)
    np.exp(z, out=z)
    total = z.sum(axis=0)
    z /= total
    if keep_proba is not None:
        keep_proba[...] = z
    if y.ndim == 1:
        flat[own] -= 1
    else:
        z -= y
    return np.log(total) - fit, z


def _binary_nll_and_residual(z: FloatArray, y: Targets, keep_proba: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """J = 1: -log P = log(1 + exp(z)) - y z."""
    score = z[0]
    if y.ndim == 1:
        # Labels take half the time of distributions. (1 - 2y) z is the logit of the wrong class.
        sign = np.multiply(y, -2, dtype=score.dtype)
        sign += 1
        score *= sign
        nll = nll_and_proba_of_wrong(score)
        if keep_proba is not None:
            keep_proba[0] = score
        score *= sign
        return nll, z
    small = np.copysign(score, -1)
    np.exp(small, out=small)
    nll = np.log1p(small)
    target = y[1].astype(score.dtype, copy=False)
    # max(z, 0) - y z, without a difference: what is certain and right costs log1p(small), to its last digit.
    nll += np.where(score >= 0, 1 - target, -target) * score
    proba, other = (np.where(score >= 0, *pair) / (1 + small) for pair in ((1, small), (small, 1)))
    if keep_proba is not None:
        keep_proba[0] = proba
    # p - y, without a difference where y is certain.
    np.subtract((1 - target) * proba, target * other, out=score)
    return nll, z


def nll_and_proba_of_wrong(logit: FloatArray) -> FloatArray:
    """J = 1 with labels, from logits m (B,) of the wrong class: softplus(m); its slope, P(wrong), in place of `logit`.

    A row costs log1p(odds), and odds / (1 + odds) keeps its digits however small.
    """
    if logit.max(initial=0) < _MOST_LOGIT[logit.dtype.char]:
        np.exp(logit, out=logit)
        nll = np.log1p(logit)
        logit /= logit + 1
    else:
        nll = np.logaddexp(logit, 0)
        logit -= nll
        np.exp(logit, out=logit)
    return nll


def log_softmax(z: FloatArray) -> FloatArray:
    """Log-probabilities (K, B) of outputs (J, B); K = 2 when J = 1."""
    if z.shape[0] == 1:
        # log P(second) = -log(1 + exp(-z)); logaddexp shifts.
        return np.concatenate([-np.logaddexp(0, z), -np.logaddexp(0, -z)])
    shifted = z - z.max(axis=0)
    return shifted - np.log(np.exp(shifted).sum(axis=0))


def softmax(z: FloatArray) -> FloatArray:
    """Probabilities (K, B) of outputs (J, B); K = 2 when J = 1."""
    if z.shape[0] == 1:
        small = np.exp(-np.abs(z))
        near, far = 1 / (1 + small), small / (1 + small)
        return np.concatenate([np.where(z >= 0, far, near), np.where(z >= 0, near, far)])
    shifted = np.exp(z - z.max(axis=0))
    shifted /= shifted.sum(axis=0)
    return shifted


def one_hot(y: IntArray, n_classes: int) -> FloatArray:
    """Class indices (B,) as distributions (K, B)."""
    out = np.zeros((n_classes, len(y)))
    out[y, np.arange(len(y))] = 1.0
    return out


def curvature_product(proba: FloatArray, dz: FloatArray) -> FloatArray:
    """(diag p - p p') dz for each row, in place of `dz` (J, B) or (m, J, B); for J = 1 it is p (1 - p) dz."""
    if proba.shape[0] == 1:
        dz *= proba * (1 - proba)
        return dz
    dz -= np.einsum("kb,...kb->...b", proba, dz)[..., None, :]
    dz *= proba
    return dz
