from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from core import ids
from gateway.entries import Price
from gateway.mcp import tasks
from gateway.mcp.tasks import Task, TaskSeal

OWNER = "acme|key-1"


def make_task(**changes: object) -> Task:
    values = {
        "own_id": b"t-1",
        "server_id": uuid4(),
        "slug": "clock",
        "tool": "später",
        "call_id": ids.uuid7(),
        "modern": True,
        "price": Price(uuid4(), Decimal("0.0200000000"), "USD"),
    }
    return Task(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{}, {"price": None, "modern": False}, {"own_id": "ß/~".encode()}])
def test_what_was_sealed_is_what_is_opened(changes: dict[str, object]) -> None:
    seal, task = TaskSeal(b"k" * 32), make_task(**changes)
    sealed = seal.seal(task, OWNER)
    opened = seal.open(sealed, OWNER)
    assert opened is not None
    assert opened.sealed == sealed
    assert {name: getattr(opened, name) for name in Task.__dataclass_fields__ if name != "sealed"} == {
        name: getattr(task, name) for name in Task.__dataclass_fields__ if name != "sealed"
    }


def test_an_id_opens_for_its_owner_and_under_its_key_only() -> None:
    seal = TaskSeal(b"k" * 32)
    sealed = seal.seal(make_task(), OWNER)
    assert seal.open(sealed, "acme|key-2") is None
    assert TaskSeal(b"x" * 32).open(sealed, OWNER) is None
    for wrong in ("", "t-1", "ü", sealed[:-4], sealed + "=", sealed.swapcase(), "A" * 5000):
        assert seal.open(wrong, OWNER) is None


def test_an_id_goes_into_a_header_as_it_is_and_says_nothing() -> None:
    sealed = TaskSeal(b"k" * 32).seal(make_task(own_id=b"secret-id"), OWNER)
    assert sealed.replace("-", "").replace("_", "").isalnum()
    assert "secret-id" not in sealed


def test_a_task_is_over_after_a_week() -> None:
    task = make_task()
    started = ids.moment_of(task.call_id)
    assert not task.is_over(started + tasks.AGE)
    assert task.is_over(started + tasks.AGE + timedelta(milliseconds=1))


def test_the_bill_of_a_task_has_one_id_of_the_same_millisecond() -> None:
    task = make_task()
    assert task.bill_id == make_task(call_id=task.call_id).bill_id != task.call_id
    assert ids.moment_of(task.bill_id) == ids.moment_of(task.call_id)
    assert (task.bill_id.version, task.bill_id.variant) == (7, task.call_id.variant)
    assert make_task().bill_id != make_task().bill_id


@pytest.mark.parametrize(
    ("result", "begun"),
    [
        ({"resultType": "task", "taskId": "a"}, ("a", True)),
        ({"resultType": "task", "taskId": 1}, None),
        ({"task": {"taskId": "a"}}, ("a", False)),
        ({"task": {"taskId": "a"}, "content": []}, None),
        ({"task": "a"}, None),
        ({"taskId": "a"}, None),
        ({"resultType": "complete", "content": []}, None),
    ],
)
def test_an_answer_that_begins_a_task_is_known_by_its_form(
    result: dict[str, object], begun: tuple[str, bool] | None
) -> None:
    assert tasks.begun_in(result) == begun


def test_ids_are_replaced_and_every_other_byte_stays() -> None:
    text = (
        ' {"id":1, "result" : {"taskId":"a", "x":1.0e1, "task":{"b":2,"taskId" :"a"}, "_meta":{"%s":{"taskId":"a"}}}}'
    )
    before = text % tasks.RELATED
    after = tasks.with_ids(before, {"a": "sealed"})
    assert after == before.replace('"a"', '"sealed"')
    assert tasks.with_ids(before, {"b": "sealed"}) == before
    note = '{"method":"notifications/tasks","params":{"taskId":"a", "z" : 1}}'
    assert tasks.with_ids(note, {"a": "s"}, note=True) == note.replace('"a"', '"s"')


@pytest.mark.parametrize("text", ["{}", '{"result":1}', '{"result":{"task":[],"taskId":{},"_meta":null}}'])
def test_what_names_no_task_stays_as_it_is(text: str) -> None:
    assert tasks.with_ids(text, {"a": "b"}) == text


def test_only_known_tasks_are_listened_to() -> None:
    text = '{"params":{"notifications":{"toolsListChanged":true,"taskIds":["a", 1, "b"]}}}'
    assert json.loads(tasks.with_listened(text, {"b": "s"}))["params"]["notifications"] == {
        "toolsListChanged": True,
        "taskIds": ["s"],
    }
    assert tasks.with_listened('{"params":{}}', {"b": "s"}) == '{"params":{}}'


def test_nobody_is_offered_to_list_tasks() -> None:
    text = '{"result":{"capabilities":{"tasks":{"cancel": {}, "list":{},"requests":{"tools":{"call":{}}}},"tools":{}}}}'
    kept = json.loads(tasks.without_list(text))["result"]["capabilities"]
    assert kept == {"tasks": {"cancel": {}, "requests": {"tools": {"call": {}}}}, "tools": {}}
    for same in (
        '{"result":{"capabilities":{"tasks":{"cancel":{}}}}}',
        '{"error":{}}',
        '{"result":{"capabilities":{}}}',
    ):
        assert tasks.without_list(same) == same
