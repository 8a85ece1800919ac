"""Programs that run under the Python or Node of a peer: servers with one set of features, and one walk through them per SDK.

A walk prints one JSON object: what its client saw of each feature, in words that do not depend on the era that was negotiated.
It takes the URL as its argument and the API key, if any, from PEER_TOKEN. These files import only the standard library and their
SDK.
"""
