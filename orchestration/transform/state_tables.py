"""Tables of the warehouse that are no models: schemas ``state`` and ``learning``."""

STATE_TABLES = """
create schema if not exists state;
create table if not exists state.trait_state (
    entity_type varchar, entity_id varchar, trait varchar, value varchar, since timestamp
);
create table if not exists state.trait_thresholds (trait varchar, threshold varchar, value double);
create table if not exists state.current_build (
    build_number bigint, build_id varchar, as_of timestamp, previous_as_of timestamp,
    loaded_after bigint, loaded_until bigint, full_refresh boolean, fingerprint varchar, started_at timestamp
);
create table if not exists state.watermark (load_id bigint, as_of timestamp, fingerprint varchar);
create table if not exists state.node_results (
    build_id varchar, unique_id varchar, name varchar, status varchar, message varchar, seconds double,
    content_hash varchar
);
create table if not exists state.retention (
    table_name varchar, kept_from timestamp, rows_deleted bigint, deleted_at timestamp, is_rebuilt boolean
);
create schema if not exists learning;
create table if not exists learning.score_models (
    trait varchar, model_version bigint, definition_version bigint, is_declared boolean,
    as_of varchar, fitted_until varchar, fitted_rows bigint, fitted_positives bigint, base_rate double,
    tested_rows bigint, tested_positives bigint, auc double, auc_low double, auc_high double, brier double,
    calibration_error double, top_decile_lift double, usable boolean, reason varchar
);
create table if not exists learning.score_points (
    trait varchar, model_version bigint, feature varchar, low double, high double, is_missing boolean, points bigint
);
create table if not exists learning.score_probabilities (
    trait varchar, model_version bigint, points bigint, probability double
);
"""
