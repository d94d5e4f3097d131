"""Replies of models, good and bad, with the verdict on what is found in them."""

import json

from qllm_jax.llm.replies import parse
from qllm_jax.tfcaf.static.extract import sources
from qllm_jax.tfcaf.verdict import Verdict

CODE = "def credit(state):\n    return 1.0 + state['agent_pos'][:, 0] ** 2, 0.0\n"
FENCED = f"```python\n{CODE}```\n"
DRAFT = "```python\ndef credit(state):\n    return torch.zeros(3)\n```\n"

CHUNKS = json.dumps({"choices": [{"message": {"content": [
    {"type": "thinking", "thinking": []}, {"type": "text", "text": FENCED}
]}}]})  # fmt: skip

# name: (reply, code of the verdict)
REPLIES: dict[str, tuple[str, str]] = {
    "1_no_fence_plain_def": (CODE, "OK"),
    "1_prose_around_plain_def": (f"Here it is:\n\nimport jax.numpy as jnp\n\n{CODE}\nIt uses the distance.\n", "OK"),
    "2_prose_only_refusal": ("I am sorry, I cannot help with that.", "EXTRACT"),
    "3_empty_content": ("", "EXTRACT"),
    "3_nothing_but_thoughts": ("<think>First, the landmarks.", "EXTRACT"),
    "4_think_tag_with_bad_fence_then_good": (f"<think>Maybe {DRAFT} no.</think>\nDone:\n{FENCED}", "OK"),
    "4_think_tag_without_its_beginning": (f"Maybe {DRAFT} no.\n</think>\n{FENCED}", "OK"),
    "4_think_tags_in_inline_code": (f"I will not use `<think>` tags.\n{FENCED}No `</think>` is needed.", "OK"),
    "5_two_fences_last_is_example_call": (f"{FENCED}Call it so:\n```python\nw, b = credit(state)\n```\n", "OK"),
    "5_two_versions_last_counts": (f"{DRAFT}Better:\n{FENCED}", "OK"),
    "6_indented_def_in_fence": (
        "1. Code:\n   ```python\n" + CODE.replace("def", "   def").replace("    return", "       return") + "   ```\n",
        "OK",
    ),
    "7_crlf_bom_tabs": ("\ufeff" + FENCED.replace("    ", "\t").replace("\n", "\r\n"), "OK"),
    "8_smart_quotes": (FENCED.replace("'", "\u2019"), "PARSE"),
    "9_fence_unclosed_truncated": ("```python\ndef credit(state):\n    w = jnp.sum(", "EXTRACT"),
    "10_json_wrapped_escaped_code": (json.dumps({"code": CODE, "why": "distance"}), "OK"),
    "10_json_in_a_fence": ("```json\n" + json.dumps({"code": FENCED}) + "\n```", "OK"),
    "10_json_that_is_broken": ('{"code": "def credit', "EXTRACT"),
    "11_mistral_list_content": (parse(CHUNKS, "m").text, "OK"),
    "12_html_error_page_200": ("<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", "EXTRACT"),
    "13_wrong_function_name": (FENCED.replace("credit", "weights"), "STATIC"),
    "14_two_defs_same_name": (f"```python\n{CODE}{CODE}```\n", "STATIC"),
    "15_evaluator_prose_instead_of_list": ("I prefer the second one: [0, 1, 0]", "EXTRACT"),
    "tildes": (f"~~~python\n{CODE}~~~\n", "OK"),
    "no_language": (f"```\n{CODE}```", "OK"),
    "endless": ("x" * (2**20 + 1), "EXTRACT"),
    "deep_json": ("[" * 100_000, "EXTRACT"),
}


def extract(reply: str, *, truncated: bool = False) -> str | Verdict:
    """Return the likeliest source in a reply, or an EXTRACT verdict."""
    found = sources(reply, truncated=truncated)
    return found if isinstance(found, Verdict) else found[0]
