"""What an open invoice says never changes: the rules of `billing.services.invoices`, held by Postgres whoever asks."""

from django.db import migrations

from core import sql

GUARDS = """
CREATE FUNCTION public.billing_guard_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moves CONSTANT text[] := ARRAY['state', 'paid_minor', 'credited_minor', 'paid_at', 'voided_at', 'written_off_at',
                                   'mailed_at', 'updated_at'];
    lines bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'draft' THEN
            RAISE EXCEPTION 'an invoice begins as a draft' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' THEN
        IF OLD.state <> 'draft' THEN
            RAISE EXCEPTION 'invoice % stays: it is not a draft', OLD.number USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN OLD;
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (('draft', 'open'), ('draft', 'void'), ('open', 'paid'),
            ('open', 'void'), ('open', 'uncollectible'), ('uncollectible', 'paid')) THEN
        RAISE EXCEPTION 'an invoice never goes from % to %', OLD.state, NEW.state
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF OLD.state = 'draft' AND NEW.state = 'open' THEN
        SELECT coalesce(sum(minor), 0) INTO lines FROM public.billing_invoiceline WHERE invoice_id = NEW.id;
        IF lines <> NEW.total_minor THEN
            RAISE EXCEPTION 'the lines of invoice % sum to %, not to its total of %', NEW.number, lines, NEW.total_minor
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    ELSIF OLD.state <> 'draft' AND to_jsonb(OLD) - moves <> to_jsonb(NEW) - moves THEN
        RAISE EXCEPTION 'invoice % is a document: only how it is settled changes', OLD.number
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.paid_minor < OLD.paid_minor OR NEW.credited_minor < OLD.credited_minor THEN
        RAISE EXCEPTION 'what was settled of an invoice never shrinks' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION public.billing_guard_invoice_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM public.billing_invoice WHERE state <> 'draft' AND (
            (TG_OP <> 'INSERT' AND id = OLD.invoice_id) OR (TG_OP <> 'DELETE' AND id = NEW.invoice_id))) THEN
        RAISE EXCEPTION '% of a line is refused: its invoice is no draft', TG_OP
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;

CREATE FUNCTION public.billing_guard_counter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR NEW.last <> OLD.last + 1 OR (NEW.entity, NEW.series, NEW.year) <> (OLD.entity, OLD.series, OLD.year)
    THEN
        RAISE EXCEPTION 'numbers of documents have no gaps' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER billing_invoice_guard BEFORE INSERT OR UPDATE OR DELETE ON billing_invoice
    FOR EACH ROW EXECUTE FUNCTION public.billing_guard_invoice();
CREATE TRIGGER billing_invoice_no_truncate BEFORE TRUNCATE ON billing_invoice
    FOR EACH STATEMENT EXECUTE FUNCTION public.marketplace_refuse_change();
CREATE TRIGGER billing_invoiceline_guard BEFORE INSERT OR UPDATE OR DELETE ON billing_invoiceline
    FOR EACH ROW EXECUTE FUNCTION public.billing_guard_invoice_line();
CREATE TRIGGER billing_invoiceline_no_truncate BEFORE TRUNCATE ON billing_invoiceline
    FOR EACH STATEMENT EXECUTE FUNCTION public.marketplace_refuse_change();
CREATE TRIGGER billing_invoicecounter_guard BEFORE UPDATE OR DELETE ON billing_invoicecounter
    FOR EACH ROW EXECUTE FUNCTION public.billing_guard_counter();
"""
NO_GUARDS = """
DROP TRIGGER IF EXISTS billing_invoice_guard ON billing_invoice;
DROP TRIGGER IF EXISTS billing_invoice_no_truncate ON billing_invoice;
DROP TRIGGER IF EXISTS billing_invoiceline_guard ON billing_invoiceline;
DROP TRIGGER IF EXISTS billing_invoiceline_no_truncate ON billing_invoiceline;
DROP TRIGGER IF EXISTS billing_invoicecounter_guard ON billing_invoicecounter;
DROP FUNCTION IF EXISTS public.billing_guard_invoice();
DROP FUNCTION IF EXISTS public.billing_guard_invoice_line();
DROP FUNCTION IF EXISTS public.billing_guard_counter();
"""
APPEND_ONLY = ("billing_settlement", "billing_creditnote", "billing_creditnoteline", "billing_document")


class Migration(migrations.Migration):
    dependencies = [("billing", "0006_invoices")]
    operations = [
        *(migrations.RunSQL(sql.append_only(table), sql.drop_append_only(table)) for table in APPEND_ONLY),
        migrations.RunSQL(GUARDS, NO_GUARDS),
    ]
