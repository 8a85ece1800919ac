"""`/organisations/…`: making one, and joining one by invitation."""

from django.urls import path

from tenants.web import invitations, organisations

urlpatterns = [
    path("new/", organisations.create, name="organisation-create"),
    path("invitations/<str:token>/", invitations.accept, name="invitation-accept"),
]
