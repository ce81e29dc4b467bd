"""Probabilities as functions of the estimate: intervals for them, and average marginal effects.

All errors are by the delta method: a function g of psi has the covariance J (R'R) J', J = dg / dpsi, R the
factor of the covariance of psi (`_covariance`).
"""

from typing import Any

import numpy as np
from scipy.special import expit

from ._block import Block
from ._jeffreys import quadratic_forms, whitened_rows
from ._maximum import Maximum
from ._samples import Samples
from ._softmax import log_softmax, softmax
from ._typing import BoolArray, FloatArray


def probability_intervals(
    maximum: Maximum, samples: Samples, factor: FloatArray, quantile: float
) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends, (n, K) each, of P(class k) for each row.

    They are those of the log-odds of k against all other classes, whose derivative by the logit of class c is
    1 for c = k and -P(c | not k) otherwise, mapped to [0, 1].
    """
    coordinates, network = maximum.problem.coordinates, maximum.problem.objective.network
    theta = coordinates.push(np.zeros(coordinates.size))
    covariance = factor.T @ factor
    basis = maximum.class_basis
    parts: list[tuple[FloatArray, FloatArray]] = []

    def block_ends(block: Block) -> tuple[FloatArray, FloatArray]:
        log_proba = log_softmax(network.forward(theta, block))
        forms = quadratic_forms(covariance, whitened_rows(coordinates, block), coordinates.shape)
        lower, upper = np.empty_like(log_proba), np.empty_like(log_proba)
        for k in range(len(log_proba)):
            others = np.delete(log_proba, k, axis=0)
            top = others.max(axis=0)
            log_rest = top + np.log(np.exp(others - top).sum(axis=0))
            derivative = -np.exp(np.insert(others - log_rest, k, 0.0, axis=0))
            derivative[k] = 1.0
            pull = basis.T @ derivative
            variance = np.einsum("mb,mnb,nb->b", pull, forms, pull, optimize=True)
            half = quantile * np.sqrt(np.maximum(variance, 0.0))
            logit = log_proba[k] - log_rest
            lower[k], upper[k] = expit(logit - half), expit(logit + half)
        return lower, upper

    samples.each(block_ends, parts.append)
    lower, upper = (np.hstack([part[side] for part in parts]).T for side in (0, 1))
    return np.ascontiguousarray(lower), np.ascontiguousarray(upper)


def average_effects(maximum: Maximum, samples: Samples, factor: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weighted mean over rows of dP(class) / dx, (K, p), and its standard errors.

    With beta the weights of the classes and A = mean of (diag p - p p'), the effects are A beta. Their derivative
    by psi needs moments of p with the whitened rows v alone:

        d(A beta)_kj / dz_c v  =  delta_kc (beta_kj <p_k v> - sum_l beta_lj <p_k p_l v>)
                                  - (beta_kj + beta_cj) <p_k p_c v> + 2 sum_l beta_lj <p_k p_c p_l v>
    """
    coordinates, network = maximum.problem.coordinates, maximum.problem.objective.network
    theta = coordinates.push(np.zeros(coordinates.size))
    n_classes = maximum.n_classes

    def block_terms(block: Block) -> tuple[FloatArray, ...]:
        p = softmax(network.forward(theta, block))
        rows = whitened_rows(coordinates, block)
        weighted = p if block.w is None else p * block.w
        pairs = (weighted[:, None] * p).reshape(n_classes**2, -1)
        triples = np.stack([(pairs * p[k]) @ rows.T for k in range(n_classes)])
        return weighted.sum(axis=1), pairs.sum(axis=1), weighted @ rows.T, pairs @ rows.T, triples

    shares, pairs, first, second, third = (part / samples.total_weight for part in samples.sum(block_terms))
    q = first.shape[1]
    second = second.reshape(n_classes, n_classes, q)
    # (l, k, c, q)
    third = third.reshape(n_classes, n_classes, n_classes, q)
    A = np.diag(shares) - pairs.reshape(n_classes, n_classes)
    n_features = samples.n_features
    beta = maximum.class_parameters[:, :n_features]
    beta = beta - beta.mean(axis=0)
    basis = maximum.class_basis
    by_logits = 2 * np.einsum("lj,lkcq->kjcq", beta, third, optimize=True)
    by_logits -= np.einsum("kj,kcq->kjcq", beta, second) + np.einsum("cj,kcq->kjcq", beta, second)
    own = beta[:, :, None] * first[:, None, :] - np.einsum("lj,klq->kjq", beta, second, optimize=True)
    for k in range(n_classes):
        by_logits[k, :, k, :] += own[k]
    jacobian = np.einsum("kjcq,cm->kjmq", by_logits, basis, optimize=True)
    jacobian += np.einsum("km,jq->kjmq", A @ basis, maximum.feature_map[:n_features])
    return A @ beta, _errors(jacobian, factor)


def discrete_effects(
    maximum: Maximum, samples: Samples, factor: FloatArray, columns: list[int]
) -> tuple[FloatArray, FloatArray]:
    """Weighted mean over rows of P(class | x_j = 1) - P(class | x_j = 0) for some columns, (K, len(columns)) each."""
    coordinates, network = maximum.problem.coordinates, maximum.problem.objective.network
    theta = coordinates.push(np.zeros(coordinates.size))
    weights = maximum.weights
    transform = maximum.feature_map[: samples.n_features]
    basis = maximum.class_basis

    def block_terms(block: Block) -> tuple[FloatArray, FloatArray]:
        z, rows, w = network.forward(theta, block), whitened_rows(coordinates, block), block.weights()
        effects = np.zeros((maximum.n_classes, len(columns)))
        jacobian = np.zeros((maximum.n_classes, len(columns), *coordinates.shape))
        for at, j in enumerate(columns):
            x = column(block, j, samples.shift)
            for value, sign in ((1.0, 1.0), (0.0, -1.0)):
                p = softmax(z + np.outer(weights[:, j], value - x))
                effects[:, at] += sign * (p @ w)
                moved = (rows + np.outer(transform[j], value - x)) * w
                for m in range(basis.shape[1]):
                    # (diag p - p p') Q_m, the derivative of p by logit m.
                    change = p * (basis[:, m, None] - basis[:, m] @ p)
                    jacobian[:, at, m] += sign * (change @ moved.T)
        return effects, jacobian

    effects, jacobian = (part / samples.total_weight for part in samples.sum(block_terms))
    return effects, _errors(jacobian, factor)


def column(block: Block, j: int, shift: FloatArray | None) -> FloatArray:
    """Entries of column j as they were handed in, (B,)."""
    part: Any = block.X[:, [j]]
    entries = np.asarray(part.toarray() if hasattr(part, "toarray") else part, dtype=np.float64)[:, 0]
    return entries if shift is None else np.round(entries + shift[j], 9)


def zero_one_columns(samples: Samples) -> BoolArray:
    """Columns that hold zeros and ones, both of them and nothing else, (p,)."""
    plain = Samples(samples.X, samples.y, None, n_classes=samples.n_classes, n_threads=samples.n_threads)

    def block_terms(block: Block) -> tuple[FloatArray, FloatArray]:
        rows = np.asarray(block.X.toarray() if hasattr(block.X, "toarray") else block.X)
        return ((rows != 0) & (rows != 1)).sum(axis=0), rows.astype(np.float64).sum(axis=0)

    others, ones = plain.sum(block_terms)
    return (others == 0) & (ones > 0) & (ones < samples.n_rows)


def _errors(jacobian: FloatArray, factor: FloatArray) -> FloatArray:
    """Standard errors, (K, m), of functions with a Jacobian (K, m, M, q)."""
    shape = jacobian.shape[:2]
    return np.linalg.norm(factor @ jacobian.reshape(shape[0] * shape[1], -1).T, axis=0).reshape(shape)
