"""Write ``reference.json``: the maximum-likelihood fits that the tests are held to.

    python tests/reference/make_reference.py [--without-r] [NAME ...]

Every number comes from the extended-precision Newton method in ``longdouble.py``,
which shares no code with the package. The same data then go as CSV files to
``make_reference.R`` (nnet, glm, brglm2, sandwich), whose answers are stored beside,
with the largest disagreement. Takes about two minutes; no test runs it.

The file, by data set (K classes in sorted order, p columns, intercept last):

``kind, source, fingerprint, n, p, classes``
    what was fitted; see ``datasets.py``
``log_likelihood, null_log_likelihood``
    nats, at the maximum and of the model without columns
``coef, se, se_robust, se_cluster``
    (K - 1, p + 1) relative to the first class: estimates, and errors from the inverse
    observed information, the HC0 sandwich (meat: sum of w s s', w as frequencies) and
    over clusters (CR0); regular sets only
``minimum_norm, minimum_norm_se``
    collinear sets: the maximiser of least norm of its weights, (K, p + 1) with classes
    centred, (1, p + 1) for two classes
``separation, supremum``
    separated sets: "complete" or "quasi", and the supremum of the log-likelihood
``penalised``
    by C: ``objective`` = -loglik + ||W||^2 / (2 C), ``log_likelihood`` and ``coef`` of
    shape (K, p + 1), classes centred, or (1, p + 1) for two
``jeffreys``
    Firth's estimate: ``coef`` and ``se`` relative to the first class,
    ``log_likelihood``, and ``penalised_log_likelihood`` (with half the log-determinant
    of the information of the contrasts in original units)
``profile``
    95 % profile-likelihood intervals, (K - 1, p + 1, 2)
``marginal_effects``
    ``effects`` and ``se``, (K, p): means of dP/dx over the rows
``r``
    what R found, and ``*_disagreement``: log-likelihoods in nats, coefficients and
    errors in units of the standard error
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import datasets
import longdouble as ld
import numpy as np
from scipy.optimize import linprog
from scipy.sparse import eye_array, hstack
from scipy.stats import chi2

HERE = Path(__file__).parent
TARGET = HERE / "reference.json"

PENALISED = {
    *("birthwt", "weekly", "iris_two", "titanic_table", "housing", "chile", "fishing"),
    *(
        "gapminder",
        "digits_coarse",
        "orange_juice",
        "chile_all_dummies",
        "iris",
        "wine",
    ),
}
JEFFREYS = {
    *("birthwt", "plasma", "iris_two", "housing", "womenlf", "wine_four"),
    *("iris", "bank_wages", "credit_card", "weekly_today"),
}
PROFILE = {
    "birthwt",
    "plasma",
    "iris_two",
    "titanic_table",
    "housing",
    "womenlf",
    "wine_four",
}
EFFECTS = {
    "birthwt",
    "default",
    "titanic_table",
    "housing",
    "beps",
    "chile",
    "gapminder",
}


def recession(data):
    """Direction of recession of maximal support, as the classes rows may still take.

    A direction v of the parameters never lowers the likelihood if
    (v_y - v_k)'(x, 1) >= 0 for every row and every other class k. One linear program
    finds a direction that makes as many of these strict as can be strict together;
    class k then has probability 0 in the limit for such a row (Albert and Anderson,
    Biometrika 71, 1984).

    Returns
    -------
    allowed : bool ndarray of shape (n, K)
    """
    keep = np.ones(len(data.y), bool) if data.weights is None else data.weights > 0
    X = data.X[keep] - data.X[keep].mean(axis=0)
    Z = np.column_stack([X / np.where(X.std(axis=0) > 0, X.std(axis=0), 1), np.ones(len(X))])
    y, K = np.searchsorted(data.classes, data.y[keep]), len(data.classes)
    pairs = np.argwhere(y[:, None] != np.arange(K)[None, :])
    A = np.zeros((len(pairs), K, Z.shape[1]))
    at = np.arange(len(pairs))
    A[at, y[pairs[:, 0]]] = Z[pairs[:, 0]]
    A[at, pairs[:, 1]] -= Z[pairs[:, 0]]
    A = A[:, 1:].reshape(len(pairs), -1)
    m, d = A.shape
    found = linprog(
        np.r_[np.zeros(d), -np.ones(m)],
        A_ub=hstack([-A, eye_array(m)]),
        b_ub=np.zeros(m),
        bounds=[(None, None)] * d + [(0, 1)] * m,
        method="highs",
    )
    strict = found.x[d:]
    if found.status or np.any((strict > 1e-6) & (strict < 1 - 1e-6)):
        raise RuntimeError("the linear program is not sure of the separation")
    allowed = np.ones((len(Z), K), bool)
    allowed[pairs[strict > 0.5, 0], pairs[strict > 0.5, 1]] = False
    return allowed


def plain(a):
    """Double-precision numbers for JSON."""
    return np.asarray(a, dtype=np.float64).tolist()


def reference(data):
    """Every number of one data set, as the module describes them."""
    problem = ld.make_problem(data.X, data.y, data.weights, data.classes)
    totals = problem.w @ problem.Y
    out = {
        "kind": data.kind,
        "source": data.source,
        "fingerprint": data.fingerprint(),
        "n": len(data.y),
        "p": data.X.shape[1],
        "classes": data.classes.tolist(),
        "null_log_likelihood": plain(totals @ np.log(totals / totals.sum())),
    }
    if data.kind == "separated":
        allowed = recession(data)
        if np.any(allowed.sum(axis=1) > 1):
            sup = ld.fit(problem, allowed=allowed).objective
            out |= {"separation": "quasi", "supremum": plain(sup)}
        else:
            out |= {"separation": "complete", "supremum": 0.0}
    else:
        fitted = ld.fit(problem)
        out["log_likelihood"] = plain(fitted.loglik)
        out |= (estimates if data.kind == "regular" else minimum_norm)(data, problem, fitted)
    if data.name in PENALISED:
        whole = ld.make_problem(data.X, data.y, data.weights, data.classes, drop_dependent=False)
        out["penalised"] = {}
        for C in (1.0, 0.01):
            found = ld.fit(whole, C=C)
            out["penalised"][str(C)] = {
                "objective": plain(-found.objective),
                "log_likelihood": plain(found.loglik),
                "coef": plain(penalised_coef(whole, found)),
            }
    if data.name in JEFFREYS:
        found = ld.fit_jeffreys(problem)
        coef = problem.to_contrasts(found.theta)
        cov = ld.covariance(found)
        out["jeffreys"] = {
            "log_likelihood": plain(found.loglik),
            "penalised_log_likelihood": plain(found.objective),
            "coef": plain(coef),
            "se": plain(ld.standard_errors(cov, problem.to_contrasts, coef.shape)),
        }
    return out


def penalised_coef(problem, found):
    """All K rows of weights (their sum is zero at the optimum), or the one of K = 2."""
    contrasts = problem.to_contrasts(found.theta)
    if problem.n_classes == 2:
        return contrasts
    full = np.vstack([np.zeros((1, contrasts.shape[1])), contrasts])
    return full - full.mean(axis=0)


def estimates(data, problem, fitted):
    """Coefficients relative to the first class with three kinds of standard errors."""
    coef = problem.to_contrasts(fitted.theta)

    def errors(cov):
        return plain(ld.standard_errors(cov, problem.to_contrasts, coef.shape))

    out = {
        "coef": plain(coef),
        "se": errors(ld.covariance(fitted)),
        "se_robust": errors(ld.sandwich(problem, fitted)),
    }
    if data.groups is not None:
        out["se_cluster"] = errors(ld.sandwich(problem, fitted, data.groups))
    if data.name in PROFILE:
        units = np.eye(len(fitted.theta), dtype=ld.LD)
        rows = np.stack([problem.to_contrasts(e).ravel() for e in units], axis=1)
        half = chi2.ppf(0.95, 1) / 2
        ends = [ld.profile_interval(problem, fitted, row, half) for row in rows]
        out["profile"] = plain(np.reshape(ends, (*coef.shape, 2)))
    if data.name in EFFECTS:
        effects, se = ld.marginal_effects(problem, fitted)
        out["marginal_effects"] = {"effects": plain(effects), "se": plain(se)}
    return out


def minimum_norm(data, problem, fitted):
    """The maximiser of least norm, and the standard errors of its entries."""
    coef = problem.to_minimum_norm(fitted.theta)
    se = ld.standard_errors(ld.covariance(fitted), problem.to_minimum_norm, coef.shape)
    return {
        "rank": len(problem.kept),
        "minimum_norm": plain(coef),
        "minimum_norm_se": plain(se),
    }


# ----------------------------------------------------------------------------- R


def run_r(found):
    """Fit the same data in R, in a temporary folder of CSV files."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = []
        for name, out in found.items():
            data = datasets.load(name)
            w = np.ones(len(data.y)) if data.weights is None else data.weights
            y = np.searchsorted(data.classes, data.y)
            groups = np.zeros(len(y)) if data.groups is None else data.groups
            table = np.column_stack([y, w, groups, data.X])
            np.savetxt(Path(folder) / f"{name}.csv", table, delimiter=",", fmt="%.17g")
            tasks.append(
                {
                    "name": name,
                    "kind": out["kind"],
                    "classes": len(data.classes),
                    "integer": bool(np.all(w == np.rint(w)) and w.sum() < 1e5),
                    "groups": data.groups is not None,
                    "jeffreys": "jeffreys" in out,
                }
            )
        (Path(folder) / "tasks.json").write_text(json.dumps(tasks))
        subprocess.run(["Rscript", str(HERE / "make_reference.R"), folder], check=True)
        return json.loads((Path(folder) / "r.json").read_text())


def compare(ours, r):
    """Largest disagreements between one data set's reference and R's answer."""
    out = dict(r)
    if ours["kind"] == "separated":
        out["log_likelihood_disagreement"] = abs(r["log_likelihood"] - ours["supremum"])
    else:
        out["log_likelihood_disagreement"] = abs(r["log_likelihood"] - ours["log_likelihood"])
    if ours["kind"] == "regular":
        se = np.array(ours["se"])
        for key in ("coef", "se", "se_robust", "se_cluster"):
            if key in r:
                gap = np.abs(np.array(r[key]) - ours[key]) / se
                out[f"{key}_disagreement"] = float(gap.max())
    if "jeffreys" in ours and "jeffreys" in r:
        ours, out["jeffreys"] = ours["jeffreys"], dict(r["jeffreys"])
        for key in ("coef", "se"):
            gap = np.abs(np.array(r["jeffreys"][key]) - ours[key]) / np.array(ours["se"])
            out["jeffreys"][f"{key}_disagreement"] = float(gap.max())
    return out


def main():
    """Compute, compare with R, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="these sets only; the rest stays")
    parser.add_argument("--without-r", action="store_true", help="leave R's answers out")
    options = parser.parse_args()
    if np.finfo(ld.LD).nmant < 63:
        raise SystemExit("numpy.longdouble has no extended precision on this platform")
    found = {}
    for name in options.names or datasets.names():
        found[name] = reference(datasets.load(name))
        value = found[name].get("log_likelihood", found[name].get("supremum"))
        print(f"{name:20s} {found[name]['kind']:10s} {value:.9f}", flush=True)
    if not options.without_r:
        for name, r in run_r(found).items():
            found[name]["r"] = compare(found[name], r)
    old = json.loads(TARGET.read_text()) if options.names and TARGET.exists() else {}
    merged = old | found
    merged = {name: merged[name] for name in datasets.names() if name in merged}
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in merged.items())
    TARGET.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
