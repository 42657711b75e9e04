"""The real classes of detector, tracker and filler, in folders of the published layouts, with tiny random weights."""

from pathlib import Path
from typing import Any

import torch

from tests.evaluation.metrics.test_similarity import write_tiny_clip

SIDE = 64
"""Of the pictures that the tiny SAM 2 works on."""


def write_tiny_grounding_dino(folder: Path) -> None:
    """Knows the words of tests; the ids of its marks are those of BERT, which its processor counts on."""
    import transformers
    from tokenizers import BertWordPieceTokenizer
    from transformers import (
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    words = {f"[unused{number}]": number for number in range(1040)}
    known = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029, "the": 1030}
    known |= {"red": 1031, "ball": 1032, "cat": 1033, "a": 1034, "st": 1035}
    places = {place: word for word, place in words.items()} | {place: word for word, place in known.items()}
    vocabulary = {places[place]: place for place in sorted(places)}
    folder.mkdir()
    pieces: Any = BertWordPieceTokenizer(vocabulary)
    t: Any = transformers
    tokenizer = t.BertTokenizerFast(tokenizer_object=pieces._tokenizer)
    swin = {
        "model_type": "swin", "image_size": 64, "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2],
        "window_size": 4, "out_features": ["stage2", "stage3", "stage4"], "out_indices": [2, 3, 4],
    }  # fmt: skip
    bert = {
        "model_type": "bert", "vocab_size": len(vocabulary), "hidden_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 32,
    }  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=swin, text_config=bert, d_model=32, encoder_layers=1, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=10,
        max_text_len=32,
    )  # fmt: skip
    torch.manual_seed(0)
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    images = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)


def write_tiny_sam2(folder: Path) -> None:
    """Its channels are more than the 64 of its memories, as those of the published ones: it fails with no more."""
    from transformers import (
        Sam2ImageProcessor,
        Sam2VideoConfig,
        Sam2VideoModel,
        Sam2VideoProcessor,
        Sam2VideoVideoProcessor,
    )

    channels, grid = 128, SIDE // 16
    backbone = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 8, "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 1, 1, 1], "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2], "window_size_per_stage": [8, 4, 2, 2],
        "global_attention_blocks": [], "window_positional_embedding_background_size": [2, 2],
    }  # fmt: skip
    vision = {
        "model_type": "sam2_vision_model", "backbone_config": backbone, "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[4 * grid] * 2, [2 * grid] * 2, [grid] * 2], "fpn_hidden_size": channels,
    }  # fmt: skip
    config = Sam2VideoConfig(
        vision_config=vision,
        image_size=SIDE,
        prompt_encoder_config={"hidden_size": channels, "image_size": SIDE, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": channels, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16,
        },
        num_maskmem=3, max_object_pointers_in_encoder=4,
        memory_attention_hidden_size=channels, memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32, memory_attention_rope_feat_sizes=[grid, grid],
        memory_encoder_hidden_size=channels, mask_downsampler_embed_dim=channels, memory_fuser_embed_dim=channels,
        memory_fuser_intermediate_dim=32,
    )  # fmt: skip
    torch.manual_seed(0)
    Sam2VideoModel(config).save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    Sam2VideoProcessor(Sam2ImageProcessor(size=size), Sam2VideoVideoProcessor(size=size)).save_pretrained(folder)


def write_tiny_flux_fill(folder: Path) -> None:
    """With both text encoders."""
    import diffusers
    import transformers
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram

    d: Any = diffusers
    t: Any = transformers

    write_tiny_clip(folder.parent / "clip")
    torch.manual_seed(0)
    clip = t.CLIPTextConfig(
        vocab_size=8, hidden_size=32, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=77, eos_token_id=1,
    )  # fmt: skip
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0), ("a", -2.0), ("c", -2.0), ("t", -2.0)]
    d.FluxFillPipeline(
        scheduler=d.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=d.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8,) * 4, layers_per_block=1, latent_channels=16, norm_num_groups=4,
            shift_factor=0.1, scaling_factor=0.3, use_quant_conv=False, use_post_quant_conv=False,
        ),
        text_encoder=t.CLIPTextModel(clip),
        tokenizer=t.CLIPTokenizer.from_pretrained(folder.parent / "clip", model_max_length=77),
        text_encoder_2=t.T5EncoderModel(
            t.T5Config(vocab_size=len(pieces), d_model=32, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
        ),
        tokenizer_2=t.T5TokenizerFast(tokenizer_object=Tokenizer(Unigram(pieces, 2)), model_max_length=512),
        transformer=d.FluxTransformer2DModel(
            patch_size=1, in_channels=384, out_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        ),
    ).save_pretrained(folder)  # fmt: skip
