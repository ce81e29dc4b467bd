"""XOR and two spirals: what one and two hidden layers make of classes that no line parts.

The linear softmax model says next to nothing about XOR: a half, more or less, everywhere. A hidden layer of four
units parts the corners, two layers follow the spirals.
"""

import matplotlib.pyplot as plt
import numpy as np

from sklearn_mle import SoftmaxMLEClassifier


def xor(rng, n=200):
    """Four clouds, those in opposite corners of one class."""
    corners = rng.integers(2, size=(n, 2))
    return corners + 0.15 * rng.standard_normal((n, 2)), corners[:, 0] ^ corners[:, 1]


def spirals(rng, n=200, turns=1.75):
    """Two arms, half a turn apart."""
    y = np.arange(n) % 2
    t = np.sqrt(rng.uniform(0.02, 1, size=n))
    angle = 2 * np.pi * turns * t + np.pi * y
    return np.column_stack([t * np.cos(angle), t * np.sin(angle)]) + 0.01 * rng.standard_normal((n, 2)), y


def main():
    """Fit, print accuracies, draw the probability of the second class."""
    rng = np.random.default_rng(0)
    problems = (
        ("XOR", *xor(rng), ((), (4,))),
        ("two spirals", *spirals(rng), ((), (20, 20))),
    )
    figure, axes = plt.subplots(2, 2, figsize=(9, 8), layout="constrained")
    for row, (name, X, y, sizes) in zip(axes, problems, strict=True):
        for ax, hidden in zip(row, sizes, strict=True):
            model = SoftmaxMLEClassifier(hidden_layer_sizes=hidden, C=1e4, n_init=3 if hidden else 1, random_state=0)
            model.fit(X, y)
            print(f"{name}, hidden layers {hidden}: accuracy {model.score(X, y):.3f}, {model.loss_:.4f} nats a sample")
            sides = [np.linspace(column.min() - 0.2, column.max() + 0.2, 200) for column in X.T]
            grid = np.stack(np.meshgrid(*sides), axis=-1)
            proba = model.predict_proba(grid.reshape(-1, 2))[:, 1].reshape(grid.shape[:2])
            shades = ax.contourf(*sides, proba, levels=np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.7)
            ax.scatter(*X.T, c=y, cmap="RdBu_r", edgecolors="k", s=16, linewidths=0.5)
            ax.set(title=f"{name}, hidden_layer_sizes={hidden}", aspect="equal", xlabel="x0", ylabel="x1")
    figure.colorbar(shades, ax=axes, label="probability of the red class", shrink=0.6)
    plt.show()


if __name__ == "__main__":
    main()
