"""The transformation: one build of the dbt project as of one clock."""
