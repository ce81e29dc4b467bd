"""What users hand in as X, y and weights, as arrays: rows, class indices or distributions, and w >= 0."""

import math
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from ._typing import FloatArray, IntArray, Targets

# What X is computed with; all else becomes the first. In the words of `check_array`.
_FLOATS = (np.float64, np.float32)
ROWS: dict[str, Any] = {"accept_sparse": "csr", "dtype": list(_FLOATS)}
# Up to so many classes, comparing all labels with each of them is faster than counting one label at a time.
_FEW_CLASSES = 4
_FEW_ROWS = 1000
# Sums of so many nats, and of squares, keep within float64.
_LEAST_TOTAL, _MOST_TOTAL = 1e-280, 1e280
# A row of probabilities in single precision sums to one no better than this.
_ROW_SUM = {4: 1e-5, 8: 1e-6}


def check_rows(estimator: Any, X: Any, reset: bool = True) -> Any:
    """Validated X, dense or CSR, in float64 or float32; the estimator learns, or compares, names and number of columns.

    An array of finite floats is what scikit-learn's `validate_data` would return, after a tenth of a small fit: where
    there are no names to compare, it is left out.
    """
    if _is_clean(X) and "feature_names_in_" not in vars(estimator):
        if reset:
            estimator.n_features_in_ = X.shape[1]
            return X
        if X.shape[1] == vars(estimator).get("n_features_in_"):
            return X
    return validate_data(estimator, X, reset=reset, **ROWS)


def _is_clean(X: Any) -> bool:
    """Whether X is an array (n, p) of floats whose sum, and so each of which, is finite."""
    if type(X) is not np.ndarray or X.ndim != 2 or not X.size or X.dtype not in _FLOATS:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(X.sum()))


def is_matrix(y: Any) -> bool:
    """Whether y has a second axis of two columns or more: probabilities, not labels."""
    shape = getattr(y, "shape", None)
    if shape is None and isinstance(y, list | tuple) and len(y) and isinstance(y[0], list | tuple | np.ndarray):
        shape = np.shape(y)
    return shape is not None and len(shape) == 2 and shape[1] >= 2


def are_integers(y: Any) -> bool:
    """Whether y is an array (n,) of integers, of which nothing is left to check."""
    return type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iu"


def encode_labels(y: Any) -> tuple[np.ndarray, IntArray]:
    """Sorted classes, and the index (n,) of each label among them."""
    y = y if are_integers(y) else column_or_1d(y, warn=True)
    if y.dtype.kind in "iu" and len(y):
        low = y.min()
        n_values = int(y.max()) - int(low) + 1
        if n_values <= len(y):
            # Few integers: a table of them is faster than sorting. Differences are taken modulo 2^bits, as unsigned.
            native = y.dtype.newbyteorder("=")
            places = y
            if low or y.dtype != np.intp:
                places = (y.astype(native, copy=False) - low.astype(native)).view(f"u{native.itemsize}").astype(np.intp)
            counts = rows_by_class(places, n_values)
            seen = np.flatnonzero(counts)
            classes = (seen.astype(native) + low.astype(native)).astype(y.dtype)
            if len(seen) == len(counts):
                return classes, places.astype(np.int32)
            table = np.zeros(len(counts), dtype=np.int32)
            table[seen] = np.arange(len(seen), dtype=np.int32)
            return classes, table[places]
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    return classes, codes.astype(np.int32)


def what_is_wrong_with(labels: Any) -> str | None:
    """What keeps values from being labels, and what would be right; None where that is something else."""
    values = np.asarray(labels, dtype=object).ravel().tolist()
    missing = [i for i, label in enumerate(values) if _is_missing(label)]
    if missing and not all(isinstance(label, Real) for label in values):
        where = f"the first in row {missing[0]}"
        return f"y holds missing labels (None, NaN or NA), {where}. Drop those rows, or name them as a class."
    kinds = sorted({"a number" if isinstance(label, Real) else type(label).__name__ for label in values})
    if len(kinds) > 1:
        return f"y holds labels of several kinds: {', '.join(kinds)}. Make them all strings, or all numbers."
    numbers = not missing and kinds == ["a number"] and all(math.isfinite(label) for label in values)
    if numbers and any(label != round(label) for label in values):
        return (
            "Unknown label type: continuous. y holds real numbers, where labels are integers or strings. Probabilities "
            "of the classes go in as a matrix with a column for each: for two classes np.column_stack([1 - p, p])."
        )
    return None


def _is_missing(label: Any) -> bool:
    """Whether it is None or, like NaN and pandas' NA, does not equal itself."""
    try:
        return label is None or bool(label != label)
    except TypeError:
        return True


def rows_by_class(y: IntArray, n_classes: int) -> IntArray:
    """How many of the indices y (n,) are 0, 1, ... n_classes - 1."""
    if len(y) <= _FEW_ROWS or n_classes > _FEW_CLASSES:
        return np.bincount(y, minlength=n_classes)
    return np.array([np.count_nonzero(y == k) for k in range(n_classes)])


def distributions(y: Any) -> tuple[np.ndarray | None, FloatArray]:
    """Column names (or None) and rows (n, K) of a matrix of probabilities, columns sorted by name."""
    names = _column_names(y)
    rows = check_array(y, dtype=[np.float64, np.float32], input_name="y")
    if (rows < 0).any():
        raise ValueError("y holds negative probabilities; a matrix y has a distribution over the classes in each row.")
    sums = rows.sum(axis=1, dtype=np.float64)
    worst = int(np.argmax(np.abs(sums - 1)))
    if abs(sums[worst] - 1) > _ROW_SUM[rows.dtype.itemsize]:
        raise ValueError(
            f"The rows of a matrix y must sum to 1, as each is a distribution over the classes; row {worst} sums to "
            f"{sums[worst]:.10g}. Divide each row by its sum; counts go to sample_weight."
        )
    rows = rows.astype(np.float64) / sums[:, None]
    if names is None:
        return None, rows
    order = np.argsort(names)
    return names[order], rows[:, order]


def _column_names(y: Any) -> np.ndarray | None:
    """The column names of a data frame, which name the classes; None where y has none."""
    columns = getattr(y, "columns", None)
    if columns is None:
        return None
    listed = list(columns)
    if len({isinstance(name, str) for name in listed}) > 1 or any(isinstance(name, tuple) for name in listed):
        raise ValueError(f"The columns of y name the classes: all by strings or all by numbers; got {listed}.")
    names = np.asarray(listed)
    check_classification_targets(names)
    if len(np.unique(names)) < len(names):
        raise ValueError(f"The columns of y name a class twice: {names.tolist()}.")
    return names


def aligned_distributions(y: Any, classes: np.ndarray) -> FloatArray:
    """Rows (n, K) in the order of `classes`, which must be the column names where there are any."""
    names, rows = distributions(y)
    if rows.shape[1] != len(classes):
        raise ValueError(f"y has {rows.shape[1]} columns, but the estimator has {len(classes)} classes.")
    if names is not None and not np.array_equal(names, classes):
        raise ValueError(f"The columns of y are {names.tolist()}, but the classes are {classes.tolist()}.")
    return rows


def label_indices(y: Any, classes: np.ndarray) -> IntArray:
    """Index (n,) of each label among sorted `classes`."""
    y = column_or_1d(y)
    try:
        index = np.searchsorted(classes, y)
    except TypeError:
        kinds = sorted({type(label).__name__ for label in y})
        raise ValueError(f"y holds labels of type {', '.join(kinds)}; the classes are {classes.tolist()}.") from None
    index = np.minimum(index, len(classes) - 1)
    unseen = np.unique(y[classes[index] != y])
    if len(unseen):
        raise ValueError(f"y holds labels that the estimator has not seen: {unseen.tolist()}.")
    return index.astype(np.int32)


def check_weights(sample_weight: Any, rows: Any) -> FloatArray | None:
    """Float64 weights (n,) of the rows (n, ...), or None for None."""
    if sample_weight is None:
        return None
    n_rows = rows.shape[0]
    try:
        w = np.asarray(sample_weight)
        if np.iscomplexobj(w):
            raise TypeError("these are complex")
        w = w.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"sample_weight must hold numbers, one for each sample: {error}.") from error
    if w.ndim == 0:
        w = np.full(n_rows, float(w))
    if w.shape != (n_rows,):
        raise ValueError(
            f"sample_weight has shape {w.shape}; expected ({n_rows},), a number for each sample, or a single number."
        )
    if not np.isfinite(w).all():
        raise ValueError("sample_weight contains NaN or infinite values; a weight is a finite number, at least 0.")
    if (w < 0).any():
        raise ValueError(f"sample_weight must not be negative; that of row {w.argmin()} is {w.min():g}.")
    if not w.any():
        raise ValueError("sample_weight is zero for every sample; at least one weight must be positive.")
    _check_total(w, "sample_weight")
    return w


def _check_total(w: FloatArray, name: str) -> None:
    """Raise ValueError where the weights (n,) are too large, or too small, for sums in float64."""
    with np.errstate(over="ignore"):
        total = float(w.sum())
    if not _LEAST_TOTAL <= total <= _MOST_TOTAL:
        size = "small" if total < _LEAST_TOTAL else "large"
        raise ValueError(f"{name} is too {size} for sums in float64: its own is {total:.3g}. Multiply it by a number.")


def apply_class_weight(
    class_weight: Any, classes: np.ndarray, y: Targets, w: FloatArray | None
) -> tuple[Targets, FloatArray | None]:
    """Targets and weights with the class weights multiplied in.

    A weight c_k multiplies y_ik. For labels that is a weight of the row; a soft row becomes the distribution
    c_k y_ik / s_i with s_i = sum_k c_k y_ik as its weight, which has the same likelihood.
    """
    if class_weight is None:
        return y, w
    n_rows, n_classes = y.shape[0], len(classes)
    base = np.ones(n_rows) if w is None else w
    if isinstance(class_weight, str) and class_weight == "balanced":
        mass = base @ y if y.ndim == 2 else np.bincount(y, base, minlength=n_classes)
        factors = base.sum() / (n_classes * np.where(mass > 0, mass, np.inf))
    elif isinstance(class_weight, dict):
        wrong = {k: v for k, v in class_weight.items() if not isinstance(v, Real)}
        if wrong:
            raise ValueError(f"class_weight must hold a number for each class; got {wrong}.")
        factors = compute_class_weight(class_weight, classes=classes, y=classes)
    else:
        raise ValueError(f"class_weight must be None, 'balanced' or a dict; got {class_weight!r}.")
    if not np.all(np.isfinite(factors)) or (factors < 0).any():
        raise ValueError(f"class_weight must be finite and not negative; got {class_weight!r}.")
    with np.errstate(over="ignore"):
        if y.ndim == 1:
            w = base * factors[y]
        else:
            scaled = y * factors
            sums = scaled.sum(axis=1)
            y = scaled / np.where(sums > 0, sums, 1.0)[:, None]
            y[sums == 0] = 1.0 / n_classes
            w = base * sums
    if not w.any():
        raise ValueError("sample_weight times class_weight is zero for every sample; one class must have weight.")
    _check_total(w, "sample_weight times class_weight")
    return y, w


def check_classes_have_weight(classes: np.ndarray, y: Targets, w: FloatArray | None) -> None:
    """Raise ValueError where fewer than two classes have weight."""
    weights: FloatArray | IntArray
    if y.ndim == 2:
        weights = (np.ones(len(y)) if w is None else w) @ y
    else:
        weights = rows_by_class(y, len(classes)) if w is None else np.bincount(y, w, minlength=len(classes))
    if np.count_nonzero(weights) < 2:
        left = classes[weights > 0].tolist()
        raise ValueError(f"Only one class has positive weight, {left}; a classifier needs two or more.")
