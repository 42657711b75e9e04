"""The letter that an answer in words chooses."""

import re
import unicodedata
from collections.abc import Mapping, Set

from omnigen2.rl.rewards import without_thoughts

ANSWER = (
    r"(?i:\banswer|\bboxed|答案)(?i:[\s:是为{(\[\\$']|"
    r"\b(?:is|are|(?:should|must|would) be|the|correct|option|choice|letter|text)\b)*"
)
"""What stands before the letter that an answer ends up with."""
RIGHT = r"(?:the )?(?:only |best |most |right |correct )*(?:answer|option|choice|right|correct)\b"


def read_letter(said: str, options: Mapping[str, str]) -> str | None:
    """The letter that an answer chooses; thoughts before the answer are left out, and so is Markdown.

    Returns:
        The only letter behind "answer" or in a box (`Answer: B`, `the answer is (B)`), else the one that the answer
        begins with (`B`, `(B)`, `B.`, `B: a cat`), else the only one that is named otherwise (`B is right`, `Option B`,
        `I take (B)`), else that of the only option whose text is the answer, else the only letter of an option that
        stands alone among its words, else that of the only option whose text stands in the answer; None if there is
        none or more than one. Letters are capital.

    Source: the last two are `can_infer_option` and `can_infer_text` of vlmeval/utils/matching_util.py in
        open-compass/VLMEvalKit, which reads MMBench: marks become spaces, and one letter has to be there.
        `parse_multi_choice_response` of eval/utils/eval_utils.py in MMMU-Benchmark/MMMU reads `(B)`, `B` and `B.`
        anywhere, takes the last of several and draws one where there is none; here both are unreadable. In more than
        three words, `A` and `I` alone may be an article and a pronoun, and are no letters among the words.
    """
    answer = without_thoughts(said)
    if answer is None or not options:
        return None
    plain, one = _plain(answer), f"[{''.join(options)}]"
    several = rf"({one})\b(?:[)\]]*\s*(?:,|/|&|\bor\b|\band\b)\s*[(\[]*({one})\b(?!\s+\w))?"
    if answers := _letters(ANSWER + several, plain):
        return _only(answers)
    bracketed = _letters(rf"\(({one})\)", plain)
    head = re.match(rf"[(\[']*{several}", plain, re.ASCII)
    ends = head and re.match(r"[)\]'.:,、。]|\s*$", plain[head.end() if head[2] else head.end(1) :])
    if head and ends and len(bracketed) < 2:
        return None if head[2] else head[1]
    named = _letters(rf"(?i:option|choice)[\s:]*\(?{several}", plain) | _letters(rf"\b({one})\)? is {RIGHT}", plain)
    if found := named or bracketed:
        return _only(found)
    return _only(_same(plain, options) or _alone(plain, one) or _inside(plain, options))


def _same(plain: str, options: Mapping[str, str]) -> set[str]:
    """Of the options whose text is the answer."""
    text = plain.rstrip(".").casefold()
    return {letter for letter, option in options.items() if _plain(option).rstrip(".").casefold() == text}


def _alone(plain: str, one: str) -> set[str]:
    """Letters among the words."""
    found = _letters(rf"(?<![\w'-])(?<!not )({one})(?![\w'-])", plain.strip("'"))
    return set() if found <= {"A", "I"} and len(plain.split()) > 3 else found


def _inside(plain: str, options: Mapping[str, str]) -> set[str]:
    """Of the options whose text stands in the answer; none in a long one."""
    texts = {letter: _plain(option).rstrip(".").casefold() for letter, option in options.items()}
    if len(plain) > 2 * sum(map(len, texts.values())):
        return set()
    return {
        letter
        for letter, text in texts.items()
        if len(text) > 1 and re.search(rf"(?<!\w)(?<!not ){re.escape(text)}(?!\w)", plain.casefold())
    }


def _plain(text: str) -> str:
    """A text without Markdown and quotes, and with the brackets and colons of ASCII."""
    return re.sub(r'[*`"“”]', "", unicodedata.normalize("NFKC", text)).strip()


def _letters(pattern: str, text: str) -> set[str]:
    """All that the groups of a pattern catch; letters of other scripts are no part of a word."""
    return {letter for found in re.finditer(pattern, text, re.ASCII) for letter in found.groups() if letter}


def _only(found: Set[str]) -> str | None:
    return next(iter(found)) if len(found) == 1 else None
