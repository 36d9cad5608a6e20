"""Data Docs: a page for each suite of a build, and a list of them that opens without any server."""

import re
from pathlib import Path
from urllib.parse import unquote

from orchestration.gates.candidates import audit
from orchestration.gates.data_docs import page_of_check
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
    assert suites[0] == "candidates"
    assert (
        {"candidates", "power_user", "at_risk"}
        <= set(suites)
        <= {"candidates", *judged, *(suite for suite in suites if suite.startswith("source "))}
    )


def test_the_page_of_a_check_quotes_what_was_found(sample_home: Home, sample_project: Project) -> None:
    as_if_made(sample_home, sample_project, "delete from candidates.at_risk where user_id > 'user_0290'")
    audit(sample_project)
    index = Path(sample_home.status()["data_docs"])
    page = page_of_check(index, "at_risk", "population")
    assert page is not None
    assert "at_risk population" in page.read_text()
    own = page_of_check(index, "at_risk", "column_mean_to_be_between")
    assert own is not None
    assert own.parts[-4] == "at_risk"
    assert page_of_check(index, "no_such_trait", "another_check") is None
