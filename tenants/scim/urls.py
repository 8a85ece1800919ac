"""`/scim/v2/<organisation>/…`. Directories differ in whether they write a slash at the end; the standard writes none."""

from django.urls import path

from tenants.scim import views

urlpatterns = [
    path("Users", views.users, name="scim-users"),
    path("Users/<uuid:scim_id>", views.user, name="scim-user"),
    path("Groups", views.group_list, name="scim-groups"),
    path("Groups/<uuid:scim_id>", views.group, name="scim-group"),
    path("ServiceProviderConfig", views.config, name="scim-config"),
    path("ResourceTypes", views.types, name="scim-types"),
    path("ResourceTypes/<str:name>", views.type_of, name="scim-type"),
    path("Schemas", views.schemas, name="scim-schemas"),
    path("Schemas/<str:name>", views.schema, name="scim-schema"),
]
