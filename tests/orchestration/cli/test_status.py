"""Explain and doctor from the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from click.testing import Result

from orchestration.home import Home

Traithouse = Callable[..., Result]


def test_explain_speaks_in_sentences_whose_numbers_are_the_features(sample_home: Home, traithouse: Traithouse) -> None:
    answer = json.loads(traithouse("explain", "user_0000", "--json", home=sample_home).stdout)
    with duckdb.connect(str(sample_home.warehouse), read_only=True) as connection:
        cursor = connection.execute("select * from features.user_features where user_id = 'user_0000'")
        names = [column[0] for column in cursor.description or ()]
        features = dict(zip(names, cursor.fetchone() or (), strict=True))
    for trait in answer["traits"]:
        assert trait["reason"].endswith(".")
        for name, value in trait["evidence"]["features"].items():
            if name in features:
                assert features[name] == value, (trait["trait"], name)
    shown = traithouse("explain", "user_0000", "--trait", "at_risk", home=sample_home).stdout
    assert "At risk (at_risk): no, since 2024-06-30 00:00:00 UTC" in shown
    assert "Silent for 11 days" in shown


@pytest.mark.long
def test_doctor_reports_coverage_and_what_is_unmapped(
    sample_home: Home, traithouse: Traithouse, tmp_path: Path
) -> None:
    before = traithouse("doctor", "--json", home=sample_home)
    report = json.loads(before.stdout)
    assert report["catalogue_coverage"] == [{"source": "shop", "events": 31_076, "mapped": 1.0}]
    assert (before.exit_code, report["lock"]) == (1, "free")
    (tmp_path / "new.csv").write_text("user_id,event_name,occurred_at\nuser_0001,teleported,2024-06-29 10:00:00\n")
    traithouse("load", tmp_path / "new.csv", "--source", "shop", home=sample_home)
    traithouse("refresh", home=sample_home)
    after = json.loads(traithouse("doctor", "--json", home=sample_home).stdout)
    assert [problem for problem in after["problems"] if problem not in report["problems"]] == [
        "teleported of shop is not in the event catalogue (1 loaded); traithouse catalog suggest proposes a row."
    ]
