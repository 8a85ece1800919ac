"""SCIM 2.0 (RFC 7643, RFC 7644): an organisation's directory puts people and teams in and out.

`views` speak HTTP, `documents` write resources, `reading` takes requests apart (pure), `people` and `groups` do what is asked.
"""
