"""The outbox: append-only, bounded, and whole also after a killed writer."""

from threading import Thread

from orchestration.home import Home
from orchestration.pipeline.asset_events import AssetEvent, Checked, Materialized
from orchestration.pipeline.outbox import OUTBOX, append, read, segments, set_aside

MADE = Materialized(("traits", "dormant"), {"members": 37, "prevalence": 0.0617}, {"path": "/x"}, data_version="3")
DAY = Materialized(("history", "dormant"), {"members": 5, "missing": None}, partition="2024-06-01")
CHECK = Checked(("candidates", "dormant"), "grain", True, True, "as expected", {"observed": {"shop": "nothing"}})


def waiting(home: Home) -> list[AssetEvent]:
    return [event for segment in set_aside(home) for event, _ in read(segment)]


def test_events_come_back_as_they_were_and_in_order(home: Home) -> None:
    append(home, [MADE, CHECK])
    append(home, [DAY])
    assert waiting(home) == [MADE, CHECK, DAY]
    # What was set aside waits until somebody reports it.
    append(home, [CHECK])
    assert waiting(home) == [MADE, CHECK, DAY, CHECK]


def test_half_a_line_of_a_killed_process_costs_that_event_alone(home: Home) -> None:
    append(home, [MADE])
    outbox = home.root / "dagster" / OUTBOX
    outbox.write_bytes(outbox.read_bytes() + outbox.read_bytes()[:40])
    append(home, [DAY])
    outbox.write_bytes(outbox.read_bytes() + b'{"kind": "mater')
    assert waiting(home) == [MADE, DAY]


def test_a_home_that_never_opens_dagster_keeps_the_newest_events(home: Home) -> None:
    for number in range(400):
        append(home, [Materialized(("traits", "dormant"), {"number": number})], most_bytes=2_000)
    size = sum(path.stat().st_size for path in (home.root / "dagster").glob("outbox*.ndjson"))
    assert size <= 4_500
    assert len(segments(home.root / "dagster")) == 1
    numbers = [event.metadata["number"] for event in waiting(home)]
    assert numbers == list(range(numbers[0], 400))


def test_nothing_is_lost_while_the_outbox_is_set_aside(home: Home) -> None:
    def write(name: str) -> None:
        for number in range(100):
            append(home, [Materialized(("traits", name), {"number": number})])

    writers = [Thread(target=write, args=(name,)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        set_aside(home)
    found = waiting(home)
    for name in ("a", "b"):
        assert [e.metadata["number"] for e in found if e.asset[-1] == name] == list(range(100))
