"""Figures of a study's file: their kinds and keys. Every mistake is one sentence.

    figures:
      - {kind: curves, name: duty, tasks: [duty_n10], methods: [qllm, vdn], caption: "..."}

`tasks` and `methods` default to all of the study, `caption` to none. The picture is docs/studies/STUDY_NAME.png.
"""

from typing import Any, NamedTuple

from qllm_envs.parts import suggest
from qllm_jax.errors import UserError
from qllm_jax.studies.plan import Study, check_name

KINDS = {  # and what a picture of each is called
    "curves": "Learning curves",
    "bars": "Final returns",
    "auc_by_agents": "Mean over training by number of agents",
    "profile": "Performance profile",
    "improvement": "Probability of improvement",
    "critical_difference": "Critical differences of ranks",
}
KEYS = ("kind", "name", "tasks", "methods", "caption")


class FigureEntry(NamedTuple):
    """One entry of `figures`."""

    kind: str
    name: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    caption: str = ""


def entries(study: Study) -> list[FigureEntry]:
    """Read the figures of a study. UserError names what is wrong and what is allowed."""
    found = [entry(study, content) for content in study.plan.figures]
    names = [each.name for each in found]
    if repeated := [name for i, name in enumerate(names) if name in names[:i]]:
        raise UserError(f"{study.path}: two figures have the name {repeated[0]!r}")
    return found


def entry(study: Study, content: dict[str, Any]) -> FigureEntry:
    """Read one figure."""
    title = f"{study.path}: figure {content.get('name', content)!r}"
    for key in content:
        if key not in KEYS:
            raise UserError(f"{title}: unknown key {key!r}: {suggest(key, KEYS)}")
    for key in ("kind", "name"):
        if not isinstance(content.get(key), str):
            raise UserError(f"{title}: needs the key {key!r}, a text")
    try:
        check_name(content["name"])
    except ValueError as error:
        raise UserError(f"{title}: name {error}") from error
    if content["kind"] not in KINDS:
        raise UserError(f"{title}: kind {content['kind']!r} does not exist: {suggest(content['kind'], KINDS)}")
    if not isinstance(content.get("caption", ""), str):
        raise UserError(f"{title}: caption must be a text, got {content['caption']!r}")
    plan, chosen = study.plan, {}
    for key, known in (("tasks", plan.tasks), ("methods", plan.methods)):
        given = content.get(key, list(known))
        is_named = isinstance(given, list) and given and all(isinstance(name, str) for name in given)
        if not is_named or len(set(given)) < len(given):
            raise UserError(f"{title}: {key} must be a list of different names, got {given!r}")
        chosen[key] = tuple(given)
        if unknown := [name for name in chosen[key] if name not in known]:
            raise UserError(f"{title}: {key} name {unknown[0]!r}, which does not exist: {suggest(unknown[0], known)}")
    return FigureEntry(content["kind"], content["name"], **chosen, caption=content.get("caption", ""))
