"""Who sells here, and how its invoices are made."""

from marketplace.settings import env

BILLING_ENTITY = env.text(
    "MARKETPLACE_BILLING_ENTITY",
    "Short name of the selling company; numbers of invoices begin with it and run without gaps within it.",
    "MKT",
)
BILLING_CURRENCY = env.text("MARKETPLACE_BILLING_CURRENCY", "The one currency of invoices, three letters.", "USD")
BILLING_SELLER = {
    "name": env.text(
        "MARKETPLACE_SELLER_NAME", "Legal name of the selling company, as invoices say it.", "Marketplace"
    ),
    "street": env.text("MARKETPLACE_SELLER_STREET", "Street and number of the selling company.", ""),
    "postal_code": env.text("MARKETPLACE_SELLER_POSTAL_CODE", "Postal code of the selling company.", ""),
    "city": env.text("MARKETPLACE_SELLER_CITY", "City of the selling company.", ""),
    "country": env.text("MARKETPLACE_SELLER_COUNTRY", "Country of the selling company, two letters.", ""),
    "tax_id": env.text("MARKETPLACE_SELLER_TAX_ID", "VAT or tax id of the selling company.", ""),
    "email": env.text("MARKETPLACE_SELLER_EMAIL", "Address for questions about invoices.", ""),
}
BILLING_DUE_DAYS = env.integer(
    "MARKETPLACE_BILLING_DUE_DAYS", "Days after which an invoice is past due.", default=14, minimum=0
)
BILLING_TAX_RATES = env.items(
    "MARKETPLACE_TAX_RATES",
    "Tax rates in percent by the buyer's country, such as `DE=19,FR=20`; without any, no tax is charged.",
)
BILLING_REVERSE_CHARGE = env.items(
    "MARKETPLACE_TAX_REVERSE_CHARGE",
    "Countries, separated by commas, between which a buyer with a tax id owes the tax itself.",
)
BILLING_FONTS = env.items(
    "MARKETPLACE_INVOICE_FONTS",
    "Two TrueType files, regular and bold, for documents whose names the built-in font cannot write.",
)
