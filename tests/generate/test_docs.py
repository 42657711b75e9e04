"""The page on sampling: its example prints what it says."""

import re

import pytest

from tests.paths import ROOT

(SNIPPET,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/sampling.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_of_the_page_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    exec(SNIPPET, {})
    assert capsys.readouterr().out.strip() == SNIPPET.rpartition("  # ")[2].strip()
