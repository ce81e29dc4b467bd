"""How many threads BLAS has, and how it is held to one while blocks of rows have their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def _blas() -> ThreadpoolController:
    """The libraries of BLAS, by one look at what is loaded: NumPy's and SciPy's are there when it is asked for."""
    return ThreadpoolController().select(user_api="blas")


_pin_lock = Lock()
_n_pins = 0
_pin: Any = None


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Context in which BLAS has one thread; of fits that overlap, in threads of their own, the last one restores."""
    global _n_pins, _pin
    with _pin_lock:
        if not _n_pins:
            _pin = _blas().limit(limits=1)
        _n_pins += 1
    try:
        yield
    finally:
        with _pin_lock:
            _n_pins -= 1
            if not _n_pins:
                _pin.restore_original_limits()


def available_threads() -> int:
    """Threads that BLAS may use now, so that OMP_NUM_THREADS and limits set by joblib are respected."""
    counts = [library.num_threads for library in _blas().lib_controllers]
    return max(counts, default=1)
