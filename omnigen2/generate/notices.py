"""What was asked for and changes nothing, or not what it seems to: told, instead of passed over."""

import re
from collections.abc import Iterator, Sequence

from omnigen2.encoders import ChatTokenizer
from omnigen2.generate.request import Request, Sampling

OLD_TAGS = re.compile(r"(?:<img>\s*)?<\|image_\d+\|>(?:\s*</img>)?")
"""How prompts of OmniGen 1 name their images."""


class NoEffectWarning(UserWarning):
    """Something that was asked for has no effect."""


def notices(
    requests: Sequence[Request], sampling: Sampling, tokenizer: ChatTokenizer | None = None, mark: str = ""
) -> tuple[str, ...]:
    """Sentences about what has no effect, none twice.

    Args:
        requests: Drawn together.
        sampling: How.
        tokenizer: Knows the model's words; nobody is asked if None.
        mark: In front of the names of settings: `--` where they are options.
    """
    of_prompts = [sentence for request in requests for sentence in _of_prompt(request.prompt, tokenizer)]
    return tuple(dict.fromkeys((*_of_guidance(requests, sampling, mark), *of_prompts)))


def _of_guidance(requests: Sequence[Request], sampling: Sampling, mark: str) -> Iterator[str]:
    text, image, (first, last) = sampling.text_scale, sampling.image_scale, sampling.guidance_interval
    inside = any(first <= step / sampling.steps <= last for step in range(sampling.steps))
    if text > 1 and inside:
        if image < 1:
            yield f"{mark}image_scale {image:g} acts as 1: references guide above 1"
        elif image > 1 and not any(request.images for request in requests):
            yield f"{mark}image_scale has no effect: there are no images"
        return
    if text < 1:
        yield f"{mark}text_scale {text:g} acts as 1, no guidance: the prompt guides above 1"
    reason = f"{mark}text_scale is {text:g}"
    if text > 1:
        reason = f"{mark}guidance_interval {first:g} {last:g} holds none of the {sampling.steps} steps"
        yield f"{reason}: nothing is guided"
    given = {
        "negative_prompt": any(request.negative_prompt for request in requests),
        "image_scale": image != 1,
        "guidance_interval": text <= 1 and (first, last) != (0, 1),
        "guidance_every": sampling.guidance_every != 1,
    }
    for name in (name for name, is_given in given.items() if is_given):
        yield f"{mark}{name} has no effect without guidance: {reason}"


def _of_prompt(prompt: str, tokenizer: ChatTokenizer | None) -> Iterator[str]:
    if tags := OLD_TAGS.findall(prompt):
        yield (
            f"the prompt has tags of OmniGen 1, {' '.join(dict.fromkeys(tags))}, plain letters to this model: "
            'name an image in words, such as "the first image"'
        )
    if tokenizer is not None and (words := tokenizer.unknown(prompt)):
        yield f"the model does not know {', '.join(map(repr, words))}: it reads one sign for any unknown word"
