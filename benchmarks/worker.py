"""One run of one (problem, library, tolerance), in a process of its own.

Loading, imports and one warm-up on a tiny problem come before the clock starts; the
objective is evaluated after it has stopped.
"""

import argparse
import contextlib
import json
import signal
import statistics
import time
import warnings
from pathlib import Path

import numpy as np

from benchmarks import measure, problems
from benchmarks.libraries import adapters
from benchmarks.objective import penalised_mean_nll, standardise, to_raw


def warm_up(adapter, X, K, C, tol):
    """Fit 60 rows x 3 columns, of the same container and number of classes (2 or 3)."""
    rng = np.random.default_rng(0)
    tiny = rng.standard_normal((60, 3))
    y = np.arange(60) % min(K, 3)
    with contextlib.suppress(Exception):
        adapter.fit(tiny if isinstance(X, np.ndarray) else type(X)(tiny), y, C, tol)


SHORT = 0.2  # seconds; a fit below this is measured several times over
AGAIN = 6


def measured_fit(adapter, X, y, C, tol, limit=0.0):
    """Fit under the clock; a short one `AGAIN` times more, for the median.

    Parameters
    ----------
    limit : float
        Seconds after which the process is ended by SIGALRM; 0 means never.

    Returns
    -------
    fit : Fit
    seconds : float
    peak : int
        Bytes of resident memory above those before the fit.
    """
    before = measure.reset_peak()
    signal.setitimer(signal.ITIMER_REAL, limit)
    fit, seconds = _timed(adapter, X, y, C, tol)
    peak = max(0, measure.peak_bytes() - before) if fit.peak is None else fit.peak
    if seconds < SHORT:
        more = [_timed(adapter, X, y, C, tol)[1] for _ in range(AGAIN)]
        seconds = statistics.median([seconds, *more])
    signal.setitimer(signal.ITIMER_REAL, 0)
    return fit, seconds, peak


def _timed(adapter, X, y, C, tol):
    start = time.perf_counter()
    fit = adapter.fit(X, y, C, tol)
    seconds = time.perf_counter() - start
    return fit, seconds if fit.seconds is None else fit.seconds


def run(adapter, path, C, tol, limit=0.0):
    """Measure one fit on cached data.

    Returns
    -------
    dict
        ``status`` is "ok", "missing" (the library is not installed) or "error"; with
        "ok" come version, seconds, peak_mib, n_iter and objective.
    """
    try:
        version = adapter.load()
    except ImportError as missing:
        return {"status": "missing", "note": str(missing)}
    X, y = problems.load(path)
    raw = X
    by_hand = not adapter.raw_columns and np.isinf(C)
    if by_hand:
        X, mean, scale = standardise(raw)
    warm_up(adapter, X, int(y.max()) + 1, C, tol)
    try:
        fit, seconds, peak = measured_fit(adapter, X, y, C, tol, limit)
    except Exception as error:  # whatever a library raises is a result
        signal.setitimer(signal.ITIMER_REAL, 0)
        return {"status": "error", "note": f"{type(error).__name__}: {error}"[:200]}
    coef, intercept = fit.coef, fit.intercept
    if by_hand:
        coef, intercept = to_raw(coef, intercept, mean, scale)
    return {
        "status": "ok",
        "version": version,
        "seconds": seconds,
        "peak_mib": peak / 2**20,
        "n_iter": np.nan if fit.n_iter is None else fit.n_iter,
        "objective": penalised_mean_nll(raw, y, coef, intercept, C),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--C", type=float, required=True)
    parser.add_argument("--tol", type=float)
    parser.add_argument("--limit", type=float, default=0.0)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    adapter = adapters()[args.library]
    result = run(adapter, args.data, args.C, args.tol, args.limit)
    args.out.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
