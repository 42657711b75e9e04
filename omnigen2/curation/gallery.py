"""`gallery/index.html`: what was kept and what was dropped, side by side; it needs nothing from elsewhere."""

from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from omnigen2.curation.items import Item
from omnigen2.curation.records import Finished
from omnigen2.curation.step import End
from omnigen2.files import write_text

T = TypeVar("T")
KEPT, DROPPED = 60, 12
"""Items that are shown: of all that were kept, and of each reason."""
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 130rem; padding: 0 1rem; }
main { display: grid; grid-template-columns: 1fr 1fr; gap: 0 2.5rem; }
main > section { min-width: 0; }
article { border-top: 1px solid #8886; padding: .8rem 0; }
h3 { font-size: .9rem; font-weight: 400; opacity: .75; margin: 0; overflow-wrap: anywhere; }
.pictures { display: flex; flex-wrap: wrap; gap: .6rem; margin: .5rem 0; }
figure { margin: 0; }
figure img { display: block; width: 16rem; max-width: 100%; image-rendering: auto; border: 1px solid #8886; }
figcaption { font-size: .8rem; opacity: .75; }
.instruction { margin: .3rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.detail { color: #c33; overflow-wrap: anywhere; margin: .2rem 0; }
.scores { font-variant-numeric: tabular-nums; font-size: .85rem; margin: .2rem 0; }
.scores span { margin-right: 1rem; }
"""
POLICY = "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'"


def write_gallery(folder: Path, finished: Sequence[Finished]) -> None:
    """Write the page; its pictures are those of the clips, so nothing is copied."""
    kept = [(one, item) for one in finished for item in one.kept]
    ended = [(one, end) for one in finished for end in one.ended]
    ended.sort(key=lambda pair: (pair[1].step, pair[1].reason))
    left = "\n".join(_article(folder, one, item) for one, item in _spread(kept, KEPT))
    right = "\n".join(
        _dropped(folder, f"{step}: {reason}", list(group))
        for (step, reason), group in groupby(ended, key=lambda pair: (pair[1].step, pair[1].reason))
    )
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Curated examples</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<section>\n<h2>Kept: {len(kept)}{_of(KEPT, len(kept))}</h2>\n{left}\n</section>\n"
        f"<section>\n<h2>Dropped: {len(ended)}</h2>\n{right}\n</section>\n</main>\n</body>\n</html>\n"
    )
    folder.mkdir(exist_ok=True)
    write_text(folder / "index.html", page)


def _dropped(folder: Path, title: str, ended: Sequence[tuple[Finished, End]]) -> str:
    articles = "\n".join(_article(folder, one, end.item, end.detail) for one, end in _spread(ended, DROPPED))
    return f"<h2>{escape(title)}: {len(ended)}{_of(DROPPED, len(ended))}</h2>\n{articles}"


def _article(folder: Path, one: Finished, item: Item, detail: str = "") -> str:
    frames = "".join(
        f'<figure><img src="{quote(_seen_from(folder, one.folder / frame.picture))}" alt="" loading="lazy">'
        f"<figcaption>{frame.seconds:.2f} s</figcaption></figure>"
        for frame in item.frames
    )
    span = "" if item.span is None else f" · {item.span[0]:.2f} to {item.span[1]:.2f} s"
    scores = "".join(f"<span>{escape(name)} <b>{value:.3f}</b></span>" for name, value in item.scores.items())
    parts = [
        f"<h3>{escape(one.clip.name)} · {escape(item.key)}{span}</h3>",
        f'<p class="instruction" dir="auto">{escape(item.instruction)}</p>' if item.instruction else "",
        f'<div class="pictures">{frames}</div>' if frames else "",
        f'<p class="scores">{scores}</p>' if scores else "",
        f'<p class="detail">{escape(detail)}</p>' if detail else "",
    ]
    return "<article>" + "".join(parts) + "</article>"


def _seen_from(folder: Path, picture: Path) -> str:
    return f"../{picture.relative_to(folder.parent).as_posix()}"


def _spread(items: Sequence[T], most: int) -> list[T]:
    """So many of them at most, evenly spread."""
    if len(items) <= most:
        return list(items)
    return [items[number * len(items) // most] for number in range(most)]


def _of(most: int, number: int) -> str:
    return f", {most} of them here" if number > most else ""
