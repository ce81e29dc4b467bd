"""From what users hold, a pipeline and a frame, to the classifier's columns, their names, and back.

Which columns a pipeline made of which feature is found by trial: the feature's values are dealt out to other
rows, and the columns that change are its own. That needs no knowledge of the steps and cannot misread a name.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from ._targets import check_rows
from ._typing import BoolArray, Design, IntArray

INTERCEPT = "intercept"
# Total weights that differ by no more than this, relative to either, are the same.
_SAME_WEIGHT = 1e-6


@dataclass(frozen=True)
class FittedModel:
    """A fitted classifier and the steps before it.

    Attributes
    ----------
    classifier : the last step, or the estimator itself
    steps : Pipeline of what comes before, or None
    names : tuple of p names of the classifier's columns
    inputs : tuple of names of the columns that the first step takes
    """

    classifier: Any
    steps: Any
    names: tuple[str, ...]
    inputs: tuple[str, ...]

    @property
    def per_standard_deviation(self) -> bool:
        """Whether the classifier's columns come straight from a StandardScaler."""
        if self.steps is None:
            return False
        last = self.steps[-1]
        while isinstance(last, Pipeline):
            last = last.steps[-1][1]
        return isinstance(last, StandardScaler) and bool(last.with_std)

    def weight_unlike(self, total: float) -> float | None:
        """Total weight of the rows of the fit, where it is another than this; None where it is the same, or not told.

        A loss of zero does not tell it.
        """
        fitted = self.classifier.nll_ / self.classifier.loss_ if self.classifier.loss_ else total
        return None if abs(fitted - total) <= _SAME_WEIGHT * total else float(fitted)

    def transform(self, X: Any) -> Design:
        """Float64 columns of the classifier, dense or CSR."""
        if self.steps is not None:
            X = self.steps.transform(X)
        X = check_rows(self.classifier, X, reset=False)
        # Rounded to float32 first where the fit saw float32.
        if self.classifier.coefs_[0].dtype == np.float32:
            X = X.astype(np.float32, copy=False)
        return X.astype(np.float64, copy=False)

    def columns_of(self, feature: str, X: Any) -> IntArray:
        """Indices of the columns that a name stands for: one of `names`, or a feature that the first step takes.

        Parameters
        ----------
        feature : str
        X : rows as the first step takes them, in which the feature varies

        Raises
        ------
        ValueError
            If no column goes by the name, or none depends on the feature.
        """
        if feature in self.names:
            return np.flatnonzero(np.asarray(self.names) == feature)
        if self.steps is None or feature not in self.inputs:
            known = ", ".join(dict.fromkeys((*self.names, *(() if self.steps is None else self.inputs))))
            raise ValueError(f"No column is called {feature!r}. Names to choose from: {known}.")
        at = self.inputs.index(feature)
        before, changed = self.transform(X), np.zeros(len(self.names), dtype=bool)
        # Neighbours may share a value in ordered data: deal from far and from near.
        n_rows = before.shape[0]
        for offset in dict.fromkeys((n_rows // 2, n_rows // 3, 1)):
            changed |= _differ(before, self.transform(_dealt(X, at, feature, offset)))
        if not changed.any():
            raise ValueError(f"No column of the classifier depends on {feature!r} in these rows.")
        return np.flatnonzero(changed)


def open_model(estimator: Any) -> FittedModel:
    """The classifier in an estimator or a pipeline that ends in one, with names.

    Raises
    ------
    TypeError
        If it is neither.
    sklearn.exceptions.NotFittedError
    """
    classifier = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    wanted = ("hidden_layer_sizes", "prior", "class_weight", "bounds", "l1_ratio", "C")
    if not all(hasattr(classifier, name) for name in wanted):
        raise TypeError(
            "Inference takes a fitted SoftmaxMLEClassifier, or a Pipeline that ends in one; got "
            f"{type(classifier).__name__}. Of a search, hand in its best_estimator_."
        )
    check_is_fitted(classifier)
    steps = None
    if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
        steps = estimator[:-1]
    n_columns = classifier.n_features_in_
    names = getattr(classifier, "feature_names_in_", None)
    inputs = names
    if steps is not None:
        inputs = getattr(steps, "feature_names_in_", None)
        if inputs is None:
            inputs = [f"x{j}" for j in range(getattr(steps, "n_features_in_", 0))]
        if names is None:
            names = _names_out(steps)
    if names is None or len(names) != n_columns:
        names = [f"x{j}" for j in range(n_columns)]
    if inputs is None:
        inputs = names
    return FittedModel(classifier, steps, tuple(map(str, names)), tuple(map(str, inputs)))


def _names_out(steps: Any) -> list[str] | None:
    try:
        return list(steps.get_feature_names_out())
    except (AttributeError, ValueError):
        # A step without names: its columns are numbered.
        return None


def _dealt(X: Any, at: int, name: str, offset: int) -> Any:
    """Rows with column `at` moved by `offset` rows, whatever kind of table they are."""
    if hasattr(X, "iloc"):
        X = X.copy()
        column = X.iloc[:, at]
        X[X.columns[at]] = column.take(np.roll(np.arange(len(column)), offset)).set_axis(column.index)
        return X
    if hasattr(X, "with_columns"):
        order = np.roll(np.arange(X.height), offset)
        return X.with_columns(X[name].gather(order).alias(name))
    kind = None if hasattr(X, "dtype") else object
    X = X.tolil(copy=True) if sparse.issparse(X) else np.array(X, dtype=kind)
    X[:, at] = X[np.roll(np.arange(X.shape[0]), offset)][:, at]
    return X.tocsr() if sparse.issparse(X) else X


def _differ(before: Design, after: Design) -> BoolArray:
    """Columns in which two tables differ."""
    if sparse.issparse(before):
        return np.asarray(np.abs(before - after).max(axis=0).toarray()).ravel() > 0
    return np.asarray((before != after).any(axis=0))
