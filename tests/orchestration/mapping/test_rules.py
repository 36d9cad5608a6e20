"""Names in any spelling, and what they suggest."""

import pytest
import yaml

from orchestration.home import PROJECT_ROOT
from orchestration.mapping.rules import PATH_RULES, RULES, meaning, outcome, path_meaning, stem, thing, words


@pytest.mark.parametrize(
    "name", ["Signed Up", "signed_up", "signedUp", "SignedUp", "signed-up", "$signed up", "SIGNED UP"]
)
def test_every_spelling_is_the_same_words(name: str) -> None:
    assert words(name) == ("signup",)


@pytest.mark.parametrize(
    ("name", "behaviour", "feature", "guess"),
    [
        ("Signed Up", "signed_up", "", False),
        ("user_registered", "signed_up", "", False),
        ("accountCreated", "signed_up", "", True),
        ("Trial Started", "trial_started", "", False),
        ("Order Completed", "subscribed", "", False),
        ("Subscription Started", "subscribed", "", False),
        ("purchase", "subscribed", "", False),
        ("checkout_completed", "subscribed", "", False),
        ("Plan Upgraded", "upgraded", "", False),
        ("Subscription Downgraded", "downgraded", "", False),
        ("subscription_cancelled", "cancelled", "", False),
        ("Canceled", "cancelled", "", False),
        ("Invite Sent", "invite", "", False),
        ("invitationAccepted", "collaboration", "invitation", False),
        ("Invite Modal Opened", "navigation", "invite_modal", True),
        ("Payment Failed", "error", "payment", False),
        ("APIError", "error", "api", False),
        ("Card Declined", "error", "card", False),
        ("Upload Aborted", "error", "upload", False),
        ("Offer Rejected", "error", "offer", True),
        ("Request Timeout", "error", "request", False),
        ("Usage Limit Reached", "error", "usage_limit_reached", False),
        ("Payment Not Completed", "error", "payment", True),
        ("Upload Interrupted", "error", "upload", True),
        ("Build Broken", "error", "build", True),
        ("Sync Conflict", "error", "sync", True),
        ("Sync Conflict Resolved", "navigation", "sync", True),
        ("Not Now Clicked", "navigation", "now", True),
        ("in_app_purchase", "subscribed", "", True),
        ("trial_converted", "subscribed", "", True),
        ("Payment Error Resolved", "navigation", "payment", True),
        ("Submit Upgrade", "upgraded", "", True),
        ("upgrade_plan", "upgraded", "", True),
        ("App Upgraded", "navigation", "app_upgraded", True),
        ("Submit Order", "subscribed", "", True),
        ("Plan Selected", "pricing", "plan", True),
        ("Newsletter Subscribed", "navigation", "newsletter_subscribed", True),
        ("Order Cancelled", "navigation", "order", True),
        ("Comment Deleted", "navigation", "comment", True),
        ("Account Deleted", "cancelled", "", True),
        ("Contact Deleted", "navigation", "contact", True),
        ("Report Created", "core_value", "report", True),
        ("Report Renamed", "navigation", "report", True),
        ("Export Started", "navigation", "export", True),
        ("Add To Cart", "activation", "cart", True),
        ("Pricing Page Viewed", "pricing", "pricing", False),
        ("Upgrade Clicked", "pricing", "upgrade", False),
        ("checkout_started", "pricing", "checkout", False),
        ("Support Ticket Created", "support", "support_ticket", False),
        ("Comment Added", "collaboration", "comment", False),
        ("Onboarding Completed", "setup", "onboarding", False),
        ("Slack Connected", "setup", "slack_connected", True),
        ("First Project Created", "activation", "project", True),
        ("Logged In", "navigation", "login", False),
        ("Report Viewed", "navigation", "report", True),
        ("Signup Started", "setup", "signup", True),
    ],
)
def test_a_name_suggests_a_behaviour(name: str, behaviour: str, feature: str, guess: bool) -> None:
    found = meaning(name)
    assert found is not None
    assert (found.behaviour, found.feature, found.guess) == (behaviour, feature, guess)


@pytest.mark.parametrize("name", ["x", "Ünïcode Ding", "Instance Stats"])
def test_a_name_without_a_keyword_suggests_nothing(name: str) -> None:
    assert meaning(name) is None


@pytest.mark.parametrize(
    ("name", "step", "expected"),
    [
        ("import_started", "import", "start"),
        ("Import Completed", "import", "success"),
        ("importFailed", "import", "failure"),
        ("Payment Declined", "payment", "failure"),
        ("Upload Rejected", "upload", "failure"),
        ("Login Timed Out", "login", "failure"),
        ("Start Clicked", "clicked", ""),
        ("Report Created", "report_created", ""),
    ],
)
def test_a_name_may_end_a_step(name: str, step: str, expected: str) -> None:
    assert (stem(name), outcome(name)) == (step, expected)


@pytest.mark.parametrize(
    ("part", "behaviour", "guess"),
    [
        ("/pricing", "pricing", False),
        ("/billing", "pricing", True),
        ("/team", "collaboration", True),
        ("/help", "support", False),
        ("/404", "error", False),
        ("/dashboard", "navigation", False),
    ],
)
def test_a_part_of_a_path_suggests_a_behaviour(part: str, behaviour: str, guess: bool) -> None:
    found = path_meaning(part)
    assert (found.behaviour, found.guess) == (behaviour, guess)


def test_a_feature_is_never_a_whole_sentence() -> None:
    assert len(thing("word " * 100)) == 60


def test_rules_speak_the_closed_vocabulary() -> None:
    (seed, *_) = yaml.safe_load((PROJECT_ROOT / "seeds" / "_seeds.yml").read_text())["seeds"]
    tests = next(column for column in seed["columns"] if column["name"] == "behaviour")["data_tests"]
    known = set(tests[0]["accepted_values"]["arguments"]["values"])
    assert {rule.behaviour for rule in RULES + PATH_RULES} <= known
