"""SQL that several migrations share: tables that only grow."""

from __future__ import annotations

REFUSE_CHANGE = """
CREATE OR REPLACE FUNCTION public.marketplace_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on %.% is refused: its rows are never changed or removed', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
"""


def append_only(table: str) -> str:
    """Triggers that refuse UPDATE, DELETE and TRUNCATE, whoever asks, the owner included."""
    return f"""
{REFUSE_CHANGE}
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION public.marketplace_refuse_change();
CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION public.marketplace_refuse_change();
"""


def drop_append_only(table: str) -> str:
    return f"""
DROP TRIGGER IF EXISTS {table}_append_only ON {table};
DROP TRIGGER IF EXISTS {table}_no_truncate ON {table};
"""
