"""R's nnet::multinom, when Rscript is there; maximum likelihood only."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.libraries import Fit, decades

_SCRIPT = Path(__file__).with_name("multinom.R")


class RMultinom:
    """A child process reads the data, fits, and takes its own time and memory."""

    name = "R nnet::multinom"
    role = "tuned"
    raw_columns = False
    tolerances = decades(-6, -12)  # relative change of the deviance

    def load(self):
        rscript = shutil.which("Rscript")
        if rscript is None:
            raise ImportError("Rscript is not on the path")
        self._rscript = rscript
        code = 'cat(as.character(getRversion()), as.character(packageVersion("nnet")))'
        run = subprocess.run([rscript, "-e", code], capture_output=True, text=True)
        if run.returncode:
            raise ImportError("R has no package nnet")
        return "R {}, nnet {}".format(*run.stdout.split())

    def supports(self, shape):
        # its BFGS keeps a dense d x d matrix
        return np.isinf(shape.C) and not shape.sparse and shape.d <= 3_000

    def fit(self, X, y, C, tol):
        with tempfile.TemporaryDirectory() as folder:
            data, out = Path(folder) / "data.bin", Path(folder) / "fit.json"
            data.write_bytes(np.asfortranarray(X).tobytes("F") + y.astype("<f8").tobytes())
            sizes = [str(size) for size in X.shape]
            command = [
                self._rscript,
                str(_SCRIPT),
                str(data),
                *sizes,
                str(tol),
                str(out),
            ]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                raise RuntimeError(run.stderr.strip()[-200:])
            result = json.loads(out.read_text())
        params = np.array(result["coef"]).reshape(-1, X.shape[1] + 1)
        peak = result["peak_kib"]
        return Fit(
            params[:, 1:],
            params[:, 0],
            seconds=result["seconds"],
            peak=None if peak is None else peak * 1024,
        )
