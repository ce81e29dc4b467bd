"""How many threads BLAS has, how it is held to one while blocks of rows have their own, and what these share out."""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from itertools import count
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController

# Each more thread costs as much as so many operations, for the waking and the interpreter's lock: of w operations in t
# threads, w / t + t of this is least where t is its root.
_WORK_OF_THREAD = 1 << 20


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


def threads_worth(work: int) -> int:
    """How many threads so many operations are worth."""
    return max(1, math.isqrt(work // _WORK_OF_THREAD))


def shared_out(
    pool: ThreadPoolExecutor, n_threads: int, function: Callable[[Any], Any], items: Sequence[Any]
) -> Iterator[Any]:
    """The function of each item, in their order, by the calling thread and others of the pool.

    Waking a thread takes longer than many a call of NumPy: the one that calls works too.
    """
    n_items = len(items)
    found: list[Any] = [None] * n_items
    done = [False] * n_items
    turns = count()

    def work() -> Generator[None, None, None]:
        """Whatever ends this, no other thread goes on."""
        nonlocal turns
        try:
            while (i := next(turns)) < n_items:
                found[i] = function(items[i])
                done[i] = True
                yield
        finally:
            turns = count(n_items)

    others = [pool.submit(deque, work(), 0) for _ in range(n_threads - 1)]
    own, n_given = work(), 0
    try:
        for _ in own:
            while n_given < n_items and done[n_given]:
                yield found[n_given]
                found[n_given] = None
                n_given += 1
    finally:
        own.close()
        wait(others)
    for other in others:
        other.result()
    yield from found[n_given:]
