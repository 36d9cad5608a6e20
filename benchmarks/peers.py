"""The same result by data frames, as their users write it: dedupe, owners, sessions, user-days, 28-day features.

A peer works in memory and always in full. JSON is parsed for it already, and some of what Traithouse makes, such as the
longest session, merges and quarantine, is left out. So a peer does less than Traithouse does.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

from benchmarks.measure import ROOT

GAP_MINUTES = 30
PATHS = {"/pricing": "pricing", "/invite": "invite", "/settings/team": "collaboration"}

Features = Callable[[str], dict[str, Any]]


def meanings() -> tuple[dict[str, str], set[str], list[str]]:
    """Behaviour of each event name, names of failures, and every behaviour."""
    with (ROOT / "benchmarks" / "naive" / "seeds" / "behaviours.csv").open() as file:
        rows = list(csv.DictReader(file))
    behaviours = {row["event_name"]: row["behaviour"] for row in rows}
    failures = {row["event_name"] for row in rows if row["outcome"] == "failure"}
    return behaviours, failures, sorted({*behaviours.values(), *PATHS.values()})


def with_polars() -> Features:
    """Polars, lazily; raises ImportError without it."""
    import polars as pl

    def features(file: str) -> dict[str, Any]:
        by_name, failures, behaviours = meanings()
        by_path = pl.when(False).then(pl.lit(""))
        for prefix, behaviour in PATHS.items():
            by_path = by_path.when(pl.col("path").str.starts_with(prefix)).then(pl.lit(behaviour))
        events = (
            pl.scan_parquet(file)
            .filter(~pl.col("is_bot"))
            .unique("event_id", keep="first", maintain_order=True)
            .with_columns(
                behaviour=pl.coalesce(
                    by_path.otherwise(None), pl.col("event_name").replace_strict(by_name, default="")
                ),
                failed=pl.col("event_name").is_in(list(failures)),
            )
            .select("user_id", "anonymous_id", "occurred_at", "behaviour", "failed")
            .collect()
        )
        last_seen = (
            events.filter(pl.col("user_id").is_not_null() & pl.col("anonymous_id").is_not_null())
            .group_by("anonymous_id")
            .agg(last_user=pl.col("user_id").sort_by("occurred_at").last())
        )
        owned = (
            events.join(last_seen, on="anonymous_id", how="left")
            .with_columns(owner=pl.coalesce("user_id", "last_user", "anonymous_id"))
            .select("owner", "occurred_at", "behaviour", "failed")
            .sort("owner", "occurred_at")
            .with_columns(
                opens=(
                    (pl.col("owner") != pl.col("owner").shift())
                    | (pl.col("occurred_at").diff() > pl.duration(minutes=GAP_MINUTES))
                ).fill_null(True)
            )
            .with_columns(session=pl.col("opens").cum_sum(), day=pl.col("occurred_at").dt.date())
        )
        sessions = owned.group_by("session").agg(
            pl.col("owner").first(), began=pl.col("occurred_at").min(), ended=pl.col("occurred_at").max()
        )
        session_days = sessions.group_by("owner", day=pl.col("began").dt.date()).agg(
            sessions=pl.len(), active_seconds=(pl.col("ended") - pl.col("began")).dt.total_seconds().sum()
        )
        days = (
            owned.group_by("owner", "day")
            .agg(
                pl.col("failed").sum(),
                *((pl.col("behaviour") == behaviour).sum().alias(behaviour) for behaviour in behaviours),
                events=pl.len(),
            )
            .join(session_days, on=["owner", "day"], how="left")
        )
        last_day = days["day"].max()
        measures = ["events", "failed", "sessions", "active_seconds", *behaviours]
        recent = days.filter(pl.col("day") > pl.lit(last_day).dt.offset_by("-28d"))
        made = (
            days.group_by("owner")
            .agg(first_day=pl.col("day").min(), last_day=pl.col("day").max())
            .join(recent.group_by("owner").agg(pl.col(measures).sum(), active_days=pl.len()), on="owner", how="left")
        )
        return {"sessions": sessions.height, "days": days.height, "users": made.height}

    return features


def with_pandas() -> Features:
    """Pandas; DuckDB reads the file, because pandas needs another library to read Parquet."""
    import duckdb
    import pandas as pd

    def features(file: str) -> dict[str, Any]:
        by_name, failures, behaviours = meanings()
        events = duckdb.sql(f"select * from '{file}' where not is_bot").df().drop_duplicates("event_id")
        behaviour = events["event_name"].map(by_name).fillna("")
        for prefix, meaning in PATHS.items():
            behaviour = behaviour.mask(events["path"].str.startswith(prefix).fillna(False).astype(bool), meaning)
        events["behaviour"] = pd.Categorical(behaviour, categories=["", *behaviours])
        events["failed"] = events["event_name"].isin(failures)
        seen = events.loc[events["user_id"].notna() & events["anonymous_id"].notna()].sort_values("occurred_at")
        last_seen = seen.groupby("anonymous_id")["user_id"].last()
        linked = events["anonymous_id"].map(last_seen)
        owner = events["user_id"].fillna(linked).fillna(events["anonymous_id"])
        # Integers sort and group much faster than texts.
        events["owner"] = pd.factorize(owner)[0]
        owned = events[["owner", "occurred_at", "behaviour", "failed"]].sort_values(["owner", "occurred_at"])
        other_owner = owned["owner"] != owned["owner"].shift()
        silence = owned["occurred_at"].diff() > pd.Timedelta(minutes=GAP_MINUTES)
        owned["session"] = (other_owner | silence).cumsum()
        owned["day"] = owned["occurred_at"].dt.normalize()
        for meaning in behaviours:
            owned[meaning] = (owned["behaviour"] == meaning).astype("int32")
        sessions = owned.groupby("session").agg(
            owner=("owner", "first"), began=("occurred_at", "min"), ended=("occurred_at", "max")
        )
        sessions["day"] = sessions["began"].dt.normalize()
        sessions["active_seconds"] = (sessions["ended"] - sessions["began"]).dt.total_seconds()
        session_days = sessions.groupby(["owner", "day"]).agg(
            sessions=("began", "size"), active_seconds=("active_seconds", "sum")
        )
        grouped = owned.groupby(["owner", "day"])
        days = grouped[["failed", *behaviours]].sum().join(grouped.size().rename("events")).join(session_days)
        days = days.reset_index()
        recent = days[days["day"] > days["day"].max() - pd.Timedelta(days=28)]
        measures = ["events", "failed", "sessions", "active_seconds", *behaviours]
        by_user = days.groupby("owner")["day"].agg(["min", "max"])
        made = by_user.join(recent.groupby("owner")[measures].sum()).join(
            recent.groupby("owner").size().rename("active_days")
        )
        return {"sessions": len(sessions), "days": len(days), "users": len(made)}

    return features


PEERS: dict[str, Callable[[], Features]] = {"polars": with_polars, "pandas": with_pandas}
