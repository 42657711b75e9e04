"""A complete model folder with small random weights: what tests, documentation and new users run on."""

from pathlib import Path

import torch

from omnigen2.dit import DiffusionTransformer, TransformerConfig, save_transformer
from omnigen2.files import write_json
from omnigen2.generate.errors import GenerateError

CONFIG = TransformerConfig(
    hidden_size=48,
    num_layers=2,
    num_refiner_layers=1,
    num_heads=4,
    num_kv_heads=2,
    axes=(4, 4, 4),
    in_channels=16,
    text_dim=64,
    multiple_of=32,
)
SCHEDULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "dynamic_time_shift": True,
    "num_train_timesteps": 1000,
}
INDEX = {
    "_class_name": "OmniGen2Pipeline",
    "mllm": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
    "processor": ["transformers", "Qwen2_5_VLProcessor"],
    "scheduler": ["scheduling_flow_match_euler_discrete_time_shifting", "FlowMatchEulerDiscreteScheduler"],
    "transformer": ["transformer_omnigen2", "OmniGen2Transformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def make_tiny(directory: str | Path, seed: int = 0, overwrite: bool = False) -> Path:
    """Write `transformer/`, `vae/`, `mllm/`, `processor/` and `scheduler/` in the released layout, offline.

    The model draws noise and answers noise; everything else about it is as in the released one: 16 latent channels,
    an eightfold reduction, patches of 2, Qwen2.5-VL's template, at most 5 references.

    Args:
        directory: The folder; made if missing.
        seed: Of the weights.
        overwrite: Whether a folder that has files may be written into.

    Returns:
        The folder.

    Raises:
        GenerateError: If the folder has files already.
    """
    from omnigen2.encoders import write_tiny_processor, write_tiny_vae, write_tiny_vlm

    directory = Path(directory)
    if directory.exists() and not directory.is_dir():
        raise GenerateError(f"{directory} is a file", "give the name of a folder")
    if directory.is_dir() and any(directory.iterdir()) and not overwrite:
        raise GenerateError(
            f"{directory} has files already", "give another folder", {"overwrite": "write into it with {}"}
        )
    save_transformer(tiny_transformer(seed), directory / "transformer", overwrite=overwrite)
    write_tiny_vlm(directory / "mllm", CONFIG.text_dim, seed=seed)
    write_tiny_processor(directory / "processor")
    write_tiny_vae(directory / "vae", CONFIG.in_channels, seed)
    (directory / "scheduler").mkdir(exist_ok=True)
    write_json(directory / "scheduler" / "scheduler_config.json", SCHEDULER)
    write_json(directory / "model_index.json", INDEX | {"untrained": ["mllm", "transformer", "vae"]})
    return directory


def tiny_transformer(seed: int = 0) -> DiffusionTransformer:
    """A small float32 transformer whose velocity is not zero, as a new one's would be.

    Args:
        seed: Of the weights; torch's global generator is not touched.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DiffusionTransformer(CONFIG)
        randomize(model)
    return model


@torch.no_grad()
def randomize(model: DiffusionTransformer) -> None:
    """Replace all parameters that are zero, as those of a new model's output are, by small random ones, in place."""
    for parameter in model.parameters():
        if not parameter.any():
            parameter.normal_(std=0.1)
