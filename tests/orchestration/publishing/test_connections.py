"""The connection recipe of the README for SQLAlchemy (Superset), while a refresh goes on."""

from sqlalchemy import create_engine, text

from orchestration.home import Home
from orchestration.pipeline.refresh import refresh
from orchestration.transform.dbt import Project


def test_sqlalchemy_reads_the_snapshot_read_only_while_the_next_one_is_made(
    sample_home: Home, sample_project: Project
) -> None:
    path = (sample_home.serving / "current" / "traithouse.duckdb").resolve()
    engine = create_engine(f"duckdb:///{path}?access_mode=read_only")
    with engine.connect() as connection:
        before = connection.execute(text("select max(build_id) from traits.builds")).scalar()
        refresh(sample_project, as_of="2024-07-01")
        assert connection.execute(text("select max(build_id) from traits.builds")).scalar() == before
        assert connection.execute(text("select count(*) from traits.user_traits")).scalar() == 600
    engine.dispose()
