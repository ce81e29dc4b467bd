"""By which features are classes separated? By few, where few do.

A direction of recession from a fit uses every column. Which of them it needs is asked in the order of what an answer
tells, and costs: single columns that separate on their own (dummies, mostly), for which one look at the rows does;
then combinations of a few columns, each by a linear program. Where more than a few are needed, no program
says which, since all there is to say is that many columns together separate.
"""

import numpy as np

from ._margins import EPS
from ._recession import OutOfReachError, RecessionCone, UndecidedError
from ._typing import BoolArray, FloatArray, IntArray

# Columns of a combination that is looked for.
_FEW = 8
# Unknowns of a program that finds the shortest direction, to choose the few from.
_MAX_SHORTEST = 400
# Columns that separate on their own from which those that are not needed are left out.
_MANY_ALONE = 64
_UNNEEDED = "features that are not needed may be among those named"
_TOO_MANY = f"{_UNNEEDED}: more than {_FEW} are needed"


def named(cone: RecessionCone, strict: BoolArray, V: FloatArray) -> tuple[FloatArray, BoolArray, str]:
    """A direction that separates the same pairs by few features, and those features.

    Parameters
    ----------
    cone : RecessionCone
    strict : (n, K) bool, the pairs that V separates
    V : (K, q), a direction of recession

    Returns
    -------
    direction (K, q), features (p,) bool, and why some that are not needed may be among them ("" if none are)
    """
    rows, open_ = cone.rows, strict.copy()
    parts, doubt = _alone(cone, open_)
    alone = np.count_nonzero(_used(cone, parts))
    while open_.any():
        known = _used(cone, parts)
        part, reason = _combination(cone, open_, V, known, _FEW - (np.count_nonzero(known) - alone))
        doubt = doubt or reason
        parts.append(_scaled(cone, part))
        done = open_ & rows.separated(part)
        if not done.any():  # strict in one part of V, and within the rounding of another
            break
        open_ &= ~done
    parts = _needed(cone, strict, parts)
    return np.sum(parts, axis=0), _used(cone, parts), doubt


def _scaled(cone: RecessionCone, V: FloatArray) -> FloatArray:
    return V / cone.rows.margins(V)[0].max()


def _used(cone: RecessionCone, parts: list[FloatArray]) -> BoolArray:
    p = cone.rows.q - cone.rows.intercept
    used = np.zeros(p, dtype=bool)
    for V in parts:
        used |= np.ptp(V[:, :p], axis=0) > 0
    return used


def _alone(cone: RecessionCone, open_: BoolArray) -> tuple[list[FloatArray], str]:
    """Directions by one column each, those of most pairs first; the pairs that they separate leave `open_`.

    Where they are many, all in one.
    """
    rows, splits = cone.rows, cone.rows.column_splits()
    if splits is None:
        return [], ""
    count, doubt = len(splits.columns), ""
    if count > _MANY_ALONE:
        candidates, doubt = [splits.direction()], f"{_UNNEEDED}: {count} columns separate on their own"
    else:
        singles = [splits.direction(slice(j, j + 1)) for j in range(count)]
        gains = [np.count_nonzero(open_ & rows.separated(V)) for V in singles]
        candidates = [singles[j] for j in np.argsort(np.negative(gains), kind="stable")]
    parts = []
    for V in candidates:
        done = open_ & rows.separated(V)
        if done.any() and not cone.violations(V)[0].any():
            parts.append(_scaled(cone, V))
            open_ &= ~done
    return parts, doubt


def _needed(cone: RecessionCone, strict: BoolArray, parts: list[FloatArray]) -> list[FloatArray]:
    """The parts without those whose work the others do."""
    kept = list(parts)
    for j in range(len(parts) - 1, -1, -1):
        others = kept[:j] + kept[j + 1 :]
        if others and not np.any(strict & ~cone.rows.separated(np.sum(others, axis=0))):
            kept = others
    return kept


def _combination(
    cone: RecessionCone, open_: BoolArray, V: FloatArray, known: BoolArray, few: int
) -> tuple[FloatArray, str]:
    """A direction strict in some pairs of `open_`: by the features `known`, by a `few`, or V itself, and why V."""
    found, undecided = V, ""

    def attempt(features: BoolArray) -> bool:
        nonlocal found, undecided
        try:
            direction = cone.find(open_, features)
        except OutOfReachError:
            raise
        except UndecidedError as error:
            undecided, direction = f"{_UNNEEDED}: {error}", None
        if direction is not None:
            found = direction
        return direction is not None

    try:
        if 0 < np.count_nonzero(known) <= _FEW and attempt(known):
            return found, ""
        order = _by_merit(cone, open_, V) if few > 0 else np.flatnonzero(_used(cone, [V]))
        if len(order) > few and not (few > 0 and attempt(_among(order[:few], len(known)))):
            return V, undecided or _TOO_MANY
        for count in (2, 4):
            if count < min(few, len(order)) and attempt(_among(order[:count], len(known))):
                break
        for j in order[::-1]:
            used = _used(cone, [found])
            if used[j]:
                attempt(used & ~_among([j], len(known)))
    except UndecidedError as error:
        undecided = f"{_UNNEEDED}: {error}"
    return found, undecided


def _by_merit(cone: RecessionCone, open_: BoolArray, V: FloatArray) -> IntArray:
    """The features of V, those that few would be chosen from first."""
    size = np.ptp(V[:, : cone.rows.q - cone.rows.intercept], axis=0)
    if cone.unknowns <= _MAX_SHORTEST:
        shortest = cone.shortest(open_, V)
        if shortest is not None:
            # What the shortest leaves out comes last, by its size in V.
            short = np.ptp(shortest, axis=0)[: len(size)]
            size = np.where(short > 0, 1.0 + short / max(short.max(), EPS), size / (1.0 + size.max()))
    return np.argsort(-size, kind="stable")[: np.count_nonzero(size)]


def _among(columns: IntArray | list[int], p: int) -> BoolArray:
    return np.isin(np.arange(p), columns)
