"""Maximum-likelihood softmax classification for scikit-learn."""

from ._classifier import SoftmaxMLEClassifier
from .exceptions import SeparationWarning

__version__ = "0.1.0"

__all__ = ["SeparationWarning", "SoftmaxMLEClassifier", "__version__"]
