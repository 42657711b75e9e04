"""`gallery/index.html`: the funnel, and what was kept and what was dropped, side by side.

It needs nothing from elsewhere. The page shows some of each; where there are more, pages of their own show up to `MOST`
of a kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from omnigen2.curation.article import STYLE as ARTICLES
from omnigen2.curation.article import article, tints
from omnigen2.curation.items import Item
from omnigen2.curation.records import Finished
from omnigen2.curation.step import Count
from omnigen2.files import write_text

T = TypeVar("T")
KEPT, DROPPED, PAGE, MOST = 60, 12, 100, 2000
"""Items that are shown: of those that were kept, of each reason, on a page of their kind, of a kind in all."""
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 130rem; padding: 0 1rem; }
main { display: grid; grid-template-columns: 1fr 1fr; gap: 0 2.5rem; }
main > section { min-width: 0; }
nav a, nav b { margin-right: .6rem; }
.funnel { border-collapse: collapse; width: 100%; max-width: 60rem; font-size: .85rem; }
.funnel th { text-align: left; font-weight: 400; padding-right: 1rem; white-space: nowrap; }
.funnel td { width: 100%; }
.funnel div { display: flex; height: 1rem; min-width: 1px; }
.went { background: #3a7; }
.gone { background: #c33a; }
"""
POLICY = "default-src 'none'; img-src 'self' file:; media-src 'self' file:; style-src 'unsafe-inline'"
NONE = "<p>Nothing.</p>"


@dataclass(frozen=True)
class Kind:
    """Items that came to the same end.

    Attributes:
        name: Of its pages.
        items: With what is said of each.
        shown: Of them on the first page.
    """

    name: str
    title: str
    items: Sequence[tuple[Finished, Item, str]]
    shown: int


def write_gallery(folder: Path, finished: Sequence[Finished], clips: Path, counts: Sequence[Count]) -> None:
    """Write all pages; pictures and clips are linked to where they are, nothing is copied.

    Args:
        clips: The folder of the clips.
        counts: Of each step, in their order.
    """
    folder.mkdir(exist_ok=True)
    kept, *dropped = kinds = _kinds(finished, [count.step for count in counts])
    written = {"index.html"}
    for kind in kinds:
        if len(kind.items) > kind.shown:
            written.update(_pages(folder, clips, kind))
    right = "\n".join(_section(folder, clips, kind) for kind in dropped) or NONE
    body = (
        f"<h1>{len(kept.items)} examples of {len(finished)} clips</h1>\n{_funnel(counts)}\n{SWITCH}\n<main>\n"
        f"<section>\n{_section(folder, clips, kept)}\n</section>\n"
        f"<section>\n<h2>Dropped: {sum(len(kind.items) for kind in dropped)}</h2>\n{right}\n</section>\n</main>"
    )
    write_text(folder / "index.html", _page("Curated examples", body))
    for page in folder.glob("*.html"):
        if page.name not in written:
            page.unlink()


SWITCH = '<p><label><input type="checkbox" id="overlays" checked> boxes and masks</label></p>'


def _kinds(finished: Sequence[Finished], steps: Sequence[str]) -> list[Kind]:
    """What was kept, then what was dropped, in the order of the steps, by reason."""
    kept = [(one, item, "") for one in finished for item in one.kept]
    ended = [(one, end) for one in finished for end in one.ended]
    ended.sort(key=lambda pair: (steps.index(pair[1].step), pair[1].reason))
    kinds = [Kind("kept", "Kept", kept, KEPT)]
    for number, ((step, reason), group) in enumerate(groupby(ended, key=lambda pair: (pair[1].step, pair[1].reason))):
        items = [(one, end.item, end.detail) for one, end in group]
        kinds.append(Kind(f"dropped-{number + 1}", f"{step}: {reason}", items, DROPPED))
    return kinds


def _section(folder: Path, clips: Path, kind: Kind) -> str:
    number, shown = len(kind.items), _spread(kind.items, kind.shown)
    more = f', <a href="{kind.name}-1.html">{kind.shown} of them here</a>' if number > kind.shown else ""
    articles = "\n".join(article(folder, clips, *item) for item in shown)
    return f"<h2>{escape(kind.title)}: {number}{more}</h2>\n{articles}"


def _pages(folder: Path, clips: Path, kind: Kind) -> list[str]:
    """Write the pages of a kind; returns their names."""
    items = _spread(kind.items, MOST)
    names = [f"{kind.name}-{number + 1}.html" for number in range(-(-len(items) // PAGE))]
    less = f", {len(items)} of them on these pages" if len(items) < len(kind.items) else ""
    for number, name in enumerate(names):
        links = [
            f"<b>{place + 1}</b>" if place == number else f'<a href="{other}">{place + 1}</a>'
            for place, other in enumerate(names)
        ]
        nav = f'<nav><a href="index.html">all kinds</a> {" ".join(links)}</nav>'
        shown = items[number * PAGE : (number + 1) * PAGE]
        articles = "\n".join(article(folder, clips, *item) for item in shown)
        title = f"{escape(kind.title)}: {len(kind.items)}{less}"
        write_text(folder / name, _page(kind.title, f"<h1>{title}</h1>\n{nav}\n{SWITCH}\n{articles}\n{nav}"))
    return names


def _funnel(counts: Sequence[Count]) -> str:
    """A bar for each step: what went on, and what it dropped."""
    most = max((count.taken for count in counts), default=0)
    if not most:
        return ""
    rows: list[str] = []
    for count in counts:
        went, gone = 100 * count.went_on / most, 100 * (count.taken - count.went_on) / most
        became = f", {count.given} came of them" if count.given != count.went_on else ""
        rows.append(
            f"<tr><th>{escape(count.step)}</th><th>{count.went_on} of {count.taken}{became}</th><td><div>"
            f'<div class="went" style="width:{went:.2f}%"></div><div class="gone" style="width:{gone:.2f}%"></div>'
            "</div></td></tr>"
        )
    return f'<table class="funnel">{"".join(rows)}</table>'


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{ARTICLES}</style>\n</head>\n"
        f"<body>\n{tints()}\n{body}\n</body>\n</html>\n"
    )


def _spread(items: Sequence[T], most: int) -> list[T]:
    """So many of them at most, evenly spread."""
    if len(items) <= most:
        return list(items)
    return [items[number * len(items) // most] for number in range(most)]
