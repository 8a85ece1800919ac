import pytest

from marketplace.supervisor import testpayments


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ({}, ("stripe", "paypal")),
        ({"MARKETPLACE_STRIPE_KEY": "sk_live_x"}, ("paypal",)),
        ({"MARKETPLACE_STRIPE_KEY_FILE": "/run/key"}, ("paypal",)),
        ({"MARKETPLACE_TEST_PAYMENTS": "false"}, ()),
        ({"MARKETPLACE_ENV": "production"}, ()),
        ({"MARKETPLACE_ENV": "production", "MARKETPLACE_TEST_PAYMENTS": "true"}, ("stripe", "paypal")),
    ],
)
def test_test_payments_stand_in_where_no_keys_are_and_in_production_only_when_asked_for(given, kinds):
    assert testpayments.stand_ins(given) == kinds


def test_the_product_and_the_stand_ins_are_told_one_secret_of_each_installation():
    ports = {"stripe": 1, "paypal": 2}
    here, again = (testpayments.environment(ports, "secret") for _ in range(2))
    elsewhere = testpayments.environment(ports, "other")

    assert here == again
    assert here["MARKETPLACE_TEST_PAYMENTS"] == "true"
    assert here["MARKETPLACE_STRIPE_KEY"] != elsewhere["MARKETPLACE_STRIPE_KEY"]
    assert testpayments.environment({}, "secret") == {}
