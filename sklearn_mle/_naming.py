"""By which features are classes separated? By few, where few do.

A direction of recession that comes from a fit uses every column. Single columns that separate on their own come
first (dummies, mostly): a look at the rows finds them. For the pairs that they leave one linear program chooses columns
that separate them together; where these are few, those that can be left out are. Where they are many it is not
asked: that many columns together separate is all that there is to say.
"""

import numpy as np

from ._recession import OutOfReachError, RecessionCone, UndecidedError
from ._typing import BoolArray, FloatArray

# Columns of a combination, at most, from which those that are not needed are left out.
_FEW = 8
# Columns that separate on their own, likewise; and pairs to look at for all of them, a second or so.
_MANY_ALONE, _MANY_PAIRS = 64, 2**26
# Unknowns of a program that chooses among all columns.
_MAX_SHORTEST = 400
_UNNEEDED = "not all of them may be needed"
_MANY = f"{_UNNEEDED}: no {_FEW} or fewer that separate them were found"


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
    if open_.any():
        shorter, reason = _combination(cone, open_, V, _used(cone, parts))
        doubt, features = doubt or reason, _used(cone, [shorter])
        if not cone.violations(shorter)[0].any():
            parts.append(_scaled(cone, shorter))
            open_ &= ~rows.separated(shorter)
    while open_.any():
        try:
            found = cone.find(open_, features)
        except UndecidedError as error:
            found, doubt = None, f"{_UNNEEDED}: {error}"
        done = open_ & rows.separated(V if found is None else found)
        if found is None or not done.any():
            return V, _used(cone, [V]), doubt or _MANY
        parts.append(_scaled(cone, found))
        open_ &= ~done
    total = np.sum(_needed(cone, strict, parts), axis=0)
    return total, _used(cone, [total]), doubt


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
    if count > _MANY_ALONE or count * rows.outside.size > _MANY_PAIRS:
        candidates, doubt = [splits.direction()], f"{_UNNEEDED}: {count} columns separate on their own"
    else:
        candidates = [splits.direction(slice(j, j + 1)) for j in range(count)]
    looks = []
    for V in candidates:
        margins, rounding = rows.margins(V)
        done = open_ & (margins > rounding)
        if done.any() and not np.any(rows.outside & (margins < -rounding)):
            looks.append((V / margins.max(), done))
    parts = []
    for V, done in sorted(looks, key=lambda look: -np.count_nonzero(look[1])):
        if np.any(open_ & done):
            parts.append(V)
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


def _combination(cone: RecessionCone, open_: BoolArray, V: FloatArray, known: BoolArray) -> tuple[FloatArray, str]:
    """A direction by few features beside those `known`, if these are few, that separates `open_`; and a doubt.

    It does but for the tolerance of the solver: its features do.
    """
    shortest: FloatArray | None = None
    if np.count_nonzero(known) > _FEW:
        known = np.zeros_like(known)
    everything = known | _used(cone, [V])
    try:
        # Often those are among the few that V uses most: a small program, however many columns there are.
        few = known | _largest(V, known, _FEW)
        # That they separate nothing shows at once; that they do not separate all takes long.
        if np.any(everything & ~few) and _may_separate(cone, open_, few):
            shortest = cone.shortest(open_, V, few, known)
        if shortest is None and cone.unknowns <= _MAX_SHORTEST:
            shortest = cone.shortest(open_, V, everything, known)
        if shortest is None:
            return V, _MANY
        for count in (_FEW, _FEW // 2, _FEW // 4):
            largest = _largest(shortest, known, count)
            if np.any(_used(cone, [shortest]) & ~known & ~largest):
                fewer = cone.shortest(open_, V, known | largest, known)
                if fewer is None:
                    break
                shortest = fewer
        if np.count_nonzero(_used(cone, [shortest]) & ~known) > _FEW:
            return shortest, _MANY
        for j in np.argsort(_size(shortest, known), kind="stable"):
            used = _used(cone, [shortest])
            if used[j] and not known[j]:
                fewer = cone.shortest(open_, V, (known | used) & (np.arange(len(known)) != j), known)
                shortest = shortest if fewer is None else fewer
    except UndecidedError as error:
        return V if shortest is None else shortest, f"{_UNNEEDED}: {error}"
    return shortest, ""


def _may_separate(cone: RecessionCone, open_: BoolArray, features: BoolArray) -> bool:
    """Whether some features separate some of `open_`; or that was not decided, where the next question may be."""
    try:
        return cone.find(open_, features) is not None
    except OutOfReachError:
        raise
    except UndecidedError:
        return True


def _size(V: FloatArray, known: BoolArray) -> FloatArray:
    """How much V uses each feature; those `known` not at all."""
    return np.where(known, 0.0, np.ptp(V[:, : len(known)], axis=0))


def _largest(V: FloatArray, known: BoolArray, count: int) -> BoolArray:
    """The features that V uses most beside those `known`."""
    return np.isin(np.arange(len(known)), np.argsort(-_size(V, known), kind="stable")[:count])
