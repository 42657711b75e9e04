"""A page where one looks at judged pictures, worst first. It needs no server and nothing from elsewhere."""

import hashlib
import io
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image

from omnigen2.evaluation.benchmarks import Benchmark, column_values
from omnigen2.evaluation.drawn import titled
from omnigen2.evaluation.judging import BenchmarkItem, BenchmarkResult, PictureFile, Record, contents
from omnigen2.files import number
from omnigen2.pictures import ImageFileError, ImageReader

SIDE = 320
"""Longest side of the pictures on the page, in pixels; small ones are enlarged by whole numbers."""

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 130rem; padding: 0 1rem; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); gap: 0 2rem; }
article { border-top: 1px solid #8886; padding: 1rem 0; min-width: 0; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #8883; }
th:first-child, td:first-child { text-align: left; }
h2 { font-size: 1rem; margin: 0; }
.pictures { display: flex; flex-wrap: wrap; gap: .75rem; margin: .6rem 0; }
figure { margin: 0; }
figure img { display: block; max-width: min(320px, 100%); height: auto; border: 1px solid #8886; }
figure.output img { border-width: 3px; }
figure.output.right img { border-color: #2a7; }
figcaption { font-size: .8rem; opacity: .75; }
.instruction { white-space: pre-wrap; overflow-wrap: anywhere; margin: .3rem 0; }
.problem { color: #c33; font-weight: 600; overflow-wrap: anywhere; }
.reason { overflow-wrap: anywhere; margin: .2rem 0; }
.score { font-variant-numeric: tabular-nums; margin-right: 1rem; }
"""
POLICY = "default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline'"


def write_gallery(folder: Path, benchmark: Benchmark, result: BenchmarkResult, items: Sequence[BenchmarkItem]) -> None:
    """Write `index.html` and small copies of the pictures; items are in the order of the result's records."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    pairs = [
        (record, item, column_values(benchmark, record) if record.valid else {})
        for record, item in zip(result.records, items, strict=True)
    ]
    pairs.sort(key=lambda pair: (_rank(pair[2]), pair[0].name))
    least = benchmark.highest if benchmark.perfect else math.inf
    articles = "\n".join(_article(folder, *pair, _rank(pair[2]) >= least) for pair in pairs)
    valid = sum(record.valid for record in result.records)
    title = escape(f"{benchmark.name}: {titled(result.name, result)}")
    judged = escape(f"{result.protocol.judge}, {result.protocol.model}, prompt {result.protocol.prompt_version}")
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"<p>Worst first; failed judgements before all. Valid {valid} of {len(result.records)}. Judge: {judged}. "
        "A green frame is around pictures with the best score there is.</p>\n"
        f"{_summary(benchmark, result)}\n<main>\n{articles}\n</main>\n</body>\n</html>\n"
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def _rank(values: dict[str, float]) -> float:
    """The last column is the overall score; failures come first."""
    return list(values.values())[-1] if values else -math.inf


def _summary(benchmark: Benchmark, result: BenchmarkResult) -> str:
    """The benchmark's first table."""
    summary = benchmark.summaries(result.records)[0]
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *summary.columns, "valid / total"))
    rows = "\n".join(
        f"<tr><td>{escape(line.name)}</td>"
        + "".join(f"<td>{number(line.values[column], summary.digits)}</td>" for column in summary.columns)
        + f"<td>{escape(line.count)}</td></tr>"
        for line in summary.lines
        if line.total
    )
    return f"<table>\n<tr>{head}</tr>\n{rows}\n</table>"


def _article(folder: Path, record: Record, item: BenchmarkItem, values: dict[str, float], right: bool) -> str:
    figures = [_figure(folder, file, f"input {n}", "input") for n, file in enumerate(item.inputs, start=1)]
    if item.output.is_file():
        figures.append(_figure(folder, item.output, "output", "output right" if right else "output"))
    said = "".join(f'<span class="score">{escape(name)} <b>{number(x)}</b></span>' for name, x in values.items())
    if record.problem:
        said = f'<strong class="problem">not judged: {escape(record.problem)}</strong>'
    reasons = "".join(
        f'<p class="reason"><b>{escape(name)}:</b> {escape(reason)}</p>' for name, reason in record.reasons.items()
    )
    heading = " · ".join(escape(part) for part in (item.group, item.language, item.key))
    return (
        f"<article>\n<h2>{heading}</h2>\n"
        f'<p class="instruction" dir="auto">{escape(item.instruction)}</p>\n'
        f'<div class="pictures">{"".join(figures)}</div>\n<p>{said}</p>{reasons}\n</article>'
    )


def _figure(folder: Path, file: PictureFile, caption: str, kind: str) -> str:
    try:
        name = _thumbnail(folder / "images", contents(file))
    except ImageFileError:
        return f'<figure class="{kind}"><p class="problem">{escape(caption)}: no readable picture</p></figure>'
    return (
        f'<figure class="{kind}"><img src="images/{name}" alt="{escape(caption)}" loading="lazy">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _thumbnail(folder: Path, data: bytes) -> str:
    """Name of a small copy; it is named by content, so pictures that many items share are there once."""
    name = f"{hashlib.sha256(data).hexdigest()[:24]}.png"
    if (folder / name).exists():
        return name
    image = ImageReader(animated="first_frame").read(data, "picture")
    longest = max(image.size)
    if longest > SIDE:
        image.thumbnail((SIDE, SIDE))
    elif longest * 2 <= SIDE:
        times = SIDE // longest // 2 or 1
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, format="PNG")
    (folder / name).write_bytes(file.getvalue())
    return name
