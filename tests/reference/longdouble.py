"""Maximum likelihood in extended precision, with nothing taken from the package.

A damped Newton method for the linear softmax model in ``numpy.longdouble`` (80-bit on
x86: eps = 1.1e-19). Columns are centred and scaled first, linear dependence is found
by a pivoted orthogonalisation, and everything is carried back to the original units in
extended precision, so that a double-precision result can be judged to its last digits.

Shapes: n rows, p columns, K classes, r independent columns, d = (K - 1)(r + 1) free
parameters. A parameter array has shape (K - 1, r + 1): the logit of class k + 1
relative to class 0, intercept last. NumPy's LAPACK has no extended precision, hence
the few lines of linear algebra.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LD = np.longdouble
RANK_TOL = LD(1e-11)  # of a column's norm: far above rounding (1e-16 x mean / sd)


# ------------------------------------------------------------------ linear algebra


def cholesky(H):
    """Lower triangular L with L L' = H."""
    L = np.zeros_like(H)
    for j in range(len(H)):
        pivot = H[j, j] - L[j, :j] @ L[j, :j]
        if not pivot > 0:
            raise np.linalg.LinAlgError(f"pivot {j} is {float(pivot):.3g}")
        L[j, j] = np.sqrt(pivot)
        L[j + 1 :, j] = (H[j + 1 :, j] - L[j + 1 :, :j] @ L[j, :j]) / L[j, j]
    return L


def solve_triangular(L, B, *, transposed=False):
    """Solve L Z = B, or L' Z = B."""
    Z = np.array(B, dtype=LD)
    order = range(len(L))
    for i in reversed(order) if transposed else order:
        done = L[i + 1 :, i] @ Z[i + 1 :] if transposed else L[i, :i] @ Z[:i]
        Z[i] = (Z[i] - done) / L[i, i]
    return Z


def solve(L, B):
    """Solve L L' Z = B."""
    return solve_triangular(L, solve_triangular(L, B), transposed=True)


def independent_columns(Z):
    """Pick a maximal set of independent columns by pivoted Gram-Schmidt, done twice.

    Returns
    -------
    kept : list of int
        Indices of the columns kept, in the order of the pivots.
    T : ndarray of shape (len(kept), p - len(kept))
        The others, in increasing order, are Z[:, kept] @ T up to rounding.
    """
    Q = np.array(Z)
    norms0 = np.sqrt((Q * Q).sum(axis=0))
    kept, left, basis = [], list(range(Q.shape[1])), []
    while left:
        relative = np.sqrt((Q[:, left] ** 2).sum(axis=0)) / norms0[left]
        best = int(np.argmax(relative))
        if not relative[best] > RANK_TOL:
            break
        j = left.pop(best)
        q = Q[:, j].copy()
        for b in basis:
            q -= b * (b @ q)
        q /= np.sqrt(q @ q)
        basis.append(q)
        kept.append(j)
        for _ in range(2):
            Q[:, left] -= np.outer(q, q @ Q[:, left])
    left.sort()
    if not left:
        return kept, np.zeros((len(kept), 0), LD)
    B = np.column_stack(basis)
    R = B.T @ Z[:, kept]  # upper triangular
    return kept, solve_triangular(R.T.copy(), B.T @ Z[:, left], transposed=True)


# ---------------------------------------------------------------------- the problem


@dataclass
class Problem:
    """Rows in centred and scaled columns, and the way back.

    Attributes
    ----------
    Z : (n, r + 1) longdouble, independent columns and a last column of ones
    Y : (n, K) one-hot
    w : (n,) weights, all positive
    rows : indices of the rows kept (positive weight)
    mean, scale : (p,) of the original columns; scale 0 marks a constant column
    kept : indices of the columns in Z
    null : (p, p - r) orthonormal: X @ null is constant, in original units
    """

    Z: np.ndarray
    Y: np.ndarray
    w: np.ndarray
    rows: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    kept: list
    null: np.ndarray

    @property
    def n_classes(self):
        return self.Y.shape[1]

    def to_contrasts(self, theta):
        """Scaled (K - 1, r + 1) -> original units (K - 1, p + 1), dropped columns 0."""
        theta = theta.reshape(self.n_classes - 1, -1)
        out = np.zeros((len(theta), len(self.mean) + 1), LD)
        out[:, self.kept] = theta[:, :-1] / self.scale[self.kept]
        out[:, -1] = theta[:, -1] - out[:, :-1] @ self.mean
        return out

    def to_minimum_norm(self, theta):
        """The maximiser of least norm of its weights: (K, p + 1), or one row if K = 2.

        Classes are centred (the symmetric gauge) and each class's weights projected on
        the complement of the directions along which the logits do not change.
        """
        full = theta.reshape(self.n_classes - 1, -1)
        if self.n_classes > 2:
            full = np.vstack([np.zeros((1, full.shape[1]), LD), full])
            full = full - full.mean(axis=0)
        W = np.zeros((len(full), len(self.mean)), LD)
        W[:, self.kept] = full[:, :-1] / self.scale[self.kept]
        for _ in range(2):
            W = W - (W @ self.null) @ self.null.T
        return np.column_stack([W, full[:, -1] - W @ self.mean])


def make_problem(X, y, weights, classes, *, drop_dependent=True):
    """Centre, scale and reduce the data; rows of zero weight say nothing and go.

    `drop_dependent=False` keeps every column that varies (for penalised fits, which
    have a unique solution without).
    """
    w = np.ones(len(X), LD) if weights is None else np.asarray(weights, LD)
    rows = np.flatnonzero(w > 0)
    X, w, y = np.asarray(X, LD)[rows], w[rows], np.asarray(y)[rows]
    mean = (w @ X) / w.sum()
    Xc = X - mean
    scale = np.sqrt((w @ Xc**2) / w.sum())
    scale[scale <= LD(1e-15) * np.abs(X).max(axis=0)] = 0
    varying = np.flatnonzero(scale > 0)
    Zv = Xc[:, varying] / scale[varying]
    null = [np.eye(len(scale), dtype=LD)[j] for j in np.flatnonzero(scale == 0)]
    kept = list(range(len(varying)))
    if drop_dependent:
        pivots, T = independent_columns(Zv * np.sqrt(w)[:, None])
        kept = sorted(pivots)
        dropped = [j for j in range(len(varying)) if j not in kept]
        for j, t in zip(dropped, T.T, strict=True):
            v = np.zeros(len(scale), LD)
            v[varying[pivots]] = -t / scale[varying[pivots]]
            v[varying[j]] = 1 / scale[varying[j]]
            null.append(v)
    return Problem(
        Z=np.column_stack([Zv[:, kept], np.ones(len(Xc), LD)]),
        Y=(y[:, None] == np.asarray(classes)[None, :]).astype(LD),
        w=w,
        rows=rows,
        mean=mean,
        scale=scale,
        kept=list(varying[kept]),
        null=_orthonormal(null, len(scale)),
    )


def _orthonormal(vectors, p):
    basis = np.zeros((p, 0), LD)
    for v in vectors:
        for _ in range(2):
            v = v / np.sqrt(v @ v)
            v = v - basis @ (basis.T @ v)
        basis = np.column_stack([basis, v / np.sqrt(v @ v)])
    return basis


# ------------------------------------------------------------------- the likelihood


def log_proba(problem, theta, allowed=None):
    """Row-wise log-softmax, (n, K); classes not allowed get -inf."""
    theta = theta.reshape(problem.n_classes - 1, -1)
    logits = np.column_stack([np.zeros(len(problem.Z), LD), problem.Z @ theta.T])
    if allowed is not None:
        logits = np.where(allowed, logits, LD(-np.inf))
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def log_likelihood(problem, logp):
    """Sum of w log p(observed class)."""
    return problem.w @ np.where(problem.Y > 0, logp, 0).sum(axis=1)


def scores(problem, P):
    """Gradients of the log-likelihood of single rows without their weight, (n, d)."""
    residual = (problem.Y - P)[:, 1:]
    return (residual[:, :, None] * problem.Z[:, None, :]).reshape(len(P), -1)


def information(problem, P):
    """Minus the Hessian of the log-likelihood, (d, d), class-major."""
    K, m = problem.n_classes, problem.Z.shape[1]
    out = np.zeros((K - 1, m, K - 1, m), LD)
    for a in range(1, K):
        for b in range(1, a + 1):
            v = problem.w * P[:, a] * ((a == b) - P[:, b])
            out[a - 1, :, b - 1, :] = (problem.Z * v[:, None]).T @ problem.Z
            out[b - 1, :, a - 1, :] = out[a - 1, :, b - 1, :].T
    return out.reshape((K - 1) * m, (K - 1) * m)


@dataclass
class Fit:
    """Where Newton's method ended: `objective` is what was maximised."""

    theta: np.ndarray
    objective: LD
    loglik: LD
    decrement: LD
    n_iter: int
    cholesky: np.ndarray


def _newton(value, derivatives, theta, *, free=None, tol=1e-20, max_iter=500):
    """Maximise by damped Newton steps until half g' H^-1 g < tol.

    `value(theta)` -> (objective, loglik); `derivatives(theta)` -> (gradient, metric).
    `free` restricts the steps to these parameters.
    """
    free = np.arange(theta.size) if free is None else free
    objective, loglik = value(theta)
    decrement, L = LD(0), np.zeros((0, 0), LD)
    for iteration in range(max_iter):  # noqa: B007
        gradient, metric = derivatives(theta)
        L = cholesky(metric[np.ix_(free, free)])
        step = np.zeros_like(theta)
        step[free] = solve(L, gradient[free])
        decrement = gradient @ step / 2
        if decrement < tol:
            break
        # Far below this the change drowns in the rounding of the objective itself.
        trusted = decrement < LD(1e-13) * max(1, abs(objective))
        t = LD(1)
        while True:
            new = value(theta + t * step)
            if trusted or new[0] > objective:
                break
            t /= 2
            if t < 1e-12:
                raise RuntimeError(f"no ascent; decrement {float(decrement):.3g}")
        theta, (objective, loglik) = theta + t * step, new
    else:
        raise RuntimeError(f"{max_iter} iterations; decrement {float(decrement):.3g}")
    return Fit(theta, objective, loglik, decrement, iteration, L)


def fit(problem, *, C=None, allowed=None):
    """Maximise the log-likelihood, minus ||W||^2 / (2 C) if C is given.

    The penalty is that of all K rows of weights in original units (of the one row if
    K = 2). Written with the contrasts D it is the sum of D' M D / (2 C) over the
    columns, where M = I - 11'/K is what remains after the best choice of the
    unpenalised common row.

    Parameters
    ----------
    problem : Problem
    C : float, optional
    allowed : bool ndarray of shape (n, K), optional
        Classes a row may take; the likelihood on the boundary of separated data.

    Returns
    -------
    Fit
    """
    K, m = problem.n_classes, problem.Z.shape[1]
    M = np.eye(K - 1, dtype=LD) - (LD(1) / K if K > 2 else LD(0))
    per_column = np.zeros(m, LD)
    if C is not None:
        per_column[:-1] = 1 / (problem.scale[problem.kept] ** 2 * LD(C))
    penalty = np.kron(M, np.diag(per_column))

    def value(theta):
        loglik = log_likelihood(problem, log_proba(problem, theta, allowed))
        return loglik - theta @ penalty @ theta / 2, loglik

    def derivatives(theta):
        P = np.exp(log_proba(problem, theta, allowed))
        gradient = problem.w @ scores(problem, P) - penalty @ theta
        return gradient, information(problem, P) + penalty

    theta = np.zeros((K - 1, m), LD)
    theta[:, -1] = np.log(problem.w @ problem.Y)[1:] - np.log(problem.w @ problem.Y)[0]
    free = None
    if allowed is not None:
        P = np.exp(log_proba(problem, theta.ravel(), allowed))
        free = _identified(information(problem, P))
    return _newton(value, derivatives, theta.ravel(), free=free)


def _identified(H):
    """Indices of a maximal set of parameters with a regular information matrix."""
    S, free = np.array(H), []
    start = np.maximum(np.diag(H), LD(1e-30) * np.diag(H).max())
    while True:
        relative = np.diag(S) / start
        j = int(np.argmax(relative))
        if not relative[j] > LD(1e-12):
            return np.array(sorted(free), dtype=int)
        free.append(j)
        S = S - np.outer(S[:, j], S[j]) / S[j, j]
        S[j], S[:, j] = 0, 0


def fit_jeffreys(problem):
    """Maximise loglik + half log det I (Firth, Biometrika 80, 1993).

    Fisher scoring on the modified score. With C the inverse information, x the row and
    h_ab = x' C_ab x, the trace of I^-1 dI/dz_c is w times the sum over a of
    V_ac (h_aa - 2 sum_b h_ab p_b), V = diag(p) - pp'.
    """
    K, m = problem.n_classes, problem.Z.shape[1]
    log_scale = 2 * (K - 1) * np.log(problem.scale[problem.kept]).sum()

    def value(theta):
        logp = log_proba(problem, theta)
        L = cholesky(information(problem, np.exp(logp)))
        loglik = log_likelihood(problem, logp)
        return loglik + np.log(np.diag(L)).sum() + log_scale / 2, loglik

    def derivatives(theta):
        P = np.exp(log_proba(problem, theta))
        H = information(problem, P)
        cov = solve(cholesky(H), np.eye(len(H), dtype=LD)).reshape(K - 1, m, K - 1, m)
        h = np.empty((len(P), K - 1, K - 1), LD)
        for a in range(K - 1):
            for b in range(K - 1):
                h[:, a, b] = ((problem.Z @ cov[a, :, b, :]) * problem.Z).sum(axis=1)
        Q = P[:, 1:]
        t = np.diagonal(h, axis1=1, axis2=2) - 2 * (h * Q[:, None, :]).sum(axis=2)
        trace = Q * (t - (Q * t).sum(axis=1, keepdims=True))
        extra = ((problem.w[:, None] * trace / 2).T @ problem.Z).ravel()
        return problem.w @ scores(problem, P) + extra, H

    theta = np.zeros((K - 1, m), LD)
    theta[:, -1] = np.log(problem.w @ problem.Y)[1:] - np.log(problem.w @ problem.Y)[0]
    return _newton(value, derivatives, theta.ravel(), max_iter=5000)


# --------------------------------------------------------------------- covariances


def covariance(fitted):
    """Inverse of the information at the estimate, in scaled columns, (d, d)."""
    return solve(fitted.cholesky, np.eye(len(fitted.cholesky), dtype=LD))


def sandwich(problem, fitted, groups=None):
    """HC0 (meat: sum of w s s', frequency weights) or CR0 over groups, (d, d)."""
    s = scores(problem, np.exp(log_proba(problem, fitted.theta)))
    if groups is None:
        meat = (s * problem.w[:, None]).T @ s
    else:
        _, index = np.unique(np.asarray(groups)[problem.rows], return_inverse=True)
        sums = np.zeros((index.max() + 1, s.shape[1]), LD)
        np.add.at(sums, index, s * problem.w[:, None])
        meat = sums.T @ sums
    bread = covariance(fitted)
    return bread @ meat @ bread


def standard_errors(cov, transform, shape):
    """Standard errors after a linear `transform` of the (d,) parameters."""
    J = np.stack([transform(e).ravel() for e in np.eye(len(cov), dtype=LD)], axis=1)
    return np.sqrt(((J @ cov) * J).sum(axis=1)).reshape(shape)


# --------------------------------------------------------------- further inference


def profile_interval(problem, fitted, direction, half_width):
    """Both values of direction' theta where the profile log-likelihood drops enough.

    Parameters
    ----------
    problem : Problem
    fitted : Fit
    direction : ndarray of shape (d,)
    half_width : float
        Half the chi-squared quantile: the drop of the log-likelihood, nats.

    Returns
    -------
    list of two longdouble, lower and upper
    """
    direction = direction / (norm := np.sqrt(direction @ direction))
    pivot = int(np.argmax(np.abs(direction)))
    B = np.delete(np.eye(len(direction), dtype=LD), pivot, axis=1)
    B[pivot] = -np.delete(direction, pivot) / direction[pivot]  # direction' B = 0

    def constrained(v, phi):
        def at(phi):
            return v * direction + B @ phi

        def value(phi):
            loglik = log_likelihood(problem, log_proba(problem, at(phi)))
            return loglik, loglik

        def derivatives(phi):
            P = np.exp(log_proba(problem, at(phi)))
            return (problem.w @ scores(problem, P)) @ B, B.T @ information(problem, P) @ B

        found = _newton(value, derivatives, phi)
        P = np.exp(log_proba(problem, at(found.theta)))
        slope = (problem.w @ scores(problem, P)) @ direction
        return found, slope

    centre = direction @ fitted.theta
    start = np.delete(fitted.theta - centre * direction, pivot)
    sd = np.sqrt(direction @ covariance(fitted) @ direction)
    ends = []
    for sign in (-1, 1):
        v, phi = centre + sign * sd * np.sqrt(2 * LD(half_width)), start
        for _ in range(200):
            found, slope = constrained(v, phi)
            phi = found.theta
            excess = fitted.loglik - LD(half_width) - found.loglik
            if abs(excess) < LD(1e-17) * max(10, abs(fitted.loglik)):
                break
            # Newton on the square root of the drop, which is nearly linear in v.
            drop = fitted.loglik - found.loglik
            v = v - (np.sqrt(drop) - np.sqrt(LD(half_width))) * 2 * np.sqrt(drop) / -slope
        else:
            raise RuntimeError("the end of a profile interval was not found")
        ends.append(v * norm)
    return ends


def marginal_effects(problem, fitted):
    """Weighted mean of dP(class)/dx and its delta-method error, (K, p) each.

    The Jacobian is by central differences: 1e-12 relative in extended precision.
    """
    K, d = problem.n_classes, len(fitted.theta)

    def effects(theta):
        beta = np.vstack([np.zeros((1, len(problem.mean)), LD), problem.to_contrasts(theta)[:, :-1]])
        P = np.exp(log_proba(problem, theta))
        w = problem.w / problem.w.sum()
        return ((w @ P)[:, None] * beta - (P.T * w) @ (P @ beta)).reshape(-1)

    h = LD(1e-6)
    J = np.stack(
        [(effects(fitted.theta + h * e) - effects(fitted.theta - h * e)) / (2 * h) for e in np.eye(d, dtype=LD)],
        axis=1,
    )
    se = np.sqrt(((J @ covariance(fitted)) * J).sum(axis=1))
    return effects(fitted.theta).reshape(K, -1), se.reshape(K, -1)
