"""Ten thousand attempts of a browser to read another user, by every way that the API has; none succeeds."""

import json
import random
import time
from pathlib import Path
from urllib.parse import quote

import httpx
import jwt
import pytest

from orchestration.home import Home
from tests.api import SECRET, republish, serving, token
from tests.conftest import served

ATTEMPTS = 10_000
ME = "user_0000"
# Stands in each value of everybody else, so that an answer about another shows it.
MARK = "a reason that only others have"
OTHER_SECRET = "another secret of thirty-two bytes, or more"


def spelled(user: str, draw: random.Random) -> str:
    """An id in some spelling that a careless server takes for it."""
    return draw.choice(
        [
            user,
            user.upper(),
            f" {user}",
            f"{user} ",
            f"{user}\t",
            f"{user}\u0000",
            f"{user}/",
            f"./{user}",
            f"{ME}/../{user}",
            f"{ME},{user}",
            f"{ME}\n{user}",
            f"{user}%00",
            quote(quote(user, safe=""), safe=""),
            user.replace("_", "\uff3f"),
            f"{user}' or '1'='1",
            "%",
            "*",
        ]
    )


def credentials(user: str, draw: random.Random) -> dict[str, str]:
    """Headers with which a browser of ME pretends to be somebody else, or something else."""
    mine = token(ME)
    head, _, signature = mine.split(".")
    others = token(user, secret=OTHER_SECRET).split(".")[1]
    unsigned = jwt.encode({"sub": user, "aud": "traithouse", "exp": time.time() + 60}, "", algorithm="none")
    return draw.choice(
        [
            {"Authorization": f"Bearer {mine}"},
            {"X-API-Key": mine},
            {"Authorization": f"Bearer {mine}", "X-API-Key": "thk_guess"},
            {"Authorization": f"Bearer {mine}", "X-User-Id": user, "X-Forwarded-User": user},
            {"Authorization": f"Bearer {head}.{others}.{signature}"},
            {"Authorization": f"Bearer {unsigned}"},
            {"Authorization": f"Bearer {token(user, secret=OTHER_SECRET)}"},
            {"Authorization": f"Bearer {token(user, seconds=-100)}"},
            {"Authorization": f"Bearer {token(user, aud='traithouse-stream')}"},
            {"Authorization": f"Bearer {token(ME, secret=SECRET, account=user)}"},
            {"Authorization": f"Bearer thk_{user}"},
            {},
        ]
    )


def attempt(client: httpx.Client, user: str, draw: random.Random) -> httpx.Response:
    """One request that asks for another user."""
    name, headers = spelled(user, draw), credentials(user, draw)
    path = quote(name, safe="")
    trait = draw.choice(["dormant", "at_risk", "power_user"])
    contexts = [
        {"targetingKey": name},
        {"targetingKey": [ME, name]},
        {"targetingKey": {"$ne": ME}},
        {"targetingKey": ME, "account_id": name},
        {"targetingKey": ME, "user_id": name, "userId": name, "sub": name, "entity_id": name},
    ]
    # Of two equal keys, a reader may take the first for the check and the last for the answer.
    twice = f'{{"context": {{"targetingKey": {json.dumps(ME)}, "targetingKey": {json.dumps(name)}}}}}'
    body = draw.choice([*(json.dumps({"context": context}) for context in contexts), twice])
    flags = "/ofrep/v1/evaluate/flags"
    way = draw.randrange(9)
    if way < 3:
        return client.post(draw.choice([flags, f"{flags}/trait.{trait}"]), content=body, headers=headers)
    paths = [
        f"/v1/users/{path}/traits",
        f"/v1/accounts/{path}/traits",
        f"/v1/users/{ME}/traits/../../{path}/traits",
        f"/v1/users/{ME}/traits?entity_id={path}&user={path}",
        f"/v1/traits/{trait}/members?cursor={path}",
        f"/v1/changes?after=0&entity_id={path}",
        f"/v1/stream?token={path}",
    ]
    return client.get(draw.choice(paths), headers=headers)


@pytest.mark.long
def test_no_browser_reads_another_user(sample_home: Home, tmp_path: Path) -> None:
    republish(
        sample_home,
        "update traits.trait_catalog set serve = 'browser' where trait in ('dormant', 'power_user')",
        f"update traits.trait_values set reason = '{MARK}' where entity_id != '{ME}'",
    )
    users = [row[0] for row in served(sample_home, "select distinct entity_id from traits.trait_values")]
    draw, statuses = random.Random(7), dict[int, int]()
    environment = {"TRAITHOUSE_SERVE_BROWSER_RATE": "100000"}
    with (
        serving(sample_home, tmp_path, environment) as process,
        httpx.Client(base_url=process.url, timeout=10, trust_env=False) as client,
    ):
        for _ in range(ATTEMPTS):
            answer = attempt(client, draw.choice(users), draw)
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
            assert MARK not in answer.text, answer.request.url
            assert answer.status_code < 500, answer.request.url
        # What is its own, a browser reads: the attempts did not fail because nothing works.
        own = client.get(f"/v1/users/{ME}/traits", headers={"Authorization": f"Bearer {token(ME)}"})
        assert {"dormant", "power_user"} <= set(own.json()["traits"])
    assert statuses[401] > 1_000
    assert statuses[403] > 1_000
