"""Runs commands of one version of the project, one after another in one process, as a shell would run them.

    python drive.py PLAN    # in the folder of that version

PLAN is a JSON file: ``steps``, each with ``name`` and either ``arguments`` of the command line or ``copy_to`` (a folder
that the home is copied to), ``home``, and ``answers``, the file that gets one line of JSON a step. An argument
``a|b`` is the first of the two names that this version has.
"""

import contextlib
import functools
import io
import json
import runpy
import shutil
import sys
import time
from pathlib import Path


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    with Path(plan["answers"]).open("a") as answers:
        for step in plan["steps"]:
            began, processor = time.monotonic(), time.process_time()
            if "copy_to" in step:
                shutil.copytree(plan["home"], step["copy_to"], symlinks=True)
                answer = {"exit_code": 0, "output": ""}
            else:
                answer = run([known_here(word, step["arguments"][0]) for word in step["arguments"]])
            seconds = {"seconds": time.monotonic() - began, "processor_seconds": time.process_time() - processor}
            answers.write(json.dumps({"step": step["name"], **answer, **seconds}) + "\n")
            answers.flush()
            print(f"  {step['name']:<28} exit {answer['exit_code']}  {seconds['seconds']:5.1f} s", flush=True)


def run(arguments: list[str]) -> dict[str, object]:
    """One command: its exit code, and what it printed."""
    output = io.StringIO()
    sys.argv = ["traithouse", *arguments]
    code: object = 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            runpy.run_module("orchestration", run_name="__main__")
        except SystemExit as ended:
            code = ended.code or 0
    import orchestration

    if Path(orchestration.__file__).resolve().parents[1] != Path.cwd().resolve():
        raise SystemExit(f"{orchestration.__file__} is not the version in {Path.cwd()}")
    return {"exit_code": code, "output": output.getvalue()}


@functools.cache
def help_of(command: str) -> str:
    return str(run([command, "--help"] if command else ["--help"])["output"])


def known_here(word: str, command: str) -> str:
    """The name that this version has for a command, or an option of it."""
    if "|" not in word:
        return word
    text = help_of("" if word == command else command)
    return next(name for name in word.split("|") if name in text)


if __name__ == "__main__":
    main()
