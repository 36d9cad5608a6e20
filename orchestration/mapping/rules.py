"""What the words of an event's name, or of a page's path, suggest: fixed rules, of which the first that holds wins.

A rule compares whole words, in any spelling: "Signed Up", "signed_up" and "signedUp" are the same two words. What was
done counts before what it was done to: failures first, then looking, then what changes a contract, then taking away,
changing and making. "Submit Upgrade" is therefore a purchase, and "Upgrade Clicked" a look at prices. The words are in
orchestration/mapping/vocabulary.py. A rule that is not sure marks its proposal as a guess; core value always is one,
for only a person knows what the product is for. Nothing is applied by itself: a person reads the proposal.

| words | behaviour |
| --- | --- |
| error, failed, denied, timeout, ...; a limit that is reached; not with a verb | error, outcome failure |
| viewed, clicked, selected, searched with pricing, plan, checkout, upgrade | pricing |
| viewed, clicked, selected, searched with anything else | navigation, or support or setup by the thing |
| trial with started | trial_started |
| subscription with started, order with completed or placed, purchase, payment or checkout with completed | subscribed |
| signup, registered, and nothing else | signed_up |
| upgraded, downgraded; upgrade with completed or submitted | upgraded, downgraded |
| cancelled, alone or with subscription, plan, account; churned | cancelled |
| deleted, removed, revoked, refunded | navigation |
| invite accepted; shared, commented, mentioned, assigned | collaboration |
| invite | invite |
| support, ticket, help, faq | support |
| onboarding, setup, tour; connected, installed, imported, verified | setup |
| pricing, paywall, plans, checkout, upgrade, billing | pricing |
| activated; first | activation |
| started | navigation |
| updated, renamed, moved | navigation |
| created, sent, published, exported, completed, used | core_value |
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass

from orchestration.mapping import vocabulary as known
from orchestration.mapping.vocabulary import DONE, FAILED, FILLERS, LOOKED, PAGE, STARTED, VERBS

_LIFECYCLE = known.word_set("signed_up trial_started subscribed upgraded downgraded cancelled invite")


@dataclass(frozen=True)
class Rule:
    """Holds when the name has a word of every group.

    Attributes:
        behaviour: the behaviour that it suggests.
        groups: each a text or a set of words.
        sure: whether the proposal is no guess.
        alone: whether the name may hold no other word, but for words that say nothing.

    """

    behaviour: str
    groups: tuple[str | Set[str], ...]
    sure: bool = True
    alone: bool = False

    def words(self) -> frozenset[str]:
        """The words of all groups."""
        return frozenset().union(*(_words_of(group) for group in self.groups))

    def holds(self, words: Set[str]) -> bool:
        """Whether the words of a name fit."""
        if self.alone and words - self.words() - FILLERS - DONE:
            return False
        return all(words & _words_of(group) for group in self.groups)


def _words_of(group: str | Set[str]) -> Set[str]:
    return known.word_set(group) if isinstance(group, str) else group


_BEGUN = "started start begin began begun activated created"
_CONTRACT = "subscription subscriptions plan account membership"
RULES = (
    # What did not work.
    Rule("navigation", (FAILED, known.MENDED), sure=False),
    Rule("error", (known.BROKEN,)),
    Rule("error", ("payment card charge transaction permission access", known.REFUSED)),
    Rule("error", (known.REFUSED,), sure=False),
    Rule("error", ("limit limits quota", "exceeded reached hit")),
    # An account that is closed; "closed" is otherwise a look.
    Rule("cancelled", (_CONTRACT, "ended expired deleted closed"), sure=False, alone=True),
    # Looking at a thing is not doing it.
    Rule("pricing", (LOOKED, known.PRICED)),
    Rule("pricing", (LOOKED, f"{known.BILLED} demo sales"), sure=False),
    Rule("support", (LOOKED, known.HELPED)),
    Rule("support", (LOOKED, "chat feedback documentation"), sure=False),
    Rule("setup", (LOOKED, "onboarding setup tour walkthrough tutorial")),
    Rule("navigation", (LOOKED,), sure=False),
    Rule("error", (known.DOUBTFUL | known.NEGATED,), sure=False),
    Rule("error", ("rate", "limited")),
    # The contract.
    Rule("navigation", ("subscribe subscribed unsubscribe unsubscribed", known.MAILED), sure=False),
    Rule("cancelled", (known.CANCELLED, f"{_CONTRACT} trial")),
    Rule("cancelled", (known.CANCELLED,), alone=True),
    Rule("cancelled", ("churned",)),
    Rule("cancelled", ("unsubscribe unsubscribed",), sure=False),
    Rule("trial_started", ("trial trialing", _BEGUN)),
    Rule("upgraded", ("upgraded", "plan subscription account")),
    Rule("navigation", ("upgraded", "app application version client software sdk database"), sure=False),
    Rule("upgraded", ("upgraded",)),
    Rule("upgraded", ("upgrade", DONE)),
    Rule("upgraded", ("upgrade", f"{known.CONFIRMED} {known.CONTAINERS} plan subscription account"), sure=False),
    Rule("downgraded", ("downgraded downgrade",)),
    Rule("subscribed", ("subscription subscriptions", f"{_BEGUN} completed purchased paid resumed reactivated")),
    Rule("subscribed", ("subscription subscriptions", f"{known.CONFIRMED} resume resuming"), sure=False),
    Rule("subscribed", ("subscription subscriptions plan", "renewed purchased"), sure=False),
    Rule("subscribed", ("order orders", known.PAID)),
    Rule("subscribed", ("purchased",)),
    Rule("subscribed", ("purchase", DONE)),
    Rule("subscribed", ("purchase",), alone=True),
    Rule("subscribed", ("purchase", "app inapp"), sure=False),
    Rule("subscribed", ("trial", "converted"), sure=False),
    Rule("subscribed", ("checkout payment invoice", known.PAID)),
    Rule("subscribed", ("checkout payment order purchase", known.CONFIRMED), sure=False),
    Rule("subscribed", ("subscribed subscribe",), sure=False),
    Rule("signed_up", (known.SIGNED,), alone=True),
    Rule("signed_up", ("account user", "created"), sure=False, alone=True),
    Rule("setup", (known.SIGNED,), sure=False),
    # Taking away.
    Rule("navigation", (known.TAKEN,), sure=False),
    # Other people.
    Rule("collaboration", (known.INVITED, "accepted accept joined")),
    Rule("invite", (known.INVITED,)),
    Rule("invite", ("referral refer referred",), sure=False),
    Rule("support", (known.HELPED,)),
    Rule("support", ("feedback bug complaint",), sure=False),
    Rule("collaboration", (known.SHARED,)),
    Rule("collaboration", ("member members teammate teammates", "added add joined created invited"), sure=False),
    Rule("collaboration", ("team workspace", "joined"), sure=False),
    Rule("collaboration", ("reviewed approved",), sure=False),
    # Getting ready, and money.
    Rule("setup", ("onboarding setup tour walkthrough",)),
    Rule("pricing", (known.PRICED,)),
    Rule("pricing", ("demo sales", "book booked request requested schedule scheduled contact contacted"), sure=False),
    Rule("pricing", ("billing shipping", "info added add address updated"), sure=False),
    Rule("pricing", ("plan", known.CHANGED), sure=False),
    Rule("setup", ("download downloaded", "app application desktop client"), sure=False),
    Rule("setup", (known.CONNECTED,), sure=False),
    Rule("setup", (known.LINKS, "created create added add"), sure=False),
    Rule("setup", (known.CONTAINERS, "created create"), sure=False),
    Rule("setup", (known.PROFILE, f"{' '.join(DONE)} provided submitted entered"), sure=False),
    Rule("activation", ("activated activation",)),
    Rule("activation", ("cart", "added add"), sure=False),
    Rule("activation", ("first",), sure=False),
    # What was done with the product.
    Rule("navigation", ("login logout",)),
    Rule("navigation", (known.OWN,), sure=False),
    Rule("navigation", (STARTED,), sure=False),
    Rule("navigation", (known.CHANGED,), sure=False),
    Rule("navigation", ("timing heartbeat telemetry ping latency",), sure=False),
    Rule("core_value", (known.MADE,), sure=False),
    # Nothing was done: what it is about.
    Rule("pricing", (known.BILLED,), sure=False),
    Rule("support", ("chat documentation",), sure=False),
    Rule("support", ("docs",), sure=False, alone=True),
    Rule("navigation", (PAGE,)),
    Rule("navigation", (known.SHOWN,), sure=False),
    Rule("core_value", (DONE | known.USED,), sure=False),
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
        if pair in known.COMPOUNDS:
            joined.append(known.COMPOUNDS[pair])
            del found[:2]
        else:
            word = found.pop(0)
            joined.append(known.SYNONYMS.get(word, word))
    return tuple(joined)


def thing(name: str) -> str:
    """What a name is about, as the name of a feature; may be empty."""
    kept = [
        word for word in words(name) if word not in STARTED | DONE | FAILED | known.NEGATED | LOOKED | PAGE | FILLERS
    ]
    return "_".join([word for word in kept if word not in VERBS] or kept)[:60]


def stem(name: str) -> str:
    """What begins, ends or fails, as the name of a step: all words but those for begin, end or fail; may be empty."""
    return "_".join(word for word in words(name) if word not in STARTED | DONE | FAILED | known.NEGATED | FILLERS)[:60]


def base(word: str) -> str:
    """A word without its ending, so that "upload", "uploads" and "uploaded" are the same."""
    return re.sub(r"([^aeiou])\1$", r"\1", re.sub(r"(?<=\w{3})(ing|ed|es|e|s)$", "", word))


def meaning(name: str) -> Meaning | None:
    """The meaning of an event's name by the first rule that holds; none without one."""
    return _first(RULES, words(name), thing(name))


def path_meaning(part: str) -> Meaning:
    """What a part of a path suggests; without a rule it is navigation."""
    found = words(part)
    return _first(PATH_RULES, found, "_".join(found)) or Meaning("navigation", "_".join(found), False, "a page")


def outcome(name: str) -> str:
    """``start``, ``success`` or ``failure`` when the name ends a step so, else empty."""
    found, suggested = set(words(name)), meaning(name)
    if suggested and suggested.behaviour == "error":
        return "failure"
    return (
        ""
        if found & (FAILED | LOOKED | known.NEGATED)
        else "start"
        if found & STARTED
        else "success"
        if found & DONE
        else ""
    )


def _first(rules: tuple[Rule, ...], found: tuple[str, ...], feature: str) -> Meaning | None:
    for rule in rules:
        if rule.holds(set(found)):
            why = " ".join(word for word in found if word in rule.words())
            kept = "" if rule.behaviour in _LIFECYCLE else feature
            return Meaning(rule.behaviour, kept, not rule.sure, why)
    return None
