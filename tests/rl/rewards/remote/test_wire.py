"""Requests and scores as JSON: what arrives is what was sent, and anything else is refused."""

import json
import zlib
from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.pictures.png import from_base64, from_png, shrink, to_png
from omnigen2.rl.reward import Failure, Judgement, RewardError, RewardRequest, Scores
from omnigen2.rl.rewards.remote.wire import pack_request, pack_scores, unpack_request, unpack_scores
from tests.rl.brightness import Brightness, pictures

images = st.integers(0, 10_000).map(
    lambda seed: (
        torch.randint(0, 256, (3, 1 + seed % 5, 1 + seed % 3), generator=torch.Generator().manual_seed(seed)) / 127.5
        - 1
    )
)
requests = st.builds(
    RewardRequest, st.text(max_size=9), images, st.lists(images, max_size=2).map(tuple), st.text(max_size=9)
)


@given(requests)
def test_requests_arrive_as_they_were_sent(request: RewardRequest) -> None:
    item = json.loads(json.dumps(pack_request(request, "a-1")))
    found = unpack_request(item, 1000).request
    assert (found.prompt, found.meta, found.key) == (request.prompt, request.meta, request.key)
    for there, here in zip(found.images, request.images, strict=True):
        assert torch.allclose(there, here, atol=1e-6)


@given(requests, st.sampled_from(["prompt", "meta", "key", "image", "references", "digest"]))
def test_a_request_that_was_changed_on_the_way_is_refused(request: RewardRequest, field: str) -> None:
    item = pack_request(request, "a-1")
    item[field] = item[field][:-1] if item[field] and field != "references" else [*item[field], item["image"]]
    with pytest.raises(RewardError, match="digest"):
        unpack_request(item, 1000)


@given(st.lists(st.sampled_from([Failure("a", "b: c"), Failure("a"), Judgement(0.5, {"red": -0.25}, "r")]), max_size=4))
def test_scores_arrive_as_they_were_sent(outcomes: list) -> None:
    sent = [pack_request(request, f"a-{i}") for i, request in enumerate(pictures(len(outcomes)))]
    received = [unpack_request(item, 1000) for item in sent]
    reply = json.loads(json.dumps({"scores": pack_scores(Scores.collect(outcomes, ("red",)), received)}))
    assert unpack_scores(reply, sent, Brightness()) == outcomes


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["scores", "id", "digest", "value", "parts", "problem", "reason", "red"]), inner
        )
    ),
)


@given(st.dictionaries(st.just("scores"), json_values), json_values, st.data())
def test_no_reply_whatever_makes_a_score_of_nothing(reply: dict[str, Any], odd: Any, data: st.DataObject) -> None:
    sent = [pack_request(request, f"a-{i}") for i, request in enumerate(pictures(2))]
    assert all(isinstance(one, Failure) for one in unpack_scores(reply, sent, Brightness()))
    received = [unpack_request(item, 1000) for item in sent]
    honest = pack_scores(Scores.collect([Judgement(0.5, {"red": 0.5})] * 2, ("red",)), received)
    field = data.draw(st.sampled_from(["value", "parts"]))
    honest[0][field] = odd
    found = unpack_scores({"scores": honest}, sent, Brightness())
    assert found[1] == Judgement(0.5, {"red": 0.5})
    number = isinstance(odd, int | float) and not isinstance(odd, bool) and abs(odd) <= 1.0001
    assert isinstance(found[0], Failure) or (field == "value" and number) or (field == "parts" and set(odd) == {"red"})


@given(st.binary(max_size=40), st.integers(0, 10_000), st.integers(0, 255))
def test_damaged_pictures_are_refused_or_read(junk: bytes, place: int, byte: int) -> None:
    png = to_png(pictures(3)[2].image)
    place %= len(png)
    for data in (junk, png[:place], png[:place] + bytes([byte]) + png[place + 1 :], png[:place] + junk + png[place:]):
        with suppress(RewardError):
            assert from_png(data, 1000).shape[0] == 3


def test_a_chunk_that_is_too_short_is_refused() -> None:
    png = to_png(pictures(1)[0].image)
    head = png[:8] + (4).to_bytes(4) + b"IHDR" + png[16:20]
    broken = head + zlib.crc32(head[12:]).to_bytes(4) + png[33:]
    with pytest.raises(RewardError, match="no PNG file that can be read"):
        from_png(broken, 1000)


def test_what_is_no_base64_is_refused() -> None:
    with pytest.raises(RewardError, match="no base64"):
        from_base64("a b")


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40))
def test_shrinking_keeps_proportions_and_the_limit(height: int, width: int, longest: int) -> None:
    found = shrink(torch.zeros(3, height, width), longest).shape[1:]
    assert max(found) == min(longest, max(height, width))
    scale = max(found) / max(height, width)
    assert abs(found[0] - max(1, height * scale)) <= 0.5
    assert abs(found[1] - max(1, width * scale)) <= 0.5
