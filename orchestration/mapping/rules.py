"""What the words of an event's name, or of a page's path, suggest: fixed rules, of which the first that holds wins.

A rule compares whole words, in any spelling: "Signed Up", "signed_up" and "signedUp" are the same two words. A rule
that is not sure marks its proposal as a guess. Nothing is applied by itself: a person reads the proposal.

| words | behaviour |
| --- | --- |
| error, failed, ...; a card or payment that is declined | error, outcome failure |
| trial with started | trial_started |
| subscription with started, order with completed or placed, purchase, payment or checkout with completed | subscribed |
| signup, registered | signed_up |
| upgraded, downgraded | upgraded, downgraded |
| cancelled, alone or with subscription, plan, account; churned | cancelled |
| invite accepted; shared, commented, mentioned, assigned | collaboration |
| invite | invite |
| pricing, paywall, plans, checkout, upgrade, billing | pricing |
| support, ticket, help, faq | support |
| onboarding, setup, tour; connected, installed, imported | setup |
| activated; first | activation |
| page, screen, login, logout; viewed, clicked, searched | navigation |

Looking at a thing or beginning it is not doing it: a name with viewed, clicked or started is never signed_up,
subscribed, upgraded, downgraded or cancelled.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass


def word_set(text: str) -> frozenset[str]:
    """The words of a line."""
    return frozenset(text.split())


STARTED = word_set("start started begin began begun initiated")
DONE = word_set("complete completed success succeeded successful successfully finished done")
FAILED = word_set("error errors failed failure fail fails exception crash crashed")
LOOKED = word_set(
    "view viewed views visit visited open opened click clicked shown seen impression hover scrolled tapped"
)
_COMPOUNDS = {
    ("sign", "up"): "signup",
    ("signed", "up"): "signup",
    ("log", "in"): "login",
    ("logged", "in"): "login",
    ("sign", "in"): "login",
    ("signed", "in"): "login",
    ("log", "out"): "logout",
    ("logged", "out"): "logout",
    ("sign", "out"): "logout",
    ("signed", "out"): "logout",
    ("check", "out"): "checkout",
    ("set", "up"): "setup",
}
PAGE = word_set("page screen pageview screenview pages screens")
_FILLERS = word_set("a an the to of in on for and by with from my new first button event user")
# Verbs are left out of a feature's name, too, unless nothing else would remain.
_VERBS = word_set(
    "create created add added update updated edit edited delete deleted remove removed save saved send sent "
    "use used run ran submit submitted generate generated upload uploaded download downloaded export exported "
    "import imported share shared select selected change changed enable enabled disable disabled activated"
)
_LIFECYCLE = word_set("signed_up trial_started subscribed upgraded downgraded cancelled invite")


@dataclass(frozen=True)
class Rule:
    """Holds when the name has a word of every group.

    Attributes:
        behaviour: the behaviour that it suggests.
        groups: each a text of words, separated by spaces.
        sure: whether the proposal is no guess.
        done: whether it holds only for names that do not say that somebody looked or began.

    """

    behaviour: str
    groups: tuple[str, ...]
    sure: bool = True
    done: bool = False

    def holds(self, words: Set[str]) -> bool:
        """Whether the words of a name fit."""
        if self.done and words & (LOOKED | STARTED):
            return False
        return all(words & set(group.split()) for group in self.groups)


_BEGUN = "started start begin began begun activated created"
RULES = (
    Rule("error", (" ".join(FAILED),)),
    Rule("error", ("payment card charge transaction", "declined denied rejected")),
    Rule("trial_started", ("trial trialing", _BEGUN)),
    Rule("subscribed", ("subscription subscriptions", f"{_BEGUN} completed purchased paid")),
    Rule("subscribed", ("subscription subscriptions plan", "renewed purchased"), sure=False),
    Rule("subscribed", ("order orders", "completed complete placed paid")),
    Rule("subscribed", ("purchase purchased",), done=True),
    Rule("subscribed", ("checkout payment invoice", f"{' '.join(DONE)} paid received"), done=True),
    Rule("subscribed", ("subscribed subscribe",), sure=False, done=True),
    Rule("signed_up", ("signup registered registration register",), done=True),
    Rule("signed_up", ("account user", "created"), sure=False),
    Rule("setup", ("signup registration register", " ".join(STARTED)), sure=False),
    Rule("upgraded", ("upgraded",), done=True),
    Rule("upgraded", ("upgrade", " ".join(DONE)), done=True),
    Rule("downgraded", ("downgraded downgrade",), done=True),
    Rule(
        "cancelled",
        ("cancelled canceled cancel cancellation", "subscription plan account membership trial"),
        done=True,
    ),
    Rule("cancelled", ("churned",), done=True),
    Rule("cancelled", ("subscription account membership", "ended expired deleted closed"), sure=False, done=True),
    Rule("collaboration", ("invite invites invited invitation invitations", "accepted joined")),
    Rule("navigation", ("invite invites invited invitation invitations", " ".join(LOOKED)), sure=False),
    Rule("invite", ("invite invites invited invitation invitations",)),
    Rule("pricing", ("pricing paywall plans checkout upgrade",)),
    Rule("pricing", ("billing price prices quote",), sure=False),
    Rule("pricing", ("payment", "started start entered added info method"), sure=False),
    Rule("support", ("support ticket tickets helpdesk help faq",)),
    Rule("support", ("chat feedback bug complaint docs documentation",), sure=False),
    Rule("collaboration", ("share shared sharing comment commented comments mention mentioned assigned collaborator",)),
    Rule("collaboration", ("member members teammate teammates team workspace", "added joined created"), sure=False),
    Rule("setup", ("onboarding setup tour walkthrough",)),
    Rule("setup", ("connected installed imported import configured verified integration tutorial",), sure=False),
    Rule("activation", ("activated activation",)),
    Rule("activation", ("first",), sure=False),
    Rule("navigation", ("page screen pageview screenview login logout",)),
    Rule("navigation", ("session app application", "started start ended opened launched backgrounded"), sure=False),
    Rule("navigation", (f"{' '.join(LOOKED)} search searched filter filtered sorted navigated menu tab",), sure=False),
)
# Words of a path's part; anything else is navigation.
PATH_RULES = (
    Rule("pricing", ("pricing plans upgrade checkout paywall",)),
    Rule("pricing", ("billing subscribe subscription payment",), sure=False),
    Rule("support", ("support help faq helpdesk",)),
    Rule("support", ("docs documentation contact",), sure=False),
    Rule("setup", ("onboarding setup welcome",)),
    Rule("setup", ("integrations integration install import",), sure=False),
    Rule("collaboration", ("team teams members invite invites sharing",), sure=False),
    Rule("error", ("404 500 error",)),
)


@dataclass(frozen=True)
class Meaning:
    """What a name suggests.

    Attributes:
        behaviour: one of the closed vocabulary.
        feature: the thing that was used, or empty.
        guess: whether a person should doubt it.
        why: the words that it follows from.

    """

    behaviour: str
    feature: str
    guess: bool
    why: str


def words(name: str) -> tuple[str, ...]:
    """Lower-case words of a name in any spelling; "sign up" and its like are one word."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    found = [word.lower() for word in re.findall(r"[^\W_]+", spaced)]
    joined: list[str] = []
    while found:
        pair = tuple(found[:2])
        if pair in _COMPOUNDS:
            joined.append(_COMPOUNDS[pair])
            del found[:2]
        else:
            joined.append(found.pop(0))
    return tuple(joined)


def thing(name: str) -> str:
    """What a name is about, as the name of a feature; may be empty."""
    kept = [word for word in words(name) if word not in STARTED | DONE | FAILED | LOOKED | PAGE | _FILLERS]
    return "_".join([word for word in kept if word not in _VERBS] or kept)[:60]


def stem(name: str) -> str:
    """What begins, ends or fails, as the name of a step: all words but those for begin, end or fail; may be empty."""
    return "_".join(word for word in words(name) if word not in STARTED | DONE | FAILED | _FILLERS)[:60]


def meaning(name: str) -> Meaning | None:
    """The meaning of an event's name by the first rule that holds; none without one."""
    return _first(RULES, words(name), thing(name)) or _cancelled(name)


def path_meaning(part: str) -> Meaning:
    """What a part of a path suggests; without a rule it is navigation."""
    found = words(part)
    return _first(PATH_RULES, found, "_".join(found)) or Meaning("navigation", "_".join(found), False, "a page")


def outcome(name: str) -> str:
    """``start``, ``success`` or ``failure`` when the name ends a step so, else empty."""
    found = set(words(name))
    if any(rule.behaviour == "error" and rule.holds(found) for rule in RULES):
        return "failure"
    return "start" if found & STARTED else "success" if found & DONE else ""


def _cancelled(name: str) -> Meaning | None:
    """The word "cancelled" alone is about the subscription; with another thing it is about that thing."""
    if set(words(name)) <= {"cancelled", "canceled", "cancellation"}:
        return Meaning("cancelled", "", False, "cancelled")
    return None


def _first(rules: tuple[Rule, ...], found: tuple[str, ...], feature: str) -> Meaning | None:
    for rule in rules:
        if rule.holds(set(found)):
            wanted = {word for group in rule.groups for word in group.split()}
            why = " ".join(word for word in found if word in wanted)
            kept = "" if rule.behaviour in _LIFECYCLE else feature
            return Meaning(rule.behaviour, kept, not rule.sure, why)
    return None
