"""Whoever follows the README and the pages of docs/ word for word gets what they say."""

from __future__ import annotations

import importlib.util
import inspect
import re
import runpy
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration import destinations
from orchestration.cli.app import main
from orchestration.home import PROJECT_ROOT, Home, Settings
from orchestration.serving.settings import ServeSettings
from orchestration.serving.tokens import TokenSettings
from orchestration.transform.dbt import Project
from tests.cache import add_parsed
from tests.docs.blocks import PAGES, Reader, blocks_of, commands_of
from tests.project import test_conventions, test_trait_models

README = PROJECT_ROOT / "README.md"
# Commands that a page shows and the reader does not run: the tests that run what is behind them.
ELSEWHERE = {
    "make run": "tests/orchestration/cli/test_demo.py::test_run_again_loads_changes_and_delivers_nothing",
    "make test": "tests/docs/test_docs.py::test_what_make_calls_is_there",
    "make test-all": "tests/docs/test_docs.py::test_what_make_calls_is_there",
    "make lint": "tests/docs/test_docs.py::test_what_make_calls_is_there",
    "make lock": "tests/project/test_conventions.py::test_the_lock_pins_everything_and_holds_no_address",
    "traithouse learn --trait likely_to_churn": (
        "tests/orchestration/learning/test_learn.py::test_the_command_line_shows_points_and_quality"
    ),
    "make test-spark": "tests/docs/test_docs.py::test_what_make_calls_is_there",
}
PROGRAMS = ("make prove-", "make bench")
SHOWN = [
    command
    for page in PAGES
    for block in blocks_of(page)
    if block.language == "bash" and not block.file
    for command in commands_of(block)
]
MAKEFILE = (PROJECT_ROOT / "Makefile").read_text()
TEXT = {page: page.read_text() for page in PAGES}


def is_elsewhere(command: str) -> bool:
    """Whether another test runs it; of programs that run long, `test_every_program_has_help` calls the help."""
    return command in ELSEWHERE or command.startswith(PROGRAMS)


@pytest.fixture
def reader(sample_home: Home, project_copy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A reader in a copy of the project, with the sample published in its home."""
    shutil.move(sample_home.root, project_copy / ".traithouse")
    add_parsed(Home(Settings(home=project_copy / ".traithouse", project=project_copy)))
    shutil.copytree(PROJECT_ROOT / "tests" / "fixtures", project_copy / "tests" / "fixtures", dirs_exist_ok=True)
    more = project_copy / "orchestration" / "destinations"
    more.mkdir(parents=True)
    monkeypatch.setattr(destinations, "__path__", [*destinations.__path__, str(more)])
    monkeypatch.setenv("TRAITHOUSE_HOME", str(project_copy / ".traithouse"))
    monkeypatch.setenv("TRAITHOUSE_PROJECT", str(project_copy))
    monkeypatch.setenv("TRAITHOUSE_USER", "ann")
    monkeypatch.chdir(project_copy)
    destinations.destinations.cache_clear()
    reader = Reader(project_copy, is_elsewhere, monkeypatch)
    yield reader
    reader.end()
    monkeypatch.undo()
    destinations.destinations.cache_clear()


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_a_page_can_be_followed(page: Path, reader: Reader, project: Project) -> None:
    assert reader.follow(page) == len(re.findall("(?m)^```", page.read_text())) // 2
    if any(block.file and block.file["path"].startswith("models") for block in blocks_of(page)):
        broken = set(broken_conventions(Project(Home(Settings()))))
        assert broken <= set(broken_conventions(project)), "what the recipes add breaks a convention"


def broken_conventions(project: Project) -> list[str]:
    """Tests of the conventions that a project does not pass."""
    asked = [
        (name, test)
        for module in (test_conventions, test_trait_models)
        for name, test in vars(module).items()
        if name.startswith("test_") and list(inspect.signature(test).parameters) == ["project"]
    ]
    assert len(asked) > 10
    broken = []
    for name, test in asked:
        try:
            test(project)
        except AssertionError as error:
            broken.append(f"{name}: {str(error)[:500]}")
    return broken


def test_the_readme_is_short_and_every_page_is_in_it() -> None:
    assert len(TEXT[README].splitlines()) <= 120
    for page in PAGES[1:]:
        assert f"(docs/{page.name})" in TEXT[README], page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for path, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", TEXT[page]):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        headings = re.findall(r"(?m)^#+ (.*)$", target.read_text())
        assert not heading or heading in {text.lower().replace(" ", "-") for text in headings}, heading


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_names_is_there(page: Path) -> None:
    """Make targets, commands and their options, paths, settings."""
    text = TEXT[page]
    for target in set(re.findall(r"\bmake ([a-z-]+)", " ".join(re.findall("`[^`]+`|(?m:^make .*$)", text)))):
        assert f"\n{target}:" in MAKEFILE, target
    for command, rest in re.findall(r"`traithouse ([a-z]+)([^`]*)`", text):
        assert command in main.commands, command
        options = {option for parameter in main.commands[command].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options, rest
    for path in re.findall(r"`((?:orchestration|models|macros|seeds|tests|benchmarks)/[\w./-]+)`", text):
        assert (PROJECT_ROOT / path).exists(), path
    fields = {f"TRAITHOUSE_{name.upper()}" for name in (*Settings.model_fields, *TokenSettings.model_fields)}
    fields |= {f"TRAITHOUSE_SERVE_{name.upper()}" for name in ServeSettings.model_fields} | {"TRAITHOUSE_SERVE_FROM"}
    for name in set(re.findall(r"TRAITHOUSE_[A-Z_]+", text)):
        assert name in fields | {"TRAITHOUSE_ALERT_URL"}, name


@pytest.mark.parametrize("command", sorted(ELSEWHERE))
def test_a_command_that_is_not_followed_is_run_by_another_test(command: str) -> None:
    path, _, name = ELSEWHERE[command].partition("::")
    assert f"def {name}(" in (PROJECT_ROOT / path).read_text()
    assert command in {shown.text for shown in SHOWN}, "no page shows it any more"


def test_what_make_calls_is_there() -> None:
    """Every recipe line calls something that exists: a folder of tests, a module, a command, an installed program."""
    for target, recipe in re.findall(r"(?m)^([a-z-]+):[^\n]*\n((?:\t[^\n]*\n)+)", MAKEFILE):
        for module in re.findall(r"/python -m ([\w.]+)", recipe):
            assert importlib.util.find_spec(module), (target, module)
        for command in re.findall(r"\(BIN\)/traithouse (\w+)", recipe):
            assert command in main.commands, (target, command)
        for program in re.findall(r"\(BIN\)/(ruff|mypy|sqlfluff)", recipe):
            assert Path(sys.executable).with_name(program).exists() or shutil.which(program), (target, program)
        for folder in re.findall(r" (tests/\w+)", recipe):
            assert (PROJECT_ROOT / folder).is_dir(), (target, folder)


PROGRAM_MODULES = sorted(set(re.findall(r"-m ((?:tests|benchmarks)[\w.]+)", MAKEFILE)))


@pytest.mark.parametrize("module", PROGRAM_MODULES)
def test_every_program_has_help(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert not ended.value.code
    printed = capsys.readouterr().out
    assert "usage" in printed and len(printed) > 100
