"""Faults of candidates, and of the verdicts on them."""

from __future__ import annotations

from orchestration.gates.candidates import audit
from tests.faults.injection import Fault, Injection


def candidate(name: str, statement: str, message: str, trait: str = "at_risk", *, also: tuple[str, ...] = ()) -> Fault:
    """A fault of a candidate that its model itself has made."""
    traits = (trait, *also)
    free = [f"alter table candidates.{broken} alter {_id_of(broken)} drop not null" for broken in traits]

    def inject(injection: Injection) -> None:
        injection.made(*free, *statement.split(";"))

    return Fault(name, "candidates", inject, traits, with_stage(*traits), message)


def with_stage(*traits: str) -> frozenset[str]:
    """Traits with the one that is made of others: what that would say is as wrong as they are."""
    made_of_them = {"activated", "at_risk", "dormant", "resurrected"} & {*traits}
    return frozenset(traits) | ({"lifecycle_stage"} if made_of_them else set())


def _id_of(trait: str) -> str:
    return "account_id" if trait in ("champion_left", "single_player", "stuck_setup", "expansion_ready") else "user_id"


SOME = "user_id in (select user_id from candidates.at_risk order by user_id limit 20)"


def candidate_faults() -> list[Fault]:
    """Wrong rows that a model made."""
    update = "update candidates.at_risk set"
    evidence = "evidence: expected JSON that names a declared rule"
    return [
        candidate("ids are null", f"{update} user_id = null where {SOME}", "entity: expected every user_id "),
        candidate(
            "rows come twice",
            "insert into candidates.at_risk select * from candidates.at_risk limit 20",
            "grain: expected one row for each user",
        ),
        candidate("two columns are swapped", f"{update} user_id = evidence, evidence = user_id", evidence),
        candidate("values are null", f"{update} value = null where {SOME}", "value: expected every value known"),
        candidate(
            "values are of another type",
            "create or replace table candidates.at_risk as"
            " select * replace (case when value then 'yes' else 'no' end as value) from candidates.at_risk",
            "value_type: expected every value a boolean",
        ),
        candidate(
            "all are true",
            f"{update} value = true",
            "column_mean_to_be_between: expected at most half of the population",
        ),
        candidate(
            "all are false",
            "update candidates.activated set value = false",
            "activated: failed",
            "activated",
        ),
        candidate(
            "each fifth value is turned round",
            "update candidates.dormant set value = not value where hash(user_id) % 5 = 0",
            "dormant: failed",
            "dormant",
        ),
        candidate(
            "scores are not a number", f"{update} score = 'nan' where {SOME}", "score: expected every score null"
        ),
        candidate("scores are infinite", f"{update} score = '-inf' where {SOME}", "score: expected every score null"),
        candidate(
            "scores are in another unit",
            "update candidates.power_user set score = score * 1000",
            "power_user: failed. .*score_size: expected scores as large as those published",
            "power_user",
        ),
        candidate("evidence is cut off", f"{update} evidence = left(evidence, 40) where {SOME}", evidence),
        candidate("evidence is null", f"{update} evidence = null where {SOME}", evidence),
        candidate("evidence is a list", f"{update} evidence = '[' || evidence || ']'", evidence),
        candidate("evidence names no rule", f'{update} evidence = \'{{"rule": "whim"}}\' where {SOME}', evidence),
        candidate(
            "evidence lacks a number of its sentence",
            f"{update} evidence = json_merge_patch(evidence, '{{\"features\": null}}')",
            evidence,
        ),
        candidate(
            "the clock is yesterday's",
            f"{update} as_of = as_of - interval 1 day",
            "as_of: expected every as_of that of the build",
        ),
        candidate(
            "the clock is tomorrow's", f"{update} as_of = as_of + interval 1 day where {SOME}", "as_of: expected"
        ),
        candidate("no row is left", "delete from candidates.at_risk", "population: expected [0-9]+ rows or more"),
        candidate(
            "less than half of the population is left",
            "delete from candidates.at_risk where user_id >"
            " (select quantile_disc(user_id, 0.4) from candidates.at_risk)",
            "population: expected [0-9]+ rows or more",
        ),
        candidate(
            "a quarter of the population is lost",
            "delete from candidates.at_risk where hash(user_id) % 4 = 0",
            "population: expected",
        ),
        candidate(
            "the population is threefold",
            "insert into candidates.at_risk select at_risk.* replace (user_id || n as user_id)"
            " from candidates.at_risk, (values ('_a'), ('_b')) as t(n)",
            "at_risk: failed",
        ),
        candidate(
            "ids are of another name space",
            f"{update} user_id = 'crm-' || user_id",
            "at_risk: failed",
        ),
        candidate(
            "a category is empty",
            "update candidates.lifecycle_stage set value = '' where value = 'dormant'",
            "value_type: expected every value a category",
            "lifecycle_stage",
        ),
        candidate(
            "a category was never declared",
            "update candidates.lifecycle_stage set value = 'asleep' where value = 'dormant'",
            "column_values_to_be_in_set: expected the seven stages",
            "lifecycle_stage",
        ),
        candidate(
            "an account's rows come twice",
            "insert into candidates.champion_left select * from candidates.champion_left limit 3",
            "grain: expected one row for each account",
            "champion_left",
        ),
        candidate(
            "two traits are broken in two ways",
            f"{update} value = null where {SOME}; delete from candidates.single_player",
            "single_player: failed. .*population",
            also=("single_player",),
        ),
        Fault(
            "a number is in another unit",
            "candidates",
            lambda injection: injection.made("update candidates.health set value = 5000"),
            ("health",),
            frozenset({"health"}),
            "health: failed. .*column_values_to_be_between: expected a number from 0 to 100",
        ),
        Fault(
            "a candidate is gone",
            "candidates",
            lambda injection: injection.sql("drop table candidates.at_risk"),
            ("at_risk",),
            with_stage("at_risk"),
            "at_risk: failed. Its gate could not be evaluated",
        ),
        Fault(
            "a column is gone",
            "candidates",
            lambda injection: injection.sql("alter table candidates.at_risk drop column score"),
            ("at_risk",),
            with_stage("at_risk"),
            "at_risk: failed. Its gate could not be evaluated",
        ),
        Fault(
            "rows are written by hand before the gate looks",
            "candidates",
            lambda injection: injection.sql(f"{update} value = not value where {SOME}"),
            ("at_risk",),
            with_stage("at_risk"),
            "Its rows are not those that its model made in this build",
        ),
        Fault(
            "the catalogue forgets what pricing is",
            "candidates",
            lambda injection: injection.sql("delete from events.event_catalog where behaviour = 'pricing'"),
            ("pricing_before_value", "at_risk"),
            frozenset({"pricing_before_value"}),
            "pricing_before_value: not_enough_evidence. The event catalogue maps no event to pricing",
        ),
    ]


def verdict_faults() -> list[Fault]:
    """Verdicts that do not speak of what would be published."""
    verdicts = "update state.gate_verdicts set"
    flip = (
        "update candidates.at_risk set value = not value where user_id = (select min(user_id) from candidates.at_risk)"
    )
    changed = "at_risk: failed. Its values changed after they were judged"
    unjudged = "at_risk: none. It was not judged in this build"

    def broken(name: str, *statements: str, message: str, withheld: frozenset[str] = frozenset({"at_risk"})) -> Fault:
        return Fault(name, "verdicts", lambda injection: injection.sql(*statements), withheld=withheld, message=message)

    def forge(injection: Injection) -> None:
        injection.made(flip, "update candidates.at_risk set value = true")
        with injection.home.lock("fault injection"):
            audit(injection.project, traits=["at_risk"])
        injection.sql(f"{verdicts} verdict = 'passed', reason = '' where trait = 'at_risk'")

    every = frozenset({"every"})
    mine = "where trait = 'at_risk'"
    return [
        broken("a verdict is missing", f"delete from state.gate_verdicts {mine}", message=unjudged),
        broken("all verdicts are missing", "drop table state.gate_verdicts", message=unjudged, withheld=every),
        broken("a verdict is of another build", f"{verdicts} build_id = '000001-x' {mine}", message=unjudged),
        broken(
            "all verdicts are of another build", f"{verdicts} build_id = '000099-x'", message=unjudged, withheld=every
        ),
        broken(
            "a verdict is of another definition",
            f"{verdicts} definition_version = definition_version + 1 {mine}",
            message="at_risk: failed. Its definition changed after it was judged",
        ),
        broken("a verdict is of other rows", f"{verdicts} content_hash = '264:0' {mine}", message=changed),
        broken("a verdict speaks in another word", f"{verdicts} verdict = 'PASSED ' {mine}", message="at_risk: PASSED"),
        broken("a verdict cannot be read", f"{verdicts} checks = '[{{' {mine}", message=unjudged),
        Fault(
            "a verdict was turned from failed to passed",
            "verdicts",
            forge,
            withheld=with_stage("at_risk"),
            message="at_risk: failed. Its verdict says passed, and its checks do not",
        ),
        broken("a value changed after the audit", flip, message=changed),
        broken(
            "a score changed after the audit",
            "update candidates.at_risk set score = score + 0.001 where user_id ="
            " (select max(user_id) from candidates.at_risk where score is not null)",
            message=changed,
        ),
        broken(
            "evidence changed after the audit",
            "update candidates.at_risk set evidence = replace(evidence, 'false', 'true')",
            message=changed,
        ),
        broken(
            "a row came after the audit",
            "insert into candidates.at_risk select * replace ('nobody' as user_id) from candidates.at_risk limit 1",
            message=changed,
        ),
        broken(
            "a row went after the audit",
            "delete from candidates.at_risk where user_id = (select max(user_id) from candidates.at_risk)",
            message=changed,
        ),
        broken(
            "two rows changed places after the audit",
            "update candidates.at_risk set user_id = case user_id"
            " when (select min(user_id) from candidates.at_risk where value) then"
            " (select min(user_id) from candidates.at_risk where not value)"
            " when (select min(user_id) from candidates.at_risk where not value) then"
            " (select min(user_id) from candidates.at_risk where value) else user_id end",
            message=changed,
        ),
    ]
