"""The `<|img|>` stage and the understanding stage: what is trained, what is not, and what is counted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import cross_entropy

from omnigen2.data import DataError, Sample
from omnigen2.encoders import Answer, ImageReader, ImageToken, Message, QwenEncoder
from omnigen2.microworld import EASY
from omnigen2.training.config import Config
from omnigen2.training.exchange_data import ExchangeData, StoredSamples
from omnigen2.training.exchange_metrics import Answered, drawing_metrics, share, understanding_metrics
from omnigen2.training.exchanges import Exchange, ExchangeBatch, answer_loss, exchange_of, teach
from omnigen2.training.image_token import ImageTokenModule
from omnigen2.training.micro_samples import MicroExchanges
from omnigen2.training.micro_vlm import RandomMicroVLM
from omnigen2.training.optimizers import AdamWRecipe
from omnigen2.training.schedules import WarmupConstant
from omnigen2.training.understanding import UnderstandingModule
from omnigen2.training.vlm import VLMFolder, save_vlm
from omnigen2.training.weights import HandsOver

RECIPES = Path(__file__).parents[2] / "recipes"
PICTURE = Image.new("RGB", (64, 64), "red")
QUESTION = Exchange((Message("system", "x"), Message("user", "is there a red circle ?", (PICTURE,))), "yes", False)
REQUEST = Exchange((Message("system", "x"), Message("user", "a red circle")), "", True)
OPTIMIZER = AdamWRecipe(lr=0.05, weight_decay=0.5)


@pytest.fixture(scope="module")
def encoder() -> QwenEncoder:
    """Shared: do not change it."""
    return RandomMicroVLM().load()


def data(steps: int = 6, requests: float = 0.5, evaluation_size: int = 12) -> ExchangeData:
    train, held_out = (MicroExchanges(part, requests, 16) for part in ("train", "held_out"))
    return ExchangeData(train, held_out, 0, steps, batch_size=4, evaluation_size=evaluation_size)


def fit(module: L.LightningModule, batches: ExchangeData, folder: Path, **arguments: Any) -> L.Trainer:
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, num_sanity_val_steps=0, **arguments,
    )  # fmt: skip
    trainer.fit(module, datamodule=batches)
    return trainer


def image_token_module(**arguments: Any) -> ImageTokenModule:
    module = ImageTokenModule(OPTIMIZER, WarmupConstant(), **({"encoder": RandomMicroVLM()} | arguments))
    module.configure_model()
    return module


# the loss


def test_targets_are_the_answers_and_what_ends_them(encoder: QwenEncoder) -> None:
    drawn = replace(REQUEST, answer="the red circle")
    taught = teach(encoder.tokenizer, [QUESTION, REQUEST, drawn])
    tokens = encoder.tokenizer.tokenizer.convert_ids_to_tokens(taught.targets.tolist())
    assert tokens == ["yes", "<|im_end|>", "<|img|>", "the", "red", "circle", "<|img|>"]
    packed = taught.prompts.ids[taught.prompts.attention_mask.bool()]
    assert torch.equal(packed[taught.at + 1], taught.targets)
    before = encoder.tokenizer.tokenizer.convert_ids_to_tokens(packed[taught.at].tolist())
    assert before == ["assistant", "yes", "assistant", "assistant", "the", "red", "circle"]


def test_the_loss_is_that_of_transformers(encoder: QwenEncoder) -> None:
    taught = teach(encoder.tokenizer, [QUESTION, replace(REQUEST, answer="a b c d")])
    batch = taught.prompts
    logits = cast(Any, encoder.model)(
        input_ids=batch.ids,
        attention_mask=batch.attention_mask,
        position_ids=encoder.positions(batch),
        pixel_values=batch.pixel_values,
        image_grid_thw=batch.grids,
    ).logits
    expected = cross_entropy(logits[batch.attention_mask.bool()][taught.at], taught.targets)
    torch.testing.assert_close(answer_loss(encoder, taught), expected, rtol=1e-5, atol=1e-6)


@given(answers=st.lists(st.sampled_from(["", "yes", "in the top left", "a b c d e"]), min_size=2, max_size=4))
def test_the_loss_of_a_batch_is_the_mean_over_all_its_tokens(encoder: QwenEncoder, answers: list[str]) -> None:
    exchanges = [replace(QUESTION if i % 2 else REQUEST, answer=answer) for i, answer in enumerate(answers)]
    alone = [teach(encoder.tokenizer, [each]) for each in exchanges]
    counts = torch.tensor([len(each.targets) for each in alone])
    assert counts.tolist() == [len(answer.split()) + 1 for answer in answers]
    mean = (torch.stack([answer_loss(encoder, each) for each in alone]) * counts).sum() / counts.sum()
    torch.testing.assert_close(answer_loss(encoder, teach(encoder.tokenizer, exchanges)), mean, rtol=1e-4, atol=1e-5)


# what is trained


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageTokenModule, L.Trainer, dict[str, torch.Tensor]]:
    """A module after training; the weights it started from."""
    module = image_token_module()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trainer = fit(module, data(steps=30), tmp_path_factory.mktemp("run"), max_steps=30, val_check_interval=30)
    return module, trainer, before


def test_only_the_row_of_the_token_moves(trained: Any) -> None:
    module, _, before = trained
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"token.input", "token.output"}  # one row for both
    assert module.token.tied
    assert [name for name, parameter in module.named_parameters() if parameter.requires_grad] == ["token.input"]


def test_the_loss_falls_and_answers_stay(trained: Any) -> None:
    module, trainer, _ = trained
    fresh = image_token_module()
    batch = teach(module.encoder.tokenizer, [REQUEST])
    assert answer_loss(module.encoder, batch) < 0.5 * answer_loss(fresh.encoder, batch)
    logged = trainer.callback_metrics
    assert logged["val/draws"] == 1
    assert logged["val/unchanged"] == 1
    assert set(logged) == {
        "train/loss", "val/loss", "val/draws", "val/refrains", "val/accuracy", "val/unchanged"
    }  # fmt: skip


def test_saved_weights_say_the_same_and_are_a_model_folder(trained: Any, tmp_path: Path) -> None:
    module, _, before = trained
    assert isinstance(module, HandsOver)
    module.save_weights(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image_token.safetensors", "mllm", "processor"]
    loaded = VLMFolder(str(tmp_path)).load()
    taught = teach(loaded.tokenizer, [QUESTION, REQUEST])
    # one matrix product now makes the logit that the row made by itself
    torch.testing.assert_close(answer_loss(loaded, taught), answer_loss(module.encoder, taught), rtol=1e-6, atol=0)
    row = module.token.token_id
    for name, value in loaded.state_dict().items():
        first = before[f"encoder.{name}"]
        if name.endswith(("embed_tokens.weight", "lm_head.weight")):
            keep = torch.arange(len(value)) != row
            assert torch.equal(value[keep], first[keep])
            assert torch.equal(value[row], module.token.input)
        else:
            assert torch.equal(value, first), name
    assert torch.equal(ImageToken.load(tmp_path / "image_token.safetensors").input, module.token.input)
    again = image_token_module(encoder=None, weights=str(tmp_path), initial="row")
    assert torch.equal(again.token.input, module.token.input)


def test_checkpoints_hold_the_rows_alone(trained: Any) -> None:
    module, _, _ = trained
    checkpoint = {"state_dict": dict(module.state_dict())}
    module.on_save_checkpoint(checkpoint)
    assert set(checkpoint["state_dict"]) == {"token.input", "token.output"}
    module.on_load_checkpoint(checkpoint)
    with pytest.raises(ValueError, match=r"expected \['token.input', 'token.output'\]"):
        module.on_load_checkpoint({"state_dict": {}})


def test_everything_is_trained_for_understanding(tmp_path: Path) -> None:
    module = UnderstandingModule(AdamWRecipe(lr=1e-2), WarmupConstant(), RandomMicroVLM(), max_new_tokens=6)
    module.configure_model()
    before = {name: value.clone() for name, value in module.named_parameters()}
    batch = teach(module.encoder.tokenizer, [QUESTION])
    first = float(answer_loss(module.encoder, batch).detach())
    assert not module.encoder.train(False).training
    trainer = fit(module, data(12, requests=0), tmp_path, max_steps=12, val_check_interval=12)
    assert all(not torch.equal(value, before[name]) for name, value in module.named_parameters())
    assert float(answer_loss(module.encoder, batch).detach()) < first / 2
    assert set(trainer.callback_metrics) == {"train/loss", "val/loss", "val/accuracy", "val/majority"}
    module.save_weights(tmp_path / "weights")
    loaded = UnderstandingModule(AdamWRecipe(lr=1e-2), WarmupConstant(), weights=str(tmp_path / "weights"))
    loaded.configure_model()
    assert torch.equal(answer_loss(loaded.encoder, batch), answer_loss(module.encoder.eval(), batch))


def test_a_run_that_stops_and_goes_on_equals_one_that_does_not(tmp_path: Path) -> None:
    def modules() -> tuple[L.LightningModule, L.LightningModule]:
        understanding = UnderstandingModule(AdamWRecipe(lr=1e-2), WarmupConstant(), RandomMicroVLM())
        return image_token_module(), understanding

    for number, (whole, stopped, continued) in enumerate(zip(modules(), modules(), modules(), strict=True)):
        fit(whole, data(), tmp_path, max_steps=6, limit_val_batches=0)
        trainer = fit(stopped, data(), tmp_path, max_steps=3, limit_val_batches=0)
        trainer.save_checkpoint(tmp_path / f"{number}.ckpt")
        other = L.Trainer(
            accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            default_root_dir=tmp_path, max_steps=6, limit_val_batches=0,
        )  # fmt: skip
        other.fit(continued, datamodule=data(), ckpt_path=tmp_path / f"{number}.ckpt", weights_only=True)
        expected = whole.state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in continued.state_dict().items())
        assert any(not torch.equal(value, expected[name]) for name, value in stopped.state_dict().items())


@pytest.mark.parametrize("module", [ImageTokenModule, UnderstandingModule])
def test_wrong_settings_are_refused(module: Any) -> None:
    with pytest.raises(ValueError, match="neither an encoder nor weights"):
        module(OPTIMIZER, WarmupConstant())
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, got 0"):
        module(OPTIMIZER, WarmupConstant(), RandomMicroVLM(), max_new_tokens=0)


def test_models_are_loaded_when_they_are_configured_and_only_once(tmp_path: Path) -> None:
    made: list[L.LightningModule] = [
        ImageTokenModule(OPTIMIZER, WarmupConstant(), weights=str(tmp_path / "later")),
        UnderstandingModule(OPTIMIZER, WarmupConstant(), weights=str(tmp_path / "later")),
    ]
    for module in made:
        with pytest.raises(RuntimeError, match="the model is loaded by configure_model"):
            cast(Any, module).vlm  # noqa: B018
        with pytest.raises(FileNotFoundError, match="there is no folder .*later/mllm"):
            module.configure_model()
    save_vlm(RandomMicroVLM().load(), tmp_path / "later")
    for module in made:
        module.configure_model()
        parameters = list(module.parameters())
        module.configure_model()
        assert all(one is other for one, other in zip(parameters, module.parameters(), strict=True))


def test_sizes_on_the_meta_device_are_those_of_the_weights(tmp_path: Path) -> None:
    save_vlm(RandomMicroVLM().load(), tmp_path)
    real, sizes = (ImageTokenModule(OPTIMIZER, WarmupConstant(), weights=str(tmp_path)) for _ in range(2))
    real.configure_model()
    (tmp_path / "mllm/model.safetensors").unlink()
    with torch.device("meta"):
        sizes.configure_model()
    found, expected = dict(sizes.named_parameters()), dict(real.named_parameters())
    assert {name: (value.shape, value.dtype, value.requires_grad) for name, value in found.items()} == {
        name: (value.shape, value.dtype, value.requires_grad) for name, value in expected.items()
    }
    assert {value.device.type for value in found.values()} == {"meta"}


# the data


@settings(max_examples=5)
@given(step=st.integers(0, 1000))
def test_a_batch_is_a_function_of_seed_and_step(step: int) -> None:
    assert data().training_batch(step) == data().training_batch(step)
    assert data().training_batch(step) != data().training_batch(step + 1)
    assert data().evaluation_batch(0) == data().evaluation_batch(0)


def test_each_process_has_batches_of_its_own() -> None:
    class Second:
        global_rank = 1

    second = data()
    second.trainer = cast(Any, Second())
    assert second.training_batch(0) != data().training_batch(0)
    assert second.evaluation_batch(0) == data().evaluation_batch(0)


def test_held_out_requests_are_never_trained() -> None:
    rng = np.random.default_rng(0)
    train, held_out = (
        {MicroExchanges(part, 1.0, 16, EASY).draw(rng).instruction for _ in range(60)} for part in ("train", "held_out")
    )
    assert train
    assert held_out
    assert not train & held_out


@pytest.mark.parametrize(("requests", "low", "high"), [(0.0, 0, 0), (1.0, 60, 60), (0.5, 15, 45)])
def test_requests_have_their_share(requests: float, low: int, high: int) -> None:
    rng = np.random.default_rng(1)
    stream = MicroExchanges("train", requests, 16)
    draws = [exchange_of(stream.draw(rng), ImageReader(), "s").draws for _ in range(60)]
    assert low <= sum(draws) <= high


def test_the_evaluation_set_is_whole() -> None:
    batches = data(evaluation_size=130)
    assert [len(batch) for batch in batches.val_dataloader()] == [64, 64, 2]


@pytest.mark.parametrize("setting", ["batch_size", "evaluation_size", "evaluation_batch_size"])
def test_sizes_are_checked(setting: str) -> None:
    stream = MicroExchanges("train", 0)
    with pytest.raises(ValueError, match=f"{setting}=0"):
        ExchangeData(stream, stream, 0, 1, **{setting: 0})
    with pytest.raises(ValueError, match=r"got 1\.5"):
        MicroExchanges("train", 1.5)


def test_stored_samples_are_drawn_by_the_weights_of_the_mixture(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.png")
    for name, record in {
        "t2i": {"task_type": "t2i", "instruction": "a cat", "output_image": "a.png"},
        "edit": {"task_type": "edit", "instruction": "a hat", "input_images": ["a.png"], "output_image": "a.png"},
    }.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(record))
    (tmp_path / "mix.yml").write_text("data: [{path: t2i.jsonl, ratio: 3}, {path: edit.jsonl, ratio: 1}]")
    stream, rng = StoredSamples(str(tmp_path / "mix.yml")), np.random.default_rng(0)
    drawn = [exchange_of(stream.draw(rng), ImageReader(), "s") for _ in range(400)]
    assert 250 < sum(each.asked == "a cat" for each in drawn) < 350
    assert all(each.draws and len(each.conversation[-1].images) == (each.asked == "a hat") for each in drawn)


def test_stored_samples_are_opened_when_they_are_drawn(tmp_path: Path) -> None:
    stream = StoredSamples(str(tmp_path / "later.jsonl"))
    with pytest.raises(DataError, match=r"later\.jsonl"):
        stream.draw(np.random.default_rng(0))


def test_an_answer_before_a_picture_is_said_first() -> None:
    sample = Sample("interleaved", "think, then draw", answer="hm", target=b"x")
    assert exchange_of(sample, ImageReader(), "s") == Exchange(
        (Message("system", "s"), Message("user", "think, then draw")), "hm", True
    )


# what is counted

ANSWERS = st.builds(Answer, st.sampled_from(["yes", "no", ""]), st.sampled_from(["end", "image", "length"]))
EXCHANGES = st.sampled_from([QUESTION, REQUEST, replace(QUESTION, answer="no")])
ANSWERED = st.lists(st.builds(Answered, EXCHANGES, ANSWERS, ANSWERS), min_size=1, max_size=8).map(
    lambda found: [
        *found,
        Answered(QUESTION, Answer("yes", "end"), Answer("yes", "end")),
        Answered(REQUEST, Answer("", "image")),
    ]
)


@given(answered=ANSWERED, order=st.randoms(use_true_random=False))
def test_metrics_are_shares_that_do_not_depend_on_the_order(answered: list[Answered], order: Any) -> None:
    for metrics in (drawing_metrics, understanding_metrics):
        found = metrics(answered)
        assert all(0 <= value <= 1 for value in found.values())
        shuffled = list(answered)
        order.shuffle(shuffled)
        assert metrics(shuffled) == pytest.approx(found)
        assert metrics(answered * 3) == pytest.approx(found)


@given(answered=ANSWERED)
def test_accuracy_is_the_mean_of_both_kinds_by_their_numbers(answered: list[Answered]) -> None:
    found = drawing_metrics(answered)
    requests = sum(each.exchange.draws for each in answered)
    questions = len(answered) - requests
    right = found["draws"] * requests + found["refrains"] * questions
    assert found["accuracy"] == pytest.approx(right / len(answered))


@given(answered=ANSWERED)
def test_right_and_unchanged_answers_give_one(answered: list[Answered]) -> None:
    stops = {True: "image", False: "end"}
    right = [each._replace(answer=Answer(each.exchange.answer, stops[each.exchange.draws])) for each in answered]
    same = [each._replace(before=each.answer) for each in right]
    assert drawing_metrics(same) == dict.fromkeys(("draws", "refrains", "accuracy", "unchanged"), 1.0)
    assert understanding_metrics(right)["accuracy"] == 1
    first = next(i for i, each in enumerate(same) if not each.exchange.draws)
    changed = [each._replace(before=Answer("else", "end")) if i == first else each for i, each in enumerate(same)]
    questions = sum(not each.exchange.draws for each in same)
    assert drawing_metrics(changed)["unchanged"] == pytest.approx(1 - 1 / questions)


def test_the_majority_is_counted_for_each_kind_of_question() -> None:
    def asked(text: str, answer: str) -> Answered:
        return Answered(Exchange((Message("user", text),), answer, False), Answer("x", "end"))

    answered = [asked("what colour a", "red"), asked("what colour b", "red"), asked("what colour c", "blue")]
    answered += [asked("is there a", "no"), asked("is there b", "yes")]
    assert understanding_metrics(answered) == {"accuracy": 0, "majority": 0.6}
    with pytest.raises(ValueError, match="nothing to take a share of"):
        share([])


def test_a_batch_stays_on_the_host() -> None:
    batch = ExchangeBatch((QUESTION,))
    assert batch.to(torch.device("meta")) is batch


# recipes


@pytest.mark.parametrize("name", ["micro/understanding", "micro/image_token", "paper/image_token"])
def test_recipes_parse(name: str) -> None:
    config = Config([f"--config={RECIPES / name}.yaml"])
    assert config.values["trainer"]["max_steps"] > 0
    assert config.values["data"]["init_args"]["steps"] == config.values["trainer"]["max_steps"]


def test_recipes_build(tmp_path: Path, trained: Any) -> None:
    trained[0].save_weights(tmp_path)
    for name, extra in (("understanding", []), ("image_token", [f"--model.init_args.weights={tmp_path}"])):
        config = Config([f"--config={RECIPES / 'micro' / name}.yaml", *extra])
        trainer, module, batches = config.build(lambda callbacks, loggers: {"callbacks": callbacks, "logger": False})
        assert trainer.max_steps > 0
        assert isinstance(module, (UnderstandingModule, ImageTokenModule))
        assert isinstance(batches, ExchangeData)
        assert len(batches.training_batch(0)) == batches.batch_size
