"""The `<|img|>` stage and the understanding stage: what is trained, what is not, and what is kept."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from omnigen2.encoders import ImageToken
from omnigen2.microworld.runs.vlm import RandomMicroVLM
from omnigen2.runner.keep.handover import HandsOver
from omnigen2.runner.plan import parse
from omnigen2.training.language.exchange_data import ExchangeData
from omnigen2.training.language.exchanges import answer_loss, teach
from omnigen2.training.language.image_token import ImageTokenModule
from omnigen2.training.language.understanding import UnderstandingModule
from omnigen2.training.parts.optimizers import AdamWRecipe
from omnigen2.training.parts.schedules import WarmupConstant
from omnigen2.training.parts.vlm import VLMFolder, save_vlm
from tests.paths import RECIPES
from tests.training.exchange_parts import QUESTION, REQUEST, data
from tests.training.rank_parts import silent_trainer

OPTIMIZER = AdamWRecipe(lr=0.05, weight_decay=0.5)


def fit(
    module: L.LightningModule,
    batches: ExchangeData,
    folder: Path,
    steps: int,
    checkpoint: Path | None = None,
    **more: Any,
) -> L.Trainer:
    trainer = silent_trainer(folder, steps, **more)
    trainer.fit(module, datamodule=batches, ckpt_path=checkpoint, weights_only=True)
    return trainer


def understanding_module(**arguments: Any) -> UnderstandingModule:
    return UnderstandingModule(AdamWRecipe(lr=1e-2), WarmupConstant(), **({"encoder": RandomMicroVLM()} | arguments))


def image_token_module(**arguments: Any) -> ImageTokenModule:
    module = ImageTokenModule(OPTIMIZER, WarmupConstant(), **({"encoder": RandomMicroVLM()} | arguments))
    module.configure_model()
    return module


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageTokenModule, L.Trainer, dict[str, torch.Tensor]]:
    """A module after training; the weights it started from."""
    module = image_token_module()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trainer = fit(module, data(steps=30), tmp_path_factory.mktemp("run"), 30, val_check_interval=30)
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
        "train/loss",
        *(f"val/{name}" for name in ("loss", "draws", "refrains", "accuracy", "unchanged")),
    }


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
    module = understanding_module(max_new_tokens=6)
    module.configure_model()
    before = {name: value.clone() for name, value in module.named_parameters()}
    batch = teach(module.encoder.tokenizer, [QUESTION])
    first = float(answer_loss(module.encoder, batch).detach())
    assert not module.encoder.train(False).training
    trainer = fit(module, data(12, requests=0), tmp_path, 12, val_check_interval=12)
    assert all(not torch.equal(value, before[name]) for name, value in module.named_parameters())
    assert float(answer_loss(module.encoder, batch).detach()) < first / 2
    assert set(trainer.callback_metrics) == {"train/loss", "val/loss", "val/accuracy", "val/majority"}
    module.save_weights(tmp_path / "weights")
    loaded = understanding_module(weights=str(tmp_path / "weights"))
    loaded.configure_model()
    assert torch.equal(answer_loss(loaded.encoder, batch), answer_loss(module.encoder.eval(), batch))


def test_a_run_that_stops_and_goes_on_equals_one_that_does_not(tmp_path: Path) -> None:
    def modules() -> tuple[L.LightningModule, L.LightningModule]:
        return image_token_module(), understanding_module()

    for number, (whole, stopped, continued) in enumerate(zip(modules(), modules(), modules(), strict=True)):
        checkpoint = tmp_path / f"{number}.ckpt"
        fit(whole, data(), tmp_path, 6, limit_val_batches=0)
        fit(stopped, data(), tmp_path, 3, limit_val_batches=0).save_checkpoint(checkpoint)
        fit(continued, data(), tmp_path, 6, checkpoint, limit_val_batches=0)
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
    kinds = (ImageTokenModule, UnderstandingModule)
    made = [kind(OPTIMIZER, WarmupConstant(), weights=str(tmp_path / "later")) for kind in kinds]
    for module in made:
        with pytest.raises(RuntimeError, match="the model is loaded by configure_model"):
            module.vlm  # noqa: B018
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
    found, expected = (
        {name: (value.shape, value.dtype, value.requires_grad) for name, value in module.named_parameters()}
        for module in (sizes, real)
    )
    assert found == expected
    assert {value.device.type for value in sizes.parameters()} == {"meta"}


@pytest.mark.parametrize("name", ["micro/understanding", "micro/image_token", "paper/image_token"])
def test_recipes_parse(name: str) -> None:
    config = parse([f"--config={RECIPES / name}.yaml"])
    assert config.values["trainer"]["max_steps"] > 0
    assert config.values["data"]["init_args"]["steps"] == config.values["trainer"]["max_steps"]


def test_recipes_build(tmp_path: Path, trained: Any) -> None:
    trained[0].save_weights(tmp_path)
    for name, extra in (("understanding", []), ("image_token", [f"--model.init_args.weights={tmp_path}"])):
        config = parse([f"--config={RECIPES / 'micro' / name}.yaml", *extra])
        trainer, module, batches = config.build(lambda callbacks, loggers: {"callbacks": callbacks, "logger": False})
        assert trainer.max_steps > 0
        assert isinstance(module, (UnderstandingModule, ImageTokenModule))
        assert isinstance(batches, ExchangeData)
        assert len(batches.training_batch(0)) == batches.batch_size
