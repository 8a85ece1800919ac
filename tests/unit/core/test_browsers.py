import pytest

from core.browsers import describe_browser

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Mobile/15E148 Safari/604.1"
)


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        (CHROME, "Chrome 140 on Linux"),
        (f"{CHROME} Edg/141.0.0.0", "Edge 141 on Linux"),
        (f"{CHROME} OPR/120.0.0.0", "Opera 120 on Linux"),
        (IPHONE, "Safari 18 on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox 140 on Windows"),
        ("curl/8.9.1", "curl/8.9.1"),
        ("", "Unknown browser"),
    ],
)
def test_a_browser_is_named_as_its_owner_would_name_it(user_agent, words):
    assert describe_browser(user_agent) == words


def test_a_name_that_nobody_knows_is_cut():
    assert describe_browser("x" * 500) == "x" * 80
