"""Runs as plain records, and what a set of runs amounts to."""

import csv
import math
import statistics
from dataclasses import asdict, dataclass, fields
from typing import get_type_hints

TOLERATED_GAP = 1e-6  # nats per sample above the best that anyone reached


@dataclass(frozen=True)
class Run:
    """One process.

    ``status`` is "ok", "timeout" (``seconds`` is then the limit), "missing" or
    "error"; ``objective`` is the penalised mean NLL in nats, nan unless "ok".
    """

    problem: str
    library: str
    tol: float  # nan: the library's default
    repeat: int
    status: str
    seconds: float = math.nan
    peak_mib: float = math.nan
    n_iter: float = math.nan
    objective: float = math.nan
    version: str = ""
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """What one library did on one problem.

    ``status``: "arrived" (``seconds`` is the median time to solution), "stopped" (ran
    into the time limit: ``seconds`` is a lower bound), "short" (finished everything
    it was given, and none was close enough), "failed" (errors or nan only).
    """

    problem: str
    library: str
    status: str
    seconds: float
    tol: float = math.nan
    peak_mib: float = math.nan
    gap: float = math.nan
    repeats: int = 1


def best_objective(runs):
    """The lowest objective among runs; inf if there is none."""
    return min((r.objective for r in runs if math.isfinite(r.objective)), default=math.inf)


def arrived(run, best):
    """Whether a run ended within the tolerated gap (nan never does)."""
    return run.status == "ok" and run.objective - best <= TOLERATED_GAP


def outcome(runs, best):
    """Judge the runs of one library on one problem, all tolerances and repeats."""
    problem, library = runs[0].problem, runs[0].library
    solved = [r for r in runs if arrived(r, best)]
    if solved:
        loosest = max(r.tol for r in solved)
        chosen = [r for r in solved if not r.tol < loosest]  # nan: the one setting
        return Outcome(
            problem,
            library,
            "arrived",
            statistics.median(r.seconds for r in chosen),
            loosest,
            statistics.median(r.peak_mib for r in chosen),
            statistics.median(r.objective for r in chosen) - best,
            len(chosen),
        )
    gap = best_objective(runs) - best
    finished = [r for r in runs if r.status == "ok"]
    stopped = [r for r in runs if r.status == "timeout"]
    status = "stopped" if stopped else "short" if math.isfinite(gap) else "failed"
    at = max((r.seconds for r in stopped or finished), default=math.nan)
    peak = max((r.peak_mib for r in finished), default=math.nan)
    return Outcome(problem, library, status, at, peak_mib=peak, gap=gap)


def outcomes(runs):
    """Outcomes of all (problem, library) pairs, in order of first appearance."""
    groups = {}
    for run in runs:
        if run.status != "missing":
            groups.setdefault((run.problem, run.library), []).append(run)
    best = {}
    for run in runs:
        best.setdefault(run.problem, []).append(run)
    best = {problem: best_objective(group) for problem, group in best.items()}
    return [outcome(group, best[problem]) for (problem, _), group in groups.items()]


def write_csv(runs, path):
    """Write all runs, one a line."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Run)])
        writer.writeheader()
        writer.writerows(asdict(run) for run in runs)


def read_csv(path):
    """Read runs back."""
    types = get_type_hints(Run)
    with open(path, newline="") as file:
        return [Run(**{name: types[name](value) for name, value in row.items()}) for row in csv.DictReader(file)]
