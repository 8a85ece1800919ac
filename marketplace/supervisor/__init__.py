"""Runs the whole product on one machine: embedded servers, web, workers and demo, in the right order.

The supervisor is asyncio on the standard library. It promises: a process is called ready only after it
answered a real question; one that dies is started again; a stop goes from the applications down to the
database; and no child outlives the supervisor, however that one ends.
"""
