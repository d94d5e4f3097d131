"""The archive: near-duplicates go back to the coder, are shown as what they are, trained with what they repeat."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import completion, serving
from scripted import arguments, fenced, function, gates, is_evaluator, judgement, reply

from qllm_jax.commands.generate import generate
from qllm_jax.generation import archive, likeness, settings, trials
from qllm_jax.generation.archive import SAME_TREE
from qllm_jax.generation.trial_training import Result, Trained
from qllm_jax.generation.types import Attempt, Candidate, Likeness, RequestId
from qllm_jax.llm import transcript
from qllm_jax.llm.client import Budget, Client
from qllm_jax.llm.types import Llm, StoppedError
from qllm_jax.tfcaf.verdict import Verdict

PASSED = Verdict("OK", "L8", "", None, "", "", {})


def written(number: int, source: str) -> Attempt:
    return Attempt(RequestId(1, "coder", number, 0), reply(), source, PASSED)


def weighted(x: float, name: str = "w") -> str:
    return f"def credit(state):\n    {name} = {x}\n    return {name}\n"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The outputs of a function are the number in it as both weights, and no bias."""
    number = lambda source: float(source.split("= ")[1].split("\n")[0])
    monkeypatch.setattr(likeness, "outputs", lambda source, task: np.array([[number(source)] * 2 + [0.0]] * 5))
    with transcript.opened(tmp_path / transcript.NAME) as lines:
        ask = lambda request, folder, seconds: pytest.fail("no request is made")
        yield Client(Llm("m", {}, ask), lines, Budget(), tmp_path, lambda line: None)  # pyright: ignore


def test_trees_and_outputs_are_compared_and_decisions_kept(client: Client):
    made = archive.make(client, lambda: None, 0.01)  # pyright: ignore
    sources = [weighted(1.0), weighted(1.0, "renamed"), weighted(1.005), weighted(1.05), weighted(1.055)]
    likes = [made.judge(written(i, source)).like for i, source in enumerate(sources, start=1)]
    first, fourth = "round_1_candidate_1_try_0", "round_1_candidate_4_try_0"
    outputs = "weights and bias differ by 0.{}% of the largest weight at most, on 5 probe states"
    assert likes == [
        None,
        Likeness(first, SAME_TREE),
        Likeness(first, outputs.format("50")),
        None,
        Likeness(fourth, outputs.format("48")),
    ]
    # A later process decides as before, whatever it would find now.
    again = archive.make(client, lambda: None, 1e9)  # pyright: ignore
    assert [again.judge(written(i, source)).like for i, source in enumerate(sources, start=1)] == likes
    as_candidate = lambda attempt: Candidate(1, attempt.id.candidate, (attempt,))
    assert made.trained_as(as_candidate(made.judge(written(3, sources[2])))) == sources[0]
    assert made.trained_as(as_candidate(written(9, weighted(1.05, "x")))) == sources[3]
    assert made.trained_as(as_candidate(written(9, weighted(7.0)))) == weighted(7.0)


def test_it_is_on_with_trainings_alone_and_off_in_older_transcripts():
    assert not settings.load([]).has_archive
    assert settings.load(["select=train"]).has_archive
    assert settings.load(["archive=on"]).has_archive
    assert not settings.load(["select=train", "archive=off"]).has_archive
    recorded = settings.to_dict(settings.load(["select=train"]))
    for key in ("archive", "archive_tolerance", "trial_halvings"):
        del recorded[key]
    older = settings.from_dict(recorded)
    assert not older.has_archive
    assert older.trial_halvings == 0


def number_of(request: dict[str, Any], n: int) -> Any:
    """Functions whose names alone differ, until the coder is told so; the evaluator takes the second."""
    user = request["messages"][1]["content"]
    if is_evaluator(request):
        return completion(judgement(choice=2 if "## Function 2" in user else 1))
    mark = "new" if "is a near-duplicate of" in user and n != 2 else "old"
    return completion(fenced(function(f"{mark} {n}").replace('"w"', f'"{mark}{n if mark == "new" else ""}"')))


def test_a_generation_with_near_duplicates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """Request 0 writes a function, 1 to 3 repeat it and are told so, the round after writes a new one at request 6."""
    monkeypatch.setenv("QLLM_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("qllm_jax.tfcaf.gates.verify", gates)
    monkeypatch.setattr(likeness, "outputs", lambda source, task: np.array([[float(sum(map(ord, source))), 1.0]]))
    trained = []

    def train(plan, sources, check):
        del plan, check
        trained.append(sources)
        yield from (Trained(i, Result([100], [[1.0, 2.0]]), 0.0) for i in range(len(sources)))

    monkeypatch.setattr(trials, "train", train)
    path = tmp_path / "run"
    with serving(number_of) as server:
        assert generate(arguments(server, path, "select=train", "repairs=1", "archive_tolerance=0.0")) == 0
    asked = server.questions
    assert "is a near-duplicate of" not in asked[1]
    assert f"near-duplicate of a function that was written before: {SAME_TREE}" in asked[2]
    assert "near-duplicate of function 1: the same but for names" in asked[3]  # the evaluator's pool
    assert "near-duplicates of functions written before: 1." in asked[4]  # the next round
    assert [len(sources) for sources in trained] == [1, 2]
    found = json.loads((path / archive.NAME).read_text())
    assert [len(entry["near_duplicates"]) for entry in found] == [4, 0, 0]
    assert found[0]["training"]["returns"] == [[1.0, 2.0]]
    assert "near-duplicate of round_1_candidate_1_try_0" in (path / "table.txt").read_text()
    assert f"OK, a near-duplicate of round_1_candidate_1_try_0: {SAME_TREE}" in capsys.readouterr().out
    assert generate(["llm=replay", f"llm.transcript={path}", f"run_dir={tmp_path / 'again'}"]) == 0
    for file in ("tfcaf.py", "table.txt", "summary.json", archive.NAME, transcript.NAME):
        assert (tmp_path / "again" / file).read_bytes() == (path / file).read_bytes(), file
    assert len(trained) == 2


def test_comparing_outputs_is_work_of_this_machine(client: Client):
    made = archive.make(client, lambda: None, 0.01)  # pyright: ignore
    works = lambda: [record["work"] for record in client.transcript.records if record["kind"] == "device"]
    for number, source in enumerate([weighted(1.0), weighted(1.0, "renamed")], start=1):
        made.judge(written(number, source))
    assert works() == []
    made.judge(written(3, weighted(2.0)))
    assert works() == ["probe states"]
    used_up = client._replace(budget=Budget(max_device_seconds=1e-9))
    with pytest.raises(StoppedError, match="max_device_seconds"):
        archive.make(used_up, lambda: None, 0.01).judge(written(4, weighted(3.0)))  # pyright: ignore


def test_each_function_of_the_archive_has_its_own_training(client: Client):
    made = archive.make(client, lambda: None, 0.01)  # pyright: ignore
    for number, x in enumerate((1.0, 2.0, 3.0), start=1):
        made.judge(written(number, weighted(x)))
    for x in (1.0, 2.0):
        trials.add_result(client.transcript, weighted(x), Result([100], [[10 * x]]), random=0.0)
    archive.write(client.folder, client.transcript.records)
    found = [entry["training"] for entry in json.loads((client.folder / archive.NAME).read_text())]
    assert [training and training["returns"] for training in found] == [[[10.0]], [[20.0]], None]
