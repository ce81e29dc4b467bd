"""The benchmark harness: yardstick, schedule and tables; no timing asserted."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from benchmarks import elastic_net, many, path, problems, report, runner, separation, worker
from benchmarks.libraries import adapters
from benchmarks.objective import penalised_mean_nll, standardise, to_raw
from benchmarks.records import Run, outcomes, read_csv, write_csv


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHMARKS_CACHE", str(tmp_path))
    problem = problems.PROBLEMS["tiny"]
    return problem, problems.cached(problem)


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("C", [0.5, np.inf])
def test_yardstick_is_log_loss_plus_penalty(K, C):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4)) * [1e-2, 1, 10, 1e3] + 5
    y = rng.integers(K, size=200)
    scaled, mean, scale = standardise(X)
    model = LogisticRegression(C=1.0).fit(scaled, y)
    coef, intercept = to_raw(model.coef_, model.intercept_, mean, scale)
    expected = log_loss(y, model.predict_proba(scaled))
    expected += (coef**2).sum() / (2 * C * 200)
    np.testing.assert_allclose(penalised_mean_nll(X, y, coef, intercept, C, block=64), expected, rtol=1e-12)


def test_two_adapters_reach_the_same_optimum_in_this_process(tiny):
    problem, path = tiny
    everyone = adapters()
    default = worker.run(everyone["sklearn_mle"], path, problem.C, None)
    peer = worker.run(everyone["scikit-learn newton-cholesky"], path, problem.C, 1e-8)
    null = worker.run(everyone["null model"], path, problem.C, None)
    assert default["status"] == peer["status"] == "ok"
    assert default["objective"] == pytest.approx(peer["objective"], abs=1e-6)
    assert null["objective"] > peer["objective"] + 0.1


def test_a_missing_library_is_no_error(tiny):
    class Missing:
        def load(self):
            raise ImportError("not here")

    problem, path = tiny
    assert worker.run(Missing(), path, problem.C, None)["status"] == "missing"


def test_a_process_answers_and_a_limit_ends_it(tiny):
    problem, path = tiny
    arguments = ("null model", path, problem.C, None)
    done = runner.run_worker(*arguments, limit=60.0, threads=1)
    assert done["status"] == "ok"
    assert done["objective"] < math.log(3)
    late = runner.run_worker(*arguments, limit=1e-6, threads=1)
    assert late == {"status": "timeout", "seconds": 1e-6}


def test_the_grid_is_walked_until_the_best_is_reached(tiny, monkeypatch):
    gaps = {1e-2: 1e-3, 1e-3: 1e-5, 1e-4: 1e-8}
    best = {"scikit-learn lbfgs": 1.0, "scikit-learn newton-cg": 1.0 - 5e-6}

    def pretend(library, path, C, tol, limit, threads, python):
        if tol < 1e-4:
            return {"status": "timeout", "seconds": limit}
        return {"status": "ok", "seconds": 1.0, "objective": best[library] + gaps[tol]}

    monkeypatch.setattr(runner, "run_worker", pretend)
    plan = runner.Plan(["tiny"], list(best), repeats=2, timeout=9.0)
    run = runner.Runner(plan)
    run.search(tiny[0])
    run.repeat(1)
    results = {result.library: result for result in outcomes(run.runs)}
    # lbfgs ends 5e-6 above the other one, is sent on, and runs into the limit
    assert results["scikit-learn newton-cg"].status == "arrived"
    assert results["scikit-learn newton-cg"].tol == 1e-4
    assert results["scikit-learn newton-cg"].repeats == 2
    assert results["scikit-learn lbfgs"].status == "stopped"
    assert results["scikit-learn lbfgs"].seconds == 9.0


def test_table_and_records_round_trip(tiny, tmp_path):
    runs = [
        Run("tiny", "sklearn_mle", math.nan, 0, "ok", 0.1, 1.0, 5, 1.0),
        Run("tiny", "scikit-learn lbfgs", 1e-4, 0, "ok", 0.5, 2.0, 50, 1.0 + 5e-7),
        Run("tiny", "scikit-learn saga", 1e-4, 0, "timeout", 0.4),
        Run("tiny", "scikit-learn default", math.nan, 0, "ok", 0.2, 1.0, 9, 1.1),
        Run("tiny", "glum", 1e-2, 0, "missing"),
    ]
    pair = report.compare(report.by_problem(runs)["tiny"])
    assert pair.at_least
    assert pair.ratio == pytest.approx(4)
    text = report.markdown(runs, {"threads": 2, "cpu": "one"})
    assert "> 4.0" in text
    assert "short by 1e-01" in text
    assert "glum" not in text
    write_csv(runs, tmp_path / "runs.csv")
    again = read_csv(tmp_path / "runs.csv")
    assert outcomes(again)[1] == outcomes(runs)[1]


def test_the_elastic_net_is_measured_by_one_yardstick(tiny):
    X, y = problems.load(tiny[1])
    X = standardise(X)[0]
    ours, saga, *others = elastic_net.race(X, y, 0.5, limit=60.0, repeats=0)
    # R's glmnet, where there is one.
    assert all(peer.is_there for peer in (saga, *others))
    assert ours.objective == pytest.approx(saga.objective, abs=elastic_net.GAP)
    model = LogisticRegression(C=1.0, l1_ratio=0.5, solver="saga", tol=1e-10, max_iter=10_000).fit(X, y)
    expected = log_loss(y, model.predict_proba(X))
    expected += (0.25 * (model.coef_**2).sum() + 0.5 * np.abs(model.coef_).sum()) / len(X)
    assert elastic_net.yardstick(model, X, y, 0.5) == pytest.approx(expected, rel=1e-12)
    assert saga.objective == pytest.approx(expected, abs=elastic_net.GAP)
    line = elastic_net.row("tiny", "300 x 4, 3", 0.5, [ours, saga])
    assert line.count("|") == 9
    assert saga.name in line
    saga.is_there = False
    assert "| > " in elastic_net.row("tiny", "300 x 4, 3", 0.5, [ours, saga])


def test_the_diagnosis_of_separation_is_a_part_of_the_fit():
    X = np.array([1.0, 2, 3, 3, 4, 5])[:, None]
    y = np.array([0, 0, 0, 1, 1, 1])
    seconds, diagnosis, model, finding = separation.ours(X, y, repeats=1)
    assert 0 < diagnosis < seconds
    assert finding.kind.name == "QUASI_COMPLETE"
    # The two rows that the classes share cost log 2 each.
    target = penalised_mean_nll(X, y, model.coef_, model.intercept_, np.inf)
    assert target == pytest.approx(2 * np.log(2) / 6, abs=1e-3)
    name, theirs = separation.best_peer(standardise(X)[0], y, target, repeats=1)
    assert name != "none"
    assert theirs > 0


def test_a_path_is_walked_to_the_end_of_each_fit(tiny):
    X, y = problems.load(tiny[1])
    cold, objectives, passes = path.ours(X, y, False, repeats=1)
    warm, same, fewer = path.ours(X, y, True, repeats=1)
    assert min(cold, warm) > 0
    assert fewer < passes
    assert objectives == pytest.approx(same, abs=1e-9)
    model = LogisticRegression(C=1.0, tol=1e-10, solver="newton-cholesky").fit(X, y)
    assert same[-1] == pytest.approx(penalised_mean_nll(X, y, model.coef_, model.intercept_, 1.0), abs=1e-9)
    name, theirs = path.best_peer(X, y, same, repeats=1, limit=60.0)
    assert name
    assert 0 < theirs < 60
    assert path.best_peer(X, y, np.asarray(same) - 1.0, repeats=1, limit=1e-9) == (None, 1e-9)


def test_a_data_frame_becomes_classes_and_columns_of_numbers():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=90), "b": np.arange(90), "mostly_missing": np.nan, "kind": "x"})
    frame.loc[30:79, "kind"], frame.loc[80:, "kind"] = "y", "z"
    frame.loc[82:, "kind"] = None
    frame.loc[3, "a"] = np.nan
    X, y = many.classification(frame)
    # The two rows of "z" are too few, one row is not complete, eight have no class.
    assert X.shape == (79, 2)
    assert np.bincount(y).tolist() == [29, 50]
    assert many.classification(frame[["a", "b"]]) is None
    assert many.classification(frame.head(50)) is None


def test_sets_are_compared_at_the_same_optimum():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(400, 3)) * [1.0, 1e-4, 1e5]
    y = (X[:, 0] + rng.logistic(size=400) > 0).astype(int)
    ours, peer, default = many.compare([(X, y)], np.inf, 1)
    assert ours[0] > 0
    assert np.isfinite(peer[0])
    assert np.isinf(default[0])
