"""What of prices, plans and shares never changes, who may read a price that was agreed, and the first plans and share."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import migrations

from core import sql

FROM = datetime(2020, 1, 1, tzinfo=UTC)

GUARDS = """
CREATE FUNCTION billing_price_only_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND to_jsonb(NEW) - 'effective_to' = to_jsonb(OLD) - 'effective_to'
        AND NEW.effective_to IS NOT NULL AND (OLD.effective_to IS NULL OR NEW.effective_to <= OLD.effective_to) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '% on a price is refused: it is never changed or removed, another one follows it', TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER billing_priceversion_only_ends BEFORE UPDATE OR DELETE ON billing_priceversion
    FOR EACH ROW EXECUTE FUNCTION billing_price_only_ends();
CREATE TRIGGER billing_priceversion_no_truncate BEFORE TRUNCATE ON billing_priceversion
    FOR EACH STATEMENT EXECUTE FUNCTION public.marketplace_refuse_change();

-- Of a stretch that has begun only the end moves. One that is still to come may be dropped.
CREATE FUNCTION billing_subscription_only_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND to_jsonb(NEW) - '{ends_at,applied_at,updated_at}'::text[]
        = to_jsonb(OLD) - '{ends_at,applied_at,updated_at}'::text[] THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' AND OLD.applied_at IS NULL THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% on a subscription is refused: only its end changes', TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER billing_subscription_only_ends BEFORE UPDATE OR DELETE ON billing_subscription
    FOR EACH ROW EXECUTE FUNCTION billing_subscription_only_ends();
"""
NO_GUARDS = """
DROP TRIGGER billing_subscription_only_ends ON billing_subscription;
DROP FUNCTION billing_subscription_only_ends();
DROP TRIGGER billing_priceversion_no_truncate ON billing_priceversion;
DROP TRIGGER billing_priceversion_only_ends ON billing_priceversion;
DROP FUNCTION billing_price_only_ends();
"""

# As for servers (`catalog.migrations.0003_row_policies`): what was agreed is seen by the two who agreed, and the platform.
VIEWER = "current_setting('marketplace.viewer', true)"
SELLS = f"EXISTS (SELECT FROM catalog_server s WHERE s.id = server_id AND s.owner_tenant_id::text = {VIEWER})"
POLICY = f"""
ALTER TABLE billing_priceversion ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_priceversion FORCE ROW LEVEL SECURITY;
CREATE POLICY billing_priceversion_read ON billing_priceversion FOR SELECT
    USING (tenant_id IS NULL OR {VIEWER} = 'platform' OR tenant_id::text = {VIEWER} OR {SELLS});
CREATE POLICY billing_priceversion_insert ON billing_priceversion FOR INSERT
    WITH CHECK ({VIEWER} = 'platform' OR {SELLS});
CREATE POLICY billing_priceversion_update ON billing_priceversion FOR UPDATE USING ({VIEWER} = 'platform' OR {SELLS});
CREATE POLICY billing_priceversion_delete ON billing_priceversion FOR DELETE USING ({VIEWER} = 'platform' OR {SELLS});
"""
NO_POLICY = """
DROP POLICY billing_priceversion_read ON billing_priceversion;
DROP POLICY billing_priceversion_insert ON billing_priceversion;
DROP POLICY billing_priceversion_update ON billing_priceversion;
DROP POLICY billing_priceversion_delete ON billing_priceversion;
ALTER TABLE billing_priceversion NO FORCE ROW LEVEL SECURITY;
ALTER TABLE billing_priceversion DISABLE ROW LEVEL SECURITY;
"""

FREE = {"price_minor": 0, "calls_per_month": 1_000, "requests_per_minute": 60, "spend_minor": 0}
PRO = {"price_minor": 2_900, "calls_per_month": 100_000, "calls_hard": False, "requests_per_minute": 600}
ENTERPRISE = {"price_minor": 0}
PLANS = [
    ("free", "Free", "To try servers whose calls cost nothing", True, FREE),
    ("pro", "Pro", "For agents at work: paid servers, more calls", True, PRO),
    ("enterprise", "Enterprise", "Terms that are agreed with you", False, ENTERPRISE),
]


def make_plans(apps, editor):
    plan_model, terms_model = (apps.get_model("billing", name) for name in ("Plan", "PlanVersion"))
    for rank, (slug, name, summary, self_service, terms) in enumerate(PLANS, start=1):
        plan = plan_model.objects.create(slug=slug, name=name, summary=summary, rank=rank, self_service=self_service)
        terms_model.objects.create(plan=plan, effective_from=FROM, created_by="installation", **terms)
    apps.get_model("billing", "RevenueAgreement").objects.create(
        bps=7_000, effective_from=FROM, reason="Default", created_by="installation"
    )


class Migration(migrations.Migration):
    dependencies = [("billing", "0008_prices_and_plans")]
    operations = [
        migrations.RunPython(make_plans, migrations.RunPython.noop),
        migrations.RunSQL(sql.append_only("billing_planversion"), sql.drop_append_only("billing_planversion")),
        migrations.RunSQL(
            sql.append_only("billing_revenueagreement"), sql.drop_append_only("billing_revenueagreement")
        ),
        migrations.RunSQL(GUARDS, NO_GUARDS),
        migrations.RunSQL(POLICY, NO_POLICY),
    ]
