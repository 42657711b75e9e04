"""`gallery/index.html`: the rounds of each prompt side by side; it needs nothing from elsewhere."""

from collections.abc import Sequence
from html import escape

from omnigen2.curation.reflection.attempts import Attempts, State, Try
from omnigen2.curation.reflection.folder import RoundPlan
from omnigen2.curation.reflection.judge import Unjudged, Verdict

SHOWN = 60
"""Prompts of each kind."""
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 130rem; padding: 0 1rem; }
article { border-top: 1px solid #8886; padding: .8rem 0; }
h3 { font-size: 1rem; margin: 0 0 .4rem; overflow-wrap: anywhere; }
.rounds { display: flex; flex-wrap: wrap; gap: 1.2rem; }
.round { border-left: 3px solid #8886; padding-left: .6rem; }
.tries { display: flex; flex-wrap: wrap; gap: .5rem; }
figure { margin: 0; max-width: 15rem; }
figure img { display: block; width: 9rem; image-rendering: pixelated; border: 3px solid transparent; }
.passed { opacity: .55; }
.passed img { width: 4.5rem; }
.right img { border-color: #2a2; }
.wrong img { border-color: #c33; }
figcaption { font-size: .8rem; overflow-wrap: anywhere; white-space: pre-line; }
.passed figcaption { max-width: 4.5rem; font-size: .65rem; }
p { font-size: .8rem; opacity: .75; margin: 0 0 .2rem; }
"""
POLICY = "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'"
KINDS: dict[State, str] = {
    "mended": "Mended",
    "wrong": "Still wrong",
    "right": "Right at once",
    "unjudged": "Without a verdict",
    "waiting": "Waiting for the judge",
}


def gallery(every: Sequence[Attempts], plans: Sequence[RoundPlan]) -> str:
    """The whole page; its pictures are those that were drawn."""
    kinds = {title: [one for one in every if one.state == state] for state, title in KINDS.items()}
    sections = "\n".join(_section(title, some, plans) for title, some in kinds.items() if some)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Reflections</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{sections}\n</body>\n</html>\n"
    )


def _section(title: str, some: Sequence[Attempts], plans: Sequence[RoundPlan]) -> str:
    some_of = f", {SHOWN} of them here" if len(some) > SHOWN else ""
    shown = "\n".join(_article(one, plans) for one in some[:SHOWN])
    return f"<h2>{title}: {len(some)}{some_of}</h2>\n{shown}"


def _article(one: Attempts, plans: Sequence[RoundPlan]) -> str:
    chosen = {attempt.picture for attempt in one.path}
    rounds = "".join(
        f'<div class="round"><p>round {number}: {plans[number].how}, {escape(plans[number].model)}</p>'
        f'<div class="tries">{"".join(_figure(one, trial, trial.picture in chosen) for trial in tries)}</div></div>'
        for number, tries in enumerate(one.rounds)
    )
    return f'<article><h3 dir="auto">{escape(one.prompt.text)}</h3><div class="rounds">{rounds}</div></article>'


def _figure(one: Attempts, trial: Try, chosen: bool) -> str:
    match trial.said:
        case Verdict() as said:
            mark, words = "right" if said.right else "wrong", f"{said.score:.3g}"
            words += f" · {said.answer}" if chosen else ""
            words += f"\n→ {said.edit}" if chosen and said.edit and said.edit not in said.changes else ""
        case Unjudged() as said:
            mark, words = "", f"no verdict: {said.reason}"
        case None:
            mark, words = "", "not judged yet"
    kind = f"{mark}{'' if chosen else ' passed'}".strip()
    return (
        f'<figure class="{kind}"><img src="../prompts/{one.prompt.key}/{trial.picture}" alt="" '
        f'title="seed {trial.seed}" loading="lazy">'
        f'<figcaption dir="auto">{escape(words)}</figcaption></figure>'
    )
