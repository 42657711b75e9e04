"""What is refused before it could go on in silence: numbers that would be spread over the wrong axis."""

from torch import Tensor


def check_per_sample(name: str, values: Tensor, samples: int) -> None:
    """Refuse what is not one number per sample: a table of shape (samples, 1) would be spread to (samples, samples).

    Raises:
        ValueError: If the shape is not (samples,).
    """
    if tuple(values.shape) != (samples,):
        raise ValueError(
            f"{name} has the shape {tuple(values.shape)}, expected ({samples},): one number per sample, sample behind "
            "sample; flatten it, or pick the samples of this batch"
        )
