"""A dot plot of times to solution."""

from benchmarks.libraries import adapters
from benchmarks.report import by_problem

_MARKERS = "Dosv^<>PXph*"


def draw(runs, path):
    """One line a problem, one marker a library, seconds on a log axis.

    Filled: arrived. An arrow to the right: stopped there by the time limit. Who ended
    short of the optimum is not drawn.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    table = by_problem(runs)
    everyone = adapters().values()
    shown = [a for a in everyone if a.role != "baseline" and _drawable(table, a.name)]
    figure, ax = plt.subplots(figsize=(10, max(3.2, 1.2 + 0.6 * len(table))), layout="constrained")
    colours = plt.get_cmap("tab10")
    for index, adapter in enumerate(shown):
        ours = adapter.role == "ours"
        colour = "black" if ours else colours(index % 10)
        spread = 0.0 if ours else 0.5 * (index / len(shown) - 0.5)
        points = [
            (row[adapter.name], height + spread) for height, row in enumerate(table.values()) if adapter.name in row
        ]
        style = {
            "marker": _MARKERS[index % len(_MARKERS)],
            "s": 90 if ours else 45,
            "edgecolors": colour,
            "zorder": 3 if ours else 2,
        }
        at = [(r.seconds, h) for r, h in points if r.status == "arrived"]
        x, y = zip(*at, strict=True) if at else ((), ())
        ax.scatter(x, y, facecolors=colour, label=adapter.name, **style)
        for result, height in points:
            if result.status == "stopped":
                x = result.seconds
                ax.scatter(x, height, facecolors="none", **style)
                arrow = {"arrowstyle": "->", "color": colour}
                ax.annotate("", (1.5 * x, height), (1.08 * x, height), arrowprops=arrow)
    for height in range(len(table)):
        ax.axhspan(height - 0.35, height + 0.35, color="0.94", zorder=0)
    ax.set_xscale("log")
    ax.set_yticks(range(len(table)), list(table))
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.margins(x=0.12)
    ax.set_xlabel("seconds to within 1e-6 nats a sample of the best (hollow: stopped)")
    ax.grid(axis="x", color="0.8", linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    if shown:
        figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _drawable(table, name):
    results = [row[name] for row in table.values() if name in row]
    return any(result.status in ("arrived", "stopped") for result in results)
