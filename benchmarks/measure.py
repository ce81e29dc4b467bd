"""Pinned threads, peak memory and child processes."""

import contextlib
import os
import resource
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_POOLS = ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB_MAXIMUM", "NUMEXPR")


def child_environment(threads):
    """Environment of a measured process: pinned thread pools, this checkout first."""
    pinned = {f"{pool}_NUM_THREADS": str(threads) for pool in _POOLS}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, **pinned, "PYTHONPATH": path}


def peak_bytes():
    """High-water mark of this process's resident memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak():
    """Bring the high-water mark down to what is resident now; return the mark.

    Linux only; elsewhere the mark stays, and a difference of two marks is a lower
    bound.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()
