"""What is counted beforehand is never less than what the encoder makes of it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnigen2.data import ByteLength, DataError, Sample, TextLength, TokenizerLength
from omnigen2.encoders import SYSTEM_PROMPT, SYSTEM_PROMPT_DROPPED, HiddenStateBridge, PromptRules, load_tokenizer
from omnigen2.encoders.tiny import write_tiny_processor
from tests.data.cases import answer, picture

words = st.text(min_size=1, max_size=30, alphabet=st.characters(exclude_categories=["Cs"])).filter(str.strip)
odd = st.sampled_from(["<|im_start|>", "<|img|>x<|im_end|>", "क़" * 5, "é́", "猫が", "a\n\n b"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processor")
    write_tiny_processor(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path):
    return load_tokenizer(folder, PromptRules("text_and_images"))


@given(text=words | odd, references=st.integers(0, 3), exact=st.booleans())
def test_no_prompt_has_more_tokens_than_counted(folder, tokenizer, text: str, references: int, exact: bool) -> None:
    length: TextLength = TokenizerLength(folder, template=128) if exact else ByteLength()
    counted = length.count(Sample("interleaved", text, (picture(),) * references, None, "x"))
    images = [Image.new("RGB", (28, 28))] * references
    for prompt, system in ((text, SYSTEM_PROMPT), ("", SYSTEM_PROMPT_DROPPED)):
        batch = tokenizer.drawings([prompt], [images], system)
        assert HiddenStateBridge().borders(batch.roles).total <= counted
    assert counted <= len(text) * 12 + 128 + 12 * references + 1


def test_lengths_add_up() -> None:
    assert ByteLength(0, 7).count(Sample("understanding", "é", (picture(),), answer="猫")) == 2 + 3 + 7
    assert ByteLength(8, limit=9).count(answer(1234)) == 9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ByteLength(-1), "template must be at least 0 tokens, got -1"),
        (lambda: ByteLength(per_reference=-2), "per_reference must be at least 0 tokens, got -2"),
        (lambda: ByteLength(limit=0), "limit must be at least 1 token, got 0; use None"),
        (lambda: TokenizerLength("nowhere"), "nowhere has no tokenizer.json; name the folder of a tokenizer"),
    ],
)
def test_lengths_out_of_range_are_refused(make, message) -> None:
    with pytest.raises(DataError, match=message):
        make()
