"""``python -m benchmarks``: run, print the table, write the results."""

import argparse
import json
import sys
from pathlib import Path

from benchmarks import machine, problems, records, report
from benchmarks.libraries import adapters
from benchmarks.runner import Plan, Runner

RESULTS = Path(__file__).with_name("results")


def parse(argv=None):
    """Command line -> namespace."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--problems", nargs="+", choices=problems.PROBLEMS, metavar="NAME")
    parser.add_argument("--libraries", nargs="+", choices=adapters(), metavar="NAME")
    parser.add_argument("--repeats", type=int, help="runs of each chosen setting (3)")
    parser.add_argument("--timeout", type=float, help="seconds for one run (60)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="small problems, 1 repeat, 10 s")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep earlier runs of other problems and libraries",
    )
    parser.add_argument(
        "--python",
        nargs="+",
        default=[],
        metavar="LIBRARY=PYTHON",
        help="run a library with another interpreter",
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    args = parser.parse_args(argv)
    if args.problems is None:
        args.problems = list(problems.QUICK if args.quick else problems.DEFAULT)
    if args.libraries is None:
        args.libraries = list(adapters())
    args.repeats = args.repeats or (1 if args.quick else 3)
    args.timeout = args.timeout or (10.0 if args.quick else 60.0)
    return args


def available(names):
    """Build the data; a problem whose package is missing is left out, with a word."""
    for name in names:
        try:
            problems.cached(problems.PROBLEMS[name])
        except ImportError as missing:
            print(f"{name}: left out ({missing})", file=sys.stderr)
        else:
            yield name


def announce(run):
    """One line a run, as it ends."""
    tol = "" if run.tol != run.tol else f"{run.tol:.0e}"
    print(
        f"{run.problem:11} {run.library:27} {tol:6} {run.status:8} {run.seconds:8.3f} s {run.objective:.9f} {run.note}",
        flush=True,
    )


def write(runs, threads, folder):
    """CSV of all runs, machine, Markdown table and plot."""
    folder.mkdir(parents=True, exist_ok=True)
    records.write_csv(runs, folder / "runs.csv")
    about = machine.describe(threads, runs)
    (folder / "machine.json").write_text(json.dumps(about, indent=1) + "\n")
    (folder / "table.md").write_text(report.markdown(runs, about))
    try:
        from benchmarks.plot import draw

        draw(runs, folder / "times.png")
    except ImportError:
        print("no matplotlib: no plot", file=sys.stderr)


def main(argv=None):
    args = parse(argv)
    names = list(available(args.problems))
    earlier = []
    if args.keep and (args.out / "runs.csv").exists():
        earlier = [
            run
            for run in records.read_csv(args.out / "runs.csv")
            if run.problem not in names or run.library not in args.libraries
        ]
    interpreters = dict(pair.rsplit("=", 1) for pair in args.python)
    plan = Plan(names, args.libraries, args.repeats, args.timeout, args.threads, interpreters)
    runner = Runner(plan, earlier, announce)
    for name in names:
        runner.search(problems.PROBLEMS[name])
        write(runner.runs, args.threads, args.out)
    for index in range(1, args.repeats):
        runner.repeat(index)
    write(runner.runs, args.threads, args.out)
    print("\n" + (args.out / "table.md").read_text())


if __name__ == "__main__":
    main()
