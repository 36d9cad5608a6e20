"""The blocks of the documentation, and a reader who follows them word for word.

Every fenced block of a page is one of these:

- ``bash``: commands, run in the order of the page, in the project's folder. A command ends well unless a comment behind
  it says otherwise: ``# exit code 3``. One that ends with ``&`` is a server, which runs on until the end of the page.
- ``python``: run in the project's folder.
- ``yaml``, ``sql``, ``csv``, ``python`` that begin with a comment ``# models/x.yml (new file)``: a file. Instead of
  ``new file`` it may say ``append``, or ``change``: then each line replaces the one that begins with the same word,
  or the same two.
- ``text``: lines of what the command before it prints. ``...`` stands for whatever is left out.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestration import destinations
from orchestration.cli.app import main
from orchestration.home import PROJECT_ROOT

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^(?:#|--) (?P<path>[\w./-]+\.\w+) \((?P<action>new file|append|change)\)\n")
EXIT_CODE = re.compile(r"#.*\bexit code (\d)")
ASSIGNMENT = re.compile(r"[A-Z_]+=.*", re.DOTALL)
PAGES = [PROJECT_ROOT / "README.md", *sorted((PROJECT_ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """One fenced block: its page, the line that it begins in, its language and its text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def file(self) -> re.Match[str] | None:
        """Path and action, where the block is a file."""
        return FILE.match(self.text)


@dataclass(frozen=True)
class Command:
    """One command of a bash block, and the exit code that it ends with."""

    block: Block
    text: str
    exit_code: int

    def __str__(self) -> str:
        return f"{self.block}: {self.text}"


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of a page, in their order."""
    text = page.read_text()
    for found in FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])


def commands_of(block: Block) -> Iterator[Command]:
    """The commands of a bash block; a line that ends with a backslash goes on."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            stated = EXIT_CODE.search(line)
            yield Command(block, re.sub(r"\s+#.*$", "", line).strip(), int(stated[1]) if stated else 0)


def first_words_of_output(page: Path, command: str) -> list[str]:
    """The first word of each line that a page shows as the output of a command that it does not run itself."""
    blocks = list(blocks_of(page))
    for before, after in pairwise(blocks):
        if after.language == "text" and command in {shown.text for shown in commands_of(before)}:
            return [line.split()[0] for line in after.text.splitlines() if line.strip()]
    raise ValueError(f"{page.name} does not show what {command} prints")


def replaced(text: str, line: str, block: Block) -> str:
    """The text with a line in the place of the one that begins with the same word, or the same two."""
    for words in (1, 2):
        beginning = re.match(rf"\s*(\S+\s*){{{words}}}", line)
        assert beginning, f"{block}: {line!r} is too short to find its place"
        pattern = re.compile(rf"^{re.escape(beginning[0])}.*$", re.MULTILINE)
        if len(pattern.findall(text)) == 1:
            return pattern.sub(lambda _: line, text)
    raise AssertionError(f"{block}: no single line begins like {line!r}")


@dataclass
class Reader:
    """Follows a page in a copy of the project, whose home is where the page says that it is.

    Attributes:
        folder: of the copy; the home lies in it.
        is_elsewhere: whether another test runs a command.
        patch: sets what the page sets, for the time of the test.
        output: of the last command; nothing when another test runs it.
        servers: what runs in the background.

    """

    folder: Path
    is_elsewhere: Callable[[str], bool]
    patch: pytest.MonkeyPatch
    output: str | None = None
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def follow(self, page: Path) -> int:
        """Follows every block of a page, and gives how many there are."""
        blocks = list(blocks_of(page))
        for block in blocks:
            self.do(block)
        return len(blocks)

    def do(self, block: Block) -> None:
        """Follows one block."""
        if block.file:
            self._write(block)
        elif block.language == "bash":
            for command in commands_of(block):
                self._run(command)
        elif block.language == "python":
            self._python(block)
        else:
            assert block.language == "text", f"{block}: {block.language or 'a block'} without the name of a file"
            self._compare(block)

    def _write(self, block: Block) -> None:
        assert block.file
        path, text = self.folder / block.file["path"], block.text[block.file.end() :]
        if block.file["action"] == "new file":
            assert not path.exists(), f"{block}: {path} is there already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            return
        before = path.read_text()
        if block.file["action"] == "append":
            path.write_text(before + text)
            return
        for line in text.splitlines():
            before = replaced(before, line, block)
        path.write_text(before)

    def _run(self, command: Command) -> None:
        if self.is_elsewhere(command.text):
            self.output = None
            return
        words = shlex.split(command.text)
        if words[0] == "export":
            name, value = command.text.removeprefix("export ").split("=", 1)
            if "$(" in value:
                done = subprocess.run(
                    f"echo {value}",
                    shell=True,
                    cwd=self.folder,
                    env=self._environment(),
                    capture_output=True,
                    text=True,
                )
                assert done.stdout.strip(), f"{command}\n{done.stderr}"
                value = done.stdout.strip()
            self.patch.setenv(name, value)
            return
        if words[-1] == "&":
            self._start(command)
            return
        with self.patch.context() as patch:
            while ASSIGNMENT.fullmatch(words[0]):
                patch.setenv(*words.pop(0).split("=", 1))
            if words[0] == "traithouse":
                words = [name for word in words for name in self._expanded(word)]
                destinations.destinations.cache_clear()  # each command of a shell is a process of its own
                result = CliRunner().invoke(main, words[1:])
                code, self.output = result.exit_code, result.output
            else:
                done = subprocess.run(
                    command.text, shell=True, cwd=self.folder, capture_output=True, text=True, timeout=120
                )
                code, self.output = done.returncode, done.stdout + done.stderr
        assert code == command.exit_code, f"{command}\nexit code {code}\n{self.output}"

    def _environment(self) -> dict[str, str]:
        """Where ``traithouse`` is a command of the shell."""
        programs = self.folder / ".programs"
        programs.mkdir(exist_ok=True)
        shim = programs / "traithouse"
        shim.write_text(f'#!/bin/sh\nPYTHONPATH={PROJECT_ROOT} exec {sys.executable} -m orchestration "$@"\n')
        shim.chmod(0o755)
        return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}

    def _start(self, command: Command) -> None:
        """Starts a server in the background, and waits until it serves; it ends with the page."""
        log = self.folder / f".server-{len(self.servers)}.log"
        with log.open("w") as stream:
            started = subprocess.Popen(
                f"exec env {command.text.removesuffix('&')}",
                shell=True,
                cwd=self.folder,
                env=self._environment(),
                stdout=stream,
                stderr=stream,
            )
        self.servers.append(started)
        ends = time.monotonic() + 60
        while "Serving on" not in log.read_text():
            assert started.poll() is None and time.monotonic() < ends, f"{command}\n{log.read_text()}"
            time.sleep(0.05)

    def end(self) -> None:
        """Ends what runs in the background."""
        for server in self.servers:
            server.terminate()
            server.wait(30)

    def _expanded(self, word: str) -> list[str]:
        """Names of files, where a word is a pattern."""
        folder, _, pattern = word.rpartition("/")
        return sorted(map(str, (self.folder / folder).glob(pattern))) if "*" in pattern else [word]

    def _python(self, block: Block) -> None:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block.text, str(block), "exec"), {"__name__": "documentation"})
        self.output = printed.getvalue()

    def _compare(self, block: Block) -> None:
        """Each stated line is among what was printed, blanks aside."""
        if self.output is None:
            return
        printed = " ".join(self.output.split())
        for line in block.text.splitlines():
            for piece in line.split("..."):
                assert " ".join(piece.split()) in printed, f"{block}: {line!r} is not printed\n{self.output}"
