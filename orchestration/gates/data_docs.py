"""Data Docs: Great Expectations' own pages on what was expected and found, one site for each build.

They quote values that broke an expectation; like everything in the home, only its owner may read them. A browser that
opens them loads styles and charts from public servers, but no text. The list of pages is written here, because the list
that Great Expectations makes stays empty without those servers.
"""

from __future__ import annotations

import html
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestration.gates.candidate_checks import CANDIDATE_CHECKS, CANDIDATES
from orchestration.gates.engine import context

FOLDER = "data_docs"


def write_data_docs(home: Path, build_id: str, results: Sequence[Any], *, kept: int) -> Path:
    """Writes ``data_docs/<build_id>/index.html`` under the home; older sites than the newest ``kept`` are deleted.

    Args:
        home: the home folder.
        build_id: whose audit it was.
        results: what ``collecting`` kept.
        kept: how many builds.

    """
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )
    from great_expectations.render.renderer.site_builder import SiteBuilder

    root = home / FOLDER
    draft, final = root / f".draft-{build_id}", root / build_id
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    store = context().validation_results_store
    run = RunIdentifier(run_name=build_id)
    try:
        for result in results:
            key = ValidationResultIdentifier(ExpectationSuiteIdentifier(result.suite_name), run, "candidate")
            store.set(key, result)
        SiteBuilder(
            context(),
            store_backend={"class_name": "TupleFilesystemStoreBackend", "base_directory": str(draft)},
            site_name=build_id,
            site_index_builder={"class_name": "DefaultSiteIndexBuilder"},
            site_section_builders={
                "expectations": "None",
                "profiling": "None",
                "validations": {
                    "class_name": "DefaultSiteSectionBuilder",
                    "source_store_name": context().validation_results_store_name,
                },
            },
            show_how_to_buttons=False,
        ).build()
    finally:
        for key in store.list_keys():
            store.remove_key(key)
    (draft / "index.html").write_text(_index(draft, build_id, results))
    shutil.rmtree(final, ignore_errors=True)
    draft.rename(final)
    for old in sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")[:-kept]:
        shutil.rmtree(old)
    return final / "index.html"


def page_of(index: Path, suite: str) -> Path | None:
    """The page of a suite beside an index; none when there is no page."""
    return next((index.parent / "validations" / suite).rglob("*.html"), None)


def page_of_check(index: Path, trait: str, check: str) -> Path | None:
    """The page on which a check of a trait stands: that of all candidates, or the trait's own of what it declares."""
    is_of_all = check in {known.name for known in CANDIDATE_CHECKS}
    return page_of(index, CANDIDATES if is_of_all else trait)


def _index(site: Path, build_id: str, results: Sequence[Any]) -> str:
    """One line for each suite, failed suites first."""
    rows = ""
    for result in sorted(results, key=lambda result: (bool(result.success), result.suite_name)):
        page = page_of(site / "index.html", result.suite_name)
        name = html.escape(result.suite_name)
        if page:
            name = f'<a href="{html.escape(str(page.relative_to(site)))}">{name}</a>'
        held = f"{result.statistics['successful_expectations']} of {result.statistics['evaluated_expectations']}"
        color = "#1a7f37" if result.success else "#cf222e"
        rows += f'<tr><td>{name}</td><td style="color:{color}">{held} expectations held</td></tr>\n'
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{build_id}</title></head>
<body style="font:16px sans-serif;margin:2em">
<h1>What was expected and found in build {build_id}</h1>
<table cellpadding="6">
{rows}</table>
</body></html>
"""
