"""What a flow asks of a model, and nothing more."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class VelocityModel(Protocol):
    """Anything that maps a noisy state and its time to a velocity.

    A network with its condition bound (`functools.partial(dit, condition=condition)`) is one, a closed-form field in
    a test is another. Guidance takes one and returns one.
    """

    def __call__(
        self, x_t: Float[Tensor, " tokens *features"], t: Float[Tensor, " samples"], /
    ) -> Float[Tensor, " tokens *features"]:
        """The velocity, an estimate of `data - noise`.

        Args:
            x_t: State, shape (tokens, *features), float32 or wider. A network in another dtype casts it itself.
            t: Time of each sample, shape (samples,), in [0, 1]: 0 is noise, 1 is data.

        Returns:
            Shape of `x_t`, any floating dtype.
        """
        ...


def call_model(
    model: VelocityModel, x_t: Float[Tensor, " tokens *features"], t: Float[Tensor, " samples"]
) -> Float[Tensor, " tokens *features"]:
    """Evaluate a model and bring its velocity to the dtype of the state.

    Raises:
        ValueError: If the model returns another shape.
    """
    velocity = model(x_t, t)
    if velocity.shape != x_t.shape:
        raise ValueError(
            f"the model returned a velocity of shape {tuple(velocity.shape)} for a state of shape {tuple(x_t.shape)}; "
            "it must return one velocity per element of the state"
        )
    return velocity.to(x_t.dtype)
