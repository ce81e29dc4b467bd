"""The schedule: who runs what, for how long, and when a grid is left."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import measure, problems
from benchmarks.libraries import adapters
from benchmarks.records import Run, arrived, best_objective, outcome

OVERHEAD = 300.0  # seconds for start-up, loading and judging, beyond any limit
PATIENCE = 3.0  # a peer gets this many times the time of the fastest peer so far ...
LEAST_LIMIT = 15.0  # ... but never less than this many seconds
REPEAT_BELOW = 30.0  # seconds; longer runs are measured once


@dataclass
class Plan:
    """What to run.

    Parameters
    ----------
    problems, libraries : list of str
    repeats : int
        Runs of each library's chosen setting.
    timeout : float
        Seconds that one run may take at most.
    threads : int
    interpreters : dict
        Library name -> Python executable, for a library that lives elsewhere.
    """

    problems: list
    libraries: list
    repeats: int = 3
    timeout: float = 60.0
    threads: int = 2
    interpreters: dict = field(default_factory=dict)


class Runner:
    """Carries a plan out; ``runs`` grows as it goes.

    Parameters
    ----------
    plan : Plan
    runs : list of Run
        Earlier runs to build on.
    report : callable
        Called with each new `Run`.
    """

    def __init__(self, plan, runs=(), report=lambda run: None):
        self.plan = plan
        self.runs = list(runs)
        self.report = report
        self.adapters = {name: adapter for name, adapter in adapters().items() if name in plan.libraries}
        self.missing = set()

    def search(self, problem):
        """Walk every library's grid until it arrives, is stopped, or ends.

        The best objective falls as runs come in, so a library that had arrived may
        have to walk on: repeat until nobody moves.
        """
        path = problems.cached(problem)
        shape = problems.shape_of(path, problem.C)
        moved = True
        while moved:
            moved = False
            for adapter in self.adapters.values():
                while (tol := self._next_tolerance(adapter, problem, shape)) is not False:
                    self._run(adapter, problem, path, tol, 0, self._limit(adapter, problem))
                    moved = True

    def repeat(self, index):
        """Run every setting that arrived once more, interleaved over the libraries."""
        for name in self.plan.problems:
            problem = problems.PROBLEMS[name]
            best = best_objective(self._of(name))
            for adapter in self.adapters.values():
                mine = self._of(name, adapter.name)
                if not mine or any(r.repeat == index for r in mine):
                    continue
                result = outcome(mine, best)
                if result.status == "arrived" and result.seconds <= REPEAT_BELOW:
                    path = problems.cached(problem)
                    limit = max(self.plan.timeout, 4 * result.seconds)
                    tol = None if math.isnan(result.tol) else result.tol
                    self._run(adapter, problem, path, tol, index, limit)

    def _of(self, problem, library=None):
        return [r for r in self.runs if r.problem == problem and library in (None, r.library)]

    def _next_tolerance(self, adapter, problem, shape):
        """The loosest tolerance not yet tried; False where the walk ends."""
        if adapter.name in self.missing or not adapter.supports(shape):
            return False
        mine = self._of(problem.name, adapter.name)
        best = best_objective(self._of(problem.name))
        for run in mine:
            if run.status != "ok" or math.isnan(run.objective) or arrived(run, best):
                return False
        tried = sum(run.repeat == 0 for run in mine)
        return adapter.tolerances[tried] if tried < len(adapter.tolerances) else False

    def _limit(self, adapter, problem):
        """Seconds for the next run: patience ends at a multiple of the fastest peer."""
        if adapter.role != "tuned":
            return self.plan.timeout
        runs = self._of(problem.name)
        best = best_objective(runs)
        peers = [n for n, a in adapters().items() if a.role == "tuned"]
        times = [r.seconds for r in runs if r.library in peers and arrived(r, best)]
        patience = max(LEAST_LIMIT, PATIENCE * min(times, default=math.inf))
        return min(self.plan.timeout, patience)

    def _run(self, adapter, problem, path, tol, repeat, limit):
        result = run_worker(
            adapter.name,
            path,
            problem.C,
            tol,
            limit,
            self.plan.threads,
            self.plan.interpreters.get(adapter.name, sys.executable),
        )
        if result["status"] == "missing":
            self.missing.add(adapter.name)
        setting = math.nan if tol is None else tol
        run = Run(problem.name, adapter.name, setting, repeat, **result)
        self.runs.append(run)
        self.report(run)


def run_worker(library, path, C, tol, limit, threads, python=sys.executable):
    """Start one measured process and wait for it.

    Returns
    -------
    dict
        As `benchmarks.worker.run` gives it, or status "timeout", or "error" for a
        process that died otherwise.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, errors = Path(folder) / "result.json", Path(folder) / "stderr"
        command = [python, "-m", "benchmarks.worker", library, str(path), str(out)]
        command += ["--C", str(C), "--limit", str(limit)]
        command += [] if tol is None else ["--tol", str(tol)]
        code = _run_session(command, errors, limit + OVERHEAD, threads)
        if out.exists():
            return json.loads(out.read_text())
        if code in (None, -signal.SIGALRM):
            return {"status": "timeout", "seconds": limit}
        last = errors.read_text(errors="replace").strip().splitlines()[-1:]
        return {"status": "error", "note": (last or [f"exit {code}"])[0][:200]}


def _run_session(command, errors, limit, threads):
    """Run in a session of its own, and end what it leaves behind; None if too late."""
    with open(errors, "w") as stderr:
        process = subprocess.Popen(
            command,
            env=measure.child_environment(threads),
            cwd=measure.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
