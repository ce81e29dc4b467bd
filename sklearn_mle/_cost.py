"""What the parts of a fit cost, in passes: the time of one evaluation of value and gradient.

Times, here and in `_moments`, are nanoseconds on one core, fitted to measurements of 4,000 and 30,000 rows of 4 to 128
columns and 2 to 10 classes, most of which they meet within a fifth. Choices ask for ratios alone.
"""

from ._moments import moments_time
from ._pairs import between_logits_work, number_of_pairs
from ._problem import RoundProblem

# A row and a logit: softmax and residual. An entry of X: reading it twice, and the two products for a logit.
_ROW, _LOGIT, _ENTRY, _PRODUCTS = 2.0, 4.2, 0.53, 0.07
# An entry of a sparse row, for a logit.
_SPARSE_ENTRY = 0.2
# The calls of one evaluation, however few the rows.
_CALLS = 2e4
# A row, a column and a pair of columns, where columns are whitened before their second moments are taken.
_WHITE_ROW, _WHITE_COLUMN, _WHITE_PAIR = 10.0, 2.4, 0.06
# A term that is drawn, a column of it, and an output of its row.
_TERM, _TERM_COLUMN, _TERM_OUTPUT = 120.0, 6.0, 8.0
# An operation of those that take pairs of classes to pairs of logits.
_BETWEEN_LOGITS = 0.03
# A row and a coordinate, and a pair of them; factors of a quadratic on some coordinates.
_COORDINATE, _PRODUCT, _PARTIAL_FACTORS = 3.0, 0.025, 10
# Beyond this the d x d matrix is not formed.
MAX_EXACT_SIZE = 3000
# Of a triangular factor, d^3 / 3 multiplications.
_FACTOR = 0.01


def pass_time(problem: RoundProblem) -> float:
    """Nanoseconds of one evaluation of value and gradient."""
    samples = problem.objective.samples
    n_outputs = problem.objective.layout.widths[-1]
    if samples.is_sparse:
        products = samples.X.nnz * n_outputs * _SPARSE_ENTRY
    else:
        products = samples.n_rows * samples.n_features * (_ENTRY + n_outputs * _PRODUCTS)
    return samples.n_rows * (_ROW + n_outputs * _LOGIT) + products + _CALLS


def factor_passes(problem: RoundProblem) -> float:
    """A factor of the d x d Hessian."""
    return _FACTOR * problem.size**3 / pass_time(problem)


def exact_passes(problem: RoundProblem) -> float:
    """The exact Hessian and its factor."""
    n_outputs, q = len(problem.coordinates.basis), problem.coordinates.shape[1]
    moments = problem.objective.samples.n_rows * moments_time(number_of_pairs(n_outputs), q)
    return (moments + _assembly_time(problem)) / pass_time(problem) + factor_passes(problem)


def partial_passes(problem: RoundProblem, n_coordinates: int) -> float:
    """The Hessian on so many coordinates, and the factors of its quadratic."""
    n_logits = problem.coordinates.shape[0]
    # All with all, and those of a class once more.
    products = 1.0 + (1 / n_logits if n_logits > 1 else 0.0)
    time = problem.objective.samples.n_rows * n_coordinates * (_COORDINATE + _PRODUCT * products * n_coordinates)
    return (time + _PARTIAL_FACTORS * _FACTOR * n_coordinates**3) / pass_time(problem)


def sampled_passes(problem: RoundProblem, n_terms: int) -> float:
    """The Hessian from so many of its terms, and its factor."""
    n_outputs, q = len(problem.coordinates.basis), problem.coordinates.shape[1]
    moments = n_terms * (_TERM + q * _TERM_COLUMN + n_outputs * _TERM_OUTPUT)
    return (moments + _assembly_time(problem)) / pass_time(problem) + factor_passes(problem)


def _assembly_time(problem: RoundProblem) -> float:
    """Nanoseconds of a Hessian from the moments of all pairs of classes."""
    return _BETWEEN_LOGITS * between_logits_work(len(problem.coordinates.basis)) * problem.coordinates.shape[1] ** 2


def step_time(problem: RoundProblem) -> float:
    """Nanoseconds of a Newton step: an evaluation, the exact Hessian and its factor."""
    return (1 + exact_passes(problem)) * pass_time(problem)


def kronecker_passes(problem: RoundProblem) -> float:
    """Kronecker's model of the curvature: one weighted second moment, and a factor for each logit."""
    n_logits, q = problem.coordinates.shape
    row = _WHITE_ROW + q * (_WHITE_COLUMN + q * _WHITE_PAIR)
    return (problem.objective.samples.n_rows * row + _FACTOR * n_logits * q**3) / pass_time(problem)
