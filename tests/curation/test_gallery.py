"""The gallery links to what is there, lays boxes and masks over pictures, and has pages where there is much to see."""

import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from omnigen2.curation import Clip, Count, End, Finished, Frame, Item, Subject
from omnigen2.curation.gallery import write_gallery

LINK = re.compile(r'(?:src|href)="([^"#]*)(#[^"]*)?"')


def frame(folder: Path, name: str, size: tuple[int, int] = (40, 30)) -> Frame:
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    Image.new("L" if "mask" in name else "RGB", size).save(folder / "frames" / f"{name}.png")
    return Frame(1.5, f"frames/{name}.png")


def finished(out: Path, name: str, kept: int, dropped: int) -> Finished:
    folder = out / "clips" / name
    first, last, base = frame(folder, "a b#c"), frame(folder, "2"), frame(folder, "base")
    masks = (frame(folder, "mask-1"), frame(folder, "mask-2"))
    subject = Subject("the <b>cat</b>", (1.0, 2.0, 11.0, 22.0), 0.75, masks)
    made = {"background": {"base": {"seconds": 1.5, "picture": base.picture}}, "words": {"answers": ['{"a": "<i>"}']}}
    item = Item("pair", (1.0, 2.5), (first, last), (subject,), {"same": 0.5}, "make it\n<i>red</i>", made)
    ends = (End("view", "too <far>", 'it "moved"', False, item),) * dropped
    return Finished(Clip(f"{name}.mp4", name), folder, (item,) * kept, ends, (), {})


def links(page: Path) -> list[str]:
    return [unquote(unescape(match[1])) for match in LINK.finditer(page.read_text()) if match[1]]


COUNTS = (Count("cuts", 2, 2, 9, {}, 1.0), Count("view", 9, 6, 6, {"too <far>": 3}, 1.0))


def test_everything_is_shown_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    clips, gallery = tmp_path / "my clips", tmp_path / "out" / "gallery"
    clips.mkdir()
    (clips / "x.mp4").touch()
    gallery.parent.mkdir()
    write_gallery(gallery, [finished(tmp_path / "out", name, 1, 1) for name in ("x", "gone")], clips, COUNTS)
    page, found = (gallery / "index.html").read_text(), links(gallery / "index.html")
    assert all((gallery / link).exists() for link in found)
    assert sum(link.endswith("my clips/x.mp4") for link in found) == 4
    assert 'src="../../my%20clips/x.mp4#t=1.00,2.50"' in page
    assert "gone.mp4 · pair" in page
    for name, times in (("a b#c", 2), ("2", 2), ("base", 2), ("mask-1", 1), ("mask-2", 1)):
        assert sum(link.endswith(f"frames/{name}.png") for link in found) == 4 * times
    assert '<rect x="1.0" y="2.0" width="10.0" height="20.0"' in page
    assert page.count('<svg viewBox="0 0 40 30"') == 8
    assert page.count("<rect") == 4
    for words in (
        "the &lt;b&gt;cat&lt;/b&gt; 0.75",
        "make it\n&lt;i&gt;red",
        "too &lt;far&gt;",
        "background base, 1.50",
    ):
        assert words in page
    assert "it &quot;moved&quot;" in page
    assert not re.search(r"<(i|b)>(red|cat)", page)
    assert re.search(r'6 of 9</th>.*?width:66.67%"></div><div class="gone" style="width:33.33%', page)
    assert "<script" not in page


def test_where_there_is_much_there_are_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("KEPT", 2), ("DROPPED", 2), ("PAGE", 3), ("MOST", 7)):
        monkeypatch.setattr(f"omnigen2.curation.gallery.{name}", value)
    gallery = tmp_path / "gallery"
    write_gallery(gallery, [finished(tmp_path, "x", 9, 4)], tmp_path, COUNTS)
    pages = ["dropped-1-1.html", "dropped-1-2.html", "index.html", "kept-1.html", "kept-2.html", "kept-3.html"]
    assert sorted(path.name for path in gallery.iterdir()) == pages
    shown = {name: (gallery / name).read_text().count("<article>") for name in pages}
    assert list(shown.values()) == [3, 1, 4, 3, 3, 1]
    assert all((gallery / link).exists() for name in pages for link in links(gallery / name))
    assert "Kept: 9, 7 of them on these pages" in (gallery / "kept-1.html").read_text()
    write_gallery(gallery, [finished(tmp_path, "x", 1, 0)], tmp_path, COUNTS)
    assert [path.name for path in gallery.iterdir()] == ["index.html"]
