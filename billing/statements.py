"""SQL of billing that Django has no words for: the guards of the ledger and the view of its balances."""

from __future__ import annotations

from core.sql import append_only, drop_append_only

_LEDGER = ("billing_ledgeraccount", "billing_ledgertransaction", "billing_ledgerposting")

_GUARDS = """
CREATE FUNCTION billing_check_booking(booking uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    declared int;
    found int;
    unbalanced text;
BEGIN
    SELECT posting_count INTO declared FROM public.billing_ledgertransaction WHERE id = booking;
    SELECT count(*) INTO found FROM public.billing_ledgerposting WHERE transaction_id = booking;
    IF found < 2 OR found <> declared THEN
        RAISE EXCEPTION 'booking % has % postings and says that it has %', booking, found, declared
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT string_agg(currency || ' ' || total, ', ') INTO unbalanced FROM (
        SELECT currency, sum(amount) AS total FROM public.billing_ledgerposting WHERE transaction_id = booking
        GROUP BY currency HAVING sum(amount) <> 0
    ) AS sums;
    IF unbalanced IS NOT NULL THEN
        RAISE EXCEPTION 'booking % is out of balance: %', booking, unbalanced
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
END $$;
CREATE FUNCTION billing_check_transaction() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM public.billing_check_booking(NEW.id); RETURN NULL; END $$;
CREATE FUNCTION billing_check_posting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM public.billing_check_booking(NEW.transaction_id); RETURN NULL; END $$;
-- At the commit, because a booking is written row by row. Postings are checked too: one may be added to a booking of long ago.
CREATE CONSTRAINT TRIGGER billing_ledgertransaction_balances AFTER INSERT ON billing_ledgertransaction
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_check_transaction();
CREATE CONSTRAINT TRIGGER billing_ledgerposting_balances AFTER INSERT ON billing_ledgerposting
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_check_posting();
-- A posting has its account's currency.
ALTER TABLE billing_ledgeraccount ADD CONSTRAINT ledger_account_currency UNIQUE (id, currency);
ALTER TABLE billing_ledgerposting ADD CONSTRAINT ledger_posting_currency
    FOREIGN KEY (account_id, currency) REFERENCES billing_ledgeraccount (id, currency);
CREATE VIEW billing_ledgerbalance AS
    SELECT a.id AS account_id,
           coalesce(s.amount, 0) + coalesce(p.amount, 0)::bigint AS amount,
           coalesce(p.posting_count, 0) AS posting_count
    FROM billing_ledgeraccount a
    LEFT JOIN billing_ledgersnapshot s ON s.account_id = a.id
    LEFT JOIN LATERAL (
        SELECT sum(amount) AS amount, count(*) AS posting_count FROM billing_ledgerposting
        WHERE account_id = a.id AND id > coalesce(s.through_id, 0)
    ) p ON true;
"""
_DROP_GUARDS = """
DROP VIEW billing_ledgerbalance;
ALTER TABLE billing_ledgerposting DROP CONSTRAINT ledger_posting_currency;
ALTER TABLE billing_ledgeraccount DROP CONSTRAINT ledger_account_currency;
DROP TRIGGER billing_ledgerposting_balances ON billing_ledgerposting;
DROP TRIGGER billing_ledgertransaction_balances ON billing_ledgertransaction;
DROP FUNCTION billing_check_posting();
DROP FUNCTION billing_check_transaction();
DROP FUNCTION billing_check_booking(uuid);
"""
LEDGER = "".join(append_only(table) for table in _LEDGER) + _GUARDS
DROP_LEDGER = _DROP_GUARDS + "".join(drop_append_only(table) for table in _LEDGER)

_PAYOUT_GUARDS = """
CREATE FUNCTION billing_guard_payout_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (NEW.rail, NEW.month, NEW.currency, NEW.number) <> (OLD.rail, OLD.month, OLD.currency, OLD.number)
    THEN
        RAISE EXCEPTION 'a batch of payouts stays what it is' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state = OLD.state THEN RETURN NEW; END IF;
    IF (OLD.state, NEW.state) NOT IN (
        ('waiting', 'rejected'), ('waiting', 'approved'), ('approved', 'sending'), ('sending', 'sent'),
        ('sending', 'finished'), ('sent', 'finished')
    ) THEN
        RAISE EXCEPTION 'a batch of payouts does not go from % to %', OLD.state, NEW.state
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state = 'approved' AND
        (SELECT count(DISTINCT operator_id) FROM public.billing_payoutapproval WHERE batch_id = NEW.id) < 2
    THEN
        RAISE EXCEPTION 'a batch of payouts is approved by two operators' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER billing_payoutbatch_guard BEFORE UPDATE OR DELETE ON billing_payoutbatch
    FOR EACH ROW EXECUTE FUNCTION billing_guard_payout_batch();
CREATE FUNCTION billing_guard_payout_batch_birth() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> 'waiting' THEN
        RAISE EXCEPTION 'a batch of payouts begins by waiting' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER billing_payoutbatch_birth BEFORE INSERT ON billing_payoutbatch
    FOR EACH ROW EXECUTE FUNCTION billing_guard_payout_batch_birth();
-- What was approved is what goes out: no item comes, goes or changes after the first approval.
CREATE FUNCTION billing_guard_payout_item() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF (SELECT state FROM public.billing_payoutbatch WHERE id = NEW.batch_id) <> 'waiting'
            OR EXISTS (SELECT FROM public.billing_payoutapproval WHERE batch_id = NEW.batch_id)
        THEN
            RAISE EXCEPTION 'the batch is approved' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' OR (NEW.batch_id, NEW.provider_id, NEW.destination, NEW.minor, NEW.currency)
        <> (OLD.batch_id, OLD.provider_id, OLD.destination, OLD.minor, OLD.currency)
    THEN
        RAISE EXCEPTION 'a payout stays what it is' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF OLD.state = 'failed' AND NEW.state <> 'failed' THEN
        RAISE EXCEPTION 'a payout that failed is over' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER billing_payoutitem_guard BEFORE INSERT OR UPDATE OR DELETE ON billing_payoutitem
    FOR EACH ROW EXECUTE FUNCTION billing_guard_payout_item();
"""
_DROP_PAYOUT_GUARDS = """
DROP TRIGGER billing_payoutitem_guard ON billing_payoutitem;
DROP TRIGGER billing_payoutbatch_birth ON billing_payoutbatch;
DROP TRIGGER billing_payoutbatch_guard ON billing_payoutbatch;
DROP FUNCTION billing_guard_payout_item();
DROP FUNCTION billing_guard_payout_batch_birth();
DROP FUNCTION billing_guard_payout_batch();
"""
_STAY = ("billing_payoutapproval", "billing_statement")
PAYOUTS = "".join(append_only(table) for table in _STAY) + _PAYOUT_GUARDS
DROP_PAYOUTS = _DROP_PAYOUT_GUARDS + "".join(drop_append_only(table) for table in _STAY)

PROPOSALS = """
CREATE FUNCTION billing_guard_proposal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moves CONSTANT text[] := ARRAY['state', 'decided_by_id', 'decided_label', 'decided_at', 'answer', 'updated_at'];
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'waiting' OR NEW.decided_by_id IS NOT NULL THEN
            RAISE EXCEPTION 'a proposal begins by waiting' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' OR OLD.state <> 'waiting' OR to_jsonb(NEW) - moves <> to_jsonb(OLD) - moves THEN
        RAISE EXCEPTION 'a proposal stays what it is' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state = 'approved' AND (
        NEW.decided_by_id IS NULL OR NEW.decided_by_id = NEW.proposed_by_id OR
        (SELECT count(*) FROM public.tenants_user WHERE is_staff AND id IN (NEW.proposed_by_id, NEW.decided_by_id)) < 2
    ) THEN
        RAISE EXCEPTION 'a proposal is approved by another operator' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER billing_proposal_guard BEFORE INSERT OR UPDATE OR DELETE ON billing_proposal
    FOR EACH ROW EXECUTE FUNCTION billing_guard_proposal();
CREATE TRIGGER billing_proposal_no_truncate BEFORE TRUNCATE ON billing_proposal
    FOR EACH STATEMENT EXECUTE FUNCTION public.marketplace_refuse_change();
CREATE FUNCTION billing_is_agreed(which uuid, what text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM public.billing_proposal WHERE invoice_id = which AND act = what AND state = 'approved')
$$;
-- What nobody has paid by its frozen day is given up without a second operator; an older invoice has its due day instead.
CREATE FUNCTION billing_guard_invoice_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'open' AND NEW.state = 'void' AND NOT public.billing_is_agreed(NEW.id, 'void') THEN
        RAISE EXCEPTION 'an invoice is voided by two operators' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state = 'uncollectible' AND NOT public.billing_is_agreed(NEW.id, 'write_off') AND
        coalesce(NEW.written_off_at, '-infinity') < coalesce(OLD.give_up_at, OLD.due_at, 'infinity')
    THEN
        RAISE EXCEPTION 'an invoice is written off by two operators before its time is over'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER billing_invoice_end BEFORE UPDATE OF state ON billing_invoice
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION billing_guard_invoice_end();
CREATE FUNCTION billing_guard_credit_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    alone bigint;
BEGIN
    IF NEW.proposal_id IS NOT NULL THEN
        IF NOT EXISTS (SELECT FROM public.billing_proposal WHERE id = NEW.proposal_id AND invoice_id = NEW.invoice_id
            AND act = 'credit' AND state = 'approved' AND minor = NEW.net_minor)
        THEN
            RAISE EXCEPTION 'a credit note is what two operators agreed on' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    SELECT coalesce(sum(total_minor), 0) INTO alone FROM public.billing_creditnote
        WHERE invoice_id = NEW.invoice_id AND proposal_id IS NULL;
    IF alone + NEW.total_minor > NEW.alone_minor THEN
        RAISE EXCEPTION 'beyond its limit a credit note is issued by two operators'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER billing_creditnote_guard BEFORE INSERT ON billing_creditnote
    FOR EACH ROW EXECUTE FUNCTION billing_guard_credit_note();
CREATE FUNCTION billing_guard_refund() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    most bigint;
    others bigint;
BEGIN
    -- Credit that was bought goes back to who bought it: no bill is lowered by that.
    IF NEW.note_id IS NULL AND EXISTS (
        SELECT FROM public.billing_paymentattempt WHERE id = NEW.attempt_id AND invoice_id IS NULL
    ) THEN
        RETURN NEW;
    END IF;
    SELECT coalesce(sum(minor), 0) INTO others FROM public.billing_refund WHERE state <> 'failed' AND id <> NEW.id AND
        CASE WHEN NEW.note_id IS NULL THEN attempt_id = NEW.attempt_id AND note_id IS NULL ELSE note_id = NEW.note_id END;
    IF NEW.note_id IS NULL THEN
        most := NEW.alone_minor;
    ELSE
        SELECT total_minor - owed_minor INTO most FROM public.billing_creditnote WHERE id = NEW.note_id;
    END IF;
    IF others + NEW.minor > coalesce(most, 0) THEN
        RAISE EXCEPTION 'beyond its limit a refund goes with a credit note' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER billing_refund_guard BEFORE INSERT OR UPDATE OF minor, note_id, alone_minor, attempt_id ON billing_refund
    FOR EACH ROW EXECUTE FUNCTION billing_guard_refund();
"""
DROP_PROPOSALS = """
DROP TRIGGER billing_refund_guard ON billing_refund;
DROP FUNCTION billing_guard_refund();
DROP TRIGGER billing_creditnote_guard ON billing_creditnote;
DROP FUNCTION billing_guard_credit_note();
DROP TRIGGER billing_invoice_end ON billing_invoice;
DROP FUNCTION billing_guard_invoice_end();
DROP FUNCTION billing_is_agreed(uuid, text);
DROP TRIGGER billing_proposal_no_truncate ON billing_proposal;
DROP TRIGGER billing_proposal_guard ON billing_proposal;
DROP FUNCTION billing_guard_proposal();
"""
