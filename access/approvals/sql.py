"""Four eyes for single calls, and single use, in the database: what no page, no program, no admin and no shell gets past."""

from __future__ import annotations

_GUARD = """
CREATE OR REPLACE FUNCTION public.access_guard_call_approval() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'approvals of calls are kept' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'waiting' OR NEW.decided_by_id IS NOT NULL OR NEW.used_call_id IS NOT NULL THEN
            RAISE EXCEPTION 'an approval of a call begins waiting' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.id, NEW.binding, NEW.server_id, NEW.tool, NEW.api_key_id, NEW.arguments_digest)
       IS DISTINCT FROM (OLD.id, OLD.binding, OLD.server_id, OLD.tool, OLD.api_key_id, OLD.arguments_digest)
       OR NOT NEW.barred @> OLD.barred THEN
        RAISE EXCEPTION 'what is approved, and who may not approve it, is never changed'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
        ('waiting', 'approved'), ('waiting', 'rejected'), ('waiting', 'expired'), ('approved', 'used'), ('approved', 'expired')
    ) THEN
        RAISE EXCEPTION 'an approval is decided once and used once' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF OLD.decided_by_id IS NOT NULL AND NEW.decided_by_id IS DISTINCT FROM OLD.decided_by_id
       OR OLD.used_call_id IS NOT NULL AND NEW.used_call_id IS DISTINCT FROM OLD.used_call_id
       OR NEW.used_call_id IS NOT NULL AND NEW.state <> 'used' THEN
        RAISE EXCEPTION 'who decided and what was used stays' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.decided_by_id IS NOT NULL AND (
        NEW.decided_by_id = ANY (NEW.barred)
        OR EXISTS (SELECT FROM public.tenants_apikey k WHERE k.id = NEW.api_key_id AND k.created_by_id = NEW.decided_by_id)
    ) THEN
        RAISE EXCEPTION 'four eyes: whoever made the key or is acted for does not decide'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
"""

FORWARD = f"""
{_GUARD}
CREATE TRIGGER access_callapproval_guard BEFORE INSERT OR UPDATE OR DELETE ON access_callapproval
    FOR EACH ROW EXECUTE FUNCTION public.access_guard_call_approval();
"""

BACKWARD = """
DROP TRIGGER IF EXISTS access_callapproval_guard ON access_callapproval;
"""
