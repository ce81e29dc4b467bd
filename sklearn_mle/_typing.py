"""Array aliases, and the one vocabulary of shapes.

n : samples (rows of X)
p : features (columns of X)
K : classes
J : outputs of the network: 1 for two classes (the log-odds of the second), else K
d : parameters, all of them, flat
q : columns of the whitened design: its rank, plus one where there is an intercept
M : free logits of a gauge-free model: 1 for two classes, else K - 1

Arrays of one block of B rows are class-major, (J, B): a reduction over classes is then a sum of
contiguous rows.
"""

from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.floating[Any]]
IntArray: TypeAlias = NDArray[np.integer[Any]]
BoolArray: TypeAlias = NDArray[np.bool_]
# The entries of arrays that come back as what they were.
Scalar = TypeVar("Scalar", bound=np.generic)
# Class indices (n,) or a distribution over the classes for each row.
Targets: TypeAlias = NDArray[Any]
# A dense array or any SciPy sparse matrix or array; only `_samples` asks which.
Design: TypeAlias = Any
