"""Types of events, as the raw event contract has them (models/staging/generic/_generic.yml)."""

EVENT_TYPES = ("track", "page", "screen", "identify", "group", "alias")
# These say who somebody is, and need no meaning. As text the tuple is SQL.
IDENTITY_TYPES = EVENT_TYPES[3:]
