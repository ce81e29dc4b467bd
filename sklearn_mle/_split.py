"""The l1 problem as a smooth one with bounds, for SciPy's methods that honour those."""

import numpy as np

from ._problem import RoundProblem
from ._typing import FloatArray


class SplitProblem:
    """The l1 problem as a smooth one with bounds, for SciPy's methods that honour those.

    x = (u, v) stands for psi = u - v with u, v >= 0 where the penalty applies, and costs l1 (u + v); where it
    does not, u is free and v is fixed at zero.
    """

    def __init__(self, problem: RoundProblem, l1: FloatArray, box: tuple[FloatArray, FloatArray]) -> None:
        self.problem = problem
        self.l1 = l1
        self.size = 2 * problem.size
        lower, upper = box
        penalised = l1 > 0
        u = np.where(penalised, np.maximum(lower, 0.0), lower), np.where(penalised, np.maximum(upper, 0.0), upper)
        v = np.where(penalised, np.maximum(-upper, 0.0), 0.0), np.where(penalised, np.maximum(-lower, 0.0), 0.0)
        self.box = np.concatenate([u[0], v[0]]), np.concatenate([u[1], v[1]])

    def split(self, psi: FloatArray) -> FloatArray:
        """(u, v) of psi."""
        positive = np.where(self.l1 > 0, np.maximum(psi, 0.0), psi)
        return np.concatenate([positive, positive - psi])

    def join(self, x: FloatArray) -> FloatArray:
        """Psi of (u, v)."""
        u, v = np.split(x, 2)
        return u - v

    def value_and_grad(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Value with the penalty, and gradient."""
        value, grad = self.problem.value_and_grad(self.join(x))
        u, v = np.split(x, 2)
        return value + float(self.l1 @ (u + v)), np.concatenate([grad + self.l1, self.l1 - grad])

    def hessp(self, x: FloatArray, direction: FloatArray) -> FloatArray:
        """Hessian times a direction."""
        product = self.problem.hessp(self.join(x), self.join(direction))
        return np.concatenate([product, -product])

    def hessian(self, x: FloatArray) -> FloatArray:
        """Hessian, (2 d, 2 d)."""
        hessian = self.problem.hessian(self.join(x))
        return np.block([[hessian, -hessian], [-hessian, hessian]])
