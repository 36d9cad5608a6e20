"""Files that are tables."""

from pathlib import Path

from orchestration.home import Home
from tests.conftest import queried
from tests.orchestration.cli.conftest import Traithouse


def test_each_file_is_the_table_of_its_name_and_none_holds_up_the_others(
    home: Home, traithouse: Traithouse, tmp_path: Path
) -> None:
    texts = {
        "tracks": "id,event,user_id,timestamp\n1,order_started,u,2024-06-01T10:00:00Z\n",
        "order_started": "id,total\n1,5\n",
        "users": "id,email\nu,u@example.com\n",
        "pages": 'id,name\n"1,broken\n',
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    result = traithouse("load", *sorted(tmp_path.glob("*.csv")), "--source", "segment", "--tables", home=home)
    assert result.exit_code == 2
    assert "1 loaded into raw_segment.tracks" in result.output
    assert "it holds nothing that identifies does not hold" in result.output
    assert "not loaded" in result.output
    assert "pages.csv" in result.output
    assert queried(home, "select track_properties from raw_segment.tracks") == [('{"total":"5"}',)]


def test_tables_need_a_source(home: Home, traithouse: Traithouse, tmp_path: Path) -> None:
    (tmp_path / "tracks.csv").write_text("id\n1\n")
    result = traithouse("load", tmp_path / "tracks.csv", "--tables", home=home)
    assert result.exit_code == 2
    assert "--tables needs --source" in result.output
