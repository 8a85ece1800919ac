"""What the template tags promise to every page: exact beside short, unknown never as zero, nothing inline, everything escaped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django import forms
from django.template import Context, Template

from core import clock
from core.money import Money
from core.ui import charts, formats

MOMENT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


def draw(source: str, **context: object) -> str:
    return Template("{% load ui %}" + source).render(Context(context))


class TestIcon:
    def test_an_icon_without_label_is_hidden_from_screen_readers(self):
        assert 'aria-hidden="true"' in draw('{% icon "key" %}')

    def test_an_icon_with_label_is_read_aloud_and_escaped(self):
        html = draw('{% icon "key" label=label %}', label='"><b>')
        assert 'role="img"' in html
        assert "<b>" not in html

    def test_an_unknown_icon_that_comes_as_data_draws_a_dot(self):
        assert draw("{% icon name %}", name="no-such") == draw('{% icon "dot" %}')


class TestTimes:
    @pytest.mark.parametrize(
        ("seconds", "words"),
        [
            (0, "just now"),
            (9, "just now"),
            (42, "42 s ago"),
            (60, "1 min ago"),
            (7_199, "1 h ago"),
            (86_400, "1 d ago"),
            (29 * 86_400, "29 d ago"),
            (30 * 86_400, "2026-10-22"),
            (-7_300, "in 2 h"),
        ],
    )
    def test_the_distance_is_said_in_its_largest_whole_unit(self, seconds, words):
        assert formats.relative_time(MOMENT - timedelta(seconds=seconds), MOMENT) == words

    def test_the_exact_moment_stands_beside_it_with_its_zone(self):
        with clock.frozen(MOMENT):
            html = draw("{% reltime moment %}", moment=MOMENT - timedelta(minutes=3))
        assert 'datetime="2026-11-21T08:27:00+00:00"' in html
        assert 'title="2026-11-21 08:27:00 UTC"' in html
        assert ">3 min ago<" in html

    def test_a_missing_moment_is_unknown_and_not_now(self):
        assert "unknown" in draw("{% reltime moment %}", moment=None)
        assert "never" in draw('{% reltime moment "never" %}', moment=None)


class TestMoney:
    @pytest.mark.parametrize(
        ("amount", "currency", "short"),
        [
            ("0.02", "USD", "0.02"),
            ("0.000125", "USD", "0.000125"),
            ("0.00000049", "USD", "under 0.000001"),
            ("0.5", "USD", "0.50"),
            ("1234.5", "USD", "1,234.50"),
            ("1234.5678", "USD", "1,234.57"),
            ("1200", "JPY", "1,200"),
            ("-3", "EUR", "-3.00"),
        ],
    )
    def test_the_short_form_keeps_the_places_of_its_currency_and_more_below_one_unit(self, amount, currency, short):
        assert formats.short_amount(Decimal(amount), currency) == short

    def test_the_exact_value_is_a_hover_away_and_names_the_currency(self):
        html = draw('{% money "12345.678" "USD" %}')
        assert 'title="12345.678 USD"' in html
        assert "12,345.68" in html

    def test_minor_units_arrive_as_money(self):
        assert "19.99" in draw("{% money price %}", price=Money(1999, "EUR"))

    def test_no_amount_is_unknown_and_not_zero(self):
        assert "unknown" in draw("{% money price %}", price=None)


class TestCharts:
    def test_money_is_stacked_and_what_is_below_zero_keeps_its_words_alone(self):
        first, second = charts.bars([("a", [Decimal("-1.50"), Decimal("3.00")])], names=("lost", "won")).segments

        assert (first.height, first.title) == (0, "a: -1.5 lost")
        assert second.height > 0

    def test_a_missing_value_is_a_gap_and_not_a_zero(self):
        line = charts.line([("a", 4), ("b", 2), ("c", None), ("d", 1), ("e", 2)])
        assert line.runs == ("0,0 10,50", "30,75 40,50")
        assert line.area == ""
        assert line.summary == "lowest 1, highest 4, latest 2, 1 unknown"

    def test_a_stack_stands_on_the_ground_and_reaches_its_sum(self):
        bars = charts.bars([("a", [3, 1])], names=("allowed", "denied"))
        assert [(bar.y, bar.height, bar.title) for bar in bars.segments] == [
            (25.0, 75.0, "a: 3 allowed"),
            (0.0, 25.0, "a: 1 denied"),
        ]

    def test_a_value_between_gaps_is_drawn_as_a_dot(self):
        points = [("a", None), ("b", 4), ("c", None), ("d", 2), ("e", 1)]
        line = charts.line(points)
        assert (line.runs, line.dots) == (("30,50 40,75",), ("10,0 10,0",))
        assert 'chart__dot" points="10,0 10,0"' in draw('{% line_chart p "Calls" %}', p=points)

    def test_nothing_to_draw_is_no_error(self):
        assert charts.bars([]).segments == ()
        assert charts.line([]).summary == "no data"
        assert charts.heat([]) == ()

    def test_only_zeros_divide_by_nothing(self):
        assert charts.bars([("a", 0)]).segments[0].height == 0
        assert charts.line([("a", 0), ("b", 0)]).runs == ("0,100 10,100",)
        assert charts.heat([("a", 0)])[0].style == "level-0"

    def test_a_state_nobody_knows_is_drawn_unknown(self):
        cells = charts.heat([("a", "ok"), ("b", "odd"), ("c", None)])
        assert [cell.style for cell in cells] == ["ok", "unknown", "unknown"]

    @pytest.mark.parametrize(
        "tag", ['{% bar_chart p "Calls" %}', '{% line_chart p "Calls" %}', '{% heat_strip p "Calls" %}']
    )
    def test_every_chart_carries_its_numbers_as_a_table(self, tag):
        html = draw(tag, p=[("1 Nov", 12), ("2 Nov", None)])
        assert "<caption>Calls</caption>" in html
        assert "<td>12</td>" in html
        assert "<td>unknown</td>" in html
        assert "style=" not in html


class TestJSONView:
    def test_values_are_escaped_and_typed(self):
        html = draw("{% jsonview value %}", value={"<k>": ["<script>", 1, None, True]})
        assert "<script>" not in html
        assert "&lt;k&gt;" in html
        assert '<span class="json__word">null</span>' in html
        assert '<span class="json__word">true</span>' in html

    def test_what_is_left_out_of_a_long_value_is_counted(self):
        assert "500 more not shown" in draw("{% jsonview value %}", value=list(range(1_500)))

    def test_a_deep_value_ends_in_words_and_not_in_a_crash(self):
        value: list[object] = []
        for _ in range(200):
            value = [value]
        assert "1 more not shown" in draw("{% jsonview value %}", value=value)


class SampleForm(forms.Form):
    name = forms.CharField(help_text="Lower case.", widget=forms.TextInput(attrs={"placeholder": "Name"}))
    agree = forms.BooleanField()
    secret = forms.CharField(widget=forms.HiddenInput, required=False)


class TestField:
    def test_help_and_errors_are_tied_to_the_input(self):
        html = draw("{% field form.name %}", form=SampleForm({}))
        assert 'aria-describedby="id_name_helptext id_name_error"' in html
        assert 'id="id_name_helptext"' in html
        assert 'id="id_name_error"' in html
        assert 'aria-invalid="true"' in html

    def test_a_placeholder_that_repeats_the_label_is_left_out(self):
        assert "placeholder" not in draw("{% field form.name %}", form=SampleForm())

    def test_a_form_draws_every_field_and_keeps_hidden_ones(self):
        html = draw("{% form_fields form %}", form=SampleForm())
        assert html.count("<label") == 2
        assert 'type="hidden"' in html

    def test_errors_of_the_whole_form_come_first(self):
        form = SampleForm({"name": "x", "agree": "on"})
        form.add_error(None, "Two keys with this name <b>exist</b>.")
        html = draw("{% form_fields form %}", form=form)
        assert html.index("Two keys with this name &lt;b&gt;") < html.index("<label")
