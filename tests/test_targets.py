"""Labels, distributions and weights as users hand them in."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_mle._targets import (
    aligned_distributions,
    apply_class_weight,
    check_weights,
    distributions,
    encode_labels,
    is_matrix,
    label_indices,
    rows_by_class,
    what_is_wrong_with,
)

NAMES = np.array(["ant", "bee", "cow"])
CODES = np.array([2, 0, 1, 1, 0])
X = np.zeros((5, 2))
SOFT = np.random.default_rng(0).dirichlet(np.ones(3), size=5)

LABELS = {
    "str": NAMES[CODES],
    "object": NAMES.astype(object)[CODES],
    "list": NAMES[CODES].tolist(),
    "category": pd.Series(pd.Categorical(NAMES[CODES], categories=["cow", "dog", "ant", "bee"])),
    "pandas string": pd.Series(NAMES[CODES], dtype="string"),
    "polars": pl.Series(NAMES[CODES].tolist()),
    "polars categorical": pl.Series(NAMES[CODES].tolist(), dtype=pl.Categorical),
}


@pytest.mark.parametrize("y", LABELS.values(), ids=LABELS.keys())
def test_labels_become_indices_of_sorted_classes(y):
    assert not is_matrix(y)
    classes, codes = encode_labels(y)
    assert_array_equal(classes, NAMES)
    assert_array_equal(codes, CODES)
    assert_array_equal(label_indices(y, NAMES), CODES)
    assert_array_equal(label_indices(y, NAMES.astype(object)), CODES)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float64", "Int64", "boolean"])
def test_numbers_and_bools_are_labels(dtype):
    y = pd.Series([1, 0, 0, 1, 1], dtype=dtype)
    classes, codes = encode_labels(y)
    assert_array_equal(classes.astype(int), [0, 1])
    assert_array_equal(codes, [1, 0, 0, 1, 1])
    assert_array_equal(label_indices(y, classes), codes)


@pytest.mark.parametrize("y", [CODES + 0.5, np.array([1, "a", None], dtype=object)])
def test_no_labels(y):
    with pytest.raises(ValueError, match="Unknown label type"):
        encode_labels(y)


@pytest.mark.parametrize("classes", [NAMES, NAMES.astype(object), np.arange(3), np.array([False, True])])
@pytest.mark.parametrize("unseen", [["zebra"], [7], [None], [1.5], ["ant", None], [0, "ant"]])
def test_labels_that_were_not_seen_are_named(classes, unseen):
    with pytest.raises(ValueError, match="y holds labels"):
        label_indices(np.array(unseen, dtype=object), classes)


def test_what_is_a_matrix():
    assert is_matrix(SOFT)
    assert is_matrix(SOFT.tolist())
    assert is_matrix([tuple(row) for row in SOFT])
    assert is_matrix(pd.DataFrame(SOFT))
    assert is_matrix(pl.DataFrame(SOFT))
    assert not is_matrix(CODES[:, None])
    assert not is_matrix(CODES.tolist())
    assert not is_matrix([])


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_columns_are_sorted_by_name(frame):
    names, rows = distributions(frame(dict(zip(["cow", "ant", "bee"], SOFT.T, strict=True))))
    assert_array_equal(names, NAMES)
    assert_allclose(rows, SOFT[:, [1, 2, 0]], rtol=1e-15)
    assert_array_equal(
        aligned_distributions(frame(dict(zip(NAMES, SOFT.T, strict=True))), NAMES), distributions(SOFT)[1]
    )


def test_columns_may_be_numbers():
    names, rows = distributions(pd.DataFrame(SOFT, columns=[10, 2, 1]))
    assert_array_equal(names, [1, 2, 10])
    assert_allclose(rows, SOFT[:, ::-1], rtol=1e-15)
    assert distributions(SOFT)[0] is None


@pytest.mark.parametrize("dtype, tolerance", [("d", 1e-9), ("f", 1e-6)])
def test_rows_are_summed_to_one(dtype, tolerance):
    _, rows = distributions((SOFT * (1 + tolerance)).astype(dtype))
    assert rows.dtype == np.float64
    assert_allclose(rows.sum(axis=1), 1, rtol=1e-15)


def frame(columns):
    return pd.DataFrame(SOFT, columns=columns)


@pytest.mark.parametrize(
    "y, message",
    [
        (SOFT * 1.01, "must sum to 1, .* sums to 1.01"),
        (SOFT - [0.9, -0.9, 0], "negative"),
        (np.where(SOFT > 0.5, np.nan, SOFT), "NaN"),
        (np.where(SOFT > 0.5, np.inf, SOFT), "infinity"),
        (np.round(10 * SOFT), "counts go to sample_weight"),
        (frame(["a", "a", "b"]), "name a class twice"),
        (frame([1, "a", "b"]), "all by strings or all by numbers"),
        (frame(pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)])), "all by strings or all by numbers"),
        (frame([0.5, 1.5, 2.5]), "Unknown label type"),
        (NAMES[np.c_[CODES, CODES]], "could not convert"),
    ],
)
def test_matrices_that_are_no_distributions(y, message):
    with pytest.raises(ValueError, match=message):
        distributions(y)


def test_a_matrix_must_fit_the_classes():
    with pytest.raises(ValueError, match="2 columns, but the estimator has 3 classes"):
        aligned_distributions(np.eye(2), NAMES)
    with pytest.raises(ValueError, match=r"columns of y are .*'dog'.* but the classes are"):
        aligned_distributions(frame(["ant", "bee", "dog"]), NAMES)


@pytest.mark.parametrize("w", [2, 2.0, np.float32(2), np.array(2.0), [2] * 5, pd.Series([2] * 5), pl.Series([2] * 5)])
def test_weights_may_be_a_number_or_anything_like_an_array(w):
    assert_array_equal(check_weights(w, X), np.full(5, 2.0))
    assert check_weights(w, X).dtype == np.float64


def test_no_weights_stay_none():
    assert check_weights(None, X) is None


@pytest.mark.parametrize(
    "w, message",
    [
        (-1.0, "negative"),
        ([1, 1, -1, 1, 1], "negative"),
        (0, "sample_weight is zero for every sample"),
        (np.zeros(5), "sample_weight is zero for every sample"),
        (np.nan, "NaN or infinite"),
        ([1, 1, np.inf, 1, 1], "NaN or infinite"),
        (np.ones(4), r"shape \(4,\); expected \(5,\)"),
        (np.ones((5, 1)), "shape"),
        ("heavy", "must hold numbers"),
    ],
)
def test_weights_that_are_none(w, message):
    with pytest.raises(ValueError, match=message):
        check_weights(w, X)


def test_class_weights_multiply_the_rows_of_labels():
    y = CODES.astype(np.int32)
    w = np.array([1.0, 2.0, 0.5, 1.0, 0.0])
    same, weights = apply_class_weight({"ant": 3.0, "cow": 0.0}, NAMES, y, w)
    assert same is y
    assert_allclose(weights, [0.0, 6.0, 0.5, 1.0, 0.0])
    assert apply_class_weight(None, NAMES, y, None) == (y, None)
    _, balanced = apply_class_weight("balanced", NAMES, y, w)
    assert_allclose(np.bincount(y, balanced), w.sum() / 3)


def test_class_weights_multiply_the_entries_of_soft_rows():
    factors = {"ant": 3.0, "bee": 0.0, "cow": 0.5}
    w = np.array([1.0, 2.0, 0.5, 1.0, 0.0])
    y, weights = apply_class_weight(factors, NAMES, SOFT, w)
    assert_allclose(y.sum(axis=1), 1)
    assert_allclose(y * weights[:, None], SOFT * w[:, None] * list(factors.values()))
    y, weights = apply_class_weight("balanced", NAMES, SOFT, w)
    assert_allclose(weights @ y, w.sum() / 3)


@pytest.mark.parametrize(
    "class_weight, message",
    [
        ("heavy", "class_weight must be"),
        (3, "class_weight must be"),
        ([1, 2, 3], "class_weight must be"),
        ({"ant": -1.0}, "not negative"),
        ({"ant": np.nan}, "finite"),
        ({"ant": 0, "bee": 0, "cow": 0}, "zero for every sample"),
        ({"dog": 2.0}, "not in class_weight"),
    ],
)
def test_class_weights_that_are_none(class_weight, message):
    with pytest.raises(ValueError, match=message):
        apply_class_weight(class_weight, NAMES, CODES, None)


@pytest.mark.parametrize("dtype", ["i1", "i2", "u1", "i4", "i8", "u8", ">i4"])
def test_integers_are_encoded_as_by_sorting(dtype):
    info = np.iinfo(dtype)
    rng = np.random.default_rng(0)
    for low, high in ((info.min, info.min + 9), (info.max - 9, info.max), (-100 if info.min else 0, 100)):
        y = rng.integers(low, high, size=300, endpoint=True, dtype=np.dtype(dtype).newbyteorder("=")).astype(dtype)
        expected, places = np.unique(y, return_inverse=True)
        classes, codes = encode_labels(y)
        assert classes.dtype == expected.dtype
        assert_array_equal(classes, expected)
        assert_array_equal(codes, places)


@pytest.mark.parametrize("n_classes", [2, 4, 9])
@pytest.mark.parametrize("n_rows", [10, 5000])
def test_rows_are_counted_by_class(n_rows, n_classes):
    y = np.random.default_rng(0).integers(n_classes - 1, size=n_rows)
    counts = rows_by_class(y, n_classes)
    assert_array_equal(counts, np.bincount(y, minlength=n_classes))
    assert len(counts) == n_classes


@pytest.mark.parametrize(
    "labels, message",
    [
        (["a", None, "b"], "missing labels .* row 1"),
        (pd.Series(["a", "b", None], dtype="string"), "missing labels .* row 2"),
        (np.array([1, "a", 2], dtype=object), "several kinds: a number, str"),
        ([0.1, 0.7, 1.0], "continuous.*column_stack"),
    ],
)
def test_what_keeps_values_from_being_labels(labels, message):
    assert re.search(message, what_is_wrong_with(labels))


@pytest.mark.parametrize("labels", [["a", "b"], [0, 1], [0.0, 2.0], [0.0, np.nan], [0.0, np.inf], [True, False]])
def test_what_else_is_wrong_is_for_others_to_say(labels):
    assert what_is_wrong_with(labels) is None
