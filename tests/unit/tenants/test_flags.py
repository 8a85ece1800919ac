from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError, NotFoundError
from tenants.flags import Flag, Kind, Scope, declare, get_flag, groups

DEFAULTS_OF_THE_PLATFORM = {
    "marketplace_enabled": True,
    "default_repository_sync_interval": 24,
    "marketplace_cache_ttl": 3600,
    "allow_marketplace_installs": True,
    "default_installation_timeout": 600,
    "auto_cleanup_failed_installs": True,
    "max_concurrent_installs": 3,
    "require_admin_approval_by_default": False,
    "security_scan_required": True,
    "allow_untrusted_repositories": False,
    "installation_isolation_mode": "container",
    "reviews_enabled": True,
    "ratings_enabled": True,
    "review_moderation_enabled": False,
    "min_install_time_for_review": 300,
    "enable_public_marketplace": True,
    "public_marketplace_url": "",
    "enable_github_repositories": True,
    "enable_docker_repositories": True,
    "enable_local_repositories": True,
    "supported_runtimes": ["docker", "python", "nodejs", "binary"],
    "docker_enabled": True,
    "python_venv_enabled": True,
    "nodejs_enabled": True,
    "binary_execution_enabled": False,
    "auto_update_enabled": False,
    "update_check_interval": 24,
    "auto_update_security_patches": True,
    "rollback_retention_days": 7,
    "max_servers_per_user": 50,
    "max_server_memory_mb": 512,
    "max_server_storage_mb": 1024,
    "installation_cleanup_interval": 3600,
    "enterprise_policies_enabled": False,
    "approval_workflow_enabled": False,
    "audit_logging_enabled": True,
    "group_based_permissions": False,
    "dtx_support_enabled": False,
    "dtx_streamable_http_enabled": False,
    "dtx_desktop_integration": False,
}


class TestDeclared:
    @pytest.mark.parametrize(("name", "default"), DEFAULTS_OF_THE_PLATFORM.items())
    def test_every_promised_switch_exists_with_its_default(self, name, default):
        assert get_flag(name).default == default

    def test_every_flag_says_what_it_means_in_one_sentence(self):
        for group in groups():
            for flag in group.flags:
                assert flag.meaning[0].isupper(), flag.name
                assert flag.meaning.endswith("."), flag.name

    def test_an_unknown_name_is_not_found(self):
        with pytest.raises(NotFoundError, match="nothing_of_this_name"):
            get_flag("nothing_of_this_name")

    def test_a_name_is_declared_once(self):
        with pytest.raises(ValueError, match="twice"):
            declare("tenants", "Organisations", Flag("marketplace_enabled", Kind.BOOL, True, "Again."))

    def test_a_default_that_the_flag_would_not_take_is_refused(self):
        with pytest.raises(InvalidError):
            declare("tests", "Tests", Flag("of_the_tests", Kind.INT, 5, "Too small.", minimum=6))


class TestParse:
    switch = Flag("switch", Kind.BOOL, True, "A switch.")
    number = Flag("number", Kind.INT, 5, "A number.", minimum=1, maximum=100, unit="days")
    choice = Flag("choice", Kind.CHOICE, "a", "A choice.", choices=("a", "b"))
    words = Flag("words", Kind.LIST, [], "Words.", choices=("one", "two", "three"))
    free = Flag("free", Kind.LIST, [], "Free words.")
    line = Flag("line", Kind.TEXT, "", "A line.")

    @pytest.mark.parametrize(
        ("raw", "value"), [("true", True), ("On", True), (True, True), ("0", False), (False, False), (" off ", False)]
    )
    def test_a_switch_reads_the_usual_words(self, raw, value):
        assert self.switch.parse(raw) is value

    @pytest.mark.parametrize("raw", ["", "maybe", None, 2, []])
    def test_a_switch_refuses_everything_else(self, raw):
        with pytest.raises(InvalidError) as caught:
            self.switch.parse(raw)
        assert caught.value.data["field"] == "switch"

    @given(st.integers(min_value=1, max_value=100))
    def test_a_number_within_its_bounds_is_taken_as_text_or_number(self, value):
        assert self.number.parse(value) == self.number.parse(f" {value} ") == value

    @pytest.mark.parametrize("raw", ["", "0", "101", "-1", "1.5", "1e3", "ten", "²", "٣", True, None, "9" * 400])
    def test_a_number_out_of_bounds_or_no_number_is_refused(self, raw):
        with pytest.raises(InvalidError, match="whole number from 1 to 100"):
            self.number.parse(raw)

    def test_a_choice_takes_its_choices_only(self):
        assert self.choice.parse("b") == "b"
        with pytest.raises(InvalidError, match="one of a, b"):
            self.choice.parse("c")

    def test_a_list_keeps_the_order_of_its_choices_and_no_doubles(self):
        assert self.words.parse(["three", "one", "three"]) == ["one", "three"]
        assert self.words.parse("two, one") == ["one", "two"]
        assert self.words.parse([]) == []

    def test_a_list_refuses_a_word_that_is_no_choice(self):
        with pytest.raises(InvalidError, match="'four' is none of them"):
            self.words.parse(["one", "four"])

    def test_a_list_without_choices_takes_any_words(self):
        assert self.free.parse("b, a ,, b") == ["a", "b"]

    def test_a_text_is_one_line_of_bounded_length(self):
        assert self.line.parse("  https://example.org ") == "https://example.org"
        for bad in ("two\nlines", "x" * 501):
            with pytest.raises(InvalidError, match="one line"):
                self.line.parse(bad)

    @given(st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.lists(st.text())))
    def test_whatever_is_taken_is_taken_again_as_it_is(self, raw):
        for flag in (self.switch, self.number, self.choice, self.words, self.free, self.line):
            try:
                value = flag.parse(raw)
            except InvalidError:
                continue
            assert flag.parse(value) == value


class TestShow:
    def test_values_read_as_a_person_would_say_them(self):
        assert TestParse.switch.show(True) == "on"
        assert TestParse.number.show(7) == "7 days"
        assert TestParse.words.show([]) == "(none)"
        assert TestParse.words.show(["one", "two"]) == "one, two"
        assert TestParse.line.show("") == "(empty)"


class TestScope:
    def test_both_is_of_the_platform_and_of_organisations(self):
        both = Flag("f", Kind.BOOL, True, "F.", Scope.BOTH)
        assert both.of_platform
        assert both.of_organisation
        assert not TestParse.switch.of_organisation
        assert not Flag("g", Kind.BOOL, True, "G.", Scope.ORGANISATION).of_platform
