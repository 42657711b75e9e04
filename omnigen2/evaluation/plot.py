"""A bar chart of one benchmark's lines, with the paper's numbers beside ours."""

import math
from pathlib import Path

from omnigen2.evaluation.metrics import PaperTable, Summary


def bars(summary: Summary, name: str, paper: PaperTable | None, path: Path) -> None:
    """Draw our columns, or, beside the bars of a paper's table, the one that it is about; `path` says the format."""
    from matplotlib.figure import Figure

    lines = [line for line in summary.lines if line.total]
    if paper is None:
        series = {column: [line.values[column] for line in lines] for column in summary.columns}
    else:
        series = {name: [line.values[paper.column] for line in lines]}
        series |= {model: [row.get(line.name, math.nan) for line in lines] for model, row in paper.rows.items()}
    figure = Figure(figsize=(1.5 + 0.9 * len(lines), 4), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(series)
    for index, (label, values) in enumerate(series.items()):
        places = [number + (index - (len(series) - 1) / 2) * width for number in range(len(lines))]
        axes.bar(places, [0.0 if math.isnan(value) else value for value in values], width, label=label)
    labels = [f"{line.name}\n{line.valid}/{line.total}" for line in lines]
    axes.set_xticks(range(len(lines)), labels, rotation=30, ha="right", fontsize=8)
    axes.set_title(summary.title if paper is None else f"{summary.title}: {paper.column}")
    figure.legend(loc="outside right upper", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
