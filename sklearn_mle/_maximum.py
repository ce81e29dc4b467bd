"""The likelihood at its maximum: what inference starts from, and what it refuses to start from.

Everything is computed in the round coordinates psi of the model without features, moved so that psi = 0 is the
estimate: there the information is well scaled whatever the units of the columns. What users see are
contrasts with a base class in the original columns,

    beta = beta_hat + (B (x) F) psi,    B = D Q  (K - 1, M),    F = [[T, 0], [-m'T, c]]  (p + 1, q)

with D the differences of classes (rows e_k - e_base), Q, T, m and c those of `_precondition`. A factor R of the
covariance of psi, R'R, goes to the factor R (B (x) F)' of theirs: standard errors are norms of its columns, and
no digits are lost on the way.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import lapack

from ._curvature import DenseCurvature
from ._existence import MOVING_LOGITS, question
from ._history import POLISHED_SIZE
from ._jeffreys import JeffreysProblem
from ._layout import Layout, gauge_basis
from ._network import Network
from ._objective import NegativeLogLikelihood
from ._pipeline import INTERCEPT, FittedModel
from ._precondition import null_coordinates
from ._problem import RoundProblem
from ._samples import Samples
from ._separation import SeparationKind, diagnose_separation, recession_signs
from ._subspace import minimize_on_subspace
from ._targets import aligned_distributions, check_weights, is_matrix, label_indices
from ._typing import Design, FloatArray, IntArray, Targets

# Variance of a coordinate, one at the model without features, above which separation is looked for.
_DOUBTFUL_VARIANCE = 1e6
# Half the squared length of the score, in the metric of the information, of a maximum: 3e-4 standard errors.
_ZERO_SCORE = 1e-7
_FLOAT32_ROUNDINGS = 16 * float(np.finfo(np.float32).eps)
# A fit is reproduced when its mean loss is, to this relative difference.
_SAME_LOSS = 1e-8
_SAME_LOSS_FLOAT32 = 1e-4
# Newton steps to the last digit where the fit stopped short of it.
_LAST_DIGIT = 1e-11
# Of a direction without variation, in columns of unit scale, what counts as taking part.
_TAKES_PART = 1e-6
_NAMES_SHOWN = 10
# Entries of a block of rows in whitened columns.
_BLOCK_ENTRIES = 1 << 21
# To say what becomes of each coefficient, once it is known that some diverge.
_SECONDS_FOR_SIGNS = 5.0


@dataclass(frozen=True)
class Maximum:
    """A fitted linear model, its rows, and the likelihood there.

    Attributes
    ----------
    model : FittedModel
    samples : rows, targets and weights
    problem : RoundProblem, psi = 0 being the estimate
    weights, intercepts : (J, p) and (J,) of the estimate; the latter zero without intercepts
    nll : - log-likelihood
    objective : `nll` with Jeffreys' prior, where there is one
    curvature : factor L of the information
    """

    model: FittedModel
    samples: Samples
    problem: RoundProblem
    weights: FloatArray
    intercepts: FloatArray
    nll: float
    objective: float
    curvature: DenseCurvature

    @property
    def n_classes(self) -> int:
        """K."""
        return self.samples.n_classes

    @property
    def fit_intercept(self) -> bool:
        """Whether there are intercepts."""
        return self.problem.coordinates.layout.fit_intercept

    @cached_property
    def inverse_factor(self) -> FloatArray:
        """R = L^-1, (d, d): R'R is the inverse of the information by psi."""
        return lapack.dtrtri(self.curvature.factor, lower=1)[0]

    @cached_property
    def class_basis(self) -> FloatArray:
        """Q with a row for each class, (K, M): the logits of all classes from those that are free."""
        basis = self.problem.coordinates.basis
        return np.vstack([np.zeros((1, 1)), basis]) if len(basis) == 1 else basis

    @cached_property
    def class_parameters(self) -> FloatArray:
        """Weights and intercepts of all classes, (K, p + 1), or (K, p) without intercepts."""
        theta = np.column_stack([self.weights, self.intercepts]) if self.fit_intercept else self.weights
        return np.vstack([np.zeros_like(theta), theta]) if len(theta) == 1 else theta

    @cached_property
    def feature_map(self) -> FloatArray:
        """F: parameters of one logit in the original columns from its coordinates."""
        coordinates = self.problem.coordinates
        if not self.fit_intercept:
            return coordinates.transform
        center = coordinates.center if self.samples.shift is None else coordinates.center + self.samples.shift
        p, q = len(center), coordinates.shape[1]
        out = np.zeros((p + 1, q))
        out[:p, : q - 1] = coordinates.transform
        out[p, : q - 1] = -center @ coordinates.transform
        out[p, -1] = coordinates.constant
        return out

    def contrasts(self, base: int) -> tuple[FloatArray, FloatArray]:
        """Parameters relative to a base class, (K - 1, p + 1), and B, (K - 1, M)."""
        others = np.delete(np.arange(self.n_classes), base)
        parameters, basis = self.class_parameters, self.class_basis
        return parameters[others] - parameters[base], basis[others] - basis[base]

    @cached_property
    def log_det_of_contrasts(self) -> float:
        """Log-determinant of B (x) F, the same for every base class."""
        _, B = self.contrasts(0)
        logs = [np.linalg.slogdet(part)[1] for part in (B, self.feature_map)]
        return float(len(self.feature_map) * logs[0] + len(B) * logs[1])


class _Rows(Samples):
    """Samples whose blocks, sparse ones too, are small enough to be whitened."""

    def _rows_per_block(self) -> int:
        return min(super()._rows_per_block(), max(256, _BLOCK_ENTRIES // max(1, self.n_features)))


def find_maximum(model: FittedModel, X: Any, y: Any, sample_weight: Any) -> Maximum:
    """The estimate among its data.

    Raises
    ------
    ValueError
        Where the theory of maximum likelihood does not apply, in this order: hidden layers; a prior, bounds or
        class weights; separated classes; collinear columns; a fit that has not converged; other data.
    """
    _refuse_models(model.classifier)
    samples = _samples(model, X, y, sample_weight)
    with samples.pinned():
        return _locate(model, samples)


def _refuse_models(classifier: Any) -> None:
    if len(classifier.coefs_) > 1:
        raise ValueError(
            "Inference is for linear models: with hidden layers the parameters are not identified, and the theory of "
            "maximum likelihood does not hold. Fit with hidden_layer_sizes=()."
        )
    if np.isfinite(classifier.C):
        raise ValueError(
            f"The model was fitted with C={classifier.C:g}, a Gaussian prior, which biases coefficients and leaves "
            "their standard errors without meaning. Fit with C=np.inf; for a finite estimate of separated data, "
            "with prior='jeffreys'."
        )
    if classifier.l1_ratio != 0:
        raise ValueError(f"The model was fitted with l1_ratio={classifier.l1_ratio:g}. Fit with l1_ratio=0, C=np.inf.")
    if classifier.bounds is not None:
        raise ValueError(
            "The model was fitted with bounds: an estimate on a bound is not asymptotically normal. Fit with "
            "bounds=None."
        )
    if classifier.class_weight is not None:
        raise ValueError(
            "The model was fitted with class_weight, which maximises another function than the likelihood of the "
            "data. Fit with class_weight=None; counts of rows go to sample_weight."
        )


def _samples(model: FittedModel, X: Any, y: Any, sample_weight: Any) -> Samples:
    classifier = model.classifier
    design = model.transform(X)
    targets: Targets
    if is_matrix(y):
        targets = np.ascontiguousarray(aligned_distributions(y, classifier.classes_).T)
    else:
        targets = label_indices(y, classifier.classes_)
    if targets.shape[-1] != design.shape[0]:
        raise ValueError(f"X has {design.shape[0]} samples, but y has {targets.shape[-1]}.")
    return _Rows(
        design,
        targets,
        check_weights(sample_weight, design),
        n_classes=len(classifier.classes_),
        n_threads=classifier._n_threads(),
    )


def _locate(model: FittedModel, samples: Samples) -> Maximum:
    classifier = model.classifier
    jeffreys = classifier.prior == "jeffreys"
    if not jeffreys:
        _refuse_absent(classifier, samples)
    W = classifier.coefs_[0].T.astype(np.float64)
    b = classifier.intercepts_[0].astype(np.float64)
    layout = Layout((W.shape[1], len(W)), bool(classifier.fit_intercept))
    coordinates, _ = null_coordinates(layout, samples, np.inf, whiten=True)
    shifted = b if samples.shift is None else b + W @ samples.shift
    gauge = gauge_basis(len(W))
    weights, intercepts = gauge @ (gauge.T @ W), gauge @ (gauge.T @ shifted)
    coordinates = coordinates.moved_to(layout.pack([(weights, intercepts if layout.fit_intercept else None)]))
    objective = NegativeLogLikelihood(Network(layout), samples)
    problem = (JeffreysProblem if jeffreys else RoundProblem)(objective, coordinates)
    start = np.zeros(problem.size)
    value, grad = problem.value_and_grad(start)
    information = problem.hessian(start)
    score = DenseCurvature(information).whiten(grad)
    left = 0.5 * float(score @ score)
    if not jeffreys:
        _refuse_separated(model, samples, problem, information, grad)
    _refuse_collinear(model, samples, coordinates.null)
    if not classifier.converged_:
        raise ValueError(
            "The fit has not converged, and inference is about the maximum of the likelihood. Raise max_iter, or "
            "use solver='auto'."
        )
    nll = value - _prior(problem)
    _refuse_other_data(model, samples, nll, left, problem.size)
    if left > _LAST_DIGIT:
        # The fit was within tol of the maximum, not at it: inference is about the maximum.
        psi = minimize_on_subspace(problem, start, np.zeros((0, problem.size)), target=_LAST_DIGIT).psi
        theta = coordinates.push(psi)
        problem = type(problem)(objective, coordinates.moved_to(theta))
        value, _ = problem.value_and_grad(start)
        nll = value - _prior(problem)
        ((W, moved),) = layout.unpack(theta)
        if moved is not None:
            b = moved if samples.shift is None else moved - W @ samples.shift
        information = problem.hessian(start)
    # The first Hessian of a problem with Jeffreys' prior is the information alone.
    return Maximum(model, samples, problem, W, b, nll, value, DenseCurvature(information))


def _prior(problem: RoundProblem) -> float:
    """What Jeffreys' prior adds to the objective at the estimate."""
    return problem.penalty(np.zeros(problem.size)) if isinstance(problem, JeffreysProblem) else 0.0


def _refuse_absent(classifier: Any, samples: Samples) -> None:
    absent = np.flatnonzero(samples.class_weights == 0)
    if len(absent) and classifier.fit_intercept:
        raise ValueError(
            f"Classes without any weight are separated from the others: {_listed(classifier.classes_[absent])}. Their "
            "probability goes to 0, and no maximum-likelihood estimate exists. Drop them from y, or fit with "
            "prior='jeffreys'."
        )


def _refuse_separated(
    model: FittedModel, samples: Samples, problem: RoundProblem, information: FloatArray, grad: FloatArray
) -> None:
    curvature = DenseCurvature(information)
    step = problem.coordinates.push_direction(-curvature.solve(grad))
    moving = not np.isfinite(step).all() or problem.objective.largest_logit_change(step) > MOVING_LOGITS
    largest = np.square(lapack.dtrtri(curvature.factor, lower=1)[0]).sum(axis=0).max()
    if not moving and largest <= _DOUBTFUL_VARIANCE:
        return
    asked = question(problem, step, problem.coordinates.origin)
    finding = diagnose_separation(**asked)
    if finding.kind is SeparationKind.OVERLAP or (finding.kind is SeparationKind.UNDECIDED and not moving):
        return
    remedy = (
        "Fit with prior='jeffreys' (Firth's bias reduction), whose estimate is finite, or drop the features that "
        "separate."
    )
    if finding.kind is SeparationKind.UNDECIDED:
        raise ValueError(
            "Classes seem to be separated: coefficients still grow where the likelihood does not. Whether the "
            f"maximum-likelihood estimate exists was not decided ({finding.reason}). {remedy}"
        )
    how = "completely" if finding.kind is SeparationKind.COMPLETE else "quasi-completely"
    features = [model.names[j] for j in finding.features]
    by = f"features {_listed(features)}" if features else "the intercept"
    by += f" ({finding.reason})" if finding.reason else ""
    raise ValueError(
        f"Classes are {how} separated: {_listed(model.classifier.classes_[list(finding.classes)])}, by {by}. No "
        f"maximum-likelihood estimate exists: coefficients grow without bound, and standard errors, tests and "
        f"intervals have no meaning.{_which_diverge(model, asked, finding.kind)} {remedy}"
    )


def _which_diverge(model: FittedModel, question: dict[str, Any], kind: SeparationKind) -> str:
    """A sentence on what becomes of each coefficient, where some of them stay finite."""
    if kind is SeparationKind.COMPLETE:
        return ""
    try:
        signs = recession_signs(**question, time_limit=_SECONDS_FOR_SIGNS)
    except ValueError:
        return ""
    names, classes = names_of(model, question["fit_intercept"]), model.classifier.classes_
    places = np.argwhere(np.isinf(signs))
    diverging = [f"{names[j]} ({classes[k + 1]}) to {'+' if signs[k, j] > 0 else '-'}inf" for k, j in places]
    finite, open_ = int((signs == 0).sum()), int(np.isnan(signs).sum())
    if not diverging:
        return ""
    rest = f"{finite} stay finite" + (f", {open_} are undetermined" if open_ else "")
    return f" Coefficients against {classes[0]} that diverge: {_listed(diverging)}; {rest}."


def _refuse_collinear(model: FittedModel, samples: Samples, null: FloatArray) -> None:
    if not null.shape[1]:
        return
    involved = collinear_columns(samples, null, bool(model.classifier.fit_intercept))
    count = null.shape[1]
    raise ValueError(
        f"Columns are collinear: {_listed([model.names[j] for j in involved])}. Their coefficients are not "
        f"identified, and have no standard errors. Drop {'one column' if count == 1 else f'{count} columns'} of these; "
        "a OneHotEncoder does with drop='first'."
    )


def collinear_columns(samples: Samples, null: FloatArray, center: bool) -> IntArray:
    """Indices of the columns that take part in a linear dependence, `null` (p, n_null) spanning all of them."""
    mean = np.zeros(samples.n_features)
    if center:
        mean = samples.column_sums(mean)[0] / samples.total_weight
        if samples.shift is not None:
            mean = mean + samples.shift
    scale = np.sqrt(_plain(samples).column_sums(mean)[1] / samples.total_weight)
    # A constant column depends on the intercept alone, by whatever its entry in `null` is.
    scaled = null * np.where(scale > _TAKES_PART**2 * np.abs(mean), scale, 1.0)[:, None]
    span = np.linalg.qr(scaled / np.linalg.norm(scaled, axis=0))[0]
    return np.flatnonzero(np.linalg.norm(span, axis=1) > _TAKES_PART)


def _plain(samples: Samples) -> Samples:
    """The same rows without a shift."""
    return Samples(samples.X, samples.y, samples.w, n_classes=samples.n_classes, n_threads=samples.n_threads)


def _refuse_other_data(model: FittedModel, samples: Samples, nll: float, left: float, size: int) -> None:
    classifier = model.classifier
    allowed, same = _ZERO_SCORE, _SAME_LOSS
    if classifier.coefs_[0].dtype == np.float32:
        allowed, same = max(classifier.tol, _FLOAT32_ROUNDINGS * nll), _SAME_LOSS_FLOAT32
    elif size > POLISHED_SIZE or not isinstance(classifier.solver, str) or classifier.solver.lower() != "auto":
        # A callable, or a method without derivatives: converged means within tol.
        allowed = classifier.tol
    total = samples.total_weight
    fitted = model.weight_unlike(total)
    if fitted is not None:
        raise ValueError(
            f"The estimator was not fitted on these data and weights: these weigh {total:.10g}, those of its fit "
            f"{fitted:.10g} in all. Hand in the X, y and sample_weight of its fit."
        )
    loss = nll / total
    if left > allowed or abs(loss - classifier.loss_) > same * classifier.loss_ + 1e-12:
        raise ValueError(
            "The estimator was not fitted on these data and weights: its score, the gradient of the log-likelihood, "
            f"is not zero here (about {left:.2g} nats are left to gain). Hand in the X, y and sample_weight of its fit."
        )


def _listed(names: Any) -> str:
    shown = ", ".join(str(name) for name in names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} and {len(names) - _NAMES_SHOWN} more"


def names_of(model: FittedModel, fit_intercept: bool) -> tuple[str, ...]:
    """Names of the parameters of one logit."""
    return (*model.names, INTERCEPT) if fit_intercept else model.names


def unseen(X: Design, maximum: Maximum) -> Samples:
    """Rows without targets, in the columns of the estimate."""
    n_rows = X.shape[0]
    return _Rows(
        X,
        np.zeros(n_rows, dtype=np.int32),
        None,
        n_classes=maximum.n_classes,
        shift=maximum.samples.shift,
        n_threads=maximum.samples.n_threads,
    )
