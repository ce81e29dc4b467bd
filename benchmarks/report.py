"""Tables from outcomes, in Markdown."""

import math
from typing import NamedTuple

from benchmarks import problems
from benchmarks.libraries import adapters
from benchmarks.records import TOLERATED_GAP, outcomes

_ABOUT = """\
Time to solution: seconds of the fit at the loosest tolerance of a grid whose penalised
mean negative log-likelihood is within {gap:.0e} nats of the best that anyone reached.
Ours: defaults, raw columns. Peers: their best tolerance, on columns standardised for
them where C is infinite; `scikit-learn default` on raw columns. A process for each run,
medians; {threads} threads on {cpu}. `>`: stopped by the time limit. `short by`:
finished, and still that many nats a sample from the best. MiB: peak memory during the
fit, beyond the data."""


class Comparison(NamedTuple):
    """Ours against the fastest peer on one problem.

    ``ratio`` is peer over ours; ``at_least`` says that it is a lower bound, because
    the fastest peer was stopped by the time limit. ratio is nan where ours did not
    arrive, and inf where no peer arrived and none was stopped.
    """

    ours: object
    peer: object
    ratio: float
    at_least: bool


def by_problem(runs):
    """``{problem: {library: Outcome}}``, problems in the order of problems.py."""
    table = {}
    for result in outcomes(runs):
        table.setdefault(result.problem, {})[result.library] = result
    return {name: table[name] for name in problems.PROBLEMS if name in table}


def _role(role):
    return [name for name, adapter in adapters().items() if adapter.role == role]


def compare(row):
    """`Comparison` for one row of `by_problem`; None without a run of ours."""
    (name,) = _role("ours")
    if name not in row:
        return None
    ours = row[name]
    rivals = [row[n] for n in _role("tuned") + _role("default") if n in row]
    rivals = [r for r in rivals if r.status in ("arrived", "stopped")]
    # an arrival beats a lower bound of the same length
    peer = min(rivals, key=lambda r: (r.seconds, r.status), default=None)
    if ours.status != "arrived":
        return Comparison(ours, peer, math.nan, False)
    if peer is None:
        return Comparison(ours, None, math.inf, False)
    return Comparison(ours, peer, peer.seconds / ours.seconds, peer.status == "stopped")


def _seconds(value):
    return f"{value:.3f}" if value < 1 else f"{value:.3g}"


def cell(result):
    """One outcome in a few characters."""
    if result is None:
        return ""
    return {
        "arrived": _seconds(result.seconds),
        "stopped": f"> {_seconds(result.seconds)}",
        "short": f"short by {result.gap:.0e}",
        "failed": "fails",
    }[result.status]


def _ratio(pair):
    if math.isnan(pair.ratio):
        return "-"
    return f"{'> ' if pair.at_least else ''}{pair.ratio:.1f}" if pair.peer else "alone"


def _markdown(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shape(name):
    problem = problems.PROBLEMS[name]
    return problems.shape_of(problems.cached(problem), problem.C)


def size(shape):
    """n x p, K and C in a few characters."""
    kind = ", sparse" if shape.sparse else ""
    return f"{shape.n:,} x {shape.p:,}, {shape.K}, {shape.C:g}{kind}"


def summary_table(runs):
    """Ours, the fastest peer and scikit-learn's default, a problem a line."""
    header = ["problem", "n x p, K, C", "ours, s", "fastest peer", "s", "times faster"]
    header += ["scikit-learn default, s", "ours, MiB beyond the data", "peer, MiB"]
    (default,) = _role("default")
    rows = []
    for name, row in by_problem(runs).items():
        pair = compare(row)
        if pair is None:
            continue
        peer = pair.peer
        label = peer.library if peer else "none arrives"
        if peer and not math.isnan(peer.tol):
            label += f" {peer.tol:.0e}"
        rows.append(
            [
                problems.PROBLEMS[name].title,
                size(_shape(name)),
                cell(pair.ours),
                label,
                cell(peer),
                _ratio(pair),
                cell(row.get(default)),
                f"{pair.ours.peak_mib:.0f}",
                "" if peer is None or math.isnan(peer.peak_mib) else f"{peer.peak_mib:.0f}",
            ]
        )
    return _markdown(header, rows)


def full_table(runs):
    """Everyone's time to solution, a library a line."""
    table = by_problem(runs)
    names = [n for n in adapters() if any(n in row for row in table.values())]
    rows = [[n, *(cell(row.get(n)) for row in table.values())] for n in names]
    return _markdown(["library", *table], rows)


def verdict(runs):
    """Geometric mean over the dense problems, and where ours is not the fastest."""
    pairs = {name: compare(row) for name, row in by_problem(runs).items()}
    pairs = {name: pair for name, pair in pairs.items() if pair is not None}
    if not pairs:
        return "No run of this package."
    dense = [pair for name, pair in pairs.items() if math.isfinite(pair.ratio) and not _shape(name).sparse]
    lines = []
    if dense:
        mean = math.exp(sum(math.log(pair.ratio) for pair in dense) / len(dense))
        bound = "at least " if any(pair.at_least for pair in dense) else ""
        lines = [f"Geometric mean over {len(dense)} dense problems: {bound}{mean:.1f} times as fast as the best peer."]
    losses = [problems.PROBLEMS[name].title for name, pair in pairs.items() if not pair.ratio > 1]
    lines.append(f"Not the fastest on: {'; '.join(losses)}." if losses else "The fastest on every problem.")
    return "\n".join(lines)


def markdown(runs, machine):
    """The whole report."""
    about = _ABOUT.format(gap=TOLERATED_GAP, **machine)
    parts = ["# Time to solution", about, summary_table(runs), verdict(runs)]
    parts += ["## Everyone, seconds", full_table(runs)]
    return "\n\n".join(parts) + "\n"
