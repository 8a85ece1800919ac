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
