"""The raw event contract: what a source must provide, and the tables that hold it."""

TEXT_FIELDS = (
    "event_id",
    "event_type",
    "event_name",
    "user_id",
    "anonymous_id",
    "previous_id",
    "account_id",
    "session_id",
    "source",
)
ID_FIELDS = ("event_id", "user_id", "anonymous_id", "previous_id", "account_id", "session_id")
TIME_FIELDS = ("occurred_at", "received_at")
OBJECT_FIELDS = ("properties", "context")
FIELDS = TEXT_FIELDS + TIME_FIELDS + OBJECT_FIELDS

RAW_TABLES = """
create schema if not exists raw;
create table if not exists raw.events (
    event_id varchar, event_type varchar, event_name varchar, occurred_at timestamp, received_at timestamp,
    user_id varchar, anonymous_id varchar, previous_id varchar, account_id varchar, session_id varchar,
    properties varchar, context varchar, source varchar, loaded_at timestamp, load_id bigint
);
create table if not exists raw.rejected_events (
    source varchar, file varchar, record_number bigint, reason varchar, raw_text varchar,
    loaded_at timestamp, load_id bigint
);
create table if not exists raw.loads (
    load_id bigint, source varchar, table_name varchar, files varchar[], loaded_at timestamp,
    accepted bigint, duplicates bigint, rejected bigint, newest_event_at timestamp
);
create table if not exists raw.pulled_files (
    source varchar, table_name varchar, path varchar, size_bytes bigint, modified_ns bigint,
    pulled_at timestamp, load_id bigint
);
alter table raw.pulled_files add column if not exists etag varchar;
create table if not exists raw.pulled_cursors (
    source varchar, table_name varchar, origin varchar, cursor_column varchar, cursor_value varchar,
    pulled_at timestamp, load_id bigint
);
create table if not exists raw.tombstones (
    salt varchar, entity_type varchar, id_hash varchar, forgotten_at timestamp
);
"""
