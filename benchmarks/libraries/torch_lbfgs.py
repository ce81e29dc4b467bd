"""PyTorch's L-BFGS with a strong Wolfe line search, on the CPU, in float64."""

import os

from benchmarks.libraries import Fit, decades


class TorchLBFGS:
    """The training loop that a user of PyTorch would write, as one L-BFGS call."""

    name = "torch L-BFGS"
    role = "tuned"
    raw_columns = False
    tolerances = decades(-3, -8)

    def load(self):
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        self._torch = torch
        return torch.__version__

    def supports(self, shape):
        return not shape.sparse

    def fit(self, X, y, C, tol):
        torch = self._torch
        X, y = torch.from_numpy(X), torch.from_numpy(y)
        n, p = X.shape
        K = int(y.max()) + 1
        logits = K if K > 2 else 1  # two classes: one logit, as the penalty is defined
        W = torch.zeros(p, logits, dtype=X.dtype, requires_grad=True)
        b = torch.zeros(logits, dtype=X.dtype, requires_grad=True)
        optimiser = torch.optim.LBFGS(
            [W, b],
            max_iter=100_000,
            max_eval=200_000,
            tolerance_grad=tol,
            tolerance_change=1e-15,
            line_search_fn="strong_wolfe",
        )

        def closure():
            optimiser.zero_grad()
            z = X @ W + b
            if K == 2:
                z = torch.nn.functional.pad(z, (1, 0))
            loss = torch.nn.functional.cross_entropy(z, y)
            loss = loss + W.square().sum() / (2 * C * n)
            loss.backward()
            return loss

        optimiser.step(closure)
        n_iter = optimiser.state[W].get("n_iter")
        return Fit(W.detach().numpy().T, b.detach().numpy(), n_iter)
