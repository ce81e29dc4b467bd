"""Tables of estimates, as text and as HTML."""

from dataclasses import dataclass
from html import escape

_RULE = "="
_LINE = "-"


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


def number(value: float, digits: int = 4) -> str:
    """A number of the table: `digits` decimals, or powers of ten where those do not show it."""
    size = abs(value)
    if size and (size < 10.0**-digits or size >= 10.0**7):
        return f"{value:.{digits - 1}e}"
    return f"{value:.{digits}f}"


def p_value(value: float) -> str:
    """A p-value: three decimals, smaller ones in powers of ten."""
    return f"{value:.3f}" if value >= 0.001 or value == 0 else f"{value:.1e}"
