"""`preprocessor_config.json` of transformers: each key is one that its image processors follow, or is refused."""

from math import inf
from pathlib import Path

from omnigen2.errors import UserError
from omnigen2.files.fields import Fields, object_in, read_object

FILE, WHOLE_FILE = "preprocessor_config.json", "processor_config.json"
FLAGS = ("do_resize", "do_rescale", "do_normalize", "do_convert_rgb")
ALWAYS = (*FLAGS, "size", "resample", "rescale_factor", "image_mean", "image_std")
"""What every image processor does as it is told."""
CROPS = ("do_center_crop", "crop_size", "do_pad", "pad_size")
"""What those do that make pictures of one size."""
CLASSES = ("image_processor_type", "feature_extractor_type")
NAMES = (*CLASSES, "processor_class", "default_to_square")
"""Who wrote the file, and how a `size` that is one number is read."""
UNDONE = {
    "data_format": (None, "channels_first"),
    "input_data_format": (None,),
    "return_tensors": (None,),
    "device": (None,),
    "disable_grouping": (None, True, False),
    "image_seq_length": (None,),
    "size_divisor": (None,),
    **dict.fromkeys(CROPS, (None, False)),
}
"""What may stand there, at values that change nothing."""
TOKENIZER_FILES = (
    "tokenizer.json", "vocab.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
REMEDY = "take the file of the model that the weights are of"


def image_settings(folder: Path, error: type[UserError] = UserError) -> Fields | None:
    """What an image processor is told by a folder, if the folder tells one.

    Raises:
        UserError: If its file is broken.
    """
    whole, own = folder / WHOLE_FILE, folder / FILE
    if whole.is_file():
        content = read_object(whole, error, REMEDY)
        if "image_processor" in content.values:
            return object_in(content.values["image_processor"], f"{whole}, image_processor,", error, REMEDY)
    return read_object(own, error, REMEDY) if own.is_file() else None


def check_tokenizer(folder: Path, error: type[UserError] = UserError) -> None:
    """Refuse a folder without a vocabulary: transformers makes a tokenizer of two words for it.

    Raises:
        UserError: If there is neither tokenizer.json nor vocab.json with merges.txt, or a file is no JSON object.
    """
    if not (folder / "tokenizer.json").is_file():
        lacking = [name for name in ("vocab.json", "merges.txt") if not (folder / name).is_file()]
        if lacking:
            raise error(f"{folder} has neither tokenizer.json nor {' nor '.join(lacking)}", "is the download complete?")
    for path in (folder / name for name in TOKENIZER_FILES):
        if path.is_file():
            read_object(path, error, "download the file again")


def check_image_settings(
    settings: Fields, processors: tuple[str, ...], followed: tuple[str, ...], further: tuple[str, ...] = ()
) -> None:
    """Refuse what a processor would not do, or could not.

    Args:
        settings: What the file says.
        processors: Names of the classes that may stand in the file, without `Fast` and `Pil` at their end.
        followed: Keys besides `ALWAYS` that these classes follow.
        further: Keys that stand in files of them and have no effect.

    Raises:
        UserError: It names the key.
    """
    undone = {name: values for name, values in UNDONE.items() if name not in followed}
    known = {*ALWAYS, *NAMES, *followed, *further, *undone}
    if any(settings.has(name) for name in CLASSES):
        known.add("auto_map")  # where code beside the model is, which is never run: the class counts
    if unknown := sorted(name for name in settings.values if name not in known and not name.startswith("_")):
        raise settings.error(f"{settings.where} has the key {unknown[0]}, which is not followed here", REMEDY)
    for name, values in undone.items():
        settings.inert(name, *values)
    for name in CLASSES:
        if settings.has(name):
            kind = settings.text(name).replace("FeatureExtractor", "ImageProcessor")
            if kind.removesuffix("Fast").removesuffix("Pil") not in processors:
                raise settings.refusal(name, " or ".join(processors))
    for name in (*FLAGS, "do_center_crop", "do_pad"):
        if settings.has(name):
            settings.flag(name)
    if settings.has("resample"):
        settings.whole("resample", 0, 5)
    if settings.has("rescale_factor") and settings.number("rescale_factor") <= 0:
        raise settings.refusal("rescale_factor", "a positive number")
    for name in ("image_mean", "image_std"):
        if settings.has(name):
            _check_colours(settings, name)


def _check_colours(settings: Fields, name: str) -> None:
    """Three numbers, and no spread of zero."""
    values = settings.values[name]
    listed: list[object] = values if isinstance(values, list) else []
    numbers = [float(one) for one in listed if isinstance(one, int | float) and not isinstance(one, bool)]
    least = 0 if name == "image_std" else -inf
    if len(listed) != 3 or len(numbers) != 3 or not all(least < one < inf for one in numbers):
        raise settings.refusal(name, "three numbers" + (" above 0" if name == "image_std" else ""))
