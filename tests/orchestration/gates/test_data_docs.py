"""Data Docs: a page for each suite of a build, and a list of them that opens without any server."""

import re
from pathlib import Path
from urllib.parse import unquote

from orchestration.gates.candidates import audit
from orchestration.gates.data_docs import page_of
from orchestration.home import Home
from orchestration.transform.dbt import Project
from tests.conftest import as_if_made


def test_the_index_lists_every_page_and_what_broke_comes_first(sample_home: Home, sample_project: Project) -> None:
    as_if_made(sample_home, sample_project, "delete from candidates.at_risk where user_id > 'user_0290'")
    judged = [verdict.trait for verdict in audit(sample_project) if verdict.checks]
    index = Path(sample_home.status()["data_docs"])
    text = index.read_text()
    assert "<script" not in text
    links = [unquote(link) for link in re.findall(r'href="([^"]+)"', text)]
    assert all((index.parent / link).is_file() for link in links)
    suites = [Path(link).parts[1] for link in links]
    # One suite judges all candidates; expectations of a trait's own have a page of theirs.
    assert suites[0] == "candidates"
    assert {"power_user", "at_risk"} <= set(suites)
    assert set(suites) <= {"candidates", *judged, *(suite for suite in suites if suite.startswith("source "))}


def test_the_page_of_a_trait_quotes_what_was_found(sample_home: Home, sample_project: Project) -> None:
    as_if_made(sample_home, sample_project, "delete from candidates.at_risk where user_id > 'user_0290'")
    audit(sample_project)
    page = page_of(Path(sample_home.status()["data_docs"]), "candidates")
    assert page is not None
    assert "population" in page.read_text()
    assert page_of(Path(sample_home.status()["data_docs"]), "at_risk") is not None
    assert page_of(Path(sample_home.status()["data_docs"]), "no_such_trait") is None
