"""Functions in replies as models write them: which text of a reply is the function, for every form that was seen."""

import ast
import json

import pytest
from tfcaf.candidates.replies import extract

from qllm_jax.tfcaf.static.extract import sources
from qllm_jax.tfcaf.verdict import Verdict

HEAD = "import jax.numpy as jnp\n\n\n"
BODY = 'def credit(state):\n    """Weights by distance."""\n    return jnp.exp(-state["d"]), 0.0\n'
CODE = HEAD + BODY
OLD = "def credit(state):\n    return state['old'], 0.0\n"
TICKS = CODE.replace("by distance.", "by distance.\n\n    ```\n    w = 1\n    ```\n    ")
TAGGED = CODE.replace("by distance.", "by distance, as <think> and </think> say.")
CHANNEL = "<|channel|>{}<|message|>"
FINAL = CHANNEL.format("final")
SHIFT = CODE.replace("import", "x = 1 << n\nn = x\nimport", 1)
LEFT = TICKS.replace("    ```", "```")


def block(code: str, fence: str = "```", language: str = "python") -> str:
    return f"{fence}{language}\n{code}{fence}\n"


def indented(text: str, by: str) -> str:
    return "".join(by + line + "\n" for line in text.rstrip("\n").split("\n"))


FORMS = {
    "closed_on_the_last_line": ("```python\n" + CODE.rstrip() + "```", CODE),
    "closed_on_the_last_line_before_prose": ("```python\n" + CODE.rstrip() + "```\nThat's it.\n", CODE),
    "never_closed": ("```python\n" + CODE, CODE),
    "never_closed_before_prose": ("```python\n" + CODE + "\nIt doesn't need more.\n", CODE),
    "four_backticks": (block(TICKS, "````"), TICKS),
    "four_backticks_closed_by_three": ("````python\n" + CODE + "```\n", CODE),
    "a_block_in_a_block": ("````markdown\n# Answer\n\n" + block(CODE) + "````\n", CODE),
    "fence_in_the_docstring": (block(TICKS), TICKS),
    "fence_in_the_docstring_at_the_left": (block(LEFT), LEFT),
    "fence_with_a_language_in_the_docstring": (block(TICKS.replace("```\n    w", "```python\n    w")), None),
    "tildes_around_a_fence": (block(LEFT, "~~~"), LEFT),
    "tildes_in_the_docstring": (block(LEFT.replace("```", "~~~")), LEFT.replace("```", "~~~")),
    "fence_in_a_comment": (block(CODE.replace("    return", "    # in ```\n    return")), None),
    "indented_fence": ("1. Code:\n\n" + indented(block(TICKS), "   "), TICKS),
    "quoted": (indented(block(CODE), "> "), CODE),
    "prose_before_the_fence": ("Here it is: " + block(CODE), CODE),
    "indented_without_a_fence": ("Here:\n\n" + indented(CODE, "    ") + "\nDone.", CODE),
    "nested_json": (json.dumps({"result": {"files": [{"path": "a.py", "content": CODE}], "n": 10**30}}), CODE),
    "list_of_lines": (json.dumps({"code": CODE.rstrip().split("\n")}), CODE),
    "list_of_lines_with_breaks": (json.dumps(CODE.rstrip().splitlines(keepends=True)), CODE),
    "json_in_prose": ("I [think] {this}:\n" + json.dumps({"code": CODE}, indent=2) + "\nGood?", CODE),
    "json_in_json": (json.dumps({"arguments": json.dumps({"code": CODE})}), CODE),
    "json_escaped_twice": (json.dumps({"code": CODE.replace('"', "'").replace("\n", "\\n")}), CODE.replace('"', "'")),
    "json_with_line_breaks": ('{"code": "' + CODE.replace('"', "'") + '"}', CODE.replace('"', "'")),
    "json_of_lines_in_a_fence": (block(json.dumps({"lines": CODE.split("\n")}, indent=1), language="json"), CODE),
    "json_with_a_comma_at_the_end": ('{"code": ' + json.dumps(CODE) + ',\n}', CODE),
    "cdata": (f"<file name='a.py'><![CDATA[\n{CODE}]]></file>", CODE),
    "a_shift_is_no_command": (block(SHIFT), SHIFT),
    "a_command_that_writes_the_file": (block(f"cat > a.py << 'EOF'\n{CODE}EOF\npython a.py\n", language="bash"), CODE),
    "a_special_token_after_the_fence": (block(OLD) + block(CODE).rstrip() + "<|return|>", CODE),
    "channels": (CHANNEL.format("analysis") + block(OLD) + "<|end|><|start|>assistant" + FINAL + block(CODE), CODE),
    "tags_of_other_models": ("".join(f"{tag}\n{block(OLD)}" for tag in ("[THINK]", "[/THINK]")) + block(CODE), CODE),
    "a_tag_in_the_docstring": (block(TAGGED), TAGGED),
    "a_tag_in_a_comment": (block(CODE.replace("0.0", "0.0  # <think>")), CODE.replace("0.0", "0.0  # <think>")),
    "two_files": (block(CODE) + "test.py\n" + block("def test():\n    credit({})\n"), CODE),
    "two_files_of_json": (json.dumps({"files": {"credit.py": CODE, "test.py": "def test():\n    return 1\n"}}), CODE),
    "two_versions": (block(OLD) + "Better:\n" + block(CODE), CODE),
    "the_last_cut_off": (block(CODE) + "\n```python\ndef credit(state):\n    w = jnp.sum(", CODE),
    "the_last_a_sketch": (block(CODE) + "In short:\n" + block("def credit(state):\n    ...\n"), CODE),
    "the_last_not_python": (block(CODE) + block("def credit(state):\n    return (w, b]\n"), CODE),
    "the_last_in_pseudocode": (block(CODE) + block("def credit(state): return w for each agent's d?\n"), CODE),
    "output_after_it": (block(CODE) + block("weights: [0.1, 0.9]\n", language="") + "```\n$ python\n```\n", CODE),
}  # fmt: skip


@pytest.mark.parametrize(("reply", "code"), FORMS.values(), ids=FORMS)
def test_the_function_of_a_reply(reply: str, code: str | None):
    found = extract(reply)
    assert isinstance(found, str), found
    ast.parse(found)
    assert HEAD in found
    assert 'state["d"]' in found.replace("'", '"')
    assert code is None or found == code


def test_a_block_that_is_complete_nowhere_goes_to_the_gates_as_markdown_has_it():
    broken = "def credit(state):\n    return (w, b]\n"
    assert extract(block(broken) + "That's it.") == broken


def test_other_versions_in_a_reply_are_the_next_to_be_tried():
    three = [OLD.replace("old", name) for name in "abcd"]
    assert sources("".join(map(block, three))) == list(reversed(three))[:3]


CUT_OFF = {
    "in_brackets": "```python\ndef credit(state):\n    return jnp.sum(",
    "before_the_return": "```python\ndef credit(state):\n    w = 1\n",
    "in_the_docstring": '```python\ndef credit(state):\n    """Weights\n    return w, b\n',
}


@pytest.mark.parametrize("reply", CUT_OFF.values(), ids=CUT_OFF)
def test_a_block_that_is_cut_off_is_said_so(reply: str):
    found = extract(reply)
    assert isinstance(found, Verdict)
    assert "cut off" in found.problem


LONG = ["```python\ndef credit(:\n```\n", "```python\n'\n", "x ```\n", "> ```\n", "def credit(\n", '{"def":', "['def",
        "~~~\n```\n", "'\\", '["def credit(a):\\n",', "```python\ndef credit(a): return 1\n```\n", "<<E\n",
        "```\ncat <<E\ndef credit(a):\n```\n", "```python\ndef credit(a):\n '<think>'\n return 1\n```\n",
        '{"def":1,},   ', "<|channel|>final<|message|>", "```\ndef credit(a):\n return (\n)\n))\n```\n"]  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("part", LONG)
def test_a_reply_of_a_megabyte_takes_linear_time(part: str):
    assert isinstance(extract(part * (2**20 // len(part))), str | Verdict)
