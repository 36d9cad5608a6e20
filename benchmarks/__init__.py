"""Ratios of one run: what Traithouse costs beside a scan, a plain dbt project and data frames."""
