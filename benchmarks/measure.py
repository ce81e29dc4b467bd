"""Pinned threads, peak memory and child processes."""

import contextlib
import os
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_POOLS = ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB_MAXIMUM", "NUMEXPR")


def child_environment(threads):
    """Environment of a measured process: pinned thread pools, this checkout first."""
    pinned = {f"{pool}_NUM_THREADS": str(threads) for pool in _POOLS}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, **pinned, "PYTHONPATH": path}


def pin(module, threads):
    """Run the command anew, and end, where threads are not pinned: they are counted as libraries are loaded."""
    if os.environ.get("OMP_NUM_THREADS") != str(threads):
        command = [sys.executable, "-m", module, *sys.argv[1:]]
        sys.exit(subprocess.call(command, env=child_environment(threads)))


def peak_bytes():
    """High-water mark of this process's resident memory.

    `ru_maxrss` counts what the process was before it became this program, a copy of its parent.
    """
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
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
