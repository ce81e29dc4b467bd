"""R's nnet::multinom, when Rscript is there; maximum likelihood only."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.libraries import Fit, decades


def run_script(script, X, y, *numbers, timeout=None):
    """What a script in R of this folder, given data and numbers, has written as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "data.bin", Path(folder) / "fit.json"
        data.write_bytes(np.asfortranarray(X).tobytes("F") + y.astype("<f8").tobytes())
        arguments = [str(number) for number in (*X.shape, *numbers)]
        command = ["Rscript", str(Path(__file__).with_name(script)), str(data), *arguments, str(out)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        if run.returncode:
            raise RuntimeError(run.stderr.strip()[-200:])
        return json.loads(out.read_text())


def version_of(package):
    """R's version and that of a package of it; ImportError where either is missing."""
    rscript = shutil.which("Rscript")
    if rscript is None:
        raise ImportError("Rscript is not on the path")
    code = f'cat(as.character(getRversion()), as.character(packageVersion("{package}")))'
    run = subprocess.run([rscript, "-e", code], capture_output=True, text=True)
    if run.returncode:
        raise ImportError(f"R has no package {package}")
    version, of_package = run.stdout.split()
    return f"R {version}, {package} {of_package}"


class RMultinom:
    """A child process reads the data, fits, and takes its own time and memory."""

    name = "R nnet::multinom"
    role = "tuned"
    raw_columns = False
    tolerances = decades(-6, -12)  # relative change of the deviance

    def load(self):
        return version_of("nnet")

    def supports(self, shape):
        # its BFGS keeps a dense d x d matrix
        return np.isinf(shape.C) and not shape.sparse and shape.d <= 3_000

    def fit(self, X, y, C, tol):
        result = run_script("multinom.R", X, y, tol)
        params = np.array(result["coef"]).reshape(-1, X.shape[1] + 1)
        peak = result["peak_kib"]
        return Fit(
            params[:, 1:],
            params[:, 0],
            seconds=result["seconds"],
            peak=None if peak is None else peak * 1024,
        )
