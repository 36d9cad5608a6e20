"""Commands that serve what is published: serve, keys, token."""

from __future__ import annotations

import json
import os
import secrets
from typing import Any

import click
from rich.markup import escape

from orchestration.cli.app import Call, command_of, main
from orchestration.cli.console import OUT, new_table
from orchestration.errors import UsageError
from orchestration.published.audit_log import record_act
from orchestration.published.served_copy import ServedCopy
from orchestration.serving.keys import ROLES, Role, add_key, read_keys, revoke_key
from orchestration.serving.settings import ServeSettings
from orchestration.serving.tokens import LONGEST_SECONDS, TokenSettings, make_token

_DEMO = "demo"


@command_of(main)
@click.option("--host", help="Address to listen on (TRAITHOUSE_SERVE_HOST).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (TRAITHOUSE_SERVE_PORT).")
@click.option("--from", "source", help="Follow this folder or object store instead of a home (TRAITHOUSE_SERVE_FROM).")
@click.option("--demo", is_flag=True, help="Serve a simulated world that ends today, with a key and a token to try.")
def serve_command(call: Call, host: str | None, port: int | None, source: str | None, demo: bool) -> None:
    """Answer what is published: REST, OFREP flags and streams. Reads serving/ only, never the warehouse."""
    from orchestration.serving.server import is_loopback, read_settings, serve

    given = {"host": host, "port": port, "source": source}
    settings = read_settings(ServeSettings).model_copy(update={k: v for k, v in given.items() if v is not None})
    if demo:
        _prepare_demo(call)
    elif not settings.source:
        call.home.prepare()
    if not is_loopback(settings.host):
        call.progress("other machines can connect; put a proxy that ends TLS before it")

    def ready(url: str) -> None:
        call.progress.stop()
        click.echo(f"Serving on {url}; Ctrl+C ends it.", err=True)
        if demo:
            _show_demo(call, url)

    serve(call.home.serving, settings, read_settings(TokenSettings), ready)


def _prepare_demo(call: Call) -> None:
    """Makes the world, where it is not there."""
    from orchestration.pipeline.demo import make_demo

    if call.home.settings.is_production:
        raise UsageError("--demo serves simulated users, and this is a production home.", "Leave the option out.")
    make_demo(call.project, notify=call.progress)
    os.environ.setdefault("TRAITHOUSE_TOKEN_SECRET", secrets.token_hex(32))


def _show_demo(call: Call, url: str) -> None:
    """A key, a token of a user with a trait, and what to do with them."""
    from orchestration.serving.explain import examples
    from orchestration.serving.server import read_settings

    for key in read_keys(call.home.serving).values():
        if key.name == _DEMO:
            revoke_key(call.home.serving, _DEMO)
    key_of_server = add_key(call.home.serving, _DEMO, "approver")
    user = examples(call.home, call.project.catalog, 1, trait="needs_teammate")[0]["entity_id"]
    token = make_token(read_settings(TokenSettings), user, LONGEST_SECONDS)
    click.echo(f"\nKey of a server:        {key_of_server}\nToken of {user}: {token}\n")
    click.echo(f"curl -H 'Authorization: Bearer {key_of_server}' {url}/v1/users/{user}/traits")
    context = json.dumps({"context": {"targetingKey": user}})
    click.echo(f"curl -H 'Authorization: Bearer {token}' -d '{context}' {url}/ofrep/v1/evaluate/flags")


@main.group()
def keys() -> None:
    """API keys of servers: add, list, revoke."""


@command_of(keys)
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="reader", show_default=True)
@click.option("--purpose", default="", help="Answer only for entities whose consent names this.")
def add_command(call: Call, name: str, role: Role, purpose: str) -> None:
    """Make the key NAME and show it, this once; only its hash is kept."""
    call.home.prepare()
    made = add_key(call.home.serving, name, role, purpose)
    record_act(call.home, "key added", name, f"role {role}")
    _copy_keys(call)
    call.answer({"name": name, "role": role, "key": made}, show_key)


@command_of(keys)
def list_command(call: Call) -> None:
    """Show the names, roles and purposes of all keys."""
    listed = sorted(read_keys(call.home.serving).values(), key=lambda key: key.name)
    told = [{"name": k.name, "role": k.role, "purpose": k.purpose or None, "made_at": k.made_at} for k in listed]
    call.answer({"keys": told}, show_keys)


@command_of(keys)
@click.argument("name")
def revoke_command(call: Call, name: str) -> None:
    """Take the key NAME away; it is refused within two seconds."""
    call.home.prepare()
    revoke_key(call.home.serving, name)
    record_act(call.home, "key revoked", name)
    _copy_keys(call)
    call.answer({"name": name, "revoked": True}, lambda answer: OUT.print(f"Revoked: {escape(answer['name'])}"))


@command_of(main)
@click.argument("user_id")
@click.option("--seconds", type=click.IntRange(1, LONGEST_SECONDS), default=900, show_default=True)
def token_command(call: Call, user_id: str, seconds: int) -> None:
    """Sign a token for the browser of USER_ID with TRAITHOUSE_TOKEN_SECRET, as a backend does."""
    from orchestration.serving.server import read_settings

    token = make_token(read_settings(TokenSettings), user_id, seconds)
    call.answer({"token": token, "seconds": seconds}, lambda answer: click.echo(answer["token"]))


def _copy_keys(call: Call) -> None:
    if call.home.settings.serve_to:
        ServedCopy(call.home.settings.serve_to, "TRAITHOUSE_SERVE_TO").write_keys(call.home.serving)


def show_key(answer: dict[str, Any]) -> None:
    """The key, alone on its line."""
    click.echo(answer["key"])
    click.echo(f"The key {answer['name']} ({answer['role']}) is shown this once; only its hash is kept.", err=True)


def show_keys(answer: dict[str, Any]) -> None:
    """A line a key."""
    table = new_table("Key", "Role", "Purpose", "Made at (UTC)")
    for key in answer["keys"]:
        table.add_row(escape(key["name"]), key["role"], escape(key["purpose"] or "any"), key["made_at"])
    OUT.print(table)
