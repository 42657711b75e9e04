"""Text states beside the images: what is stored comes back, and what does not belong together is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from omnigen2.cli import main
from omnigen2.data import (
    ChunkWriter,
    Collate,
    ConditionDropout,
    DataError,
    InstructionEncoder,
    LatentOrigin,
    OptimizeSettings,
    Origins,
    PixelRange,
    Sample,
    SampleLatents,
    SampleSizes,
    SampleStates,
    StatesOrigin,
    StoredTensor,
    StreamingSource,
    TokenBudget,
    open_data,
    optimize,
)
from omnigen2.data.batches.planner import Pick
from omnigen2.data.chunks.record import decode, encode
from omnigen2.data.samples.states import STATES_FILE
from omnigen2.data.samples.stored import DTYPES, NUMBER_TYPES, NumberType
from omnigen2.microworld.runs.vlm import write_micro_vlm
from tests.data.cases import POLICY, answer, picture, t2i, write_jsonl

DROPPED = torch.full((2, 3), -1.0)
ORIGIN = StatesOrigin("letters", "as they are", StoredTensor.of(DROPPED, "bfloat16"))
BUDGET = TokenBudget(999, POLICY)


class Letters(InstructionEncoder):
    """One token per letter, three channels; a z becomes infinite."""

    origin = ORIGIN

    def states(self, instruction: str) -> Tensor:
        codes = torch.tensor([[1 / (ord("z") - ord(letter))] * 3 for letter in instruction])
        return codes.bfloat16()


@pytest.fixture
def chunks(tmp_path: Path) -> Path:
    """Four drawings and a question."""
    (tmp_path / "a.png").write_bytes(picture(16, 24))
    drawings = [t2i("a.png") | {"instruction": "abcdef"[: 1 + number]} for number in range(4)]
    question = {"task_type": "understanding", "instruction": "x?", "input_images": ["a.png"], "answer": "y"}
    write_jsonl(tmp_path / "own.jsonl", [*drawings, question])
    settings = OptimizeSettings(chunk_bytes=2000, states=Letters())
    optimize(tmp_path / "own.jsonl", tmp_path / "out", settings, lambda advance: None)
    return tmp_path / "out" / "own"


numbers = st.floats(-6e4, 6e4, width=32)


@given(st.sampled_from(NUMBER_TYPES), st.lists(numbers, max_size=12), st.sampled_from([1, 2, 3]))
def test_tensors_come_back_rounded_and_no_more(stored_as: NumberType, values: list[float], width: int) -> None:
    given = torch.tensor(values)[: len(values) // width * width].reshape(-1, width)
    stored = StoredTensor.of(given, stored_as)
    assert torch.equal(stored.tensor, given.to(DTYPES[stored_as]))
    assert stored.tensor.dtype == DTYPES[stored_as]
    origin = StatesOrigin("x", "y", StoredTensor.of(torch.zeros(0, width), stored_as))
    sample = Sample("text_to_image", "x", target=b"x", states=SampleStates(stored, origin))
    assert decode(encode(sample), "it", Origins(states=origin)) == sample
    latent = StoredTensor.of(torch.rand(1, 2, 1, width), "float32")
    both = replace(sample, latents=SampleLatents((latent,), LatentOrigin("x", POLICY, "float32")))
    assert decode(encode(both), "it", both.origins) == both


@given(st.lists(st.sampled_from(NUMBER_TYPES), min_size=1, max_size=1), st.integers(0, 3))
def test_an_account_comes_back_equal(
    tmp_path_factory: pytest.TempPathFactory, stored_as: list[NumberType], n: int
) -> None:
    folder = tmp_path_factory.mktemp("account")
    origin = StatesOrigin("a model", "rules", StoredTensor.of(torch.rand(n, 4), stored_as[0]))
    Origins(states=origin).save(folder)
    assert Origins.load(folder) == Origins(states=origin)


def test_states_are_those_of_the_instruction_or_of_a_dropped_prompt(chunks: Path) -> None:
    source = StreamingSource(chunks)
    assert source.origins() == PixelRange(source).origins() == Origins(states=ORIGIN)
    picks = [Pick("s", 0, number) for number in range(5)]
    batch = Collate()(picks, {"s": source}, BUDGET)
    for example in batch.examples[:4]:
        assert example.states is not None
        assert torch.equal(example.states.values, Letters().states(example.instruction))
    assert batch.examples[4].states is None
    dropped = Collate(ConditionDropout(1.0))(picks, {"s": source}, BUDGET)
    for example in dropped.examples[:4]:
        assert example.states is not None
        assert torch.equal(example.states.values, DROPPED.bfloat16())
    moved = batch.to("meta").examples[0].states
    assert moved is not None
    assert moved.values.device.type == "meta"
    ignored = Collate(precomputed="ignore")(picks, {"s": source}, BUDGET)
    assert not any(example.states for example in ignored.examples)


def test_states_that_are_not_finite_make_a_bad_record(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    write_jsonl(tmp_path / "x.jsonl", [t2i("a.png") | {"instruction": text} for text in ("a", "y", "bc")])

    class Wrong(Letters):
        def states(self, instruction: str) -> Tensor:
            return super().states(instruction) / (0.0 if instruction == "y" else 1.0)

    report = optimize(tmp_path / "x.jsonl", tmp_path / "out", OptimizeSettings(states=Wrong()), lambda advance: None)
    assert [(bad.line, bad.problem.partition(";")[0]) for bad in report.bad] == [
        (2, "the largest of 3 numbers is inf, which is not finite as bfloat16")
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"has \d text states, but its folder says .* made by None.* states.safetensors is missing"),
        (b"{", "states.safetensors is damaged"),
        ({"format": "other"}, "has the metadata {'format': 'other'}, expected format 'omnigen2 states 1'"),
        ({"format": "omnigen2 states 1", "reader": "x"}, "is damaged .KeyError"),
    ],
)
def test_a_missing_or_damaged_account_is_refused(
    chunks: Path, content: bytes | dict[str, str] | None, message: str
) -> None:
    file = chunks / STATES_FILE
    file.unlink()
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        save_file({"dropped": DROPPED}, file, content)
    with pytest.raises(DataError, match=message):
        StreamingSource(chunks)[0]


def test_records_and_accounts_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    bare = Sample("text_to_image", "x", target=picture(), key="s:0")
    stored = StoredTensor.of(torch.zeros(1, 3), "bfloat16")
    own = replace(bare, states=SampleStates(stored, ORIGIN))
    cases = [(bare, ORIGIN), (own, None), (own, replace(ORIGIN, reader="other"))]
    for number, (sample, origin) in enumerate(cases):
        with (
            pytest.raises(DataError, match=r"s:0 has text states made by .*, this folder's are made by"),
            ChunkWriter(tmp_path / str(number), origins=Origins(states=origin)) as writer,
        ):
            writer.add(sample, SampleSizes(1, (), (16, 16)))
    with pytest.raises(DataError, match="has 0 text states, but its folder says that they were made by bfloat16, made"):
        decode(encode(bare), "it", Origins(states=ORIGIN))
    with pytest.raises(DataError, match="q:0 has text states but no target"):
        replace(answer(0), states=own.states)


@pytest.mark.parametrize(("shape", "stored_as"), [((3,), "bfloat16"), ((1, 4), "bfloat16"), ((1, 3), "float32")])
def test_states_of_other_shapes_or_types_than_the_account_says_are_refused(
    shape: tuple[int, ...], stored_as: NumberType
) -> None:
    with pytest.raises(DataError, match=r"have shape .* as .*, expected \(tokens, 3\) as bfloat16"):
        SampleStates(StoredTensor.of(torch.zeros(shape), stored_as), ORIGIN)


def test_the_command_stores_states_and_inspect_shows_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(picture(32, 64))
    write_jsonl(tmp_path / "x.jsonl", [t2i("a.png") | {"instruction": "a red square"}])
    write_micro_vlm(tmp_path / "model")
    words = ["data", "optimize", str(tmp_path / "x.jsonl"), str(tmp_path / "out"), "--vlm", str(tmp_path / "model")]
    more = ["--vlm_type", "float32", "--vlm-template", "drop", "--max_text", "9", "--device", "cpu"]
    assert main([*words, *more]) == 0
    line = "text states: float32, made by Qwen2_5_VLForConditionalGeneration in float32 sha256:"
    assert line in capsys.readouterr().out
    (source,) = open_data(tmp_path / "out").sources.values()
    states = source[0].states
    assert states is not None
    assert states.instruction.shape == (3, 64)
    assert "max_tokens=9, overflow='cut'), HiddenStateBridge(tokens='text', template='drop')" in states.origin.prompts
    assert main(["data", "inspect", str(tmp_path / "out"), "--out", str(tmp_path / "s.png")]) == 0
    assert f"  {line}" in capsys.readouterr().out
    assert main(["data", "optimize", str(tmp_path / "x.jsonl"), str(tmp_path / "o2"), *words[4:]]) == 0
    assert "text states: bfloat16, made by Qwen2_5_VLForConditionalGeneration in bfloat16" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--vlm_type", "float32"], "error: --vlm_type is for text states\n"),
        (["--device", "cpu"], "error: --device is for what is computed\n       name a model with --vae or --vlm"),
        (["--vlm", "{dir}/none"], "error: there is no folder {dir}/none/"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(tmp_path: Path, capsys, words: list[str], message: str) -> None:
    words = [word.format(dir=tmp_path) for word in words]
    assert main(["data", "optimize", "spec.yml", str(tmp_path / "out"), *words]) == 2
    assert message.format(dir=tmp_path) in capsys.readouterr().err
