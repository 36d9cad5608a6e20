"""Files that were damaged on their way."""

from tests.faults.files import try_files


def test_each_record_is_read_as_another_reader_reads_it_or_refused_and_none_is_invented() -> None:
    found = try_files(200, seed=0)
    assert found.wrong == []
    assert found.outcomes["csv: read"] > 200
    assert found.outcomes["ndjson: read"] > 200
    assert len(found.outcomes) > 6
