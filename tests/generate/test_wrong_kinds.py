"""What is given in the place of something else is named, with what was expected, where it is given."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from omnigen2.dit.cache import Clock, ForecastCache, TaylorSeer
from omnigen2.errors import UserError
from omnigen2.flow import SquareRootShift
from omnigen2.generate import Generator, Message, Request, Sampling, best_of, denoise
from omnigen2.generate.tiny import tiny_transformer

pytestmark = pytest.mark.usefixtures("unchecked")
X, T = torch.zeros(1, 64), torch.zeros(1)
DIT = tiny_transformer()

GIVEN: dict[str, tuple[Callable[[Generator], Any], str]] = {
    "a generator for a condition": (lambda g: DIT(X, T, g), "the condition is a Generator, expected Inputs or what"),
    "no condition": (lambda g: DIT(X, T, None), "the condition is a NoneType"),
    "a tensor for a condition": (lambda g: DIT.prepare(X), "the condition is a Tensor"),
    "a tensor for a condition with reuse": (
        lambda g: ForecastCache().start(Clock(3))(DIT, X, T, X),
        "with reuse is a Tensor, expected a Condition\n  `DiffusionTransformer.prepare` makes one",
    ),
    "steps for a clock": (lambda g: ForecastCache().start(28), "clock of a drawing is 28, expected a Clock"),
    "no steps": (lambda g: Clock(0), "got 0 steps of a Clock"),
    "half a step": (lambda g: Clock(2.5), "steps of a Clock is 2.5, expected a whole number"),
    "no model": (lambda g: TaylorSeer().models(3, 5), "the model of TaylorSeer is 3, expected a function of x_t and t"),
    "too few models": (lambda g: Clock(3).models([len, len]), r"got 2 models \(builtin_function_or_method\) for 3"),
    "a prompt for requests": (lambda g: g.many("a cube"), "requests is 'a cube', expected a list of Request"),
    "one request for several": (lambda g: g.many(Request(prompt="a")), "requests is a Request, expected a list"),
    "prompts for requests": (lambda g: g.read(["a cube"]), "a request is 'a cube', expected a Request"),
    "steps for a sampling": (lambda g: g.many([Request(prompt="a")], 4), "the sampling is 4, expected a Sampling"),
    "a path for images": (lambda g: g("a", images="a.png"), r"images is 'a.png', .*; of one it is \[image\]"),
    "a picture for images": (lambda g: g("a", images=Image.new("RGB", (2, 2))), "images is a Image, expected"),
    "no prompt": (lambda g: g(None), "prompt is None, expected a text"),
    "half a picture": (lambda g: g("a", num_images=1.5), "num_images is 1.5, expected a whole number"),
    "words for a conversation": (lambda g: g.chat("hello"), "messages is 'hello', expected a conversation"),
    "a message of words": (lambda g: g.chat([Message("user", "a"), "b"]), "a message of the conversation is 'b'"),
    "a transformer for a model": (
        lambda g: Generator(g.encoders.vlm, g.transformer, g.encoders.vae),
        "transformer is a QwenEncoder, expected a DiffusionTransformer",
    ),
    "pixels": (lambda g: Request(prompt="a", images=(np.zeros((2, 2, 3)),)), "image 1 is a ndarray, expected a PIL"),
    "a seed of words": (lambda g: Request(prompt="a", seed="3"), "seed is '3', expected a whole number"),
    "a true height": (lambda g: Request(prompt="a", height=True, width=16), "height is True, expected a whole number"),
    "steps of words": (lambda g: Sampling(steps="28"), "steps is '28', expected a whole number"),
    "half a step of a sampling": (lambda g: Sampling(steps=2.5), "steps is 2.5, expected a whole number"),
    "no scale": (lambda g: Sampling(text_scale=None), "text_scale is None, expected a number"),
    "one border": (lambda g: Sampling(guidance_interval=0.5), "guidance_interval is 0.5, expected two fractions"),
    "three borders": (lambda g: Sampling(guidance_interval=(0, 0.5, 1)), "expected two fractions of the steps"),
    "a threshold of words": (lambda g: Sampling(cache="forecast", cache_threshold="0.1"), "cache_threshold is '0.1'"),
    "a prompt for a request": (lambda g: best_of(g, "a", len, 2), "the request is 'a', expected a Request"),
    "no chooser": (lambda g: best_of(g, Request(prompt="a", seed=1), "rules", 2), "chooser is 'rules', expected a fun"),
    "pictures for samples": (lambda g: denoise(DIT, [X], Sampling(), SquareRootShift()), "a sample is a Tensor"),
    "a generator for a transformer": (lambda g: denoise(g, [], Sampling(), SquareRootShift()), "dit is a Generator"),
}  # fmt: skip


@pytest.mark.parametrize("name", GIVEN)
def test_it_is_named_with_what_was_expected(generator: Generator, name: str) -> None:
    given, message = GIVEN[name]
    with pytest.raises(UserError, match=message):
        given(generator)
