"""The DDL of the call log, in one place: the table, its guards, its role and its partitions."""

from __future__ import annotations

from calls.record import COLUMNS
from core.sql import REFUSE_CHANGE

METER_ROLE = "marketplace_meter"

_NULLABLE = {
    "api_key_id", "user_id", "server_id", "server_version_id", "grant_id", "provider_id", "price_version_id", "quoted_price",
    "agent_session_id", "approval_id",
}  # fmt: skip

# Columns that came after the table; their default serves a writer of the release before, during a deploy.
_ADDED = ("credential", "client_id", "upstream_auth", "upstream_protocol", "timings")

_ADDED_GROUNDS = ("trust_admin", "trust_consented", "risk", "policy_version")

_ADDED_HUMAN = ("asserted_human",)

_columns = ",\n    ".join(
    f"{name} {kind}{'' if name in _NULLABLE else ' NOT NULL'}"
    for name, kind in COLUMNS
    if name not in {*_ADDED, *_ADDED_GROUNDS, *_ADDED_HUMAN, "agent_session_id", "approval_id"}
)

# Roles belong to the whole cluster: another database of it may make the same one at the same moment.
ROLE = f"""
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{METER_ROLE}') THEN
        CREATE ROLE {METER_ROLE} NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
DO $$
BEGIN
    IF NOT pg_has_role(current_user, '{METER_ROLE}', 'USAGE') OR NOT pg_has_role(current_user, '{METER_ROLE}', 'MEMBER') THEN
        EXECUTE format('GRANT {METER_ROLE} TO %I', current_user);
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege OR internal_error THEN NULL;
END $$;
"""

CREATE = f"""
{REFUSE_CHANGE}
CREATE TABLE calls_call (
    {_columns},
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (call_id),
    CONSTRAINT call_denied_is_free CHECK (allowed OR NOT billable),
    CONSTRAINT call_only_ok_is_billed CHECK (outcome = 'ok' OR NOT billable),
    CONSTRAINT call_price_only_when_billable CHECK (billable OR price = 0),
    CONSTRAINT call_price_not_negative CHECK (price >= 0 AND quantity >= 0)
) PARTITION BY RANGE (call_id);
-- The usage page: newest first, for one server or key.
CREATE INDEX calls_call_by_server ON calls_call (server_id, call_id DESC);
CREATE INDEX calls_call_by_key ON calls_call (api_key_id, call_id DESC);
CREATE TRIGGER calls_call_append_only BEFORE UPDATE OR DELETE ON calls_call
    FOR EACH ROW EXECUTE FUNCTION public.marketplace_refuse_change();
CREATE TRIGGER calls_call_no_truncate BEFORE TRUNCATE ON calls_call
    FOR EACH STATEMENT EXECUTE FUNCTION public.marketplace_refuse_change();
-- An alarm, not a home: a row here means that no partition was made ahead.
CREATE TABLE calls_call_default PARTITION OF calls_call DEFAULT;
CREATE TRIGGER calls_call_default_no_truncate BEFORE TRUNCATE ON calls_call_default
    FOR EACH STATEMENT EXECUTE FUNCTION public.marketplace_refuse_change();
"""

ADD_HOW = "SET LOCAL lock_timeout = '10s'; ALTER TABLE calls_call " + ", ".join(
    f"ADD COLUMN {name} text NOT NULL DEFAULT ''" for name in _ADDED
)
DROP_HOW = "ALTER TABLE calls_call " + ", ".join(f"DROP COLUMN {name}" for name in _ADDED)

ADD_GROUNDS = "SET LOCAL lock_timeout = '10s'; ALTER TABLE calls_call ADD COLUMN agent_session_id uuid, " + ", ".join(
    f"ADD COLUMN {name} text NOT NULL DEFAULT ''" for name in _ADDED_GROUNDS
)
DROP_GROUNDS = "ALTER TABLE calls_call " + ", ".join(
    f"DROP COLUMN {name}" for name in ("agent_session_id", *_ADDED_GROUNDS)
)

ADD_HUMAN = "SET LOCAL lock_timeout = '10s'; ALTER TABLE calls_call ADD COLUMN asserted_human text NOT NULL DEFAULT ''"
DROP_HUMAN = "ALTER TABLE calls_call DROP COLUMN asserted_human"
ADD_APPROVAL = "SET LOCAL lock_timeout = '10s'; ALTER TABLE calls_call ADD COLUMN approval_id uuid"
DROP_APPROVAL = "ALTER TABLE calls_call DROP COLUMN approval_id"

GRANT = f"""
DO $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO {METER_ROLE}', current_schema());
    GRANT INSERT, SELECT ON calls_call TO {METER_ROLE};
END $$;
"""

# The role is made and granted with the calls. A row of a period says whether calls may still join it.
CREATE_PERIODS = f"""
{REFUSE_CHANGE}
CREATE OR REPLACE FUNCTION public.calls_period_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_first boolean;
    has_next boolean;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'open' OR NEW.closed_at IS NOT NULL THEN
            RAISE EXCEPTION 'a period begins open' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.id, NEW.starts_at, NEW.ends_at) IS DISTINCT FROM (OLD.id, OLD.starts_at, OLD.ends_at)
       OR (OLD.state, NEW.state) NOT IN (('open', 'closing'), ('closing', 'closed'), ('closed', 'invoiced'))
       OR (NEW.closed_at IS NULL) <> (NEW.state = 'closing')
       OR (NEW.state = 'invoiced' AND NEW.closed_at <> OLD.closed_at) THEN
        RAISE EXCEPTION 'a period goes from open to closing, closed and invoiced, and nothing else of it changes'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state = 'closed' THEN
        EXECUTE format('SELECT NOT EXISTS (SELECT FROM %1$I.%2$I WHERE ends_at <= $1 AND state IN (''open'', ''closing'')),'
            ' EXISTS (SELECT FROM %1$I.%2$I WHERE starts_at >= $2 AND state = ''open'')', TG_TABLE_SCHEMA, TG_TABLE_NAME)
            INTO is_first, has_next USING NEW.starts_at, NEW.ends_at;
        IF NOT is_first OR NOT has_next THEN
            RAISE EXCEPTION 'a period is closed after those before it, and while a later one is open'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TABLE calls_period (
    id integer PRIMARY KEY,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'open',
    closed_at timestamptz,
    CONSTRAINT calls_period_state CHECK (state IN ('open', 'closing', 'closed', 'invoiced')),
    CONSTRAINT calls_period_length CHECK (starts_at < ends_at),
    CONSTRAINT calls_period_apart EXCLUDE USING gist (tstzrange(starts_at, ends_at) WITH &&)
);
CREATE TRIGGER calls_period_guard BEFORE INSERT OR UPDATE ON calls_period
    FOR EACH ROW EXECUTE FUNCTION public.calls_period_guard();
CREATE TRIGGER calls_period_kept BEFORE DELETE ON calls_period
    FOR EACH ROW EXECUTE FUNCTION public.marketplace_refuse_change();
CREATE TRIGGER calls_period_no_truncate BEFORE TRUNCATE ON calls_period
    FOR EACH STATEMENT EXECUTE FUNCTION public.marketplace_refuse_change();
"""  # noqa: S608 - the table is the trigger's own

# Calls must find a period from the first moment on: this month's and the next one's.
FIRST_PERIODS = """
INSERT INTO calls_period (id, starts_at, ends_at)
SELECT to_char(month, 'YYYYMM')::integer, month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC'
FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month' AS month FROM generate_series(0, 1) n) m;
"""

GRANT_PERIODS = f"GRANT SELECT ON calls_period TO {METER_ROLE};"

# Rows from before there were periods keep none, and are never billed.
ADD_PERIOD = "SET LOCAL lock_timeout = '10s'; ALTER TABLE calls_call ADD COLUMN period_id integer"
DROP_PERIOD = "ALTER TABLE calls_call DROP COLUMN period_id; DROP TABLE calls_period"
