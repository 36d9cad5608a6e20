"""The connection recipe of the README for SQLAlchemy (Superset), while a build is published."""

from sqlalchemy import create_engine, text

from orchestration.home import Home
from orchestration.publishing.publish import publish
from orchestration.transform.dbt import Project
from tests.builds import FLIP, next_build


def test_sqlalchemy_reads_the_snapshot_read_only_while_the_next_one_is_made(
    sample_home: Home, sample_project: Project
) -> None:
    path = (sample_home.serving / "current" / "traithouse.duckdb").resolve()
    engine = create_engine(f"duckdb:///{path}?access_mode=read_only")
    with engine.connect() as connection:
        before = connection.execute(text("select max(build_id) from traits.builds")).scalar()
        next_build(sample_project, FLIP)
        assert publish(sample_project).published
        assert connection.execute(text("select max(build_id) from traits.builds")).scalar() == before
        assert connection.execute(text("select count(*) from traits.user_traits")).scalar() == 600
    engine.dispose()
