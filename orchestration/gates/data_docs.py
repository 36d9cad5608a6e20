"""Data Docs: Great Expectations' own pages on what was expected and found, one site a build.

They quote values that broke an expectation; like everything in the home they are for its owner alone. Their styles and
charts come from public servers when a browser opens them; the words do not.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestration.gates.engine import context

FOLDER = "data_docs"


def write_data_docs(home: Path, build_id: str, results: Sequence[Any], *, kept: int) -> Path:
    """Writes ``data_docs/<build_id>/index.html`` under the home; builds beyond ``kept`` are forgotten.

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
    shutil.rmtree(final, ignore_errors=True)
    draft.rename(final)
    for old in sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")[:-kept]:
        shutil.rmtree(old)
    return final / "index.html"
