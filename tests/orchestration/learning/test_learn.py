"""Learning: point in time, tested out of time, never used when it does not hold."""

import json
import pickle
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from orchestration.cli.app import main
from orchestration.errors import TraithouseError, UsageError
from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.learning.learn import Learned, learn
from orchestration.learning.quality import LEAST_AUC_LOW
from orchestration.learning.score_models import score_traits
from orchestration.learning.scorecard import Scorecard
from orchestration.transform.dbt import Project
from tests.builds import publish_day
from tests.cache import cached, copied, parsed_project
from tests.conftest import queried

pytestmark = pytest.mark.long

FIRST_DAY = date(2025, 1, 1)
LEARNED_ON = date(2025, 6, 9)
CHURN = "likely_to_churn"


def visits(users: int, days: int, seed: int) -> Iterator[dict[str, Any]]:
    """People who come at a pace of their own, come less often for two weeks, and then never again."""
    random = np.random.default_rng(seed)
    for user in range(users):
        pace = random.uniform(0.15, 0.8)
        start = int(random.integers(0, 130))
        end = start + 10 + int(random.exponential(60))
        for day in range(start, min(end, days)):
            if random.random() < pace * (0.35 if day > end - 14 else 1.0):
                at = datetime.combine(FIRST_DAY, datetime.min.time()) + timedelta(days=day, hours=9)
                for number, name in enumerate(["home", "product_view"]):
                    yield {
                        "event_id": f"{user}-{day}-{number}",
                        "event_name": name,
                        "user_id": f"u{user}",
                        "occurred_at": (at + timedelta(minutes=number)).isoformat() + "Z",
                    }


def home_with(events: list[dict[str, Any]], folder: Path, project_in: Callable[[Home], Project]) -> Home:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "events.ndjson"
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    home = Home(Settings(home=folder / "home"))
    load(home, [file], source="shop")
    publish_day(project_in(home))
    return home


def of_day(event: dict[str, Any]) -> date:
    return date.fromisoformat(event["occurred_at"][:10])


@pytest.fixture(scope="module")
def stream() -> list[dict[str, Any]]:
    return list(visits(users=400, days=200, seed=3))


def make_learned(folder: Path) -> None:
    known = [event for event in visits(users=400, days=200, seed=3) if of_day(event) <= LEARNED_ON]
    home = home_with(known, folder, parsed_project)
    (learned,) = learn(parsed_project(home), traits=[CHURN])
    (folder / "learned.pickle").write_bytes(pickle.dumps(learned))


@pytest.fixture(scope="module")
def learned_once() -> tuple[Path, Learned]:
    """A home that has learned likely_to_churn; copy it, do not touch it."""
    folder = cached("learned", make_learned)
    return folder / "home", pickle.loads((folder / "learned.pickle").read_bytes())


@pytest.fixture
def learned_home(learned_once: tuple[Path, Learned], tmp_path: Path) -> Home:
    return copied(learned_once[0], tmp_path / "home")


def test_a_real_signal_is_learned_and_holds_out_of_time(learned_once: tuple[Path, Learned]) -> None:
    learned = learned_once[1]
    assert learned.model.usable, learned.model.reason
    assert learned.model.auc_low is not None and learned.model.auc_low > LEAST_AUC_LOW
    assert learned.version == 1
    # Outcomes are known 28 days later, and what was fitted was known when the test begins.
    assert learned.model.fitted_until <= datetime.combine(LEARNED_ON, datetime.min.time()) - timedelta(days=27)


def scored(home: Home) -> list[tuple[Any, ...]]:
    return queried(
        home,
        f"""
        select user_id, score, evidence, json_extract_string(evidence, '$.rule')
        from candidates.{CHURN} order by user_id
        """,
    )


def test_sql_scores_as_python_does_and_the_points_in_the_evidence_add_up(
    learned_home: Home, learned_once: tuple[Path, Learned], project_in: Any
) -> None:
    card = learned_once[1].card
    assert isinstance(card, Scorecard)
    report = publish_day(project_in(learned_home))
    assert {trait.trait: trait.verdict for trait in report.traits}[CHURN] == "passed"
    rows = scored(learned_home)
    evidence = [json.loads(row[2]) for row in rows]
    features = pd.DataFrame([read["features"] | read["derived"] for read in evidence])
    frame = features[card.features].astype(float)
    points = [f"{name}_points" for name in card.features]
    assert features[points].sum(axis=1).tolist() == features["points"].tolist() == card.score(frame).tolist()
    for (_, score, _, rule), probability in zip(rows, card.probability(frame), strict=True):
        assert score == (None if rule == "inactive" else probability)
    assert {row[3] for row in rows} >= {"likely", "unlikely", "inactive"}


@pytest.mark.long
def test_what_comes_after_the_clock_changes_nothing(
    stream: list[dict[str, Any]], learned_once: tuple[Path, Learned], tmp_path: Path, project_in: Any
) -> None:
    """The same people do the opposite afterwards: who was gone comes daily, who came is gone."""
    known = [event for event in stream if of_day(event) <= LEARNED_ON]
    last = {event["user_id"]: of_day(event) for event in known}
    reversed_fates = [
        {
            "event_id": f"late-{user}-{day}",
            "event_name": "product_view",
            "user_id": user,
            "occurred_at": f"{LEARNED_ON + timedelta(days=day)}T09:00:00Z",
        }
        for user, seen in last.items()
        if seen < LEARNED_ON - timedelta(days=28)
        for day in range(1, 41)
    ]
    later = home_with([*known, *reversed_fates], tmp_path / "later", project_in)
    (at_the_clock,) = learn(project_in(later), traits=[CHURN], as_of=str(LEARNED_ON))
    assert at_the_clock.as_dict() == learned_once[1].as_dict()
    (now,) = learn(project_in(later), traits=[CHURN])
    assert now.version == 2
    assert now.model.row != at_the_clock.model.row
    with pytest.raises(UsageError, match="which is later"):
        learn(project_in(later), traits=[CHURN], as_of=str(LEARNED_ON))


def test_learning_the_same_again_adds_no_model(learned_home: Home, project_in: Any) -> None:
    (again,) = learn(project_in(learned_home), traits=[CHURN])
    assert (again.version, again.is_new) == (1, False)
    assert queried(learned_home, "select count(*) from learning.score_models") == [(1,)]


def test_a_model_of_another_definition_scores_nobody(learned_home: Home, project_in: Any) -> None:
    with learned_home.connect() as connection:
        connection.execute("update learning.score_models set definition_version = 99")
    report = publish_day(project_in(learned_home))
    verdict = next(trait for trait in report.traits if trait.trait == CHURN)
    assert verdict.verdict == "not_enough_evidence"
    assert "none has been learned" in verdict.reason
    assert {row[3] for row in scored(learned_home)} == {"not_enough_evidence"}


def test_points_for_other_features_score_nobody(learned_home: Home, project_in: Any) -> None:
    with learned_home.connect() as connection:
        connection.execute("delete from learning.score_points where feature = 'silent_days'")
    report = publish_day(project_in(learned_home))
    verdict = next(trait for trait in report.traits if trait.trait == CHURN)
    assert verdict.verdict == "not_enough_evidence"
    assert "other features" in verdict.reason


@pytest.mark.long
def test_too_short_a_past_gives_no_model_and_says_what_is_missing(
    stream: list[dict[str, Any]], tmp_path: Path, project_in: Any
) -> None:
    home = home_with([event for event in stream if of_day(event) < date(2025, 2, 20)], tmp_path / "short", project_in)
    project = project_in(home)
    learned = {found.trait.name: found for found in learn(project)}
    assert set(learned) == {trait.name for trait in score_traits(project)} == {"health", CHURN, "likely_to_convert"}
    assert not learned[CHURN].model.usable
    assert "there must be 50" in learned[CHURN].model.reason
    assert "until 2025-03-2" in learned[CHURN].model.reason
    report = publish_day(project)
    verdict = next(trait for trait in report.traits if trait.trait == CHURN)
    assert verdict.verdict == "not_enough_evidence"
    assert learned[CHURN].model.reason in verdict.reason


def test_an_empty_home_and_a_trait_without_score_are_refused(home: Home, project_in: Any) -> None:
    with pytest.raises(TraithouseError, match="Nothing has been built"):
        learn(project_in(home))
    with pytest.raises(UsageError, match="power_user has no score to learn"):
        learn(project_in(home), traits=["power_user"])


@pytest.mark.long
def test_the_command_line_shows_points_and_quality(learned_home: Home) -> None:
    arguments = ["learn", "--home", str(learned_home.root), "--trait", CHURN]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0, shown.output
    assert "as before" in shown.output and "in use" in shown.output and "silent_days" in shown.output
    (score,) = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)["scores"]
    assert score["usable"] and score["points"] and score["model_version"] == 1
