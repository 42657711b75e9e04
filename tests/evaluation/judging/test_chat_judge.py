"""What is stored of a judge behind a chat server."""

from omnigen2.evaluation.judging import ChatJudge
from omnigen2.rl.rewards import EditScoreReward, Judge
from omnigen2.rl.rewards.remote import AnswerSettings, ChatClient


def test_the_protocol_names_everything_but_the_server() -> None:
    client = ChatClient(["http://judge.example:8000/v1"], "vlm", "JUDGE_KEY", 512, AnswerSettings(seed=3))
    protocol = ChatJudge(EditScoreReward(Judge(client), passes=4)).protocol
    assert (protocol.model, protocol.passes, protocol.seed, protocol.image_size) == ("vlm", 4, 3, 512)
    prompts = [one.rpartition("-")[0] for one in protocol.prompt_version.split("+")]
    assert prompts == ["edit_consistency", "edit_quality"]
