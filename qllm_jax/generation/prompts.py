"""Prompts of the two roles, after appendix A of QLLM (arxiv.org/abs/2504.12961), and of the task.

The description of the environment is generated from its spec, so that it cannot differ from the code.
"""

import json
import math
import re
from pathlib import Path
from typing import Literal, NamedTuple

from qllm_envs import Env, source_digest
from qllm_envs.core import Field, Spec
from qllm_jax.config import config_dir
from qllm_jax.errors import UserError
from qllm_jax.generation import flat_state
from qllm_jax.tfcaf.semantics.sizes_of_rewards import FACTOR
from qllm_jax.tfcaf.static.vocabulary import BUILTINS, KINDS, METHODS, MODULES, Signature
from qllm_jax.tfcaf.verdict import sha256

_FENCED_VALUE = re.compile(r"^```python\n\{\{(?P<key>\w+)\}\}\n```$", re.MULTILINE)

Hints = Literal["none", "paper"]

# Templates of user messages, filled in for each request.
MESSAGES = (
    "coder_first", "coder_next", "coder_repair", "coder_gate", "coder_duplicate", "coder_duplicates",
    "evaluator_choose", "evaluator_again",
)  # fmt: skip


OF_KINDS = ("coder_next",)  # of them, which the kinds other than value credit have texts of their own for
ALWAYS = ("coder_first", "coder_next", "coder_repair", "evaluator_choose")  # of them, which all transcripts have


class Prompts(NamedTuple):
    """All texts of one generation, recorded in its transcript: an edited file does not change one that is resumed."""

    coder: str  # system message of the coder
    evaluator: str  # system message of the evaluator
    messages: dict[str, str]  # templates, by the names in `MESSAGES`

    def message(self, name: str, **values: str) -> str:
        """Return the message `name` with its placeholders replaced."""
        return render(self.messages[name], name, **values)

    def sha256(self) -> str:
        """Return the SHA-256 of all texts."""
        return sha256(json.dumps(self._asdict(), sort_keys=True))


def build(
    env: Env, name: str, signature: Signature, select: str = "read", hints: Hints = "none", factors: bool = False
) -> Prompts:
    """Build the prompts for the environment `name`; `select` changes the evaluator's.

    `factors` asks a function of reward credit for factors in place of credit. Raise `UserError` for a text that is
    missing or has a wrong placeholder, and for hints that the paper does not give.
    """
    spec = env.spec
    advice = f"\n\n{_hints(spec, name)}" if hints == "paper" else ""
    own = "" if KINDS[signature] == "value" else f"kind_{KINDS[signature]}/"
    if signature == "paper":
        state = flat_state.describe(spec, describe_fields(spec, "{}"))
    else:
        state = describe_fields(spec, 'state["{}"]')
    task = describe_task(spec, name, state) + advice
    contract = _contract(spec, signature, factors)
    coder = fill(f"{own}coder", task=task, contract=contract)
    evaluator = fill(f"{own}evaluator", task=task, contract=contract, evidence=fill(f"evidence_{select}"))
    return Prompts(coder, evaluator, {name: read(f"{own}{name}" if name in OF_KINDS else name) for name in MESSAGES})


def _contract(spec: Spec, signature: Signature, factors: bool) -> str:
    """Return what to write: the form of a function of a signature, and the rules that hold for all."""
    words, n_agents = "\n".join(f"  {line}" for line in _words()), str(spec.n_agents)
    if signature == "paper":
        return fill("contract_paper", words=words, n_agents=n_agents, state_dim=str(spec.state_dim))
    rules = fill("contract_rules", words=words)
    if signature == "credit":
        return fill("contract_credit", n_agents=n_agents, rules=rules)
    if signature == "task":
        return fill("kind_task/contract", n_agents=n_agents, rules=rules)
    most = f"{spec.n_agents * FACTOR:g}"
    outcome = fill("kind_reward/outcome_factors") if factors else fill("kind_reward/outcome_credit", most=most)
    return fill("kind_reward/contract", n_agents=n_agents, outcome=outcome, rules=rules)


def describe_task(spec: Spec, name: str, state: str, sees: str = "The state, as your function sees it") -> str:
    """Return the text of a task, which ends in `state`, the description of its arrays, with the head `sees`.

    Raise `UserError` for a game without a text.
    """
    return fill(
        "task",
        text=_task_text(spec, name),
        n_agents=str(spec.n_agents),
        horizon=str(spec.horizon),
        reward=spec.reward,
        actions=", ".join(_action(number, name) for number, name in enumerate(spec.action_names)),
        state=state,
        sees=sees,
    )


def _task_text(spec: Spec, name: str) -> str:
    """Return the text of a game: its own, or the file of a game of this package. `UserError` if it has none.

    A task whose rules differ from those of the game's others has a file under its own name, or under that of the game
    and of an option that is true.
    """
    if spec.text:
        return spec.text.strip()
    if source_digest(name):
        raise UserError(f"environment {name!r} is not described for a language model: give its Spec a text")
    special = [spec.task, *(f"{name}_{option}" for option, value in spec.options.items() if value is True)]
    files = (each for each in special if (prompts_dir() / "tasks" / f"{each}.md").is_file())
    return fill(f"tasks/{next(files, name)}")


def fill(name: str, **values: str) -> str:
    """Return the text `prompts/<name>.md` with its placeholders replaced."""
    return render(read(name), name, **values)


def render(template: str, name: str, /, **values: str) -> str:
    """Replace each `{{key}}` of `template`. Raise `UserError` unless its placeholders are exactly the keys of `values`.

    Values are inserted verbatim: placeholders in them are not replaced, and fences around them are longer than in them.
    """
    found = set(re.findall(r"\{\{(.*?)\}\}", template))
    for key in sorted(found ^ set(values)):
        problem = "is nothing that can be filled in here" if key in found else "is missing"
        allowed = ", ".join(f"{{{{{known}}}}}" for known in sorted(values)) or "none"
        raise UserError(f"prompts/{name}.md: the placeholder {{{{{key}}}}} {problem} (placeholders: {allowed})")
    template = _FENCED_VALUE.sub(lambda match: match[0].replace("```", _fence(values[match["key"]])), template)
    return re.sub(r"\{\{(.*?)\}\}", lambda match: values[match[1]], template)


def fenced(source: str) -> str:
    """Return a block of Python whose fences are longer than any in the source: no text in it gets out of the block."""
    fence = _fence(source)
    return f"{fence}python\n{source.strip()}\n{fence}"


def _fence(text: str) -> str:
    return "`" * (max((len(run) for run in re.findall(r"`{3,}", text)), default=2) + 1)


def read(name: str) -> str:
    """Read `prompts/<name>.md`, without blank lines at its ends."""
    path = prompts_dir() / f"{name}.md"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UserError(f"the prompt {str(path)!r} cannot be read: {error.strerror}") from error


def prompts_dir() -> Path:
    """Return the folder of the prompts: beside `configs`, in a checkout and in a wheel."""
    return config_dir().parent / "prompts"


def _hints(spec: Spec, name: str) -> str:
    """Advice of the paper for a battle (appendix A, "heuristic reasoning guide").

    Its other task texts have rules and aims, and no advice. `spec.task` ends with the name of the scenario.
    """
    known = [(path.parent.name, path.stem) for path in sorted((prompts_dir() / "hints").glob("*/*.md"))]
    for game, scenario in known:
        if game == name and spec.task.endswith(f"_{scenario}"):
            return fill(f"hints/{game}", scenario=read(f"hints/{game}/{scenario}"))
    having = " and ".join(f"{game} with env.scenario={scenario}" for game, scenario in known)
    raise UserError(f"hints=paper: the paper gives no hints for {spec.task}, only for {having}; choose hints=none")


def describe_fields(spec: Spec, access: str) -> str:
    """Return one paragraph for each array of the state. `access` is a template: the expression for a name's array."""
    texts = (f"{access.format(name)}, shape {field.shape}: {_meaning(field)}" for name, field in spec.fields.items())
    return "\n".join(map(flat_state.paragraph, texts))


def _action(number: int, name: str) -> str:
    return name if name == str(number) else f"{number} {name}"


def _meaning(field: Field) -> str:
    low, high = field.low, field.high
    if math.isinf(low) and math.isinf(high):
        bounds = "not bounded"
    elif math.isinf(high):
        bounds = f"at least {low:g}"
    elif math.isinf(low):
        bounds = f"at most {high:g}"
    else:
        bounds = f"from {low:g} to {high:g}"
    return f"{field.meaning}. Unit: {field.unit}. Range: {bounds}."


def _words() -> list[str]:
    """Lines that list the words of the static check."""
    plain = {module: [name for name in names if f"{module}.{name}" not in MODULES] for module, names in MODULES.items()}
    plain |= {"of arrays": list(METHODS), "of Python": list(BUILTINS)}
    texts = [f"{where}: {' '.join(sorted(names))}" for where, names in plain.items() if names]
    return [line for text in texts for line in flat_state.paragraph(text).split("\n")]
