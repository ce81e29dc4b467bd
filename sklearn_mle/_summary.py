"""Tables of estimates, as text and as HTML."""

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from ._comparison import LikelihoodTest
from ._typing import FloatArray

_RULE = "="
_LINE = "-"
# Smaller p-values are a matter of how well a tail is known.
_LEAST_P = 1e-99


@dataclass(frozen=True)
class Summary:
    """What `LikelihoodInference.summary` returns: prints as text, and shows as HTML in a notebook.

    Attributes
    ----------
    title : str
    facts : pairs of a name and its value
    header : names of the table's columns, the first that of the features
    blocks : pairs of a heading, one for each class, and rows of cells
    notes : lines below the table
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    header: tuple[str, ...]
    blocks: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        table = [self.header, *(row for _, rows in self.blocks for row in rows)]
        widths = [max(len(row[i]) for row in table) for i in range(len(self.header))]
        total = max(sum(widths) + 2 * (len(widths) - 1), *(len(heading) for heading, _ in self.blocks))

        def line(cells: tuple[str, ...]) -> str:
            first = cells[0].ljust(widths[0])
            rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
            return "  ".join([first, *rest])

        lines = [self.title.center(total).rstrip(), _RULE * total, *self._fact_lines(total), _RULE * total]
        lines.append(line(self.header))
        for heading, rows in self.blocks:
            lines += [_LINE * total, heading, *(line(row) for row in rows)]
        lines += [_RULE * total, *self.notes]
        return "\n".join(lines)

    __repr__ = __str__

    def _fact_lines(self, total: int) -> list[str]:
        """Facts in two columns, read downwards."""
        half = -(-len(self.facts) // 2)
        width = (total - 2) // 2

        def cell(fact: tuple[str, str]) -> str:
            name, value = fact
            return name + ": " + value.rjust(width - len(name) - 2)

        lines = []
        for i in range(half):
            right = cell(self.facts[i + half]) if i + half < len(self.facts) else ""
            lines.append(f"{cell(self.facts[i])}  {right}".rstrip())
        return lines

    def _repr_html_(self) -> str:
        facts = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(value)}</td></tr>"
            for name, value in self.facts
        )
        head = "".join(f"<th>{escape(name)}</th>" for name in self.header)
        body = ""
        for heading, rows in self.blocks:
            body += f"<tr><th colspan='{len(self.header)}' style='text-align:left'>{escape(heading)}</th></tr>"
            for row in rows:
                cells = "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
                body += f"<tr><th style='text-align:left'>{escape(row[0])}</th>{cells}</tr>"
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return (
            f"<div><table><caption>{escape(self.title)}</caption>{facts}</table>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}</div>"
        )


def summarise(
    inference: Any,
    intervals: FloatArray,
    level: float,
    covariance: str,
    overall: LikelihoodTest | None,
    notes: tuple[str, ...],
) -> Summary:
    """The summary of a `LikelihoodInference`.

    Parameters
    ----------
    inference : LikelihoodInference
    intervals : array of shape (K - 1, p + 1, 2), at `level`
    covariance : name of the covariance
    overall : the test of all columns where the covariance is a sandwich, which the likelihood ratio does without
    notes : lines below the table
    """
    tail = (1 - level) / 2
    low, high = f"[{tail:.3g}", f"{1 - tail:.3g}]"
    header = ("", "coef", "std err", "z", "P>|z|", low, high, "odds ratio", low, high)
    others = [label for label in inference.classes_.tolist() if label != inference.base_class_]
    blocks = []
    with np.errstate(over="ignore"):
        for k, label in enumerate(others):
            rows = []
            for j, name in enumerate(inference.feature_names_):
                values = (inference.coef_[k, j], *intervals[k, j])
                cells = [number(values[0]), number(inference.se_[k, j]), f"{inference.z_[k, j]:.3f}"]
                cells += [p_value(inference.pvalues_[k, j]), *map(number, values[1:]), *map(number, np.exp(values))]
                rows.append((name, *cells))
            blocks.append((f"{label} against {inference.base_class_}", tuple(rows)))
    title = "Logistic regression" if len(inference.classes_) == 2 else "Softmax (multinomial logit) regression"
    return Summary(title, _facts(inference, covariance, overall), header, tuple(blocks), notes)


def _facts(inference: Any, covariance: str, overall: LikelihoodTest | None) -> tuple[tuple[str, str], ...]:
    name, statistic, tail = "LR", inference.lr_statistic_, inference.lr_pvalue_
    if overall is not None:
        name, statistic, tail = "Wald", overall.statistic, overall.pvalue
    return (
        ("Observations", f"{inference.n_obs_:.10g}"),
        ("Classes", str(len(inference.classes_))),
        ("Base class", str(inference.base_class_)),
        ("Df model", str(inference.df_model_)),
        ("Df residuals", f"{inference.df_resid_:.10g}"),
        ("Covariance", covariance),
        ("Log-likelihood", f"{inference.log_likelihood_:.4f}"),
        ("Null log-likelihood", f"{inference.null_log_likelihood_:.4f}"),
        (f"{name} chi2({inference.df_model_})", f"{statistic:.4f}" if np.isfinite(statistic) else "none"),
        ("P > chi2", p_value(tail)),
        ("McFadden R2", f"{inference.mcfadden_r2_:.4f}"),
        ("AIC, BIC", f"{inference.aic_:.3f}, {inference.bic_:.3f}"),
    )


def number(value: float, digits: int = 4) -> str:
    """A number of the table: `digits` decimals, or powers of ten where those do not show it."""
    size = abs(value)
    if size and (size < 10.0**-digits or size >= 10.0**7):
        return f"{value:.{digits - 1}e}"
    return f"{value:.{digits}f}"


def p_value(value: float) -> str:
    """A p-value: three decimals, smaller ones in powers of ten."""
    if np.isnan(value):
        return "none"
    if value < _LEAST_P:
        return f"<{_LEAST_P:.0e}"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"
