"""Words that names of events are made of, by what they say; orchestration/mapping/rules.py puts them together."""

from __future__ import annotations


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


# Two words that say one thing, with the word that the rules know it by.
COMPOUNDS = {
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
    ("time", "out"): "timeout",
    ("timed", "out"): "timeout",
    ("not", "found"): "notfound",
    ("contact", "us"): "contactus",
    ("contact", "support"): "contactus",
}
SYNONYMS = {"signin": "login", "logon": "login", "signon": "login", "signout": "logout", "logoff": "logout"}

STARTED = word_set("start started begin began begun initiate initiated attempt attempted")
DONE = word_set("complete completed success succeeded successful successfully finish finished done")
# What did not work, for a person or the product. Words with a harmless sense, too ("offer declined"), are a guess.
BROKEN = word_set(
    "error errors failed failure failures fail fails failing exception exceptions crash crashed crashes timeout "
    "aborted unsuccessful unsuccessfully unable invalid notfound unauthorized unauthenticated forbidden"
)
REFUSED = word_set("denied declined rejected")
# What mostly did not work; "User Blocked" may be what the product is for.
DOUBTFUL = word_set(
    "interrupted incorrect undelivered undeliverable bounced stalled broken killed blocked conflict lost throttled "
    "insufficient unavailable unreachable overloaded corrupted refused mismatch"
)
FAILED = BROKEN | REFUSED | DOUBTFUL
NEGATED = word_set("not cannot cant couldnt didnt wasnt wont never")
MENDED = word_set("resolved fixed recovered solved")
# Somebody looked at a thing, or moved about in it.
LOOKED = word_set(
    "view viewed views preview previewed visit visited open opened close closed click clicked tap tapped press pressed "
    "show showed shown display displayed seen impression impressions hover hovered scroll scrolled swipe swiped focus "
    "focused expand expanded collapse collapsed toggle toggled select selected switch switched navigate navigated "
    "browse browsed search searched find filter filters filtered sort sorted dismiss dismissed hide hidden copy copied "
    "rendered landed loaded go back forward check checked"
)
# Somebody took a thing back or away.
TAKEN = word_set(
    "delete deleted remove removed archive archived revoke revoked discard discarded cancel cancelled canceled "
    "canceling cancelling unlink unlinked disconnect disconnected uninstall uninstalled disable disabled unsubscribe "
    "unsubscribed unpublished detach detached clear cleared refund refunded leave left quit expired reject decline "
    "deny abort"
)
# Somebody changed a thing that was there.
CHANGED = word_set(
    "update updated edit edited modify modified rename renamed move moved change changed changing set mark marked "
    "reorder reordered replace replaced adjust adjusted customize customized reset attach attached link linked"
)
# Somebody made a thing, or had the product do what it is for.
MADE = word_set(
    "create created add added make made build built compose composed write wrote draft drafted post posted publish "
    "published send sent reply replied answer answered submit submitted upload uploaded download downloaded export "
    "exported print printed generate generated run ran execute executed perform performed launch launched deploy "
    "deployed release released schedule scheduled record recorded save saved apply applied insert inserted play played "
    "watch watched listen listened draw design translate translated convert converted merge merged sync synced push "
    "pushed pull pulled scan scanned sign signed issue issued renew renewed rotate rotated resolve resolved process "
    "processed analyze analyzed query queried call called invoke invoked trigger triggered request requested log "
    "logged track tracked test tested train trained duplicate duplicated clone cloned restore restored bookmark "
    "bookmarked like liked follow followed vote voted rate rated join joined accept accepted confirm confirmed book "
    "booked solved exchanged tag tagged"
)
USED = word_set("use used using")
PAGE = word_set("page screen pageview screenview pages screens")
FILLERS = word_set("a an the to of in on into for and by with from via at my your new first button event user")
# Words that say how a thing was done and not which thing it is.
VERBS = (
    (TAKEN | CHANGED | MADE | USED)
    - word_set("like rate test track log call sync query issue request design play process scan post tag")
) | word_set("share shared enable enabled import imported activated")

PRICED = (
    "pricing paywall plans checkout upgrade payment payments subscription subscriptions subscribe trial buy purchase"
)
BILLED = "billing price prices quote plan"
HELPED = "support ticket tickets helpdesk help faq contactus"
SIGNED = "signup registered registration register"
PAID = "completed complete placed paid succeeded successful success received"
CONFIRMED = "submit submitted confirm confirmed confirming"
CANCELLED = "cancelled canceled cancel cancellation canceling cancelling"
INVITED = "invite invites invited invitation invitations"
SHARED = (
    "share shared sharing comment commented comments mention mentioned mentions assigned collaborator collaborators"
)
CONNECTED = (
    "connect connected install installed import imported configure configured integrate integrated verify verified "
    "verification tutorial enable enabled initialize initialized initialization"
)
LINKS = "integration integrations connection connections webhook webhooks sso"
PROFILE = "profile details information info customization questionnaire preferences"
OWN = "avatar password username theme timezone settings"
MAILED = "newsletter email emails mailing topic channel blog notifications"
CONTAINERS = "workspace organization organisation team company environment"
SHOWN = (
    "page screen pageview screenview login logout menu tab tabs modal dialog popup sidebar toolbar commandbar tooltip "
    "dropdown banner panel drawer navbar nav homepage session app application settings"
)
