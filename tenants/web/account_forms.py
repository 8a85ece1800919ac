"""Forms of django-allauth with labels in sentence case, as everywhere else."""

from __future__ import annotations

from typing import Any

from allauth.account import forms


class ChangePasswordForm(forms.ChangePasswordForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _name(self.fields["oldpassword"], "Current password")
        _name_new(self.fields)


class ResetPasswordKeyForm(forms.ResetPasswordKeyForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _name_new(self.fields)


def _name_new(fields: dict[str, Any]) -> None:
    _name(fields["password1"], "New password")
    _name(fields["password2"], "New password (again)")


def _name(field: Any, label: str) -> None:
    """The label, and the placeholder that the library makes of it."""
    field.label = label
    field.widget.attrs["placeholder"] = label
