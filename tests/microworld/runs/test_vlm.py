"""The micro VLM: every sentence of the world is its own words, and the released code reads it unchanged."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers.utils import logging

from omnigen2.dit import MICRO
from omnigen2.encoders import HiddenStateBridge, PromptRules, QwenEncoder, TokenRole, drawing, load_tokenizer
from omnigen2.microworld import full_vocabulary, sample_caption, sample_context, sample_edit, sample_question
from omnigen2.microworld.runs import RandomMicroVLM
from omnigen2.microworld.runs.vlm import IMAGE_TOKENS, SYSTEM_PROMPTS, vocabulary
from omnigen2.microworld.tasks import Question
from omnigen2.microworld.world import all_words, sample_glyphs
from omnigen2.training.parts import VLMFolder, save_vlm

WORLD = full_vocabulary(64)
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("micro")
    save_vlm(RandomMicroVLM().load(), folder)
    return folder


@pytest.fixture(scope="module")
def encoder(folder: Path) -> QwenEncoder:
    """Shared: do not change it."""
    return QwenEncoder.from_folder(folder / "mllm", folder / "processor", dtype=torch.float32)


def words(encoder: QwenEncoder, text: str) -> list[str]:
    """The words that a user's text becomes."""
    batch = encoder.tokenizer.drawings([text])
    return encoder.tokenizer.tokenizer.convert_ids_to_tokens(batch.ids[batch.roles == TokenRole.TEXT].tolist())


def sentences(seed: int) -> list[str]:
    """One sentence of each kind."""
    rng = np.random.default_rng(seed)
    tasks = (sample_edit(WORLD, rng), sample_context(WORLD, rng), sample_glyphs(rng))
    question: Question = sample_question(WORLD, rng)
    return [sample_caption(WORLD, rng).text, question.text, question.answer, *(task.instruction for task in tasks)]


@given(seed=SEEDS)
def test_every_sentence_is_read_as_the_words_it_has_and_comes_back(encoder: QwenEncoder, seed: int) -> None:
    tokenizer = encoder.tokenizer.tokenizer
    for text in sentences(seed):
        read = words(encoder, text)
        assert "<unk>" not in read
        assert read == re.findall(r"\w+|[^\w\s]", text.lower())
        assert tokenizer.decode(tokenizer.convert_tokens_to_ids(read), skip_special_tokens=True) == text.lower()


def test_every_word_has_a_number_of_its_own(encoder: QwenEncoder) -> None:
    numbers = vocabulary()
    assert sorted(numbers.values()) == list(range(len(numbers))) == list(range(len(encoder.tokenizer)))
    assert set(all_words()) < set(numbers)
    assert encoder.tokenizer.tokenizer.get_vocab() == numbers


@given(seed=SEEDS)
def test_the_template_adds_seven_tokens_to_a_caption(folder: Path, encoder: QwenEncoder, seed: int) -> None:
    caption = sample_caption(WORLD, np.random.default_rng(seed)).text
    length = len(caption.split())
    batch = encoder.tokenizer.drawings([caption, ""])
    assert HiddenStateBridge().borders(batch.roles).lengths == (length + 7, 7)
    assert HiddenStateBridge(template="drop").borders(batch.roles).lengths == (length, 0)


def test_each_system_prompt_is_one_word(encoder: QwenEncoder) -> None:
    read = [encoder.tokenizer.drawings(["a"], system=prompt).ids[0].tolist() for prompt in SYSTEM_PROMPTS]
    assert len({tuple(ids) for ids in read}) == 3
    assert {len(ids) for ids in read} == {8}
    assert all(vocabulary()["<unk>"] not in ids for ids in read)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_no_text_becomes_a_token_of_the_template(encoder: QwenEncoder, text: str) -> None:
    batch = encoder.tokenizer.drawings([f"{text}<|im_end|><|img|> <|image_pad|>"])
    written = batch.ids[batch.roles == TokenRole.TEXT]
    assert not set(written.tolist()) & set(encoder.tokenizer.special_ids.values())


@pytest.mark.parametrize("side", [16, 32, 64, 100])
def test_a_picture_is_sixteen_tokens_and_a_name(encoder: QwenEncoder, side: int) -> None:
    pictures = [Image.new("RGB", (side, side), "red")] * 3
    batch = encoder.tokenizer([drawing("a", pictures)])
    assert int((batch.roles == TokenRole.IMAGE).sum()) == 3 * IMAGE_TOKENS
    names = [vocabulary()[f"<img{number}>:"] for number in (1, 2, 3)]
    assert [int(token) for token in batch.ids[0] if int(token) in names] == names
    assert vocabulary()["<unk>"] not in batch.ids


def test_its_states_fit_the_micro_transformer(encoder: QwenEncoder) -> None:
    packed = encoder(encoder.tokenizer.drawings(["a red circle", "a blue circle"]))
    assert encoder.dim == MICRO.text_dim
    assert packed.states.shape == (20, MICRO.text_dim)
    assert (packed.states[7] - packed.states[17]).abs().max() > 0.1
    assert not torch.equal(packed.states[9], packed.states[19])


def test_columns_and_rows_of_a_picture_are_told_apart(encoder: QwenEncoder) -> None:
    """The rotations must be fast enough for pictures of four by four tokens."""
    picture = Image.new("RGB", (64, 64), "grey")

    def states(at: tuple[int, int]) -> torch.Tensor:
        shown = picture.copy()
        shown.paste("red", (*at, at[0] + 16, at[1] + 16))
        return encoder(encoder.tokenizer([drawing("where is the square ?", [shown])])).states[-3]

    reference = states((16, 16))
    assert (states((48, 16)) - reference).norm() > 1e-2 * reference.norm()
    assert (states((16, 48)) - reference).norm() > 1e-2 * reference.norm()


def test_weights_are_a_function_of_the_seed() -> None:
    state = torch.get_rng_state()
    first, same, other = (
        torch.cat([value.flatten() for value in RandomMicroVLM(seed).load().model.parameters()]) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_the_source_is_the_folder(encoder: QwenEncoder, tmp_path: Path) -> None:
    made = RandomMicroVLM().load()
    assert made.bridge == HiddenStateBridge(tokens="all", template="keep")
    save_vlm(made, tmp_path)
    again = QwenEncoder.from_folder(tmp_path / "mllm", tmp_path / "processor", dtype=torch.float32)
    talks = [drawing("a red circle", [Image.new("RGB", (64, 64), "blue")])]
    batch = encoder.tokenizer(talks)
    assert torch.equal(again(again.tokenizer(talks)).states, encoder(batch).states)
    assert torch.equal(again.tokenizer(talks).ids, batch.ids)


@pytest.mark.parametrize("wanted", [True, False])
def test_transformers_show_no_progress_bars(wanted: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.is_progress_bar_enabled()
    (logging.enable_progress_bar if wanted else logging.disable_progress_bar)()
    try:
        capsys.readouterr()
        save_vlm(RandomMicroVLM().load(), tmp_path)
        assert capsys.readouterr() == ("", "")
        assert logging.is_progress_bar_enabled() == wanted
        with pytest.raises(FileNotFoundError, match="no folder"):
            VLMFolder(str(tmp_path / "nowhere")).load()
        assert logging.is_progress_bar_enabled() == wanted
    finally:
        (logging.enable_progress_bar if before else logging.disable_progress_bar)()


def test_rules_hold(folder: Path) -> None:
    tokenizer = load_tokenizer(folder / "processor", PromptRules(max_tokens=9))
    assert tokenizer.drawings(["a square"]).ids.shape == (1, 9)
    with pytest.raises(ValueError, match="10 text tokens"):
        tokenizer.drawings(["a red square"])
