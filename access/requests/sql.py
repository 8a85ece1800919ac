"""The rule of four eyes in the database: what no page, no program, no admin and no shell gets past."""

from __future__ import annotations

from core import sql

_GUARD_REQUEST = """
CREATE OR REPLACE FUNCTION public.access_guard_request() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    approved integer;
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'requests are kept' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'open' OR NEW.stage <> 0 OR NEW.grant_id IS NOT NULL THEN
            RAISE EXCEPTION 'a request begins open' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.requester_id <> OLD.requester_id OR NEW.id <> OLD.id OR NEW.server_id <> OLD.server_id THEN
        RAISE EXCEPTION 'who asked, and for what server, is never changed' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.digest = OLD.digest AND
       (NEW.tools, NEW.max_trust, NEW.side_effects, NEW.duration_h, NEW.reason, NEW.route, NEW.wants_session,
        NEW.beneficiaries, NEW.subject_user, NEW.subject_agent, NEW.subject_team, NEW.subject_key)
       IS DISTINCT FROM
       (OLD.tools, OLD.max_trust, OLD.side_effects, OLD.duration_h, OLD.reason, OLD.route, OLD.wants_session,
        OLD.beneficiaries, OLD.subject_user, OLD.subject_agent, OLD.subject_team, OLD.subject_key) THEN
        RAISE EXCEPTION 'what is asked changes with its digest' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF OLD.state NOT IN ('open', 'asked')
       AND (NEW.state <> OLD.state OR NEW.digest <> OLD.digest
            OR OLD.grant_id IS NOT NULL AND NEW.grant_id IS DISTINCT FROM OLD.grant_id) THEN
        RAISE EXCEPTION 'a decided request stays as it is' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state = 'approved' AND OLD.state <> 'approved' THEN
        EXECUTE format(
            'SELECT count(DISTINCT stage) FROM %I.access_requestevent WHERE request_id = $1 AND kind = ''approved'''
            ' AND digest = $2 AND actor_id <> $3 AND actor_id <> ALL ($4) AND actor_id::text <> $5', TG_TABLE_SCHEMA)
            INTO approved
            USING NEW.id, NEW.digest, NEW.requester_id, NEW.beneficiaries, NEW.subject_user;
        IF approved < greatest(jsonb_array_length(NEW.route), 1) THEN
            RAISE EXCEPTION 'four eyes: a step of the approval is missing' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END IF;
    RETURN NEW;
END $$;
"""

_GUARD_EVENT = """
CREATE OR REPLACE FUNCTION public.access_guard_approval() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    fits boolean;
BEGIN
    EXECUTE format(
        'SELECT r.digest = $2 AND r.stage = $3 AND r.state IN (''open'', ''asked'') AND r.requester_id <> $4'
        ' AND $4 <> ALL (r.beneficiaries) AND $4::text <> r.subject_user'
        ' AND NOT EXISTS (SELECT FROM public.tenants_apikey k WHERE k.id::text = r.subject_key AND k.created_by_id = $4)'
        ' FROM %I.access_accessrequest r WHERE r.id = $1 FOR UPDATE', TG_TABLE_SCHEMA)
        INTO fits
        USING NEW.request_id, NEW.digest, NEW.stage, NEW.actor_id;
    IF fits IS NOT TRUE THEN
        RAISE EXCEPTION 'four eyes: this person, step or state of the request cannot be approved'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
"""

FORWARD = f"""
{_GUARD_REQUEST}
{_GUARD_EVENT}
CREATE TRIGGER access_accessrequest_guard BEFORE INSERT OR UPDATE OR DELETE ON access_accessrequest
    FOR EACH ROW EXECUTE FUNCTION public.access_guard_request();
CREATE TRIGGER access_requestevent_guard BEFORE INSERT ON access_requestevent
    FOR EACH ROW WHEN (NEW.kind = 'approved') EXECUTE FUNCTION public.access_guard_approval();
{sql.append_only("access_requestevent")}
"""

BACKWARD = f"""
DROP TRIGGER IF EXISTS access_accessrequest_guard ON access_accessrequest;
DROP TRIGGER IF EXISTS access_requestevent_guard ON access_requestevent;
{sql.drop_append_only("access_requestevent")}
"""
