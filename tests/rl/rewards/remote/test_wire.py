"""Requests and scores as JSON: what arrives is what was sent, and anything else is refused."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.rl import Failure, Judgement, RewardError, RewardRequest, Scores
from omnigen2.rl.rewards.remote.wire import (
    PictureLimits,
    pack_request,
    pack_scores,
    unpack_request,
    unpack_scores,
)
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
    found = unpack_request(item, PictureLimits(1000, 10_000)).request
    assert (found.prompt, found.meta, found.key) == (request.prompt, request.meta, request.key)
    for there, here in zip(found.images, request.images, strict=True):
        assert torch.allclose(there, here, atol=1e-6)


@given(requests, st.sampled_from(["prompt", "meta", "key", "image", "references", "digest"]))
def test_a_request_that_was_changed_on_the_way_is_refused(request: RewardRequest, field: str) -> None:
    item = pack_request(request, "a-1")
    item[field] = item[field][:-1] if item[field] and field != "references" else [*item[field], item["image"]]
    with pytest.raises(RewardError, match="digest"):
        unpack_request(item, PictureLimits(1000, 10_000))


failures = st.builds(Failure, st.sampled_from(["a", "a: b"]), st.sampled_from(["", "b: c"]), st.booleans())


@given(st.lists(failures | st.just(Judgement(0.5, {"red": -0.25}, "r")), max_size=4))
def test_scores_arrive_as_they_were_sent(outcomes: list) -> None:
    sent = [pack_request(request, f"a-{i}") for i, request in enumerate(pictures(len(outcomes)))]
    received = [unpack_request(item, PictureLimits(1000, 10_000)) for item in sent]
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
    received = [unpack_request(item, PictureLimits(1000, 10_000)) for item in sent]
    honest = pack_scores(Scores.collect([Judgement(0.5, {"red": 0.5})] * 2, ("red",)), received)
    field = data.draw(st.sampled_from(["value", "parts"]))
    honest[0][field] = odd
    found = unpack_scores({"scores": honest}, sent, Brightness())
    assert found[1] == Judgement(0.5, {"red": 0.5})
    number = isinstance(odd, int | float) and not isinstance(odd, bool) and abs(odd) <= 1.0001
    assert isinstance(found[0], Failure) or (field == "value" and number) or (field == "parts" and set(odd) == {"red"})
