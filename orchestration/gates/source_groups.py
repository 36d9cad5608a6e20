"""Whether a day of a source lacks all usual users of an account, a plan or a country, while the others came.

Each user comes with some chance on a weekday: what their last eight weeks say of such days. The evidence against a day
without any user of a group is minus the logarithm of the chance that all of them stay away, as busy as the others were.
Members of a group may stay away together, as on a holiday of one company: so there must also be much more
than on any such day of any group of the kind that ended with the users' return. It takes users who come often, or many:
one day cannot tell whether three users who come every other day were lost.
"""

from __future__ import annotations

from datetime import date, timedelta

import duckdb

from orchestration.gates.source_history import LEAST_HISTORY_DAYS
from orchestration.gates.source_statistics import TOO_LITTLE, WEEKS_COMPARED, Measured
from orchestration.published.rows import fetch_rows

# Attributes of users, or of their accounts, whose values are groups; an account is one, too.
GROUPED_BY = ("plan", "country")
# With the logarithm of the number of groups of the kind added, chance gives so much on one day in three thousand.
LEAST_EVIDENCE = 8.0
OVER_KNOWN_EVIDENCE = 1.5
# A loss that lets a few rows through is one; a group that is silent for longer has left.
MOST_LEFT_SHARE = 0.1
LONGEST_SILENCE_DAYS = 7
# With fewer users of other groups expected, it is unknown how busy the day was.
LEAST_OTHERS = 5


def measure_groups(connection: duckdb.DuckDBPyConnection, source: str, day: date) -> Measured:
    """How many groups vanished on a complete day.

    Args:
        connection: the warehouse, after ``count_source_days``.
        source: whose day.
        day: in the reporting time zone.

    """
    given = {"source": source, "day": day, "first": day - timedelta(weeks=WEEKS_COMPARED)}
    began = connection.execute("select min(day) from state.source_users where source = $1", [source]).fetchone()
    if not began or began[0] is None or (day - began[0]).days < LEAST_HISTORY_DAYS:
        return Measured(None, TOO_LITTLE)
    connection.execute(_DAYS, given)
    connection.execute(_CHANCES, {"day": day})
    connection.execute(_MEMBERS, {"day": day})
    gone = fetch_rows(connection, _VANISHED, {"day": day})
    if not gone:
        return Measured(0.0, f"users of every account, plan and country on {day}")
    named = ", ".join(f"{row['kind']} {row['name']} (about {row['expected']:.0f} users expected)" for row in gone[:3])
    more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
    return Measured(float(len(gone)), f"vanished on {day}: {named}{more}")


_DAYS = """
create or replace temp table user_days as
select distinct user_key, day, isodow(day) as weekday, isodow(day) >= 6 as is_weekend
from state.source_users where source = $source and day between $first and $day
"""

# Grain of user_chances: user x weekday (Monday is 1); chance is above 0. A user who never misses a weekday of the kind
# (workday or weekend) comes with that chance; one who never comes on this weekday has little.
_CHANCES = """
create or replace temp table user_chances as
with calendar as (
    select isodow(day) as weekday, isodow(day) >= 6 as is_weekend, count(*) as days
    from (
        select cast(unnest(generate_series(min(day), $day - 1, interval 1 day)) as date) as day
        from user_days where day < $day
    )
    group by all
),
of_kind as (
    select is_weekend, sum(days) as days from calendar group by is_weekend
),
came as (
    select user_key, is_weekend, count(*) as times from user_days where day < $day group by user_key, is_weekend
),
came_on as (
    select user_key, weekday, count(*) as times from user_days where day < $day group by user_key, weekday
)
select
    came.user_key, calendar.weekday,
    least(
        came.times / (of_kind.days + 1), (coalesce(came_on.times, 0) + 1) / (calendar.days + 1)
    ) as chance
from came
inner join calendar on came.is_weekend = calendar.is_weekend
inner join of_kind on came.is_weekend = of_kind.is_weekend
left join came_on on came.user_key = came_on.user_key and calendar.weekday = came_on.weekday
"""

# Grain of group_members: kind x name x user.
_MEMBERS = f"""
create or replace temp table group_members as
with belongs as (
    select user_key, account_id from identity.memberships where is_current
),
said as (
    select entity_type, entity_id, attribute, lower(trim(value)) as value
    from identity.attributes
    where
        list_contains({list(GROUPED_BY)}, attribute) and value is not null
        and valid_from < $day and (valid_to is null or valid_to >= $day)
)
select 'account' as kind, account_id as name, user_key from belongs
union
select s.attribute, s.value, u.user_key
from said as s
inner join identity.dim_users as u on s.entity_type = 'user' and s.entity_id = u.user_id
union
select s.attribute, s.value, b.user_key
from said as s
inner join belongs as b on s.entity_type = 'account' and s.entity_id = b.account_id
"""

_VANISHED = f"""
with days as (
    select day, isodow(day) as weekday, count(distinct user_key) as came from user_days group by day
),
usual as (
    select weekday, sum(chance) as expected from user_chances group by weekday
),
expected as (
    select m.kind, m.name, c.weekday, sum(c.chance) as expected
    from group_members as m
    inner join user_chances as c on m.user_key = c.user_key
    group by m.kind, m.name, c.weekday
),
seen as (
    select m.kind, m.name, d.day, count(distinct d.user_key) as came
    from group_members as m
    inner join user_days as d on m.user_key = d.user_key
    group by m.kind, m.name, d.day
),
known as (
    select kind, name, min(day) as first, max(day) filter (day < $day) as last from seen group by kind, name
),
compared as (
    select
        e.kind, e.name, d.day, d.weekday, e.expected, coalesce(s.came, 0) as came,
        least(1, (d.came - coalesce(s.came, 0)) / (u.expected - e.expected)) as as_busy
    from expected as e
    inner join known as k on e.kind = k.kind and e.name = k.name
    inner join days as d
        on e.weekday = d.weekday and d.day > k.first and (d.day = $day or d.day < k.last)
    inner join usual as u on e.weekday = u.weekday
    left join seen as s on e.kind = s.kind and e.name = s.name and d.day = s.day
    where u.expected - e.expected >= {LEAST_OTHERS} and k.last >= $day - {LONGEST_SILENCE_DAYS}
),
missing as (
    select
        a.kind, a.name, a.day, a.expected * a.as_busy as expected,
        sum(-ln(1 - least(0.98, c.chance * a.as_busy))) as evidence
    from compared as a
    inner join group_members as m on a.kind = m.kind and a.name = m.name
    inner join user_chances as c on m.user_key = c.user_key and a.weekday = c.weekday
    where a.came <= {MOST_LEFT_SHARE} * a.expected * a.as_busy
    group by a.kind, a.name, a.day, a.expected, a.as_busy
),
learned as (
    select kind, max(evidence) as most from missing where day < $day group by kind
)
select m.kind, m.name, m.expected
from missing as m
left join learned as l on m.kind = l.kind
where
    m.day = $day
    and m.evidence >= {LEAST_EVIDENCE} + (
        select ln(greatest(1, count(*))) from compared as c where c.day = $day and c.kind = m.kind
    )
    and m.evidence >= {OVER_KNOWN_EVIDENCE} * coalesce(l.most, 0)
order by m.evidence desc, m.kind, m.name
"""
