"""What constructor parameters may be: each that is not, or that does not apply, is a ValueError that says so."""

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from ._network import ACTIVATIONS
from ._typing import FloatArray

_Bool = bool | np.bool_


def check_parameters(estimator: Any) -> None:
    """Raise ValueError for parameters of a classifier that are outside of the contract, or do not go together."""
    hidden = hidden_units(estimator.hidden_layer_sizes)
    if estimator.activation not in tuple(ACTIVATIONS):
        raise ValueError(f"activation must be one of {tuple(ACTIVATIONS)}; got {estimator.activation!r}.")
    if not is_real(estimator.C) or not estimator.C > 0 or 1 / float(estimator.C) == np.inf:
        raise ValueError(f"C must be a positive number, np.inf for maximum likelihood; got {estimator.C!r}.")
    if not is_real(estimator.l1_ratio) or not 0 <= estimator.l1_ratio <= 1:
        raise ValueError(f"l1_ratio must be a number from 0 to 1; got {estimator.l1_ratio!r}.")
    if estimator.prior not in ("gaussian", "jeffreys"):
        raise ValueError(f"prior must be 'gaussian' or 'jeffreys'; got {estimator.prior!r}.")
    if estimator.prior == "jeffreys" and (
        math.isfinite(estimator.C)
        or estimator.l1_ratio
        or estimator.bounds is not None
        or len(np.atleast_1d(np.asarray(estimator.hidden_layer_sizes, dtype=object)))
    ):
        raise ValueError(
            "prior='jeffreys' is for the linear model alone: leave C at np.inf, l1_ratio at 0, bounds at None and "
            "hidden_layer_sizes at ()."
        )
    if not is_real(estimator.tol) or not 0 < estimator.tol < np.inf:
        raise ValueError(f"tol must be a positive number of nats; got {estimator.tol!r}.")
    if not _is_integer(estimator.max_iter) or estimator.max_iter < 1:
        raise ValueError(f"max_iter must be an integer, at least 1; got {estimator.max_iter!r}.")
    if estimator.n_jobs is not None and (not _is_integer(estimator.n_jobs) or estimator.n_jobs == 0):
        raise ValueError(f"n_jobs must be None or an integer other than 0; got {estimator.n_jobs!r}.")
    if estimator.solver_options is not None and not isinstance(estimator.solver_options, dict):
        raise ValueError(f"solver_options must be None or a dict; got {estimator.solver_options!r}.")
    if estimator.solver_options and isinstance(estimator.solver, str) and estimator.solver.lower() == "auto":
        raise ValueError("solver_options belong to a named solver or a callable; solver='auto' takes none.")
    for name in ("fit_intercept", "warm_start"):
        # 0 and 1 are the integers that equal a bool.
        value = getattr(estimator, name)
        if not isinstance(value, _Bool | Integral) or value not in (0, 1):
            raise ValueError(f"{name} must be True or False; got {value!r}.")
    if not isinstance(estimator.verbose, _Bool | Integral) or estimator.verbose < 0:
        raise ValueError(f"verbose must be an integer, at least 0; got {estimator.verbose!r}.")
    check_random_state(estimator.random_state)
    if not _is_integer(estimator.n_iter_no_change) or estimator.n_iter_no_change < 1:
        raise ValueError(f"n_iter_no_change must be an integer, at least 1; got {estimator.n_iter_no_change!r}.")
    # n_iter_no_change is not among them: scikit-learn's own checks set it on every classifier that has it,
    # and it has no meaning but under early_stopping.
    if hidden:
        _check_network_parameters(estimator)
        return
    deep_only = {"n_init": 1, "early_stopping": False, "validation_fraction": 0.1}
    for name, default in deep_only.items():
        value = getattr(estimator, name)
        if value is not default and (np.ndim(value) or value != default):
            raise ValueError(f"{name}={value!r} does not apply to a linear model; leave it at {default!r}.")


def _check_network_parameters(estimator: Any) -> None:
    """Raise for what does not apply to a model with hidden layers."""
    linear_only = {"l1_ratio": 0, "prior": "gaussian", "bounds": None}
    for name, default in linear_only.items():
        value = getattr(estimator, name)
        if value is not default and (default is None or value != default):
            raise ValueError(
                f"{name}={value!r} is for the linear model; with hidden_layer_sizes leave it at {default!r}."
            )
    if not _is_integer(estimator.n_init) or estimator.n_init < 1:
        raise ValueError(f"n_init must be an integer, at least 1; got {estimator.n_init!r}.")
    if not isinstance(estimator.early_stopping, _Bool):
        raise ValueError(f"early_stopping must be True or False; got {estimator.early_stopping!r}.")
    if not is_real(estimator.validation_fraction) or not 0 < estimator.validation_fraction < 1:
        raise ValueError(f"validation_fraction must lie between 0 and 1; got {estimator.validation_fraction!r}.")
    if estimator.validation_fraction != 0.1 and not estimator.early_stopping:
        raise ValueError("validation_fraction is for early_stopping=True; leave it at 0.1.")


def hidden_units(sizes: Any) -> tuple[int, ...]:
    """The units of each hidden layer, from what `MLPClassifier` takes: a number or a sequence of them."""
    if isinstance(sizes, tuple) and not sizes:
        return ()
    units = tuple(np.atleast_1d(np.asarray(sizes, dtype=object)).tolist())
    if any(not _is_integer(n) or n < 1 for n in units):
        raise ValueError(f"hidden_layer_sizes must hold positive integers, a number for each layer; got {sizes!r}.")
    return tuple(int(n) for n in units)


def is_real(value: Any) -> bool:
    if not isinstance(value, Real) or isinstance(value, _Bool):
        return False
    try:
        return not math.isnan(value)
    except OverflowError:
        # An integer beyond the range of floats.
        return False


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, _Bool)


def check_bounds(bounds: Any, shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise ValueError(f"bounds must be (lower, upper), each broadcastable to coef_ {shape}; got {bounds!r}.")
    sides = []
    for name, bound in zip(("lower", "upper"), bounds, strict=True):
        if bound is None:
            raise ValueError(f"The {name} bounds are None; use -np.inf and np.inf where there is no bound.")
        try:
            side = np.broadcast_to(np.asarray(bound, dtype=np.float64), shape)
        except (TypeError, ValueError):
            raise ValueError(f"The {name} bounds must be numbers that broadcast to coef_, of shape {shape}.") from None
        if np.isnan(side).any():
            raise ValueError(f"The {name} bounds hold nan; use -np.inf and np.inf where there is no bound.")
        sides.append(side)
    if (sides[0] > sides[1]).any() or (sides[0] == np.inf).any() or (sides[1] == -np.inf).any():
        raise ValueError("Each lower bound must be at most its upper bound, and leave a finite value between.")
    return sides[0], sides[1]
