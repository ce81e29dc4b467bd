"""An l1 penalty makes most coefficients zero: the problem on the columns whose coefficients are not.

Columns that are zero in all classes, and want to stay there, can be left out: the minimum on the others is the minimum
of all if it leaves them so. Which these are is told by a gradient of all. So the problem is solved on a few columns,
then with those that want to move beside them, until none does (Tibshirani et al., 2012, J. R. Statist. Soc. B 74(2),
on sets of columns whose optimality conditions are checked; Massias, Gramfort & Salmon, 2018, ICML, on their growth).
What it saves is products with the other columns: it is for sparse ones, and for many more columns than rows.
"""

from dataclasses import replace

import numpy as np

from ._history import Controls
from ._kept import problem_on_columns
from ._problem import RoundProblem
from ._region import Region
from ._typing import FloatArray, IntArray

# Columns to begin with, and the share of all from which on nothing is gained; that of data with so many entries, half a
# gigabyte, of which no large part is to be copied.
_FEWEST = 64
_MOST_OF_ALL, _MOST_OF_LARGE = 0.5, 0.125
_LARGE = 1 << 26


class WorkingSet:
    """The columns of a problem that are worked on.

    Parameters
    ----------
    problem : RoundProblem
        In coordinates that do not mix columns, with no weights at psi = 0.
    region : Region
    """

    def __init__(self, problem: RoundProblem, region: Region) -> None:
        self.problem = problem
        self.region = region
        self.columns: IntArray = np.empty(0, dtype=np.intp)

    @property
    def helps(self) -> bool:
        """Whether there are some, but not so many that all would do as well."""
        large = self.problem.objective.samples.n_entries > _LARGE
        most = _MOST_OF_LARGE if large else _MOST_OF_ALL
        return 0 < len(self.columns) <= most * self.problem.coordinates.rank

    def grow(self, psi: FloatArray, slope: FloatArray, keep: bool) -> float:
        """Take columns that are not zero, and as many of those outside that want to move most.

        Columns that have become zero are left out unless they are to be kept.

        Returns
        -------
        promised : nats that those outside promise, by the curvature of the model without features: half of their
            squared slopes
        """
        most = max(_FEWEST, len(self.columns))
        blocks = self.problem.coordinates.blocks
        rank = self.problem.coordinates.rank
        at_zero = np.all(blocks(np.abs(psi))[:, :rank] == 0, axis=0)
        promised = 0.5 * np.square(blocks(slope)[:, :rank]).sum(axis=0)
        promised[~at_zero] = 0.0
        promised[self.columns] = 0.0
        entering = np.flatnonzero(promised)
        total = float(promised.sum())
        if len(entering) > most:
            entering = entering[np.argpartition(-promised[entering], most)[:most]]
        stays = np.union1d(self.columns, np.flatnonzero(~at_zero)) if keep else np.flatnonzero(~at_zero)
        self.columns = np.union1d(stays, entering)
        return total

    def part(self) -> RoundProblem:
        """The problem on these columns alone."""
        return problem_on_columns(self.problem, self.columns)

    def controls(self, controls: Controls, part: RoundProblem) -> Controls:
        """Penalty and bounds of these columns."""
        assert controls.bounds is not None
        l1 = None if controls.l1 is None else self.taken(controls.l1, part)
        lower, upper = (self.taken(side, part) for side in controls.bounds)
        return replace(controls, l1=l1, bounds=(lower, upper))

    def taken(self, psi: FloatArray, part: RoundProblem) -> FloatArray:
        """Of a vector of all coordinates, those of the part."""
        blocks = self.problem.coordinates.blocks(psi)
        return part.coordinates.flat(blocks[:, self._places(blocks)])

    def spread(self, psi: FloatArray, part: RoundProblem) -> FloatArray:
        """All coordinates, those outside of the part zero."""
        out = np.zeros(self.problem.size)
        blocks = self.problem.coordinates.blocks(out)
        blocks[:, self._places(blocks)] = part.coordinates.blocks(psi)
        return out

    def _places(self, blocks: FloatArray) -> IntArray:
        return np.append(self.columns, np.arange(self.problem.coordinates.rank, blocks.shape[1]))
