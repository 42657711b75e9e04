"""The contact sheet of the micro-world: every task with its texts and the verifier's verdicts, to check by eye."""

import numpy as np
import torch
from matplotlib.figure import Figure

from omnigen2.microworld.tasks import (
    CONTEXT_KINDS,
    EDIT_KINDS,
    QUESTION_KINDS,
    TAGS,
    Caption,
    ContextKind,
    EditKind,
    JointVerdict,
    QuestionKind,
    Verdict,
    looks_nice,
    sample_caption,
    sample_context,
    sample_edit,
    sample_question,
    verify_caption,
    verify_context,
    verify_edit,
)
from omnigen2.microworld.world import (
    IMAGE_SIZES,
    ImageSize,
    Pixels,
    Scene,
    Vocabulary,
    draw,
    draw_glyphs,
    full_vocabulary,
    glyph_score,
    read,
    read_glyphs,
    sample_glyphs,
    sample_scene,
)
from omnigen2.pictures import Panel, Section, contact_sheet

NOISE_LEVELS = (0.1, 0.2, 0.3, 0.5, 0.8)
"""Standard deviations of the noise that shows how verdicts degrade; pixels go from -1 to 1."""


def preview(size: ImageSize, seed: int) -> Figure:
    """Draw the contact sheet, with one section for each family of tasks.

    Raises:
        ValueError: If there is no vocabulary for the size, or the seed is negative.
    """
    if size not in IMAGE_SIZES or seed < 0:
        raise ValueError(
            f"the micro-world has pictures of {', '.join(map(str, IMAGE_SIZES))} pixels and seeds from 0, got size "
            f"{size} and seed {seed}; choose one of them"
        )
    rng, world = np.random.default_rng(seed), full_vocabulary(size)
    captions = [sample_caption(world, rng, tag) for tag in (*TAGS, *TAGS)]
    sections = (
        Section("Captions, two of each GenEval tag", tuple(_caption(caption, size) for caption in captions)),
        Section(
            "Noise and damage: the verifier must find less and less, and never crash",
            (*_noisy(captions[5], size, rng), *_damaged(captions[0], size)),
        ),
        Section("Edits, two of each kind", tuple(_edit(kind, size, world, rng) for kind in EDIT_KINDS * 2)),
        Section(
            "In-context tasks, after OmniContext's eight kinds",
            tuple(_context(kind, size, world, rng) for kind in CONTEXT_KINDS),
        ),
        Section("Questions", tuple(_question(kind, size, world, rng) for kind in QUESTION_KINDS)),
        Section("Letters, and what the reader reads", tuple(_glyphs(size, rng) for _ in range(8))),
        Section("The shallow 'looks nice' score, which the last picture hacks", _nice(size, world, rng)),
    )
    return contact_sheet(f"The micro-world at {size} pixels, seed {seed}", sections)


def _said(verdict: Verdict) -> str:
    met = sum(clause.met for clause in verdict.clauses)
    more = f", and {len(verdict.unmet) - 2} more" if len(verdict.unmet) > 2 else ""
    missing = f"; not found: {', '.join(verdict.unmet[:2])}{more}" if verdict.unmet else ""
    return f"{met} of {len(verdict.clauses)} clauses met{missing}"


def _said_twice(verdict: JointVerdict) -> str:
    parts = "; ".join(f"{name}: {_said(part)}" for name, part in verdict.parts.items())
    return f"{parts}; score {verdict.graded:.2f}"


def _caption(caption: Caption, size: ImageSize) -> Panel:
    return _seen(caption.group, caption, draw(caption.scene, size))


def _seen(title: str, caption: Caption, picture: Pixels) -> Panel:
    verdict = verify_caption(caption.specification, picture)
    return Panel(title, (("", picture),), caption.text, _said(verdict), verdict.exact)


def _noisy(caption: Caption, size: ImageSize, rng: np.random.Generator) -> list[Panel]:
    clean = draw(caption.scene, size)
    noise = torch.from_numpy(rng.normal(size=tuple(clean.shape)).astype(np.float32))
    return [_seen(f"noise {level}", caption, clean + level * noise) for level in NOISE_LEVELS]


def _damaged(caption: Caption, size: ImageSize) -> list[Panel]:
    clean = draw(caption.scene, size)
    half = clean.clone()
    half[:, :, int(caption.scene.items[0].column * size) :] = 0
    small = torch.nn.functional.adaptive_avg_pool2d(clean, size // 8)
    blurred = torch.nn.functional.interpolate(small[None], (size, size), mode="bilinear")[0]
    damaged = {"faint": clean * 0.4, "half drawn": half, "blurred": blurred}
    return [_seen(name, caption, picture) for name, picture in damaged.items()]


def _edit(kind: EditKind, size: ImageSize, world: Vocabulary, rng: np.random.Generator) -> Panel:
    task = sample_edit(world, rng, kind)
    source, target = draw(task.source, size), draw(task.target, size)
    verdict = verify_edit(task, target)
    said = _said_twice(verdict)
    said += f" (the source itself scores {verify_edit(task, source).graded:.2f})"
    return Panel(kind, (("source", source), ("target", target)), task.instruction, said, verdict.exact)


def _context(kind: ContextKind, size: ImageSize, world: Vocabulary, rng: np.random.Generator) -> Panel:
    task = sample_context(world, rng, kind)
    target = draw(task.target, size)
    references = ((f"image {number}", draw(scene, size)) for number, scene in enumerate(task.references, 1))
    verdict = verify_context(task, target)
    said = _said_twice(verdict)
    title = kind.replace("_", " ")
    return Panel(title, (*references, ("target", target)), task.instruction, said, verdict.exact)


def _question(kind: QuestionKind, size: ImageSize, world: Vocabulary, rng: np.random.Generator) -> Panel:
    question = sample_question(world, rng, kind)
    return Panel(kind, (("", draw(question.scene, size)),), question.text, question.answer)


def _glyphs(size: ImageSize, rng: np.random.Generator) -> Panel:
    task = sample_glyphs(rng)
    picture = draw_glyphs(task, size)
    found, score = read_glyphs(picture), glyph_score(task.text, picture)
    return Panel("letters", (("", picture),), task.instruction, f"reads {found}, score {score:.2f}", score == 1)


def _nice(size: ImageSize, world: Vocabulary, rng: np.random.Generator) -> tuple[Panel, ...]:
    scenes = (Scene(()), *(sample_scene(world, rng, count) for count in (1, 2, 3, 4)))
    pictures: list[Pixels] = [draw(scene, size) for scene in scenes]
    place = torch.arange(size) // 2 % 2
    checks = 1 - 2 * ((place[:, None] + place[None, :]) % 2).float()
    pictures.append(torch.stack((checks, -checks, torch.ones_like(checks))))
    found = (f"{len(read(picture).items)} items found" for picture in pictures)
    return tuple(
        Panel("looks nice", (("", picture),), f"{looks_nice(picture):.2f}", text)
        for picture, text in zip(pictures, found, strict=True)
    )
