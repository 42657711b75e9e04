"""A question, a request, and data of both on the micro-world, for the tests."""

from PIL import Image

from omnigen2.encoders import Message
from omnigen2.microworld.runs.samples import MicroExchanges
from omnigen2.training.language.exchange_data import ExchangeData
from omnigen2.training.language.exchanges import Exchange

PICTURE = Image.new("RGB", (64, 64), "red")
QUESTION = Exchange((Message("system", "x"), Message("user", "is there a red circle ?", (PICTURE,))), "yes", False)
REQUEST = Exchange((Message("system", "x"), Message("user", "a red circle")), "", True)


def data(steps: int = 6, requests: float = 0.5, evaluation_size: int = 12) -> ExchangeData:
    train, held_out = (MicroExchanges(part, requests, 16) for part in ("train", "held_out"))
    return ExchangeData(train, held_out, 0, steps, batch_size=4, evaluation_size=evaluation_size)
