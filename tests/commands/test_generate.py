"""The command: the whole loop against a real HTTP server, replays, answers by hand, and mistakes in one sentence."""

import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from chat_server import Answer, Server, completion, error, serving
from scripted import arguments, fenced, function, gates, is_evaluator, judgement, numbered

from qllm_envs import make
from qllm_jax import cli, config, process, tfcaf
from qllm_jax import generate as module
from qllm_jax.commands.generate import generate
from qllm_jax.errors import UserError
from qllm_jax.generation import prompts, settings
from qllm_jax.llm import providers, transcript
from qllm_jax.program import experiment
from qllm_jax.run import folder
from qllm_jax.tfcaf import gates as real_gates
from qllm_jax.tfcaf.verdict import Verdict

KEY = "sk-very-secret-0123456789"
LIBRARY = Path(__file__).resolve().parents[2] / "qllm_jax" / "tfcaf" / "library"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QLLM_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("TEST_KEY", KEY)


@pytest.fixture
def scripted_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qllm_jax.tfcaf.gates.verify", gates)


GOOD = '''
import jax
import jax.numpy as jnp

IGM = True


def credit(state):
    """Agents near to a landmark matter. Each keeps some weight."""
    apart = state["agent_pos"][:, None] - state["landmark_pos"][None]
    near = jnp.min(jnp.sum(apart**2, axis=-1), axis=1)
    return jax.nn.softmax(-near / (1.0 + near)), 0.0
'''.lstrip()
NAN_GRADIENT = GOOD.replace("jnp.sum(apart**2, axis=-1)", "jnp.linalg.norm(apart * 0.0, axis=-1)")
NUMPY, TORCH, LOOP = (GOOD.replace("jnp.min(", f"{name}.min(") for name in ("numpy", "torch", "lax"))


def misbehaving(request: dict[str, Any], n: int) -> Answer:
    """One round of two: candidate 1 passes after a repair, candidate 2 never does. The transport fails in between."""
    del request
    answers = [
        completion(fenced(NAN_GRADIENT), reasoning_content="a thought"),
        error(503, "busy"),
        completion(f"<think>```python\nno\n```</think>{fenced(GOOD)}"),
        Answer("", how="drop"),
        completion([{"type": "text", "text": fenced(NUMPY)}], usage=None),
        Answer("<html>proxy</html>"),
        completion(fenced(TORCH)),
        completion(fenced(LOOP)),
        completion(None, finish="length"),
        completion(f"Sure! ```json\n{judgement(choice=1, reason='milder', igm_reason='a sum')}\n```"),
    ]
    return answers[n]


def test_the_whole_loop_with_the_gates(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch):
    path, verified, verify = tmp_path / "run", [], real_gates.verify
    monkeypatch.setattr(
        real_gates, "verify", lambda text, file, env, kind: verified.append(file) or verify(text, file, env, kind)
    )
    with serving(misbehaving) as server:
        assert generate(arguments(server, path, "rounds=1", "llm.api_key_env=TEST_KEY")) == 0
    asked = server.questions
    # A repair gets what is wrong, and the code it is about; a retry is the same request again.
    assert "NANGRAD" in asked[1]
    assert "apart * 0.0" in asked[1]
    assert asked[1] == asked[2]
    assert asked[3] == asked[4] == asked[0]
    assert "STATIC" in asked[5]
    assert "numpy.min" in asked[5]
    assert asked[5] == asked[6]
    assert "torch.min" in asked[7]
    assert "numpy.min" not in asked[7]
    # A reply without content was cut off: the evaluator is asked again.
    assert is_evaluator(server.requests[8])
    assert is_evaluator(server.requests[9])
    assert "## Function 1" in asked[8]
    assert "## Function 2" not in asked[8]
    source = (path / "tfcaf.py").read_text()
    assert source.startswith("# A credit function (TFCAF) for mpe_spread, 3 agents, written by a language model.\n")
    assert "# Model: loopback-1\n# Date: 2026-06-01, round_1_candidate_1_try_1" in source
    assert "# Chosen by the evaluator: milder\n# IGM on: a sum\n" in source
    assert tfcaf.load(str(path / "tfcaf.py"), make("mpe_spread", n_agents=3).spec).igm
    check_files(path, server, capsys.readouterr().out)
    # The file has the pass of its candidate: its process is not started again.
    assert verified == [f"round_1_candidate_{n}_try_{i}.py" for n, tries in ((1, 2), (2, 3)) for i in range(tries)]


def check_files(path: Path, server: Server, printed: str) -> None:
    names = {"tfcaf.py", "table.txt", "summary.json", "generate.yaml", "transcript.jsonl", "candidates"}
    assert names <= {file.name for file in path.iterdir()}
    written = sorted(file.stem for file in (path / "candidates").glob("*.py"))
    assert written == [f"round_1_candidate_{n}_try_{i}" for n, tries in ((1, 2), (2, 3)) for i in range(tries)]
    summary = json.loads((path / "summary.json").read_text())
    codes = [tried["verdict"]["code"] for tried in summary["tries"]]
    assert codes == ["NANGRAD", "OK", "STATIC", "STATIC", "STATIC"]
    assert summary["chosen"]["place"] == "round_1_candidate_1_try_1"
    assert (summary["calls"], summary["tokens"], summary["usd"]) == (len(server.requests), None, None)
    table = (path / "table.txt").read_text()
    assert table in printed
    assert re.search(r"^1 +1 +1 +OK .* chosen$", table, re.MULTILINE)
    assert "why: milder" in table
    assert "IGM on: a sum" in table
    assert "10 calls (3 failed), 720 tokens (1 replies report none), cost unknown" in table
    assert f"algo.mixer.function={path / 'tfcaf.py'}" in printed
    assert KEY not in printed
    assert not [file for file in path.rglob("*") if file.is_file() and KEY in file.read_text()]


@pytest.mark.usefixtures("scripted_gates")
def test_a_replay_needs_no_key_and_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with serving(numbered) as server:
        assert generate(arguments(server, tmp_path / "a", "llm.api_key_env=TEST_KEY", "llm.usd_per_1m_input=3")) == 0
    monkeypatch.delenv("TEST_KEY")
    for source, name in ((tmp_path / "a", "b"), (tmp_path / "b" / transcript.NAME, "c")):
        assert generate(["llm=replay", f"llm.transcript={source}", f"run_dir={tmp_path / name}"]) == 0
        for file in ("tfcaf.py", "table.txt", "summary.json", transcript.NAME, "generate.yaml"):
            assert (tmp_path / name / file).read_bytes() == (tmp_path / "a" / file).read_bytes(), file
        assert sorted(p.name for p in (tmp_path / name / "candidates").iterdir()) == sorted(
            p.name for p in (tmp_path / "a" / "candidates").iterdir()
        )


@pytest.mark.usefixtures("scripted_gates")
def test_edited_prompts_change_no_generation_that_has_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with serving(numbered) as server:
        assert generate(arguments(server, tmp_path / "a", "max_calls=2")) == 3
        monkeypatch.setattr(prompts, "prompts_dir", lambda: tmp_path / "nowhere")
        assert generate([f"resume={tmp_path / 'a'}", "max_calls=99"]) == 0
        systems = {request["messages"][0]["content"] for request in server.requests if not is_evaluator(request)}
    assert len(systems) == 1


@pytest.mark.usefixtures("scripted_gates")
def test_answers_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture):
    path = tmp_path / "run"
    start = ["llm=manual", "llm.model=some chat", f"run_dir={path}", "k=2", "rounds=1"]
    assert generate(start) == 4
    questions = [path / "prompts" / f"round_1_candidate_{n}_try_0.md" for n in (1, 2)]
    assert all(question.is_file() for question in questions)
    printed = capsys.readouterr().out
    assert f"{questions[1]} is to be answered in {path / 'replies' / questions[1].name}" in printed
    assert f"resume={path}" in printed
    assert "def credit(state):" in questions[0].read_text()
    reply(path, "round_1_candidate_1_try_0", fenced(function("one")))
    reply(path, "round_1_candidate_2_try_0", " \n")  # saved, and nothing pasted yet
    assert generate([f"resume={path}"]) == 4
    reply(path, "round_1_candidate_2_try_0", fenced(function("bad")))
    assert generate([f"resume={path}"]) == 4
    assert "the gradient is nan" in (path / "prompts" / "round_1_candidate_2_try_1.md").read_text()
    reply(path, "round_1_candidate_2_try_1", fenced(function("two")))
    assert generate([f"resume={path}"]) == 4
    reply(path, "round_1_evaluator_try_0", judgement(choice=2))
    assert generate([f"resume={path}"]) == 0
    source = (path / "tfcaf.py").read_text()
    assert '"""two"""' in source
    assert "# Model: some chat\n" in source
    assert "cost unknown" in (path / "table.txt").read_text()


def reply(path: Path, name: str, text: str) -> None:
    (path / "replies" / f"{name}.md").write_text(text)


SENTENCES = [
    (["k=0"], "k must be greater than or equal to 1, got 0"),
    (["kk=1"], "unknown key 'kk': did you mean 'k'?"),
    (["rounds=two"], "rounds must be a valid integer, got 'two'"),
    (["repairs=-1"], "repairs must be greater than or equal to 0, got -1"),
    (["evaluator=maybe"], "evaluator must be 'on' or 'off', got 'maybe'"),
    (["signature=torch"], "signature must be 'credit' or 'paper', got 'torch'"),
    (["hints=ours"], "hints must be 'none' or 'paper', got 'ours'"),
    (
        ["llm=manual", "hints=paper"],
        "hints=paper: the paper gives no hints for mpe_spread_n3, only for smax with env.scenario=2c_vs_64zg and "
        "smax with env.scenario=3s_vs_5z; choose hints=none",
    ),
    (["archive=maybe"], "archive must be 'auto', 'on' or 'off', got 'maybe'"),
    (["archive_tolerance=1"], "archive_tolerance must be less than 1, got 1"),
    (["trial_halvings=7"], "trial_halvings must be less than or equal to 6, got 7"),
    (["max_device_seconds=-1"], "max_device_seconds must be greater than 0, got -1"),
    (["max_usd=0"], "max_usd must be greater than 0, got 0"),
    (["max_calls"], "'max_calls' is not of the form key=value"),
    (["llm=gpt"], "llm 'gpt' does not exist: did you mean 'gpt_4o'? choose from deepseek,"),
    (["env=mpe_spred"], "env 'mpe_spred' does not exist: did you mean 'mpe_spread'?"),
    (["llm.modle=x"], "unknown key 'llm.modle': did you mean 'model'?"),
    (["llm=ollama", "llm.model=x", "+llm.modle=x"], "llm.provider 'openai' has no option 'modle'"),
    (["llm=ollama"], "llm.model must be a valid string, got None"),
    (["llm=deepseek", "llm.api_key_env=NOT_SET"], "set the environment variable NOT_SET to it"),
    (["llm=manual", "max_usd=1"], "max_usd needs prices: set llm.usd_per_1m_input and llm.usd_per_1m_output"),
    (["llm=manual", "env.horizon=0"], "mpe_spread: horizon must be an integer of at least 1, got 0"),
    (["llm=replay"], "llm=replay needs llm.transcript=FOLDER of a generation"),
    (
        ["llm=replay", "llm.transcript=x", "k=1"],
        "llm=replay repeats a generation as it was; only run_dir can be given",
    ),
    (["llm=replay", "llm.transcript=nowhere"], "there is no file 'nowhere'"),
    (["resume=nowhere"], "'nowhere' is not the folder of a generation (it has no transcript.jsonl)"),
    (
        ["resume=x", "hints=none"],
        "only max_calls, max_tokens, max_usd, max_minutes, max_device_seconds, "
        "llm.base_url, llm.api_key_env, llm.timeout_s, llm.retries, llm.backoff_s can change, not hints",
    ),
    (["resume=x", "k=1"], ", llm.backoff_s can change, not k"),
]


@pytest.mark.parametrize(("overrides", "sentence"), SENTENCES)
def test_a_mistake_is_one_sentence(overrides: list[str], sentence: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        generate(overrides)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_never_overwritten(tmp_path: Path):
    path = tmp_path / "run"
    assert generate(["llm=manual", f"run_dir={path}", "k=1"]) == 4
    before = (path / transcript.NAME).read_bytes()
    for given in (["llm=manual"], ["llm=replay", f"llm.transcript={path}"]):
        with pytest.raises(UserError, match=r"exists already: go on with python -m qllm_jax.generate resume="):
            generate([*given, f"run_dir={path}"])
    assert (path / transcript.NAME).read_bytes() == before


def test_a_folder_that_is_no_generation_is_told(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"exists already, and is no generation: remove it, or choose another"):
        generate(["llm=manual", f"run_dir={tmp_path}"])


def test_generations_of_one_second_get_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda *_: "20261129-120000")
    for _ in range(2):
        assert generate(["llm=manual", "k=1"]) == 4
    folders = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert folders == [f"generate_mpe_spread_n3_a-chat-window_20261129-120000{end}" for end in ("", "-2")]


def test_a_machine_that_fails_in_a_round_leaves_what_was_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fails_late(text: str, file: str, env: dict[str, Any], kind: str) -> Verdict:
        if file.startswith("round_2"):
            raise UserError("round_2 could not be verified: try again when less is running")
        return gates(text, file, env, kind)

    monkeypatch.setattr("qllm_jax.tfcaf.gates.verify", fails_late)
    path = tmp_path / "run"
    with (
        serving(numbered) as server,
        pytest.raises(UserError, match=r"when less is running; go on: .* resume=") as raised,
    ):
        generate(arguments(server, path, "rounds=2"))
    assert "\n" not in str(raised.value)
    assert {"tfcaf.py", "table.txt", "summary.json"} <= {file.name for file in path.iterdir()}
    assert "could not be verified" in json.loads((path / "summary.json").read_text())["stopped"]


def test_sigterm_ends_a_command_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(process, "owns_signals", lambda: True)
    with pytest.raises(KeyboardInterrupt), process.sigterm_interrupts():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    monkeypatch.setattr(process, "owns_signals", lambda: False)  # in a program that calls us as a library
    with process.sigterm_interrupts():
        assert signal.getsignal(signal.SIGTERM) is before


def test_a_folder_is_used_by_one_process(tmp_path: Path):
    path = tmp_path / "run"
    assert generate(["llm=manual", f"run_dir={path}", "k=1"]) == 4
    with folder.locked(path), pytest.raises(UserError, match="is in use"):
        generate([f"resume={path}"])


def test_a_folder_in_which_nothing_began_is_told(tmp_path: Path):
    (tmp_path / transcript.NAME).write_text("")
    with pytest.raises(UserError, match="stopped before it began"):
        generate([f"resume={tmp_path}"])


def test_settings_survive_being_recorded():
    for overrides in (["evaluator=off", "max_usd=2"], ["evaluator=on", "llm=manual"], ["llm.params.temperature=0.5"]):
        given = settings.load(overrides)
        plain = json.loads(json.dumps(settings.to_dict(given)))
        assert settings.from_dict(plain) == given


@pytest.mark.parametrize("name", config.group_names("llm"))
def test_every_llm_configuration_makes_a_model(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / transcript.NAME).write_text("")
    needed = {"ollama": ["llm.model=m"], "vllm": ["llm.model=m"], "replay": [f"llm.transcript={tmp_path}"]}
    composed = settings.load([f"llm={name}", *needed.get(name, [])]).llm
    if composed.get("api_key_env"):
        monkeypatch.setenv(composed["api_key_env"], KEY)
    assert providers.make(composed).model


@pytest.mark.parametrize("name", config.group_names("env"))
def test_every_environment_of_training_can_be_generated_for(name: str):
    composed = settings.load([f"env={name}"])
    described = prompts.prompts_dir() / "tasks" / f"{composed.env['name']}.md"
    assert described.is_file() or experiment.make_env(composed.env, composed.n_agents).spec.text


@pytest.mark.parametrize("recorded", sorted(LIBRARY.rglob("*.jsonl")), ids=lambda path: str(path.relative_to(LIBRARY)))
def test_every_transcript_of_the_library_rebuilds_its_file(recorded: Path, tmp_path: Path, monkeypatch):
    verified, passed = [], Verdict("OK", "L8", "", None, "", "", {})
    monkeypatch.setattr("qllm_jax.tfcaf.gates.verify", lambda text, file, env, kind: verified.append(text) or passed)
    monkeypatch.setattr("qllm_jax.tfcaf.passes.shipped", dict)  # as when it was new
    path = tmp_path / "run"
    assert generate(["llm=replay", f"llm.transcript={recorded}", f"run_dir={path}"]) == 0
    shipped = recorded.with_suffix(".py").read_bytes()
    assert (path / "tfcaf.py").read_bytes() == shipped
    # The gates have the last word on the file; tests/tfcaf/test_published.py shows that they pass it.
    assert verified == [shipped.decode()]


@pytest.mark.parametrize(("given", "code", "sentence"), [("--help", 0, "resume="), ("k=0", 2, "error: k must be")])
def test_help_and_exit_codes_of_the_command(given: str, code: int, sentence: str, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["generate", given])
    with pytest.raises(SystemExit) as exited:
        cli.main(module.on_cpu, module.__doc__)
    assert exited.value.code == code
    printed = capsys.readouterr()
    assert sentence in (printed.out if code == 0 else printed.err)
