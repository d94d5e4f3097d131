"""The README and the pages of docs/ stay true: their commands run or compose, and what they name exists."""

import argparse
import importlib
import importlib.util
import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from qllm_jax import config, tfcaf
from qllm_jax.commands import named, zoo
from qllm_jax.commands.generate import ExitCode
from qllm_jax.run import zoo as library
from qllm_jax.stats import welch
from qllm_jax.studies import plan, report
from qllm_jax.studies.report import measured, tables
from qllm_jax.train import train

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
MAX_WORDS = 1200  # of the README: two screens
MAX_SENTENCES = 5  # of a paragraph
TINY = [
    "total_steps=400", "log_interval=200", "eval_interval=200", "eval_episodes=2", "algo.hidden_dim=4", "seeds=2",
    "algo.batch_episodes=2", "algo.buffer_episodes=2", "algo.n_envs=2", "final_episodes=4", "env.horizon=4",
]  # fmt: skip
FILLED = {"TASK": "lbf_10x10_3p_3f", "ALGORITHM": "matched_vdn", "NAME": "3m"}  # words that stand for others


def nav(entries: list) -> list[str]:
    """The pages of the site's navigation, in its order."""
    found = (value for entry in entries for value in entry.values())
    return [page for value in found for page in (nav(value) if isinstance(value, list) else [value])]


SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
PAGES = [README, *(DOCS / page for page in nav(SITE["nav"]) if page.endswith(".md")), CONTRIBUTING]
NOTEBOOKS = sorted(DOCS.rglob("*.ipynb"))  # tests/test_notebooks.py runs them


def fences(page: Path, language: str) -> str:
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL))


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


def spans(page: Path) -> list[str]:
    """Texts of inline code. One that is broken over lines is one text."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


def commands(text: str) -> list[tuple[str, list[str]]]:
    """(module, arguments) of every `python -m qllm_jax.X ...`."""
    return [(name, shlex.split(rest)) for name, rest in re.findall(r"python -m qllm_jax\.(\w+)([^&;\n]*)", text)]


def loops(arguments: list[str]) -> bool:
    """True if a shell has to expand the arguments first."""
    return re.search(r"[$*]", " ".join(arguments)) is not None


def expanded(arguments: list[str]) -> Iterator[list[str]]:
    """Each value of the shell's variables and braces, with words in capitals filled in."""
    text = shlex.join(arguments).replace("'", "")
    text = re.sub(r"\$\{?n\}?", "{3,6}", re.sub(r"\$\{?a\}?", "{qllm,qmix,vdn}", text))
    parts = re.split(r"\{([\w,]+)\}", text)
    choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
    for found in map("".join, itertools.product(*choices)):
        yield shlex.split(re.sub("|".join(FILLED), lambda match: FILLED[match.group()], found))


def each_once(shown: list[tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
    return [command for i, command in enumerate(shown) if command not in shown[:i]]


def shown_to_run() -> list[tuple[str, list[str]]]:
    """The commands of blocks of bash, each once, in the order of the pages."""
    return each_once([x for page in PAGES for x in commands(fences(page, "bash")) if not loops(x[1])])


def is_needed(command: tuple[str, list[str]], others: list[tuple[str, list[str]]]) -> bool:
    """True if a command is no training, resumes one, or makes a run folder that another command names."""
    name, arguments = command
    made = [argument.removeprefix("run_dir=") for argument in arguments if argument.startswith("run_dir=")]
    named = {word.removeprefix("resume=") for other in others for word in other[1]}
    return name != "train" or bool({*made} & named) or any(argument.startswith("resume=") for argument in arguments)


@pytest.mark.thorough
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_commands_run_in_order(every: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """All of them, but a training that no other command needs is only composed unless `every`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_function.py").write_text(fences(README, "python"))
    (tmp_path / "my_study.yaml").write_text(fences(DOCS / "studies.md", "yaml"))
    once = shown_to_run()
    names = {"train", "evaluate", "render", "explain", "report", "generate", "verify", "params", "study"}
    names |= {"check_env", "export", "zoo"}
    assert {name for name, _ in once} == names
    for name, arguments in once:
        if name == "export" and importlib.util.find_spec("flatbuffers") is None:
            continue
        if not every and not is_needed((name, arguments), once):
            config.load(arguments)
            continue
        resumes = any(argument.startswith("resume=") for argument in arguments)
        tiny = [] if name != "train" else ["total_steps=800"] if resumes else TINY
        run = train if name == "train" else named(name)
        # By hand, a generation ends with questions that wait for answers. One that asks a server is a text block.
        expected = ExitCode.WAITING if name == "generate" else 0
        with monkeypatch.context() as patch:
            if name == "params":  # tests/commands/test_params.py counts every preset
                patch.setattr(config, "group_names", lambda group: ["matched_qmix", "repo_qmix"])
            assert run([*arguments, *tiny]) == expected, (name, arguments)
    assert (tmp_path / "curves.png").is_file()
    assert (tmp_path / "runs" / "qmix" / "episode.gif").is_file()
    assert (tmp_path / "runs" / "qmix" / "explain.png").is_file()


@pytest.mark.thorough
def test_commands_that_are_not_run_compose():
    """Those of results, of servers and of clusters."""
    shown = [command for page in PAGES for command in commands(fences(page, "text"))]
    shown += [command for page in PAGES for span in spans(page) for command in commands(span)]
    shown += [command for page in PAGES for command in commands(fences(page, "bash")) if loops(command[1])]
    composed = 0
    for name, arguments in each_once(shown):
        assert importlib.util.find_spec(f"qllm_jax.{name}"), name
        if name not in ("train", "generate") or {"--multirun", "..."} & set(arguments):
            continue
        for found in expanded([argument for argument in arguments if not argument.startswith("resume=")]):
            if name == "train":
                config.load(found)
            else:
                config.compose("generate", found)
            composed += 1
    assert composed > 20


@pytest.mark.parametrize("file", ["buttons.py", "meeting/meeting/mixer.py"])
def test_the_parts_of_the_page_are_the_examples(file: str):
    lines = (ROOT / "examples" / file).read_text().partition('"""\n\n')[2]
    assert f"```python\n{lines}```" in (DOCS / "outside.md").read_text()


def test_benchmarks_accept_the_arguments_that_captions_name(monkeypatch: pytest.MonkeyPatch):
    class ParsedError(Exception):
        """Ends a benchmark once it has parsed."""

    def parse(parser: argparse.ArgumentParser) -> None:
        raise ParsedError(parse_args(parser, arguments))

    parse_args = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    texts = [text for page in PAGES for text in (fences(page, "text"), fences(page, "bash"), *spans(page))]
    shown = {found for text in texts for found in re.findall(r"python benchmarks/(\w+)\.py([^&;\n]*)", text)}
    assert len(shown) > 8
    for name, rest in sorted(shown):
        arguments = shlex.split(rest)
        if name == "draw":
            continue
        with pytest.raises(ParsedError):
            importlib.import_module(name).arguments()


def test_ci_installs_tests_and_builds_the_site_as_the_readme_says():
    script = (ROOT / ".ci" / "run").read_text()
    assert 'pip install -e ".[dev]" && python -m pytest' in fences(README, "bash")
    assert '-e ".[dev]"' in script
    assert "python -m pytest" in script
    assert "mkdocs build" in script
    assert "--strict" in script


def slugs(page: Path) -> set[str]:
    """Anchors of a page's headings, as a code host and the site make them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda page: page.name)
def test_links_pictures_and_anchors_exist(page: Path):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in slugs(found), target
        # The site holds docs/ alone.
        assert DOCS not in page.parents or found == page or DOCS in found.parents, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path):
    homes = (ROOT, ROOT / "qllm_jax")
    tops = {path.name for home in homes for path in home.iterdir() if path.is_dir()} - {"runs"}
    for span in spans(page):
        if re.fullmatch(r"[\w./*-]+/[\w./*-]*", span) and span.split("/")[0] in tops:
            pattern = re.sub("NAME|STUDY|TASK|METHOD", "*", span).rstrip("/")
            assert any(list(home.glob(pattern)) for home in homes), span


def test_functions_and_classes_that_are_named_are_in_their_files():
    named = [found for page in PAGES for found in re.findall(r"`(\w+)` in `([\w/]+\.py)`", prose(page))]
    assert named
    for name, path in named:
        assert re.search(rf"^(def |class |){name}\b", (ROOT / path).read_text(), re.MULTILINE), (name, path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paragraphs_are_short(page: Path):
    for paragraph in re.split(r"\n\s*\n", prose(page)):
        text = re.sub(r"`[^`]*`", "code", paragraph).strip()
        if (text and text[0] not in "|*-#1:!") or text.startswith("**"):
            assert len(re.findall(r"[.!?:]?[.!?](?=\s|$)", text)) <= MAX_SENTENCES, paragraph


def test_the_readme_is_two_screens():
    assert len(README.read_text().split()) <= MAX_WORDS


def comparisons() -> tuple[list[str], int]:
    """Rows of the table of differences between QLLM and VDN on benchmarks, and how many intervals exclude 0."""
    diagnostics = {"duty", "relay", "modes", "spectators"}
    rows, n_significant = {}, 0
    for name in ("credit", "paper", "anchor", "replication", "football"):
        data = measured.read(plan.load(name), ROOT / "results" / name)
        for task in data.tasks:
            row = {method: result for method, result in data.row(task).items() if method in ("qllm", "vdn")}
            key = row["qllm"].content["config_hash"] if len(row) == 2 else None  # studies may share a cell
            if key is None or key in rows or row["qllm"].content["config"]["env"]["name"] in diagnostics:
                continue
            metric, found = measured.metric_of(row), welch(row["qllm"].scores, row["vdn"].scores)
            n_significant += found.significant
            difference = tables.difference_text(found, metric, tables.scale_of(row))
            of = tables.name_of(data, task, metric), tables.seeds_and_steps(row)
            rows[key] = f"| [{name}](studies/{name}.md) | {' | '.join(of)} | {difference} |"
    return [*rows.values()], n_significant


def test_pages_have_the_differences_to_vdn():
    rows, n_significant = comparisons()
    table = "\n".join(rows)
    assert table in (DOCS / "results.md").read_text(), f"the rows of the table are:\n{table}"
    counted = f"{n_significant} of {len(rows)} intervals exclude 0"
    for page in (README, DOCS / "results.md"):
        assert counted in " ".join(page.read_text().split())


def test_the_readme_has_the_results_of_the_study_and_the_best_of_a_row_in_bold():
    data = measured.read(plan.load("credit"), ROOT / "results" / "credit")
    (table,) = re.findall(r"^\| task \| steps \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", README.read_text(), re.MULTILINE)
    tasks = {tables.name_of(data, task, measured.metric_of(data.row(task))): task for task in data.tasks}
    for line in table.splitlines():
        name, steps, *shown = [cell.strip() for cell in line.strip("|").split("|")]
        columns = ("qllm", "shuffled", "vdn", "qmix")
        row = {method: data.row(tasks[name])[method] for method in columns}
        texts = tables.final_texts(row, measured.metric_of(row))
        assert shown[:-1] == [texts[method].replace(tables.NO_BREAK, " ") for method in columns], name
        assert {tables.steps_text(each.content["env_steps"]) for each in row.values()} == {steps}, name


def test_the_site_lists_every_page():
    assert sorted(nav(SITE["nav"])) == sorted(str(page.relative_to(DOCS)) for page in [*DOCS.rglob("*.md"), *NOTEBOOKS])


@pytest.mark.parametrize("page", sorted((DOCS / "studies").glob("*.md")), ids=lambda page: page.name)
def test_the_page_of_a_study_is_made_of_its_results(page: Path):
    _, _, made = report.make(plan.load(page.stem), ROOT / "results" / page.stem)
    assert page.read_text() == made, f"run python -m qllm_jax.study {page.stem} report"


def first_column(page: Path, header: str) -> list[str]:
    """Names in the first column of the table whose first header cell is `header`."""
    (table,) = re.findall(rf"^\| {re.escape(header)} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", page.read_text(), re.MULTILINE)
    return [name for row in table.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


@pytest.mark.parametrize(
    ("page", "header", "group"),
    [
        (README, "`algo=`", "algo"),
        (README, "`env=`", "env"),
        (DOCS / "methods.md", "`algo=`", "algo"),
        (DOCS / "environments.md", "`env=`", "env"),
        (DOCS / "generation.md", "`llm=`", "llm"),
    ],
)
def test_tables_list_what_there_is(page: Path, header: str, group: str):
    assert sorted(first_column(page, header)) == sorted(config.group_names(group))


def test_the_table_of_keys_has_their_defaults():
    shown = dict(re.findall(r"`(\w+)` \(([\d,]+)\)", (DOCS / "use.md").read_text()))
    assert set(shown) == {"seeds", "seed", "total_steps", "eval_interval", "log_interval"}
    found = config.load([])
    assert {key: f"{getattr(found, key):,}" for key in shown} == shown


def test_the_table_of_the_library_lists_every_function():
    assert sorted(first_column(DOCS / "credit_functions.md", "functions")) == sorted(tfcaf.names())


def test_the_table_of_the_zoo_is_that_of_the_command():
    assert zoo.table() in (DOCS / "zoo.md").read_text(), "copy the table of python -m qllm_jax.zoo"


def test_policies_that_are_named_are_in_the_zoo():
    files = [*PAGES, *NOTEBOOKS, ROOT / "qllm_jax" / "zoo.py", ROOT / "qllm_jax" / "run" / "zoo.py"]
    named = {found for file in files for found in re.findall(r"zoo:([a-z]\w+/\w+)", file.read_text())}
    assert len(named) > 5
    assert named <= set(library.names())


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
