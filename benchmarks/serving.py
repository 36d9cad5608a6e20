"""What serving costs: latency at a rate, and memory and delay of open streams. Prints figures, tests nothing.

    python -m benchmarks.serving                     # 2,000 requests a second, 2,000 streams
    python -m benchmarks.serving --rate 500 --streams 200 --seconds 5

The server and what asks it are processes of their own on this machine. Latency at the server is by its own metrics:
from a request's arrival at the application to its answer. The other one is what the asking process saw, from the moment
at which a request was due, so that a server that stands still is charged for what waits.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from pydantic import SecretStr

from orchestration.home import Home
from orchestration.serving.keys import add_key
from orchestration.serving.tokens import Tokens, TokenSettings
from tests.api import SECRET, Process, bearer, republish, serving, token
from tests.cache import cached, copied
from tests.conftest import publish_sample, served

CONNECTIONS = 32


async def ask(url: str, requests: Sequence[bytes], rate: int, seconds: float) -> list[float]:
    """Asks at a rate over some connections; returns milliseconds from when each request was due to its answer."""
    host, _, port = url.removeprefix("http://").partition(":")
    due: asyncio.Queue[float] = asyncio.Queue()
    taken: list[float] = []

    async def connection(number: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        turn = number
        while (when := await due.get()) >= 0:
            turn += CONNECTIONS
            writer.write(requests[turn % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head[:20]:
                raise RuntimeError(head[:200].decode())
            length = re.search(rb"content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            taken.append(1000 * (time.perf_counter() - when))
        writer.close()

    async def schedule() -> None:
        began = time.perf_counter()
        for number in range(int(rate * seconds)):
            when = began + number / rate
            if (wait := when - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            due.put_nowait(when)
        for _ in range(CONNECTIONS):
            due.put_nowait(-1)

    await asyncio.gather(schedule(), *(connection(number) for number in range(CONNECTIONS)))
    return sorted(taken)


async def listen(url: str, tokens: Sequence[str], opened: asyncio.Event, changed: list[float]) -> None:
    """Opens a stream for each token, and notes when each was told of a change."""
    host, _, port = url.removeprefix("http://").partition(":")
    ready = 0

    async def stream(signed: str) -> None:
        nonlocal ready
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /v1/stream?token={signed} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"retry: 1000")
        ready += 1
        if ready == len(tokens):
            opened.set()
        await reader.readuntil(b"data: ")
        changed.append(time.perf_counter())
        writer.close()

    await asyncio.gather(*(stream(signed) for signed in tokens))


def resident(process: Process) -> int:
    """Bytes of memory that a process has."""
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) * 1024 if found else 0


def processor_seconds(process: Process) -> float:
    """Seconds of a processor that a process has used."""
    fields = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def within(metrics: str, route: str, milliseconds: float) -> float:
    """Share of the requests of a route that the server answered within some milliseconds."""
    quoted = re.escape(route)
    most = re.search(rf'seconds_bucket{{le="{milliseconds / 1000}",route="{quoted}"}} ([\d.e+]+)', metrics)
    every = re.search(rf'seconds_count{{route="{quoted}"}} ([\d.e+]+)', metrics)
    return float(most[1]) / float(every[1]) if most and every else 0.0


def measure_latency(process: Process, key: str, users: Sequence[str], rate: int, seconds: float) -> None:
    """Half of the requests are of servers for one flag, half of browsers for all flags."""
    requests = []
    for user in users:
        body = json.dumps({"context": {"targetingKey": user}}).encode()
        for path, credential in (("/trait.dormant", key), ("", token(user))):
            head = (
                f"POST /ofrep/v1/evaluate/flags{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {credential}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            requests.append(head.encode() + body)
    asyncio.run(ask(process.url, requests, min(rate, 500), 2))
    before = processor_seconds(process)
    taken = asyncio.run(ask(process.url, requests, rate, seconds))
    used = processor_seconds(process) - before
    metrics = httpx.get(f"{process.url}/metrics", headers=bearer(key), trust_env=False).text
    for route in ("/ofrep/v1/evaluate/flags/{key}", "/ofrep/v1/evaluate/flags"):
        shares = ", ".join(
            f"{100 * within(metrics, route, limit):.2f} % within {limit} ms" for limit in (1.0, 2.5, 5.0)
        )
        print(f"{route}, at the server: {shares}")
    print(
        f"{len(taken):,} requests at {rate:,} a second, seen by their sender: p50 {taken[len(taken) // 2]:.2f} ms,"
        f" p99 {taken[int(0.99 * len(taken))]:.2f} ms, at most {taken[-1]:.1f} ms;"
        f" {1e6 * used / len(taken):.0f} us of a processor each at the server"
    )


def measure_streams(home: Home, process: Process, count: int) -> None:
    """Opens streams of different users, and publishes once."""
    tokens = Tokens(TokenSettings(token_secret=SecretStr(SECRET)))
    signed = [tokens.stream_token(f"user_{number}") for number in range(count)]

    async def run() -> None:
        opened, changed = asyncio.Event(), list[float]()
        before = resident(process)
        listening = asyncio.create_task(listen(process.url, signed, opened, changed))
        await asyncio.wait_for(opened.wait(), 60)
        await asyncio.sleep(1)
        each = (resident(process) - before) / count
        used = processor_seconds(process)
        await asyncio.to_thread(
            republish, home, "update traits.trait_catalog set verdict = 'failed' where trait = 'dormant'"
        )
        published = time.perf_counter()
        await asyncio.wait_for(listening, 60)
        print(
            f"{count:,} open streams: {each / 1024:.1f} KB each at the server; after a publish the first was told after"
            f" {min(changed) - published:.2f} s, the last after {max(changed) - published:.2f} s;"
            f" {processor_seconds(process) - used:.2f} s of a processor for all"
        )

    asyncio.run(run())


def main(arguments: Sequence[str]) -> int:
    """Serves the sample, and asks."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rate", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--streams", type=int, default=2_000)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        home = copied(cached("published", publish_sample), Path(name) / "home")
        key = add_key(home.serving, "benchmark", "reader")
        republish(home, "update traits.trait_catalog set serve = 'browser' where trait in ('dormant', 'power_user')")
        users = [
            row[0] for row in served(home, "select distinct entity_id from traits.trait_values where trait = 'dormant'")
        ]
        environment = {
            "TRAITHOUSE_SERVE_KEY_RATE": "100000",
            "TRAITHOUSE_SERVE_BROWSER_RATE": "1000",
        }
        with serving(home, Path(name), environment) as process:
            measure_latency(process, key, sorted(users), given.rate, given.seconds)
            measure_streams(home, process, given.streams)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
