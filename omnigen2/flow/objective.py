r"""The rectified-flow objective over packed tokens.

For each sample a time is drawn and shifted, noise is drawn, and the model's velocity is compared with
$\text{data} - \text{noise}$. The loss is the sum of squared errors over all elements of the batch divided by a number
of elements: every element counts the same, whatever the size of the picture it belongs to, and however the batch
is split over ranks and accumulation steps.

Source: Liu et al., arXiv:2209.03003, eq. 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnigen2.flow.checks import check_instance
from omnigen2.flow.elements import ElementCount, LossWeighting, Unweighted, share_of_elements
from omnigen2.flow.model import VelocityModel, call_model
from omnigen2.flow.packed import PerSample, SampleIndex, elements_per_sample, sum_per_sample
from omnigen2.flow.path import draw_times_and_noise, interpolate, velocity
from omnigen2.flow.schedule import AtTokens, FixedShift, IdentityShift, TimeShift
from omnigen2.flow.times import TimeSampler


@dataclass(frozen=True, slots=True)
class TimeBins:
    """Unweighted squared error by time, as sums: add them over ranks and steps, then divide.

    Attributes:
        squared_error: Sum in each of the equal bins of [0, 1], float32.
        elements: Number of elements in each bin, float32.
    """

    squared_error: Float[Tensor, " bins"]
    elements: Float[Tensor, " bins"]

    def mean(self) -> Float[Tensor, " bins"]:
        """Mean squared error of each bin; NaN where nothing fell into the bin."""
        return self.squared_error / self.elements


@dataclass(frozen=True, slots=True)
class FlowLoss:
    """What one evaluation of the objective gives. Everything is float32 (or float64 for float64 data).

    Attributes:
        loss: Weighted sum of squared errors over the element count; the only part that carries a gradient.
        loss_sum: The same before the division, detached.
        per_sample: Mean squared error of each sample, unweighted and detached; NaN for a sample without tokens.
        times: The time of each sample, after the shift.
        bins: Squared error by time.
    """

    loss: Float[Tensor, ""]
    loss_sum: Float[Tensor, ""]
    per_sample: Float[Tensor, " samples"]
    times: Float[Tensor, " samples"]
    bins: TimeBins


class RectifiedFlowObjective:
    """Draws noise and times, evaluates the model once, and reduces the error.

    Args:
        sampler: Where the times come from, before the shift.
        shift: Moves the times by the size of each picture; give the same object to `time_grid` when sampling.
        weighting: Weight of each sample by its time.
        num_bins: Number of equal time bins for logging, at least 1.

    Example:
        >>> from omnigen2.flow import IdentityShift, UniformTimes
        >>> objective = RectifiedFlowObjective(UniformTimes(), IdentityShift())
        >>> data, sample_index = torch.ones(6, 2), torch.tensor([0, 0, 1, 1, 1, 1])
        >>> out = objective(lambda x_t, t: 0 * x_t, data, sample_index, [2, 4], torch.Generator().manual_seed(0))
        >>> out.per_sample.shape
        torch.Size([2])
    """

    def __init__(
        self, sampler: TimeSampler, shift: TimeShift, weighting: LossWeighting | None = None, num_bins: int = 10
    ) -> None:
        check_instance("the sampler of RectifiedFlowObjective", sampler, TimeSampler)
        check_instance("the shift of RectifiedFlowObjective", shift, TimeShift)
        if num_bins < 1:
            raise ValueError(f"num_bins must be at least 1, got {num_bins}")
        self.sampler = sampler
        self.shift = shift
        self.weighting = Unweighted() if weighting is None else weighting
        self.num_bins = num_bins

    def __call__(
        self,
        model: VelocityModel,
        data: Float[Tensor, " tokens *features"],
        sample_index: SampleIndex | None = None,
        tokens: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
        elements: ElementCount | None = None,
    ) -> FlowLoss:
        """The loss at random times and noise.

        Args:
            model: Called once, with x_t of shape (tokens, *features) and t of shape (samples,).
            data: Packed target tokens, shape (tokens, *features); or a dense batch, shape (samples, ...).
            sample_index: The sample of each token, shape (tokens,), in any order; None for a dense batch.
            tokens: Number of tokens of each sample, on the host; the shift depends on it. A dense batch needs it only
                with a shift that does.
            generator: Source of the times and the noise, drawn on its own device; torch's global one if None.
            elements: What the summed error is divided by. None: the mean number of elements per rank, which under
                an averaging data-parallel wrapper gives the global sum over the global number of elements. Pass
                `share_of_elements` of all accumulated batches to be exact under accumulation too.

        Raises:
            ValueError: If `tokens` does not add up to the tokens of `data`, or is left out and needed.
        """
        dense = sample_index is None
        if sample_index is None:
            sample_index = torch.arange(data.shape[0], device=data.device)
        if tokens is None:
            if not dense or not isinstance(self.shift, IdentityShift | FixedShift | AtTokens):
                what = f"the shift {self.shift!r} depends on sizes" if dense else "data is packed"
                raise ValueError(f"{what}: give the number of tokens of each sample, tokens=[...]")
            tokens = [1] * data.shape[0]
        source = torch.default_generator if generator is None else generator
        t, noise = draw_times_and_noise(self.sampler, self.shift, data, tokens, source, dense)
        return self.at(model, noise, data, t, sample_index, elements)

    def at(
        self,
        model: VelocityModel,
        noise: Float[Tensor, " tokens *features"],
        data: Float[Tensor, " tokens *features"],
        t: Float[Tensor, " samples"],
        sample_index: SampleIndex,
        elements: ElementCount | None = None,
    ) -> FlowLoss:
        """The loss at given noise and times (after the shift): for validation, where the same are used every time."""
        x_t = interpolate(noise, data, t, sample_index)
        predicted = call_model(model, x_t, t)
        errors = sum_per_sample((predicted - velocity(noise, data)).square(), sample_index, t.shape[0])
        total = (self.weighting(t) * errors).sum()
        if elements is None:
            elements = share_of_elements([data.numel()], data.device)
        counts = elements_per_sample(data, sample_index, t.shape[0])
        errors = errors.detach()
        return FlowLoss(
            loss=(total / elements).to(total.dtype),
            loss_sum=total.detach(),
            per_sample=errors / counts,
            times=t,
            bins=bin_by_time(errors, counts, t, self.num_bins),
        )


def bin_by_time(errors: PerSample, counts: PerSample, t: PerSample, num_bins: int) -> TimeBins:
    """Sum the squared errors and element counts of samples in equal bins of [0, 1]; the last bin includes t = 1."""
    number: Int[Tensor, " samples"] = (t * num_bins).long().clamp(0, num_bins - 1)
    return TimeBins(sum_per_sample(errors, number, num_bins), sum_per_sample(counts, number, num_bins))
