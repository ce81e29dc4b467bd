"""Imports go downward: the picture in CONTRIBUTING.md is true, and the rules beside it hold."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sklearn_mle"
FACADE = 6


def picture():
    """Return {module: (floor, place)} from the block in CONTRIBUTING.md that draws the floors."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (block,) = [b for b in re.findall(r"```text\n(.*?)```", text, re.DOTALL) if "floor 0" in b]
    floors, floor = {}, None
    for line in block.splitlines():
        if heading := re.match(r" floor (\d)\b", line):
            floor = int(heading[1])
        elif entry := re.match(r"   (\w+)\.py\b", line):
            assert entry[1] not in floors, f"{entry[1]} is drawn twice"
            floors[entry[1]] = (floor, len(floors))
    return floors


FLOORS = picture()
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


def on(*floors):
    """Modules that are drawn on these floors."""
    return [module for module in MODULES if module in FLOORS and FLOORS[module][0] in floors]


def imports(module, *, at_import=False):
    """Absolute names that a module imports, ("sklearn_mle._softmax", "softmax") or ("numpy", None).

    With at_import only those that run when the module itself is imported.
    """
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    found = []

    def visit(node):
        if at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{module}.py reaches above the package"
            base = ".".join(filter(None, ["sklearn_mle" if node.level else "", node.module]))
            found.extend((base, alias.name) for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def inside(module):
    """Modules of the package that a module imports."""
    for base, name in imports(module):
        if base == "sklearn_mle":  # from . import _softmax
            yield name if name in MODULES else "__init__"
        elif base.startswith("sklearn_mle."):
            yield base.split(".")[1]


def outside(module, **kwargs):
    """Dotted names from other packages, each with and without the imported name."""
    for base, name in imports(module, **kwargs):
        if not base.startswith("sklearn_mle"):
            yield base if name is None else f"{base}.{name}"


def starts(name, *packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_the_picture_shows_every_module_and_no_other():
    assert sorted(FLOORS) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downward(module):
    floor, place = FLOORS[module]
    for other in inside(module):
        assert other != "__init__", f"{module}.py imports the package that imports it"
        other_floor, other_place = FLOORS[other]
        assert other_place < place, f"{module}.py imports {other}.py, which is drawn below it"
        assert other_floor < floor or floor < FACADE, f"{module}.py imports its sibling {other}.py"


@pytest.mark.parametrize("module", on(1))
def test_mathematics_knows_neither_scikit_learn_nor_an_optimiser(module):
    assert not [name for name in outside(module) if starts(name, "sklearn", "scipy.optimize")]


@pytest.mark.parametrize("module", on(0, 1, 2, 3))
def test_what_is_optimised_does_not_know_the_optimiser(module):
    assert not [name for name in outside(module) if starts(name, "scipy.optimize")]


@pytest.mark.parametrize("module", on(4))
def test_a_solver_never_sees_the_data(module):
    assert not {"_samples", "_network"} & set(inside(module))


@pytest.mark.parametrize("module", [m for m in MODULES if m != "_compat"])
def test_private_parts_of_scikit_learn_stand_in_one_file(module):
    private = [name for name in outside(module) if starts(name, "sklearn") and re.search(r"\._[^_]", name)]
    assert not private


@pytest.mark.parametrize("module", MODULES)
def test_optional_packages_are_imported_where_they_are_used(module):
    optional = ("matplotlib", "pandas", "polars", "dask", "distributed", "array_api_compat", "skl2onnx", "torch")
    assert not [name for name in outside(module, at_import=True) if starts(name, *optional)]


def run(code, path, **kwargs):
    environment = {**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, **kwargs
    )


def test_imports_from_a_bare_checkout(tmp_path):
    # only the sources, nowhere near what is installed, and no installed metadata to be looked up
    shutil.copytree(PACKAGE, tmp_path / "sklearn_mle", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import importlib.metadata as metadata\n"
        "true = metadata.distribution\n"
        "def distribution(name):\n"
        "    assert name.replace('_', '-') != 'sklearn-mle', 'metadata looked up'\n"
        "    return true(name)\n"
        "metadata.distribution = distribution\n"
        "import sklearn_mle, sklearn_mle.metrics\n"
        "print(sklearn_mle.__file__)\n"
    )
    done = run(code, tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tmp_path)
    assert "Warning" not in done.stderr


def test_importing_loads_nothing_optional():
    code = (
        "import sklearn_mle, sklearn_mle.metrics, sys\n"
        "print(sorted({'matplotlib', 'pandas', 'polars', 'dask', 'torch', 'skl2onnx'} & set(sys.modules)))"
    )
    done = run(code, ROOT, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    # scikit-learn itself may load some of them: not more than it does
    alone = run(code.replace("import sklearn_mle, sklearn_mle.metrics, sys", "import sklearn.metrics, sys"), ROOT)
    assert done.stdout == alone.stdout


def test_one_version():
    import sklearn_mle

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert sklearn_mle.__version__ == project["version"]
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_package_is_marked_as_typed():
    assert (PACKAGE / "py.typed").is_file()
