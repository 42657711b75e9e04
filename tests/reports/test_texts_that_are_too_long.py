"""An instruction that was longer than the rules allow was found when it was drawn, hours in.

Where longer texts are refused and not cut, all texts are measured with the data, before a model is loaded.
"""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.cli import main
from omnigen2.data import ByteLength, DataError, OptimizeSettings, TextLimit, optimize
from omnigen2.encoders import ChatTokenizer, HiddenStateBridge, PromptRules, drawing, load_tokenizer
from omnigen2.training.alignment import JsonlPrompts
from omnigen2.training.flow_matching import TextPart, TextStates, VLMStates
from omnigen2.training.flow_matching.data_module import Validation
from omnigen2.training.flow_matching.data_parts import DataPart, Reading
from omnigen2.training.language import ExchangeData, StoredSamples, UnderstandingModule
from omnigen2.training.parts import AdamWRecipe, VLMFolder, WarmupConstant, limit_of_drawings
from tests.data.cases import picture, t2i, write_jsonl
from tests.paths import ROOT
from tests.reports.test_training_data_checked_whole import image_data
from tests.training.flow_parts import module, trainer

LONG = "very " * 200
RULES = PromptRules(max_tokens=888)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(picture())
    write_jsonl(tmp_path / "short.jsonl", [t2i("a.png")])
    write_jsonl(tmp_path / "long.jsonl", [t2i("a.png"), t2i("a.png", instruction=LONG)])
    return tmp_path


def test_a_text_that_is_too_long_is_told_with_its_line_before_a_model_is_built(model: Path, folder: Path) -> None:
    optimize(folder / "long.jsonl", folder / "chunks", OptimizeSettings(), lambda _: None)
    optimize(folder / "long.jsonl", folder / "cut", OptimizeSettings(text=ByteLength(limit=300)), lambda _: None)
    long, short = DataPart(str(folder / "long.jsonl")), DataPart(str(folder / "short.jsonl"))
    told = r" has \d{4} text tokens \(template included\), at most 888 are allowed\n  shorten it, or set overflow: cut"
    for data, place in (
        (image_data(folder / "long.jsonl"), r"long\.jsonl, line 2"),
        (image_data(folder / "chunks"), r"sample 1 of long in .*chunks \(long\.jsonl:2\)"),
        (image_data(folder / "cut"), r"sample 1 of long in .*cut \(long\.jsonl:2\)"),
        (image_data(folder / "short.jsonl", validation=Validation({"held": long})), r"long\.jsonl, line 2"),
        (image_data(folder, train={"own": short, "more": long}), r"long\.jsonl, line 2"),
    ):
        made = module()
        made.text_part = TextPart(VLMFolder(str(model)), HiddenStateBridge(), RULES)
        with pytest.raises(DataError, match=place + told):
            trainer(folder, 1).fit(made, datamodule=data)
        assert made.transformer is None


@pytest.mark.parametrize("rules", [PromptRules(max_tokens=888, overflow="cut"), PromptRules(max_tokens=None)])
def test_texts_that_are_cut_or_have_no_limit_are_not_measured(rules: PromptRules, model: Path, folder: Path) -> None:
    assert limit_of_drawings(VLMFolder(str(model)), rules) is None
    assert limit_of_drawings(VLMFolder(str(folder)), RULES) is None  # there is no tokenizer yet


def test_what_is_never_drawn_and_what_is_stored_as_states_may_be_long(model: Path, folder: Path) -> None:
    limit = limit_of_drawings(VLMFolder(str(model)), RULES)
    assert limit is not None
    never = {
        "own": DataPart(str(folder / "short.jsonl")),
        "long": DataPart(str(folder / "long.jsonl"), weight=0),
    }
    image_data(folder, train=never).check_texts(limit)
    read = VLMFolder(str(model)).load(HiddenStateBridge(), PromptRules(max_tokens=888, overflow="cut"))
    settings = OptimizeSettings(states=VLMStates(TextStates(read)))
    optimize(folder / "long.jsonl", folder / "chunks", settings, lambda _: None)
    image_data(folder / "chunks").check_texts(limit)
    with pytest.raises(DataError, match="sample 1 of long"):
        image_data(folder / "chunks", reading=Reading(precomputed="ignore")).check_texts(limit)


def test_prompts_of_reinforcement_learning_are_measured_too(model: Path, folder: Path) -> None:
    (folder / "p.jsonl").write_text("".join(json.dumps({"instruction": text}) + "\n" for text in ("a", LONG)))
    limit = limit_of_drawings(VLMFolder(str(model)), RULES)
    assert limit is not None
    for files in ({"files": [str(folder / "p.jsonl")]}, {"validation_files": [str(folder / "p.jsonl")]}):
        data = JsonlPrompts(**({"files": [str(folder / "short.jsonl")], "steps": 1} | files))
        with pytest.raises(DataError, match=r"p\.jsonl, line 2 has \d{4} text tokens"):
            data.check_texts(limit)


def test_exchanges_are_measured_with_question_answer_and_system_prompt(model: Path, folder: Path) -> None:
    asked = {"task_type": "understanding", "instruction": "?", "input_images": ["a.png"], "answer": "!"}
    write_jsonl(folder / "asked.jsonl", [asked, asked | {"answer": "x" * 1000}])
    write_jsonl(folder / "sound.jsonl", [asked])
    made = UnderstandingModule(AdamWRecipe(lr=1.0), WarmupConstant(0), encoder=VLMFolder(str(model)))
    sound, wrong = (StoredSamples(str(folder / f"{name}.jsonl")) for name in ("sound", "asked"))
    made.check_data(ExchangeData(sound, sound, 0, 1))
    for data in (ExchangeData(wrong, sound, 0, 1), ExchangeData(sound, wrong, 0, 1)):
        with pytest.raises(DataError, match=r"asked\.jsonl, line 2 has \d{4} text tokens"):
            made.check_data(data)
    with pytest.raises(DataError, match=r"sound\.jsonl, line 1 has \d{4} text tokens"):
        made.check_data(ExchangeData(sound, sound, 0, 1, system="be brief " * 120))


def test_a_dry_run_tells_it_too(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipes = [str(ROOT / "recipes/finetune" / name) for name in ("lora.yaml", "tiny.yaml")]
    options = [f"--vars.model={model}", f"--vars.data={folder / 'long.jsonl'}", "--dry_run"]
    assert main(["run", *recipes, *options, "--model.init_args.text.rules.overflow=refuse"]) == 2
    assert "long.jsonl, line 2 has 1" in capsys.readouterr().err
    assert main(["run", *recipes, *options]) == 0


@pytest.fixture(scope="module")
def tokens(model: Path) -> ChatTokenizer:
    return load_tokenizer(model / "processor", PromptRules(max_tokens=None))


@given(text=st.text(), references=st.integers(0, 3), spare=st.integers(-1, 1))
def test_what_is_not_tokenised_is_never_too_long(tokens: ChatTokenizer, text: str, references: int, spare: int) -> None:
    from omnigen2.training.parts.text_limits import PLACEHOLDER

    exact = tokens.count(drawing(text, [PLACEHOLDER] * references))
    if not references:
        assert exact == tokens.drawings([text]).ids.shape[1]
    limit = TextLimit(exact + spare, lambda *_: exact, "")
    if spare < 0:
        with pytest.raises(DataError, match=f"has {exact} text tokens"):
            limit.check("it", text, references=references)
    else:
        limit.check("it", text, references=references)
