"""What a prior and early stopping do to the likelihood of unseen data, for a network with a hidden layer.

The maximum-likelihood estimate of a network reproduces the training data: its own log-loss goes to zero, and
that of unseen data far beyond that of the linear model.
"""

import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_mle import SeparationWarning, SoftmaxMLEClassifier


def main():
    """Cross-validate and print a table, nats a sample."""
    X, y = load_digits(return_X_y=True)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    settings = {
        "linear, C = inf": {"hidden_layer_sizes": ()},
        "linear, C = 0.1": {"hidden_layer_sizes": (), "C": 0.1},
        "(64,), C = inf": {},
        "(64,), C = inf, early stopping": {"early_stopping": True},
        **{f"(64,), C = {C:g}": {"C": C} for C in (100.0, 10.0, 1.0, 0.1)},
    }
    print(f"{'digits, 5 folds':34}{'training':>10}{'held out':>10}{'std. error':>12}")
    for name, parameters in settings.items():
        parameters = {"hidden_layer_sizes": (64,), "random_state": 0, "max_iter": 300, **parameters}
        model = make_pipeline(StandardScaler(), SoftmaxMLEClassifier(**parameters))
        with warnings.catch_warnings():
            # Without a prior the linear model is separated on these data; networks stop at max_iter.
            warnings.simplefilter("ignore", SeparationWarning)
            warnings.simplefilter("ignore", ConvergenceWarning)
            scores = cross_validate(model, X, y, cv=folds, scoring="neg_log_loss", return_train_score=True)
        held_out, training = -scores["test_score"], -scores["train_score"]
        error = held_out.std(ddof=1) / np.sqrt(len(held_out))
        print(f"{name:34}{training.mean():10.4f}{held_out.mean():10.4f}{error:12.4f}")


if __name__ == "__main__":
    main()
