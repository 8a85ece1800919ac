"""Rows of billing, one module a subject. All of them live in `public` and say whose they are by a tenant or a provider."""

from billing.models.agreement import (
    RevenueAgreement,
)
from billing.models.credit import (
    CreditNote,
    CreditNoteLine,
    CreditTarget,
    Document,
)
from billing.models.fraud import FraudFlag
from billing.models.inbox import (
    ReceiptState,
    WebhookReceipt,
)
from billing.models.invoice import (
    BillingProfile,
    Invoice,
    InvoiceCounter,
    InvoiceKind,
    InvoiceLine,
    InvoiceState,
    LineKind,
    Settlement,
    SettlementSource,
)
from billing.models.ledger import (
    LedgerAccount,
    LedgerBalance,
    LedgerPosting,
    LedgerSnapshot,
    LedgerTransaction,
)
from billing.models.payment import (
    UNDER_WAY,
    AttemptState,
    Dispute,
    PaymentAttempt,
    PaymentCustomer,
    PaymentMethod,
    Refund,
    RefundState,
)
from billing.models.payout import (
    EarningRelease,
    PayoutApproval,
    PayoutBatch,
    PayoutItem,
    PayoutRail,
    ProviderAccount,
    Statement,
)
from billing.models.plan import (
    Plan,
    PlanVersion,
    Subscription,
)
from billing.models.prepaid import (
    Prepayment,
)
from billing.models.price import (
    PriceVersion,
)
from billing.models.proposal import (
    Proposal,
    ProposalAct,
)
from billing.models.reconciliation import (
    RED_AFTER,
    ReconciliationItem,
    ReconciliationProvider,
    ReconciliationRun,
)
from billing.models.run import (
    JobFailure,
    JobRun,
)

__all__ = [
    "RED_AFTER",
    "UNDER_WAY",
    "AttemptState",
    "BillingProfile",
    "CreditNote",
    "CreditNoteLine",
    "CreditTarget",
    "Dispute",
    "Document",
    "EarningRelease",
    "FraudFlag",
    "Invoice",
    "InvoiceCounter",
    "InvoiceKind",
    "InvoiceLine",
    "InvoiceState",
    "JobFailure",
    "JobRun",
    "LedgerAccount",
    "LedgerBalance",
    "LedgerPosting",
    "LedgerSnapshot",
    "LedgerTransaction",
    "LineKind",
    "PaymentAttempt",
    "PaymentCustomer",
    "PaymentMethod",
    "PayoutApproval",
    "PayoutBatch",
    "PayoutItem",
    "PayoutRail",
    "Plan",
    "PlanVersion",
    "Prepayment",
    "PriceVersion",
    "Proposal",
    "ProposalAct",
    "ProviderAccount",
    "ReceiptState",
    "ReconciliationItem",
    "ReconciliationProvider",
    "ReconciliationRun",
    "Refund",
    "RefundState",
    "RevenueAgreement",
    "Settlement",
    "SettlementSource",
    "Statement",
    "Subscription",
    "WebhookReceipt",
]
