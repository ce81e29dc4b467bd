"""One adapter per library behind one small protocol."""

from typing import NamedTuple, Protocol

import numpy as np

from benchmarks.problems import Shape


class Fit(NamedTuple):
    """What a fit hands back.

    ``coef`` is (K, p), (K-1, p) without the first class, or (1, p) for two classes.
    ``seconds`` and ``peak`` (bytes) are None, except where another process did the
    work and took the measures itself.
    """

    coef: np.ndarray
    intercept: np.ndarray
    n_iter: int | None = None
    seconds: float | None = None
    peak: int | None = None


class Adapter(Protocol):
    """A library at work.

    Attributes
    ----------
    name : str
    role : {"ours", "tuned", "default", "baseline"}
    tolerances : tuple of float or None
        The grid, loosest first; ``(None,)`` for the library's own default.
    raw_columns : bool
        False: columns are standardised for it, unmeasured, where C is infinite.
    """

    name: str
    role: str
    tolerances: tuple[float | None, ...]
    raw_columns: bool

    def load(self) -> str:
        """Import the library and return its version; ImportError if it is missing."""

    def supports(self, shape: Shape) -> bool:
        """Whether the library can take the problem at all."""

    def fit(self, X, y, C: float, tol: float | None) -> Fit:
        """Fit; this call is what is measured."""


def decades(first, last):
    """Tolerances 10^first, ..., 10^last, loosest first."""
    return tuple(float(f"1e{power}") for power in range(first, last - 1, -1))


def adapters():
    """All adapters by name, in the order in which they run: fast ones first.

    An early arrival shortens the time that later peers are given.
    """
    from benchmarks.libraries.glum_irls import GlumBinomial
    from benchmarks.libraries.null_model import NullModel
    from benchmarks.libraries.r_multinom import RMultinom
    from benchmarks.libraries.scikit_learn import SklearnDefault, SklearnTuned
    from benchmarks.libraries.softmax_mle import SoftmaxMLE
    from benchmarks.libraries.stats_models import MNLogitTuned
    from benchmarks.libraries.torch_lbfgs import TorchLBFGS

    everyone = (
        SoftmaxMLE(),
        SklearnTuned("newton-cholesky"),
        SklearnTuned("newton-cg"),
        GlumBinomial(),
        SklearnTuned("lbfgs"),
        MNLogitTuned("newton"),
        TorchLBFGS(),
        RMultinom(),
        MNLogitTuned("bfgs"),
        SklearnTuned("saga"),
        SklearnDefault(),
        NullModel(),
    )
    return {adapter.name: adapter for adapter in everyone}
