"""What users hand to a score: targets and probabilities, matched by class.

Targets come out as indices of classes (n,), or as distributions over them (n, K).
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, column_or_1d

# A softmax in single precision over a thousand classes, cast to double, misses a sum
# of one by a few 1e-7; coarser dtypes get the square root of their epsilon.
_SUM_TOLERANCE = 1e-6


def targets_and_probabilities(
    y_true: Any, y_proba: Any, labels: ArrayLike | None
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Targets, indices (n,) or distributions (n, K), and probabilities (n, K)."""
    proba, is_vector = _check_probabilities(y_proba, "y_proba")
    n_samples, n_classes = proba.shape
    classes = None
    if labels is not None:
        classes, _ = _distinct_labels(np.asarray(labels), "labels")
        if len(classes) != n_classes:
            raise ValueError(f"labels names {len(classes)} classes, but y_proba has {n_classes} columns.")
    y = np.asarray(y_true)
    if is_vector:
        y = _of_one_sample(y, n_classes, classes)
    elif y.ndim == 1 and n_samples == 1 and len(y) == n_classes > 1:
        y = y[np.newaxis]  # a vector (K,) against a matrix of one row
    if y.ndim == 2 and (y.shape[1] > 1 or n_classes == 1):
        target: NDArray[Any] = _check_probabilities(y, "y_true")[0]
        if target.shape[1] != n_classes:
            raise ValueError(f"y_true has {target.shape[1]} columns, but y_proba has {n_classes}.")
        names = _column_names(y_true, "y_true")
        if names is not None:
            if classes is None:
                classes, _ = _distinct_labels(np.asarray(names), "y_true's column names")
            target = target[:, _columns_in_order(names, classes, "y_true")]
    else:
        target, classes = _label_indices(y, classes, n_classes)
    if len(target) != n_samples:
        raise ValueError(f"y_true has {len(target)} samples, but y_proba has {n_samples}.")
    names = _column_names(y_proba, "y_proba")
    if classes is None:
        return target, proba
    # names that are no classes at all, "p_0" say, leave only the position
    if names and not set(names).isdisjoint(classes.tolist()):
        proba = proba[:, _columns_in_order(names, classes, "y_proba")]
    elif labels is not None and np.asarray(labels).tolist() != classes.tolist():
        warnings.warn(
            f"labels is not sorted: the columns of y_proba are taken to be {classes.tolist()}, in this order.",
            UserWarning,
            stacklevel=4,
        )
    return target, proba


def _label_indices(
    y: NDArray[Any], classes: NDArray[Any] | None, n_classes: int
) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return for each label its place among the classes, and the classes."""
    values, inverse = _distinct_labels(y, "y_true")
    if classes is None:
        if len(values) != n_classes:
            raise ValueError(
                f"y_true holds {len(values)} classes, but y_proba has {n_classes} columns. Pass all classes as labels=."
            )
        return inverse, values
    codes = _positions(values, classes)
    if np.any(codes < 0):
        raise ValueError(f"y_true holds {values[codes < 0].tolist()}, which labels= does not: {classes.tolist()}.")
    return codes[inverse], classes


def _of_one_sample(y: NDArray[Any], n_classes: int, classes: NDArray[Any] | None) -> NDArray[Any]:
    """Return the target of one sample as a label (1,) or a distribution (1, K)."""
    if y.shape == (n_classes,) and n_classes > 1:
        return y[np.newaxis]
    if y.shape == (1, n_classes) and n_classes > 1:
        return y
    if y.size != 1:
        raise ValueError(
            f"A one-dimensional y_proba is the distribution of one sample over "
            f"{n_classes} classes; y_true of shape {y.shape} is neither a vector of "
            "that length nor one label. For a binary problem pass both columns, "
            "np.column_stack([1 - p, p])."
        )
    y = y.reshape(1)
    if classes is not None:
        return y
    if y.dtype.kind not in "iu" or not 0 <= int(y[0]) < n_classes:
        raise ValueError(
            f"y_true={y[0]!r} does not say which of the {n_classes} classes it is. "
            "Pass all classes as labels=, or an integer counted from 0."
        )
    one_hot: NDArray[Any] = np.eye(n_classes)[y]
    return one_hot


def targets_by_name(y: Any, classes: NDArray[Any]) -> tuple[NDArray[Any], dict[Any, NDArray[np.bool_]]]:
    """Targets in the order of `classes`, and where each other class occurs.

    Labels that are not among the classes stand as index 0, the columns of such
    classes are left out.
    """
    values = np.asarray(y)
    if values.ndim != 2 or (values.shape[1] == 1 and len(classes) > 1):
        labels, inverse = _distinct_labels(values, "y")
        codes = _positions(labels, classes)
        unseen = {label: inverse == j for j, label in enumerate(labels.tolist()) if codes[j] < 0}
        return np.maximum(codes, 0)[inverse], unseen
    target, _ = _check_probabilities(values, "y")
    names = _column_names(y, "y")
    if names is None:
        if target.shape[1] != len(classes):
            raise ValueError(
                f"y has {target.shape[1]} columns, but the estimator knows "
                f"{len(classes)} classes: {classes.tolist()}. Name the columns of a "
                "DataFrame by class to leave some out."
            )
        return target, {}
    position = {label: k for k, label in enumerate(classes.tolist())}
    if set(names).isdisjoint(position):
        raise ValueError(
            f"None of the columns of y, {names}, is a class of the estimator: "
            f"{classes.tolist()}. Name the columns by class, or pass an array with "
            "columns in that order."
        )
    aligned = np.zeros((len(target), len(classes)))
    unseen = {}
    for name, column in zip(names, target.T, strict=True):
        if name in position:
            aligned[:, position[name]] = column
        elif np.any(column > 0):
            unseen[name] = column > 0
    return aligned, unseen


def _check_probabilities(values: Any, name: str) -> tuple[NDArray[np.float64], bool]:
    """Return distributions (n, K) in float64, and whether a vector was given."""
    checked = check_array(values, dtype="numeric", ensure_2d=False, input_name=name)
    proba = np.asarray(checked, dtype=np.float64)
    is_vector = proba.ndim == 1
    if is_vector:
        proba = proba[np.newaxis]
    if np.any(proba < 0):
        raise ValueError(
            f"{name} has negative entries (the least is {proba.min():g}); probabilities are between 0 and 1."
        )
    hint = (
        " A one-dimensional y_proba is the distribution of one sample over the "
        "classes; for a binary problem pass both columns."
        if is_vector
        else ""
    )
    check_sums(proba.sum(axis=1), checked.dtype, name, hint)
    return proba, is_vector


def check_sums(sums: NDArray[np.float64], dtype: Any, name: str, hint: str = "") -> None:
    tolerance = _SUM_TOLERANCE
    if dtype.kind == "f":
        tolerance = max(tolerance, float(np.sqrt(np.finfo(dtype).eps)))
    wrong = np.flatnonzero(~(np.abs(sums - 1.0) <= tolerance))  # nan is wrong, too
    if len(wrong):
        raise ValueError(f"The rows of {name} must sum to one; row {wrong[0]} sums to {sums[wrong[0]]:.10g}.{hint}")


def _distinct_labels(y: NDArray[Any], name: str) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the sorted distinct labels, and for each sample which one it has."""
    y = column_or_1d(y, warn=True)
    if y.dtype.kind == "f":
        if not np.all(np.isfinite(y)):
            raise ValueError(f"{name} contains NaN or infinity.")
        if np.any(y != np.round(y)):
            raise ValueError(
                f"{name} is continuous; expected class labels or one distribution over the classes per row."
            )
    try:
        values, inverse = np.unique(y, return_inverse=True)
        missing = any(value != value for value in values.tolist())
    except TypeError as error:  # None, pd.NA, numbers among strings
        raise ValueError(f"{name} must hold labels of one kind, without missing values: {error}") from error
    if missing:
        raise ValueError(f"{name} contains NaN.")
    return values, inverse


def _positions(values: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.intp]:
    """Return where each value stands among the classes, -1 where it does not."""
    position = {label: k for k, label in enumerate(classes.tolist())}
    return np.array([position.get(v, -1) for v in values.tolist()], dtype=np.intp)


def _column_names(values: Any, argument: str) -> list[Any] | None:
    columns = getattr(values, "columns", None)
    if columns is None:
        return None
    names = list(columns)
    if len(set(names)) != len(names):
        raise ValueError(f"The columns of {argument} must be distinct: {names}.")
    return names


def _columns_in_order(names: list[Any], classes: NDArray[Any], argument: str) -> NDArray[np.intp]:
    """Return the column of each class; names and classes must be the same set."""
    where = {name: j for j, name in enumerate(names)}
    wanted = classes.tolist()
    if len(names) != len(wanted) or set(where) != set(wanted):
        raise ValueError(f"The columns of {argument}, {names}, are not the classes {wanted}.")
    return np.array([where[label] for label in wanted], dtype=np.intp)
