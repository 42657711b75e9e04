"""The report and the gallery."""

import json
from html.parser import HTMLParser
from pathlib import Path

from omnigen2.evaluation import Benchmark, evaluate, write_report
from omnigen2.evaluation.report import report_text
from tests.evaluation.cases import OMNI, SCRIPT, Fixed, items_of, record, result_of


class Page(HTMLParser):
    """Collects tags, links and text, and checks that tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "link"):
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def report_of(folders: tuple[Path, Path], out: Path, benchmark: Benchmark = OMNI) -> None:
    items = items_of(folders)
    items[6].output.write_bytes(b"no picture at all")
    result = evaluate(benchmark, items, Fixed(broken=["k2", "k6"]), out, "mine")
    write_report(out, benchmark, result, items, "omnigen2 evaluate …")


def test_the_gallery_shows_everything_worst_first_and_nothing_from_elsewhere(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    report_of(folders, tmp_path / "out")
    folder = tmp_path / "out" / "gallery"
    page = Page()
    page.feed((folder / "index.html").read_text(encoding="utf-8"))
    assert page.stack == []
    assert "script" not in page.tags
    assert page.text.count(SCRIPT) == 8 + 6  # instructions and reasons, as text
    assert all(link.startswith("images/") and (folder / link).is_file() for link in page.links)
    assert len(page.links) == 8 + 7
    order = [page.text.index(f"· k{n}") for n in range(8)]
    assert sorted(range(8), key=lambda n: order[n])[:2] == [2, 6]
    assert page.text.count("not judged: unreadable: mumble") == 2
    assert page.text.count("output: no readable picture") == 1


def test_the_report_says_what_failed_and_shows_the_paper(folders: tuple[Path, Path], tmp_path: Path) -> None:
    report_of(folders, tmp_path / "out")
    said = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "2 of 8 judgements failed; the means are over the others." in said
    assert "| overall | 6.00 | 6 / 8, 6 of 8 subtasks | 7.95 | 7.18 |" in said
    assert "| Multiple | 6.00 | 2 / 3, 2 of 3 subtasks | 7.73 | – |" in said
    assert "| unreadable | 2 |" in said
    assert "| temperature | 0.0 |" in said
    assert (tmp_path / "out" / "scores.png").stat().st_size > 1000
    assert json.loads((tmp_path / "out" / "result.json").read_text())["valid"] == 6


def test_the_printed_subtask_scores_stand_beside_the_paper_s_means() -> None:
    printed = (8.19, 8.63, 7.45, 7.80, 7.93, 7.75, 7.91, 7.93)  # of Tables 7 to 9; Table 4 has 7.91 in place of 7.80
    result = result_of([record(number, score) for number, score in enumerate(printed)], "OmniGen2")
    said = report_text(OMNI, result, OMNI.summaries(result.records))
    assert "| Single | 8.41 | 2 / 2 | 8.41 | – |" in said
    assert "| Multiple | 7.73 | 3 / 3 | 7.73 | – |" in said
    assert "| Scene | 7.86 | 3 / 3 | 7.86 | – |" in said
    assert "| overall | 7.95 | 8 / 8 | 7.95 | 7.18 |" in said
