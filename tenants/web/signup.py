"""The extra field of the sign-up form. Kept free of models: allauth imports it while apps load."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest


class SignupForm(forms.Form):
    name = forms.CharField(
        label="Your name",
        max_length=150,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "name", "placeholder": "Ada Lovelace"}),
    )
    field_order = ("name", "email", "password1")

    def signup(self, request: HttpRequest, user: Any) -> None:
        """Required by allauth; the adapter has stored the name already."""
