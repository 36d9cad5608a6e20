"""What Traithouse delivered and got back changes nothing that is published."""

from pathlib import Path

import pytest

from tests.story.loop import run


@pytest.mark.long
def test_deliveries_that_come_back_in_both_layouts_change_nothing(tmp_path: Path) -> None:
    """Many more days: python -m tests.story.loop --days 30."""
    outcome = run(tmp_path, 2, accounts=8)
    assert outcome.differing == []
    assert outcome.lost == 0
    assert outcome.returned > 50 and outcome.changes > 50
    returned = {table.table: table.returned for table in outcome.placed}
    assert returned["raw.events"] == outcome.returned
    assert sum(count for table, count in returned.items() if table.startswith("raw_segment.")) == outcome.returned
