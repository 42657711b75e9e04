"""How an item looks on a page: its clip, its pictures with boxes and masks laid over them, scores, words, origin."""

import json
import os
import struct
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from omnigen2.curation.items import Frame, Item, Subject
from omnigen2.curation.records import Finished

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080")
"""Of the subjects of an item, in turn."""
PLAYED = (".mp4", ".webm", ".mov", ".m4v", ".ogv")
"""Videos that browsers play, if they know the codec."""
STYLE = """
article { border-top: 1px solid #8886; padding: .8rem 0; }
h3 { font-size: .9rem; font-weight: 400; opacity: .75; margin: 0; overflow-wrap: anywhere; }
.pictures { display: flex; flex-wrap: wrap; gap: .6rem; margin: .5rem 0; }
figure { margin: 0; max-width: 100%; }
figure a { position: relative; display: block; }
figure img { display: block; width: 16rem; max-width: 100%; border: 1px solid #8886; box-sizing: border-box; }
figure svg { position: absolute; inset: 0; width: 100%; height: 100%; }
figure.before img { width: 8rem; }
body:has(#overlays:not(:checked)) figure svg { display: none; }
figcaption { font-size: .8rem; opacity: .75; }
.instruction { margin: .3rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.detail { color: #c33; overflow-wrap: anywhere; margin: .2rem 0; }
.scores { font-variant-numeric: tabular-nums; font-size: .85rem; margin: .2rem 0; }
.scores span { margin-right: 1rem; }
details { font-size: .85rem; margin: .2rem 0; }
details pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .2rem 0; }
video { max-width: 100%; max-height: 22rem; }
"""


def tints() -> str:
    """What colours white masks, once a page: half transparent where they are white, nothing where they are black."""
    filters: list[str] = []
    for number, colour in enumerate(COLOURS):
        red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
        matrix = f"0 0 0 0 {red:.3f} 0 0 0 0 {green:.3f} 0 0 0 0 {blue:.3f} .5 0 0 0 0"
        filters.append(
            f'<filter id="tint-{number}" color-interpolation-filters="sRGB" x="0" y="0" width="1" height="1">'
            f'<feColorMatrix values="{matrix}"/></filter>'
        )
    return f'<svg width="0" height="0" style="position:absolute">{"".join(filters)}</svg>'


def article(page: Path, clips: Path, one: Finished, item: Item, detail: str = "") -> str:
    """An item, and why it was dropped.

    Args:
        page: The folder of the page, which links are seen from.
        clips: The folder of the clips; one that is no longer there is named without a link.
    """
    masks = [tuple(mask for mask in subject.masks) for subject in item.subjects]
    names = [*(f"input {number}" for number in range(1, len(item.frames))), "target"] if len(item.frames) > 1 else [""]
    figures = [
        _figure(page, one, frame, names[number], _overlay(page, one, item, number))
        for number, frame in enumerate(item.frames)
    ]
    shown = {*item.frames, *(mask for each in masks for mask in each)}
    for where, frame in _frames_in(item.made):
        if frame not in shown:
            figures.append(_figure(page, one, frame, where, "", "before"))
    scores = "".join(f"<span>{escape(name)} <b>{value:.3f}</b></span>" for name, value in item.scores.items())
    made = escape(json.dumps(item.made, indent=1, ensure_ascii=False))
    parts = [
        _clip(page, clips, one, item),
        f'<p class="instruction" dir="auto">{escape(item.instruction)}</p>' if item.instruction else "",
        f'<div class="pictures">{"".join(figures)}</div>' if figures else "",
        _legend(item),
        f'<p class="scores">{scores}</p>' if scores else "",
        f'<p class="detail">{escape(detail)}</p>' if detail else "",
        f"<details><summary>how it was made</summary><pre>{made}</pre></details>" if item.made else "",
    ]
    return "<article>" + "".join(parts) + "</article>"


def _clip(page: Path, clips: Path, one: Finished, item: Item) -> str:
    file, name = clips / one.clip.name, escape(one.clip.name)
    span = "" if item.span is None else f" · {item.span[0]:.2f} to {item.span[1]:.2f} s"
    rest = f" · {escape(item.key)}{span}"
    if not file.is_file():
        return f"<h3>{name}{rest}</h3>"
    link = _link(page, file) + ("" if item.span is None else f"#t={item.span[0]:.2f},{item.span[1]:.2f}")
    heading = f'<h3><a href="{link}">{name}</a>{rest}</h3>'
    if file.suffix.lower() not in PLAYED:
        return heading
    return f'{heading}<details><summary>play</summary><video controls preload="none" src="{link}"></video></details>'


def _figure(page: Path, one: Finished, frame: Frame, name: str, overlay: str, kind: str = "") -> str:
    link = _link(page, one.folder / frame.picture)
    said = f"{name}, {frame.seconds:.2f} s" if name else f"{frame.seconds:.2f} s"
    return (
        f'<figure class="{kind}"><a href="{link}"><img src="{link}" alt="" loading="lazy">{overlay}</a>'
        f"<figcaption>{escape(said)}</figcaption></figure>"
    )


def _overlay(page: Path, one: Finished, item: Item, number: int) -> str:
    """Boxes and masks of the subjects in one picture."""
    size = _size(one.folder / item.frames[number].picture)
    parts: list[str] = []
    for place, subject in enumerate(item.subjects):
        if len(subject.masks) == len(item.frames):
            link = _link(page, one.folder / subject.masks[number].picture)
            tint = f"url(#tint-{place % len(COLOURS)})"
            parts.append(
                f'<image href="{link}" width="100%" height="100%" preserveAspectRatio="none" filter="{tint}"/>'
            )
        if number == 0 and subject.box is not None:
            left, top, right, bottom = subject.box
            parts.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" '
                f'fill="none" stroke="{_colour(place)}" stroke-width="2" vector-effect="non-scaling-stroke"/>'
            )
    if size is None or not parts:
        return ""
    return f'<svg viewBox="0 0 {size[0]} {size[1]}" preserveAspectRatio="none">{"".join(parts)}</svg>'


def _legend(item: Item) -> str:
    def named(place: int, subject: Subject) -> str:
        score = f" {subject.score:.2f}" if subject.box is not None else ""
        return f'<span><b style="color:{_colour(place)}">■</b> {escape(subject.name)}{score}</span>'

    named_all = "".join(named(place, subject) for place, subject in enumerate(item.subjects))
    return f'<p class="scores">{named_all}</p>' if named_all else ""


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _frames_in(made: Any, where: str = "") -> Iterator[tuple[str, Frame]]:
    """Pictures that are named in how an item was made, such as a frame before it was painted."""
    match made:
        case {"seconds": float(seconds), "picture": str(picture), **rest} if not rest:
            yield where, Frame(seconds, picture)
        case dict():
            for name, value in cast(Mapping[str, Any], made).items():
                yield from _frames_in(value, f"{where} {name}".strip())
        case list() | tuple():
            for value in cast(list[Any], made):
                yield from _frames_in(value, where)
        case _:
            return


def _size(png: Path) -> tuple[int, int] | None:
    """Width and height of a PNG file; None if it is none."""
    try:
        with png.open("rb") as file:
            head = file.read(24)
    except OSError:
        return None
    return struct.unpack(">II", head[16:24]) if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 24 else None


def _link(page: Path, file: Path) -> str:
    return quote(os.path.relpath(file.absolute(), page.absolute()).replace(os.sep, "/"))
