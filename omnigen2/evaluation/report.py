"""The page about one evaluated folder: tables, the paper's rows beside ours, a plot, what failed, how it was judged."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omnigen2.evaluation.benchmarks import Benchmark, ChoiceBenchmark
from omnigen2.evaluation.drawn import chooser, drawn_table, titled
from omnigen2.evaluation.gallery import write_gallery
from omnigen2.evaluation.judging import BenchmarkItem, BenchmarkResult
from omnigen2.evaluation.metrics import PaperTable, Summary
from omnigen2.evaluation.plot import bars
from omnigen2.files import markdown_table, number

SAME_JUDGE = (
    "The same judge has also chosen the pictures: these numbers say how well it chooses by its own lights, and are too "
    "high as a measure of anything else. Let another judge choose, or judge."
)


def write_report(
    folder: Path, benchmark: Benchmark, result: BenchmarkResult, items: Sequence[BenchmarkItem], command: str = ""
) -> None:
    """Write `report.md`, `result.json`, `scores.png` and, of pictures, `gallery/`.

    Args:
        items: What was judged, in the order of the result's records; none of questions.
    """
    tables = summaries(benchmark, result)
    result.save(folder / "result.json", [summary.to_json() for summary in tables])
    bars(tables[0], titled(result.name, result), next(iter(benchmark.papers), None), folder / "scores.png")
    if items:
        write_gallery(folder / "gallery", benchmark, result, items)
    (folder / "report.md").write_text(report_text(benchmark, result, tables, command), encoding="utf-8")


def summaries(benchmark: Benchmark, result: BenchmarkResult) -> list[Summary]:
    """The tables, which say how the pictures were chosen, if they were."""
    return [replace(one, title=titled(one.title, result)) for one in benchmark.summaries(result.records)]


def report_text(benchmark: Benchmark, result: BenchmarkResult, tables: Sequence[Summary], command: str = "") -> str:
    """The report as Markdown."""
    name = titled(result.name, result)
    parts = [f"# {benchmark.name}: {name}", str(tables[0])]
    for summary in tables:
        parts += [f"## {summary.title}", summary.table()]
    if benchmark.papers:
        parts += ["## Beside the paper", *(beside(tables[0], name, paper) for paper in benchmark.papers)]
    parts.append("![Scores](scores.png)")
    if not isinstance(benchmark, ChoiceBenchmark):
        parts.append("[Gallery, worst first](gallery/index.html)")
    parts += ["## What failed", problems(result), "## How it was judged", protocol_table(result)]
    if any(chooser(way) in (result.protocol.judge, result.protocol.model) for way in result.drawn):
        parts.append(SAME_JUDGE)
    if result.drawn:
        parts += ["## How the pictures were drawn", drawn_table(result.drawn)]
    if command:
        parts += ["## Command", f"    {command}"]
    return "\n\n".join(parts) + "\n"


def beside(summary: Summary, name: str, paper: PaperTable) -> str:
    """Published numbers and ours, line by line."""
    wanted = {line for row in paper.rows.values() for line in row}
    rows = [
        [
            line.name,
            number(line.values[paper.column], summary.digits),
            line.count,
            *(number(row[line.name], summary.digits) if line.name in row else "–" for row in paper.rows.values()),
        ]
        for line in summary.lines
        if line.name in wanted
    ]
    table = markdown_table([paper.column, name, "valid / total", *paper.rows], rows, right=True)
    return f"{table}\n\nSource: {paper.source}. {paper.note}"


def problems(result: BenchmarkResult) -> str:
    """Causes of failed judgements, most frequent first."""
    found = Counter(_cause(record.problem) for record in result.records if record.problem)
    if not found:
        return "Nothing: everything was judged."
    rows = [[cause, str(count)] for cause, count in found.most_common()]
    return markdown_table(["cause", "items"], rows, right=True)


def protocol_table(result: BenchmarkResult) -> str:
    """The judge's protocol."""
    content = result.protocol.to_json()
    settings = content.pop("settings")
    rows = [[key, str(value)] for key, value in (content | settings).items()]
    return markdown_table(["", "value"], rows, right=True)


def _cause(problem: str) -> str:
    """What comes before the details, on one line."""
    return " ".join(problem.partition(":")[0].split())[:100]
