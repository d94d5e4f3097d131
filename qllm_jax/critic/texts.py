"""Texts of a critic's questions: the task and the rules, which are alike in all of them and come first; an episode."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from qllm_envs import Spec
from qllm_jax.critic import episodes
from qllm_jax.critic.episodes import PlayedEpisode
from qllm_jax.generation import prompts

QUOTED_CHARS = 4000  # at the end of an unusable answer, which the model gets to see again
DRAWN = "The numbers of agents are drawn anew for each episode and mean nothing."
KEPT = "Agents have the same numbers in all episodes, those of the task."


class Texts(NamedTuple):
    """All texts of one training, recorded in its transcript: an edited file does not change one that is resumed."""

    task: str  # the game in words
    system: str
    question: str  # template
    again: str  # template


def build(spec: Spec, name: str, bound: float) -> Texts:
    """Build the texts for the environment `name`. UserError for one that no prompt describes."""
    task = prompts.describe_task(spec, name, prompts.describe_fields(spec, "{}"), "The state, as named arrays")
    given = {"n_agents": str(spec.n_agents), "bound": f"{bound:g}"}
    given["numbers"] = DRAWN if episodes.renumbers(spec, task) else KEPT
    system = prompts.fill("critic/system", task=task, **given)
    return Texts(task, system, prompts.read("critic/question"), prompts.read("critic/again"))


def question(texts: Texts, episode: PlayedEpisode, spec: Spec, order: Int[np.ndarray, " agents"]) -> str:
    """Return the question about one episode."""
    given = {"steps": str(len(episode.reward_t)), "total": episodes.compact(np.sum(episode.reward_t))}
    given |= {"episode": episodes.describe(episode, spec, order), "n_agents": str(spec.n_agents)}
    return prompts.render(texts.question, "critic/question", **given)


def again(texts: Texts, asked: str, answer: str, problem: str) -> str:
    """Return the question once more, after an answer that cannot be used."""
    given = {"question": asked, "problem": problem, "answer": answer[-QUOTED_CHARS:] or "nothing"}
    return prompts.render(texts.again, "critic/again", **given)
