"""Existence of the maximum-likelihood estimate: textbook cases, planted directions, a brute-force program."""

import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import linprog
from sklearn.datasets import load_breast_cancer, load_iris, load_wine

from sklearn_mle import SeparationWarning, SoftmaxMLEClassifier
from sklearn_mle._margins import ScaledRows
from sklearn_mle._minimize import polish, solve
from sklearn_mle._problem import RoundProblem
from sklearn_mle._recession import RecessionCone
from sklearn_mle._separation import SeparationFinding, SeparationKind, diagnose_separation, recession_signs

COMPLETE, QUASI, OVERLAP = SeparationKind.COMPLETE, SeparationKind.QUASI_COMPLETE, SeparationKind.OVERLAP


def overlapping(n, p, K, seed=0, scale=1.0):
    """Rows, and labels drawn from a softmax model in them."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, (scale * X @ rng.standard_normal((p, K)) + rng.gumbel(size=(n, K))).argmax(axis=1)


def margins(direction, X, Y, fit_intercept=True):
    """Margins (n, K), computed as the definition says; NaN where the class has weight in the row."""
    Y = np.eye(len(direction))[Y] if np.ndim(Y) == 1 else np.asarray(Y)
    design = np.c_[X, np.ones(len(X))] if fit_intercept else X
    logits = design @ direction.T
    own = logits[np.arange(len(Y)), Y.argmax(axis=1)]
    return np.where(Y == 0, own[:, None] - logits, np.nan)


def check_certificate(finding, X, Y, fit_intercept=True):
    """The direction reported is one of recession, of the kind and by the features reported, scaled to 1."""
    found = margins(finding.direction, X, Y, fit_intercept)
    assert np.nanmax(found) == pytest.approx(1.0)
    assert np.nanmin(found) > -1e-9
    assert finding.direction.sum(axis=0) == pytest.approx(0.0, abs=1e-9 * np.abs(finding.direction).max())
    if finding.kind is COMPLETE:
        assert np.nanmin(found) > 0
    spread = np.ptp(finding.direction[:, : np.shape(X)[1]], axis=0)
    assert tuple(np.flatnonzero(spread)) == finding.features


def brute_force(X, Y, fit_intercept=True, bounds=None):
    """Kind by two full programs over all pairs, unscaled: for tests on small integers."""
    K = Y.shape[1]
    room = np.tile([-1.0, 1.0], (K, X.shape[1] + fit_intercept, 1))
    if bounds is not None:
        at = slice(1, None) if K == 2 else slice(None)
        for end, bound in enumerate(bounds):
            room[at, : X.shape[1], end][np.isfinite(bound)] = 0.0
        if K == 2:
            room[0] = 0.0
    room = room.reshape(-1, 2)
    design = np.c_[X, np.ones(len(X))] if fit_intercept else X
    A, E = [], []
    for x, y in zip(design, Y, strict=True):
        c = y.argmax()
        for k in range(K):
            if k != c:
                a = np.zeros((K, design.shape[1]))
                a[c] += x
                a[k] -= x
                (A if y[k] == 0 else E).append(a.ravel())
    A, E = np.array(A).reshape(len(A), -1), np.array(E).reshape(len(E), K * design.shape[1])
    if not len(A):
        return OVERLAP
    equal = {"A_eq": E, "b_eq": np.zeros(len(E))} if len(E) else {}
    any_ = linprog(-A.sum(axis=0), A_ub=-A, b_ub=np.zeros(len(A)), bounds=room, **equal)
    if -any_.fun < 1e-6:
        return OVERLAP
    if equal:
        equal["A_eq"] = np.c_[E, np.zeros(len(E))]
    all_ = linprog(
        np.r_[np.zeros(A.shape[1]), -1.0],
        A_ub=np.c_[-A, np.ones(len(A))],
        b_ub=np.zeros(len(A)),
        bounds=np.vstack([room, [-1.0, 1.0]]),
        **equal,
    )
    return COMPLETE if -all_.fun > 1e-6 else QUASI


# -------------------------------------------------------------------------- known cases


@pytest.mark.parametrize(
    "y, kind",
    [
        ([0, 0, 0, 1, 1, 1], COMPLETE),
        ([0, 0, 1, 0, 1, 1], OVERLAP),
        ([1, 1, 1, 0, 0, 0], COMPLETE),
        ([0, 0, 0, 0, 0, 1], COMPLETE),
    ],
)
def test_one_column(y, kind):
    finding = diagnose_separation(np.arange(6.0)[:, None], np.array(y))
    assert finding.kind is kind
    if kind is COMPLETE:
        assert finding.classes == (0, 1)
        assert finding.features == (0,)
        check_certificate(finding, np.arange(6.0)[:, None], y)
    else:
        assert finding.direction is None
        assert finding.classes == finding.features == ()


def test_quasi_separated_textbook_example():
    # The two classes share one point: the likelihood rises for ever, towards 1/2 there and 0 or 1 elsewhere.
    X, y = np.array([1.0, 2, 3, 3, 4, 5])[:, None], np.array([0, 0, 0, 1, 1, 1])
    finding = diagnose_separation(X, y)
    assert finding.kind is QUASI
    assert finding.direction[1] / finding.direction[1, 0] == pytest.approx([1.0, -3.0])
    check_certificate(finding, X, y)


def test_iris():
    # Setosa stands apart; versicolor and virginica overlap.
    X, y = load_iris(return_X_y=True)
    finding = diagnose_separation(X, y)
    assert finding.kind is QUASI
    assert finding.classes == (0,)
    assert len(finding.features) == 1
    check_certificate(finding, X, y)
    assert diagnose_separation(X[y < 2], y[y < 2]).kind is COMPLETE
    assert diagnose_separation(X[y > 0], y[y > 0] - 1).kind is OVERLAP


@pytest.mark.parametrize("load, kind", [(load_wine, COMPLETE), (load_breast_cancer, COMPLETE)])
def test_published_sets(load, kind):
    X, y = load(return_X_y=True)
    finding = diagnose_separation(X, y)
    assert finding.kind is kind
    check_certificate(finding, X, y)


@pytest.mark.parametrize("K", [2, 3, 5])
def test_dummy_of_one_class_is_named_alone(K):
    X, y = overlapping(400, 4, K)
    dummy = (y == 1) & (np.arange(400) % 3 == 0)
    finding = diagnose_separation(np.insert(X, 2, dummy, axis=1), y)
    assert finding.kind is QUASI
    assert finding.classes == (1,)
    assert finding.features == (2,)
    check_certificate(finding, np.insert(X, 2, dummy, axis=1), y)


def test_dummy_that_rules_a_class_out():
    # Where it is 1 the classes 0 and 1 still share the rows; 2 never occurs.
    X, y = overlapping(600, 2, 3)
    dummy = (y != 2) & (np.arange(600) % 4 == 0)
    finding = diagnose_separation(np.c_[X, dummy], y)
    assert finding.kind is QUASI
    assert finding.classes == (2,)
    assert finding.features == (2,)


def test_two_causes_are_both_named():
    X, y = overlapping(500, 3, 2)
    first, second = (y == 0) & (np.arange(500) % 5 == 0), (y == 1) & (np.arange(500) % 7 == 0)
    finding = diagnose_separation(np.c_[first, X, second], y)
    assert finding.kind is QUASI
    assert finding.features == (0, 4)
    assert finding.classes == (0, 1)


def test_class_without_rows():
    X, y = overlapping(50, 2, 2)
    finding = diagnose_separation(X, y, n_classes=3)
    assert finding.kind is QUASI
    assert finding.classes == (2,)
    assert finding.features == ()  # its intercept alone
    # Without an intercept, logits of both signs are needed: there is nothing to send to minus infinity.
    assert diagnose_separation(np.vstack([X, -X]), np.r_[y, y], n_classes=3, fit_intercept=False).kind is OVERLAP


def test_collinear_and_constant_columns_are_no_separation():
    X, y = overlapping(300, 3, 3)
    one_hot = np.eye(4)[np.arange(300) % 4]
    X = np.c_[X, X[:, 0] + 2 * X[:, 1] - 0.1, X[:, 2], one_hot, np.full(300, 0.1), np.zeros(300)]
    assert diagnose_separation(X, y).kind is OVERLAP
    assert diagnose_separation(X.astype(np.float32), y).kind is OVERLAP


@pytest.mark.parametrize("K", [2, 3])
def test_collinear_columns_beside_separation(K):
    X, y = overlapping(300, 3, K)
    dummy = ((y == 1) & (np.arange(300) % 3 == 0)).astype(float)
    X = np.c_[X, X[:, 0] - X[:, 1], dummy, 1 - dummy, np.ones(300)]
    finding = diagnose_separation(X, y)
    assert finding.kind is QUASI
    assert finding.features in {(4,), (5,)}


def test_fit_intercept_matters():
    X, y = np.array([1.0, 2, 3, 4])[:, None], np.array([0, 0, 1, 1])
    assert diagnose_separation(X, y).kind is COMPLETE
    # A line through the origin has all rows on one side.
    assert diagnose_separation(X, y, fit_intercept=False).kind is OVERLAP
    assert diagnose_separation(X - 2.5, y, fit_intercept=False).kind is COMPLETE


# -------------------------------------------------------------------------- soft labels, weights


def test_soft_labels():
    X, y = overlapping(60, 2, 3)
    separated = (X @ np.array([[1.0, -1.0, 0.0], [0.5, 0.5, -1.0]])).argmax(axis=1)
    assert diagnose_separation(X, separated).kind is COMPLETE
    assert diagnose_separation(X, np.eye(3)[separated]).kind is COMPLETE
    # Any weight on every class, and the estimate exists.
    assert diagnose_separation(X, 0.98 * np.eye(3)[separated] + 0.02 / 3).kind is OVERLAP
    assert diagnose_separation(X, np.eye(3)[y]).kind is OVERLAP


def test_soft_rows_tie_their_classes():
    # Rows at x = 3 say nothing but "0 or 1": all directions must be level there.
    X = np.array([1.0, 2, 3, 4, 5])[:, None]
    Y = np.array([[1, 0], [1, 0], [0.3, 0.7], [0, 1], [0, 1]])
    finding = diagnose_separation(X, Y)
    # All pairs where a class has no weight are strict: complete, in spite of the tie.
    assert finding.kind is COMPLETE
    check_certificate(finding, X, Y)
    assert margins(finding.direction, X, [0] * 5)[2, 1] == pytest.approx(0.0, abs=1e-12)
    # A second level row elsewhere leaves no room.
    Y[0] = 0.5
    assert diagnose_separation(X, Y).kind is OVERLAP


def test_rows_without_weight_are_ignored():
    X, y = np.arange(6.0)[:, None], np.array([0, 0, 1, 0, 1, 1])
    weight = np.array([1.0, 1, 1, 0, 1, 1])
    assert diagnose_separation(X, y).kind is OVERLAP
    assert diagnose_separation(X, y, weight).kind is COMPLETE
    assert diagnose_separation(X, y, 1e-9 + weight).kind is OVERLAP


# -------------------------------------------------------------------------- nearly


def facing(gap, n, p, K, seed=3):
    """Class 0 on the negative side of column 0, the others mixed on the positive one, and a cross of rows
    from each side at gap / 2 from the boundary (beyond it where gap < 0): only column 0 can separate.
    """
    rng = np.random.default_rng(seed)
    X = rng.uniform(0.1, 1.0, (n, p)) * rng.choice([-1.0, 1.0], (n, p))
    y = np.where(X[:, 0] < 0, 0, rng.integers(1, K, n))
    cross = np.vstack([np.eye(p), -np.eye(p)])
    cross[:, 0] = 0.5 * gap
    return np.vstack([X, cross, cross * np.r_[-1.0, np.ones(p - 1)]]), np.r_[y, np.repeat([1, 0], 2 * p)]


@pytest.mark.parametrize("gap", [1e-2, 1e-6, 1e-9, 1e-11])
@pytest.mark.parametrize("n, p, K", [(300, 1, 2), (300, 3, 2), (300, 3, 3), (5000, 6, 2)])
def test_tiny_gap_and_tiny_overlap(gap, n, p, K):
    X, y = facing(gap, n, p, K)
    finding = diagnose_separation(X, y)
    assert finding.kind is (COMPLETE if K == 2 else QUASI)
    assert finding.features == (0,)
    check_certificate(finding, X, y)
    X, y = facing(-gap, n, p, K)
    assert diagnose_separation(X, y).kind is OVERLAP
    # The best guess there is does not mislead.
    guess = np.zeros((K, p + 1))
    guess[0, 0] = -1.0
    assert diagnose_separation(X, y, candidate=guess).kind is OVERLAP


def test_one_crossing_pair_among_many_rows():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((20_000, 5))
    score = X @ np.array([1.0, -2.0, 0.5, 0.0, 1.0])
    y = (score > 0).astype(int)
    assert diagnose_separation(X, y).kind is COMPLETE
    # One point in the midst of the other class is enough.
    deep = np.argmax(score)
    y[deep] = 0
    X[deep] *= 0.5
    assert diagnose_separation(X, y).kind is OVERLAP


# -------------------------------------------------------------------------- invariances

SMALL = st.integers(-2, 2)


@st.composite
def integer_problems(draw):
    """Few rows of small integers, hard or soft labels: all kinds occur, ties abound."""
    n, p, K = draw(st.integers(3, 14)), draw(st.integers(1, 3)), draw(st.integers(2, 4))
    X = np.array(draw(st.lists(st.lists(SMALL, min_size=p, max_size=p), min_size=n, max_size=n)), dtype=float)
    y = np.array(draw(st.lists(st.integers(0, K - 1), min_size=n, max_size=n)))
    if draw(st.booleans()):  # labels that follow a line as far as ties let them
        y = np.digitize(X @ np.arange(1, p + 1), np.sort(draw(st.lists(SMALL, min_size=K - 1, max_size=K - 1))))
    Y = np.eye(K)[y]
    for i in draw(st.lists(st.integers(0, n - 1), max_size=2)):
        Y[i, draw(st.integers(0, K - 1))] += 1.0
    return X, Y / Y.sum(axis=1, keepdims=True), draw(st.booleans())


@given(integer_problems())
def test_agrees_with_brute_force(problem):
    X, Y, intercept = problem
    finding = diagnose_separation(X, Y, fit_intercept=intercept)
    assert finding.kind is brute_force(X, Y, intercept)
    assert finding.reason == ""
    if finding.kind is not OVERLAP:
        check_certificate(finding, X, Y, intercept)


@given(integer_problems(), st.integers(0, 2**32 - 1))
def test_units_and_shifts_do_not_matter(problem, seed):
    X, Y, _ = problem
    kind = diagnose_separation(X, Y).kind
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-6, 6, X.shape[1])
    assert diagnose_separation(X * scale, Y).kind is kind
    shift = scale * 10.0 ** rng.uniform(-2, 5, X.shape[1])
    assert diagnose_separation(X * scale + shift, Y).kind is kind


@given(integer_problems())
def test_sparse_is_dense(problem):
    X, Y, intercept = problem
    dense = diagnose_separation(X, Y, fit_intercept=intercept)
    for form in (sparse.csr_array, sparse.csc_matrix):
        found = diagnose_separation(form(X), Y, fit_intercept=intercept)
        assert found.kind is dense.kind
        assert found.features == dense.features


@given(integer_problems(), st.integers(1, 3))
def test_order_of_rows_and_repetition_do_not_matter(problem, times):
    X, Y, intercept = problem
    kind = diagnose_separation(X, Y, fit_intercept=intercept).kind
    X, Y = np.repeat(X[::-1], times, axis=0), np.repeat(Y[::-1], times, axis=0)
    assert diagnose_separation(X, Y[:, ::-1], fit_intercept=intercept).kind is kind


@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(1, 6), st.booleans())
def test_planted_direction_is_found(seed, K, p, tied):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((80, p))
    V = rng.standard_normal((K, p + 1))
    logits = X @ V[:, :-1].T + V[:, -1]
    if tied:  # rows moved onto the boundary of two classes, of either label
        assume(p > 1)
        step = V[0, :-1] - V[1, :-1]
        X[:20] -= np.outer((logits[:20, 0] - logits[:20, 1]) / (step @ step), step)
        logits = X @ V[:, :-1].T + V[:, -1]
    y = logits.argmax(axis=1)
    on = np.flatnonzero((np.arange(80) < 20) & (y < 2)) if tied else np.empty(0, dtype=int)
    y[on] = rng.integers(0, 2, len(on))
    assume(len(np.unique(y)) == K)
    finding = diagnose_separation(X, y)
    assert finding.kind in ({QUASI, COMPLETE} if tied else {COMPLETE})
    check_certificate(finding, X, y)
    assert diagnose_separation(X, y, candidate=V).kind is finding.kind


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("K", [2, 4])
def test_float32(dtype, K):
    X, y = overlapping(500, 4, K)
    assert diagnose_separation(X.astype(dtype), y).kind is OVERLAP
    y = (X @ np.random.default_rng(1).standard_normal((4, K))).argmax(axis=1)
    assert diagnose_separation(X.astype(dtype), y).kind is COMPLETE


# ------------------------------------------------------------------------------ bounds


def bounded_problem(seed):
    """Few rows of small integers, and bounds of which some leave a way open; K may be 2, with one logit."""
    rng = np.random.default_rng(seed)
    K, p = int(rng.integers(2, 5)), int(rng.integers(1, 4))
    n = int(rng.integers(K + 4, 30))
    X = rng.integers(-2, 3, size=(n, p)).astype(float)
    y = (rng.choice([1, 5, 50]) * X @ rng.standard_normal((p, K)) + rng.gumbel(size=(n, K))).argmax(axis=1)
    y[:K] = np.arange(K)
    shape = 1 if K == 2 else K, p
    lower, upper = (np.where(rng.random(shape) < rng.choice([0.2, 0.5, 0.9]), end, end * np.inf) for end in (-0.5, 1.0))
    return X, y, K, bool(rng.random() < 0.7), (lower, upper)


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
def test_bounds_agree_with_brute_force(convert):
    kinds = []
    for seed in range(200):
        X, y, K, fit_intercept, bounds = bounded_problem(seed)
        how = {"n_classes": K, "fit_intercept": fit_intercept}
        finding = diagnose_separation(convert(X), y, bounds=bounds, **how)
        assert finding.kind is brute_force(X, np.eye(K)[y], fit_intercept, bounds), seed
        kinds.append((finding.kind, diagnose_separation(X, y, **how).kind))
        if finding.kind is OVERLAP:
            continue
        check_certificate(finding, X, y, fit_intercept)
        V = finding.direction[:, : X.shape[1]]
        if K == 2:
            V = V[1:] - V[:1]
        least = np.where(np.isfinite(bounds[0]), V, np.inf).min(axis=0)
        most = np.where(np.isfinite(bounds[1]), V, -np.inf).max(axis=0)
        if K == 2:
            assert np.all((least >= -1e-9) & (most <= 1e-9))
        else:
            # Some number added to a column, in all classes, keeps it within what is not bounded.
            assert np.all(least >= most - 1e-9)
    # Bounds close the way, or leave a narrower one.
    assert {(OVERLAP, COMPLETE), (OVERLAP, QUASI), (QUASI, COMPLETE), (COMPLETE, COMPLETE)} <= set(kinds)


@pytest.mark.parametrize("solver", ["auto", "L-BFGS-B", "trust-constr", "TNC"])
def test_a_fit_between_bounds_says_that_classes_are_separated(solver):
    x = np.linspace(-1, 1, 20)
    open_, closed = [(0, np.inf), (-1, np.inf), (-np.inf, np.inf)], [(-np.inf, 5), (-3, 3), (0, 2)]
    for y, design in ((x > 0, x[:, None]), (np.digitize(x, [-0.3, 0.3]), np.c_[x, x**2])):
        for bounds in open_:
            clf = SoftmaxMLEClassifier(bounds=bounds, solver=solver)
            with pytest.warns(SeparationWarning, match=r"completely separated.*bounds below and above"):
                clf.fit(design, y)
            assert clf.converged_
            assert clf.nll_ <= clf.tol
        for bounds in closed[len(np.unique(y)) > 2 :]:
            assert SoftmaxMLEClassifier(bounds=bounds, solver=solver).fit(design, y).nll_ > 1
    SoftmaxMLEClassifier(bounds=(0, np.inf), C=1.0, solver=solver).fit(x[:, None], x > 0)


@pytest.mark.usefixtures("in_single")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fits_between_bounds_warn_where_there_is_a_way_to_infinity(dtype):
    for seed in range(120):
        X, y, K, fit_intercept, bounds = bounded_problem(seed)
        if (X.std(axis=0) == 0).any():
            continue
        kind = brute_force(X, np.eye(K)[y], fit_intercept, bounds)
        clf = SoftmaxMLEClassifier(bounds=bounds, fit_intercept=fit_intercept)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            clf.fit((X * np.logspace(-3, 3, X.shape[1])).astype(dtype), y)
        words = {OVERLAP: [], QUASI: ["quasi-completely"], COMPLETE: ["completely"]}[kind]
        assert [str(w.message).split()[2] for w in caught] == words, seed


# -------------------------------------------------------------------------- candidates


@pytest.mark.parametrize("K", [2, 4])
def test_candidates_do_not_change_the_kind(K):
    rng = np.random.default_rng(0)
    X, y = overlapping(400, 3, K)
    dummy = (y == 0) & (np.arange(400) % 5 == 0)
    for design in (X, np.c_[X, dummy]):
        kind = diagnose_separation(design, y).kind
        for _ in range(5):
            theta = rng.standard_normal((K, design.shape[1] + 1))
            assert diagnose_separation(design, y, candidate=theta).kind is kind
            if K == 2:
                assert diagnose_separation(design, y, candidate=theta[:1]).kind is kind


def test_a_newton_step_is_a_certificate():
    # The last Newton step moves separated logits by about 1 and the others hardly: no time for a program is needed.
    X, y = overlapping(2000, 3, 3)
    dummy = (y == 0) & (np.arange(2000) % 5 == 0)
    step = np.zeros((3, 5))
    step[0, 3] = 1.0
    step += 1e-4 * np.random.default_rng(0).standard_normal(step.shape)
    finding = diagnose_separation(np.c_[X, dummy], y, candidate=step)
    assert finding.kind is QUASI
    assert finding.features == (3,)


# -------------------------------------------------------------------------- limits


def test_out_of_time_is_said():
    X, y = overlapping(2000, 8, 3)
    finding = diagnose_separation(X, y, time_limit=0.0)
    assert finding.kind is SeparationKind.UNDECIDED
    assert "time" in finding.reason
    assert finding.direction is None


@pytest.mark.parametrize("moves_on", [False, True])
def test_a_crawl_is_asked_for_long_only_if_it_goes_on(moves_on, monkeypatch):
    """Linear programs on its first sign have little time: a few more steps may show that there is a maximum."""
    limits, moves = [], iter([True, moves_on])

    def crawling(*args, **options):
        found = solve(*args) if len(args) > 4 else polish(*args, **options)
        return replace(found, crawling=True, step=np.full_like(found.psi, 1e-9))

    def diagnosed(*args, time_limit, **asked):
        limits.append(time_limit)
        out_of_time = SeparationFinding(SeparationKind.UNDECIDED, reason="the time limit was reached")
        return out_of_time if len(limits) == 1 else diagnose_separation(*args, time_limit=time_limit, **asked)

    monkeypatch.setattr("sklearn_mle._estimate.solve", crawling)
    monkeypatch.setattr("sklearn_mle._existence.polish", crawling)
    monkeypatch.setattr("sklearn_mle._existence.diagnose_separation", diagnosed)
    monkeypatch.setattr(RoundProblem, "moves_logits", lambda *_: next(moves))
    clf = SoftmaxMLEClassifier().fit(*overlapping(500, 4, 3))
    assert clf.converged_
    assert limits == [2.0, 20.0][: 1 + moves_on]


def test_wide_sparse_is_not_densified():
    rng = np.random.default_rng(0)
    X = sparse.random_array((3000, 30_000), density=1e-3, format="csr", rng=rng)
    y = rng.integers(0, 2, 3000)
    shared = np.flatnonzero(np.logical_and(*(X[y == k].sum(axis=0) > 0 for k in (0, 1))))
    finding = diagnose_separation(X[:, shared], y)
    assert finding.kind is SeparationKind.UNDECIDED
    assert "unknowns" in finding.reason
    # Columns that one class has to itself need no program.
    finding = diagnose_separation(X, y)
    assert finding.kind is QUASI
    assert not np.isin(finding.features, shared).any()
    # Rows with entries of their own: any labels separate, and the direction itself is proof enough.
    direction = X.T @ np.where(y == 1, 1.0, -1.0)
    agreeing = (X @ direction > 0) == (y == 1)
    finding = diagnose_separation(X[agreeing], y[agreeing], fit_intercept=False, candidate=direction[np.newaxis])
    assert finding.kind is COMPLETE


def test_a_crawl_of_many_classes_is_cleaned(monkeypatch):
    """What is level is found from a share of the pairs: with many classes few of them say it all."""
    n, K = 3000, 40
    X, y = overlapping(n, 3, K)
    X[:, 2] = 0.0
    X[np.flatnonzero(y < 10)[:150], 2] = 1.0
    drawn = []
    spread = RecessionCone._spread
    monkeypatch.setattr(RecessionCone, "_spread", lambda self, tied: drawn.append(spread(self, tied)) or drawn[-1])
    rows = ScaledRows(X, y, K, None, True)
    cone = RecessionCone(rows, None, time.monotonic() + 60)
    V = np.zeros((K, 4))
    V[10:, 2] = -1.0
    approached = (
        rows.from_original(V) + 1e-5 * np.random.default_rng(1).standard_normal((K, 4)) * (np.arange(K) > 0)[:, None]
    )
    cleaned = cone.clean(approached, 1e-2)
    assert len(drawn[0]) == 20 * cone.unknowns
    direction = rows.to_original(cleaned)
    found = margins(direction / np.nanmax(margins(direction, X, y)), X, y)
    assert np.nanmin(found) > -1e-9
    assert np.array_equal(rows.separated(cleaned), (np.arange(K) >= 10) & (X[:, 2:] == 1) & (y[:, None] < 10))


def test_many_rows_take_seconds():
    X, y = overlapping(100_000, 20, 5)
    start = time.monotonic()
    assert diagnose_separation(X, y).kind is OVERLAP
    assert time.monotonic() - start < 20


def split(X, y, **how):
    rows = ScaledRows(X, y, None, None, how.pop("intercept", True))
    return rows, (lambda s: None if s is None else s.direction())(rows.column_splits())


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
def test_single_columns_that_split_the_classes(convert):
    X, y = overlapping(500, 6, 4)
    X[:, 1] = np.where(np.isin(y, [0, 3]), np.abs(X[:, 1]) + 2.0, 2.0 - np.abs(X[:, 1]))
    X[:, 2] = np.where(y == 2, 0.0, X[:, 2] > 1)
    X[:, 4] = np.minimum(X[:, 4], np.where(y == 1, np.inf, 0.7))
    X[y == 1, 4] = X[y != 1, 4].max()
    rows, V = split(convert(X), y)
    assert np.flatnonzero(np.ptp(V, axis=0)[:6]).tolist() == [1, 2, 4]
    found, rounding = rows.margins(V)
    assert np.all(found[rows.outside] >= -rounding[rows.outside])
    assert np.all(rows.separated(V)[np.ix_(np.isin(y, [0, 3]), [1, 2])])
    assert not rows.separated(V)[y == 0, 3].any()


def test_without_an_intercept_columns_split_at_zero_alone():
    X, y = overlapping(300, 3, 2)
    X[:, 0] = np.where(y == 1, np.abs(X[:, 0]), -np.abs(X[:, 0]))
    X[:, 1] = X[:, 0] + 5.0
    _, V = split(X, y, intercept=False)
    assert np.flatnonzero(V[1]).tolist() == [0]
    _, V = split(X, y)
    assert np.flatnonzero(V[1, :3]).tolist() == [0, 1]


def test_no_column_splits_what_overlaps():
    X, y = overlapping(300, 3, 3)
    assert split(np.c_[X, np.ones(300)], y)[1] is None
    assert split(X, np.random.default_rng(0).dirichlet(np.ones(3), size=300))[1] is None


# -------------------------------------------------------------------------- which coefficients


def test_signs_of_the_textbook_example():
    X, y = np.array([1.0, 2, 3, 3, 4, 5])[:, None], np.array([0, 0, 0, 1, 1, 1])
    assert recession_signs(X, y) == pytest.approx(np.array([[np.inf, -np.inf]]))
    # Only the slope is certain if the boundary may lie on either side of zero.
    X, y = np.array([-2.0, -1, 1, 2])[:, None], np.array([0, 0, 1, 1])
    np.testing.assert_array_equal(recession_signs(X, y), [[np.inf, np.nan]])
    np.testing.assert_array_equal(recession_signs(X, y, fit_intercept=False), [[np.inf]])
    assert not recession_signs(np.arange(6.0)[:, None], np.array([0, 0, 1, 0, 1, 1])).any()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_dummy_leaves_the_others_finite(scale):
    X, y = overlapping(300, 3, 3)
    dummy = scale * ((y == 1) & (np.arange(300) % 4 == 0))
    found = recession_signs(np.c_[X, dummy] + scale * np.array([0, 1, 0, 3]), y)
    # Class 1 wins where the dummy is 1; how 0 and 2 share what is lost there, no row says. The intercept takes
    # back elsewhere what the dummy's shift by 3 gives.
    np.testing.assert_array_equal(found, [[0, 0, 0, np.inf, -np.inf], [0, 0, 0, np.nan, np.nan]])
    found = recession_signs(np.c_[X, dummy], y, base_class=1)
    np.testing.assert_array_equal(found, [[0, 0, 0, -np.inf, 0]] * 2)


def test_coefficients_of_collinear_columns_have_no_sign():
    X, y = overlapping(300, 3, 2)
    dummy = (y == 1) & (np.arange(300) % 4 == 0)
    found = recession_signs(np.c_[X, X[:, 0] + X[:, 1], dummy], y)
    np.testing.assert_array_equal(found, [[np.nan, np.nan, 0, np.nan, np.inf, 0]])
    found = recession_signs(np.c_[X, np.full(300, 2.5)], y)
    np.testing.assert_array_equal(found, [[0, 0, 0, np.nan, np.nan]])


def test_signs_out_of_time_raise():
    X, y = overlapping(2000, 8, 3)
    with pytest.raises(ValueError, match="time limit"):
        recession_signs(X, y, time_limit=0.0)


@given(integer_problems())
def test_signs_agree_with_the_direction(problem):
    X, Y, intercept = problem
    finding = diagnose_separation(X, Y, fit_intercept=intercept)
    signs = recession_signs(X, Y, fit_intercept=intercept)
    direction = np.zeros_like(signs) if finding.direction is None else finding.direction[1:] - finding.direction[0]
    assert np.all(direction[signs == np.inf] >= -1e-12)
    assert np.all(direction[signs == -np.inf] <= 1e-12)
    assert direction[signs == 0] == pytest.approx(0.0, abs=1e-9)
    if finding.kind is OVERLAP:
        assert not np.isinf(signs).any()


def test_what_was_found_survives_the_time_limit():
    # One dummy is the candidate, the other is not found in time: once separated, the estimate is known not to exist.
    X, y = overlapping(500, 3, 2)
    first, second = (y == 0) & (np.arange(500) % 5 == 0), (y == 1) & (np.arange(500) % 7 == 0)
    X = np.c_[X, first, second]
    candidate = np.zeros((2, 6))
    candidate[0, 3] = 1.0
    finding = diagnose_separation(X, y, candidate=candidate, time_limit=0.0)
    assert finding.kind is QUASI
    assert "time" in finding.reason
    check_certificate(finding, X, y)


@pytest.mark.parametrize("n", [2500, 20_000])
@pytest.mark.parametrize("kind", ["complete", "a class is ruled out", "three rows"])
def test_separation_shows_where_rows_are_many(kind, n):
    """A sample's metric overrates the curvature of a minimum at infinity, or has none of it."""
    rng = np.random.default_rng(1)
    K = 8
    X = rng.standard_normal((n, 6))
    logits = X @ rng.standard_normal((6, K))
    if kind == "complete":
        y = logits.argmax(axis=1)
    else:
        y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        column = np.zeros(n)
        if kind == "three rows":
            column[:3] = 1.0
            y[:3] = K - 1
        else:
            column[rng.random(n) < 0.2] = 1.0
            y[(column == 1) & (y == 0)] = 1
        X = np.column_stack([X, column])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf = SoftmaxMLEClassifier().fit(X, y)
    assert [warning.category for warning in caught] == [SeparationWarning]
    assert clf.converged_
    assert clf.n_iter_ < 100


@pytest.mark.parametrize(("seed", "condition"), [(2, 0.3), (56, 0.3), (37, 1.5)])
def test_a_crawl_is_none_while_there_is_something_left(seed, condition):
    """Conjugate gradients that end after one product see little of what is left: here a tenth of a nat."""
    rng = np.random.default_rng(seed)
    n, p, K = 600, 40, 15
    X = rng.normal(size=(n, p)) @ (np.eye(p) + condition * rng.normal(size=(p, p)) / np.sqrt(p))
    y = (X / X.std(axis=0) @ (3 * rng.normal(size=(p, K)) / np.sqrt(p)) + rng.gumbel(size=(n, K))).argmax(axis=1)
    y[: 2 * K] = np.repeat(np.arange(K), 2)
    X[:, 0] = np.where(y == 0, np.abs(X[:, 0]), 0.0)
    with pytest.warns(SeparationWarning):
        clf = SoftmaxMLEClassifier().fit(X, y)
    with pytest.warns(SeparationWarning):
        closer = SoftmaxMLEClassifier(tol=1e-7).fit(X, y)
    assert clf.nll_ <= closer.nll_ + 2e-3


@pytest.mark.parametrize("seed", [1, 5, 9])
def test_rows_of_next_to_no_weight_are_separated_like_the_others(seed):
    """A fit that separates all rows ends there, though some could cost log 2 and hardly be seen."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((400, 25))
    y = (X @ rng.standard_normal((25, 6))).argmax(axis=1)
    weights = 10.0 ** rng.uniform(-6, 2, 400)
    with pytest.warns(SeparationWarning, match="are completely separated"):
        clf = SoftmaxMLEClassifier().fit(X, y, sample_weight=weights)
    assert clf.converged_
    assert clf.score(X, y) == 1
    assert np.log(2) * weights.min() < clf.nll_ <= 1e-3
    assert clf.optimize_result_.message == "the rows are separated"


@pytest.mark.parametrize("solver", ["auto", "SLSQP", "BFGS", "lbfgs", "TNC", "trust-exact", "Powell"])
def test_a_fit_that_has_gone_all_the_way_is_asked_about(solver):
    """Two classes overlap, and the third lies far off: steps leave nothing of its gradient, nor of its curvature."""
    rng = np.random.default_rng(20)
    x = np.r_[rng.uniform(700, 1800, 30), rng.uniform(270, 370, 30), rng.uniform(260, 320, 30)]
    X, y = np.column_stack([rng.uniform(20, 2000, 90), x]), np.repeat([0, 1, 2], 30)
    with pytest.warns(SeparationWarning, match="quasi-completely separated: 0, by features x1"):
        SoftmaxMLEClassifier(solver=solver).fit(X, y)
