"""From one command to a running product, and back to it after every kind of death."""

import os
import re
import signal
from collections.abc import Iterator

import httpx
import psutil
import pytest

from marketplace.supervisor.infrastructure import embedded
from tests.support.processes import is_running, wait_until, wait_until_gone
from tests.support.stack import RunningStack, data_folder, running_stack

pytestmark = pytest.mark.stack

NAMES = {"postgres", "valkey", "web", "worker", "beat", "demo-payments", "demo-text", "test-stripe", "test-paypal"}


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    with data_folder() as data, running_stack(data, environment={"MARKETPLACE_HUNG_AFTER_SECONDS": "12"}) as stack:
        yield stack


def call(stack: RunningStack) -> httpx.Response:
    """A governed, metered call of the demo, as a script makes it with demo.env."""
    return httpx.post(
        f"{stack.url}/v1/invoke",
        headers={"Authorization": f"Bearer {stack.demo['MARKETPLACE_API_KEY']}"},
        json={"server": "payments", "tool": "list_invoices", "arguments": {"limit": 1}},
        timeout=20,
    )


def works(stack: RunningStack) -> bool:
    try:
        return call(stack).status_code == 200
    except httpx.TransportError:
        return False


def test_one_command_serves_pages_and_governed_calls(stack: RunningStack) -> None:
    assert set(stack.pids()) == NAMES
    assert httpx.get(stack.url, follow_redirects=True).status_code == 200
    answer = call(stack)
    assert answer.status_code == 200, answer.text
    assert stack.demo["MARKETPLACE_URL"] == stack.url
    assert stack.demo["MARKETPLACE_DEMO_LOGINS"].startswith("alice@acme.example (")


def test_a_second_start_on_the_same_folder_is_refused_in_one_sentence(stack: RunningStack) -> None:
    refusal = rf"Another instance \(pid {stack.supervisor.pid}\) runs on"
    with pytest.raises(AssertionError, match=refusal), running_stack(stack.data):
        pass


def test_two_instances_run_side_by_side(stack: RunningStack) -> None:
    with data_folder() as data, running_stack(data) as other:
        assert set(other.pids()) == NAMES
        assert works(other)
        assert works(stack)
        foreign = httpx.post(
            f"{other.url}/v1/invoke",
            headers={"Authorization": f"Bearer {stack.demo['MARKETPLACE_API_KEY']}"},
            json={"server": "payments", "tool": "list_invoices", "arguments": {}},
        )
        assert foreign.status_code == 401
        left = list(other.pids().values())
        assert other.stop() == 0
    wait_until_gone(left)


def test_the_worker_runs_jobs_from_its_start_on(stack: RunningStack) -> None:
    wait_until(lambda: "calls.make_partitions" in succeeded(stack.log("worker")), "partitions to be looked after")


def test_servers_of_the_environment_replace_the_embedded_ones_and_without_demo_there_is_none() -> None:
    with data_folder() as servers, embedded(servers) as others, data_folder() as data:
        with_theirs = running_stack(data, "--no-demo", environment=others.environment())
        with with_theirs as stack:
            assert set(stack.pids()) == {"web", "worker", "beat", "test-stripe", "test-paypal"}
            home = httpx.get(stack.url)
            assert (home.status_code, "No servers are listed yet" in home.text) == (200, True)
            assert not (data / "demo.env").exists()


def succeeded(log: str) -> set[str]:
    """The names of the jobs that ended well."""
    return set(re.findall(r"Task ([\w.]+)\[[^]]+\] succeeded", log))


@pytest.mark.parametrize("name", ["postgres", "valkey", "worker", "web", "beat", "demo-payments"])
def test_a_killed_process_is_back_and_the_next_call_works(stack: RunningStack, name: str) -> None:
    killed = stack.pids()[name]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: stack.pids().get(name) not in {None, killed}, f"{name} is back")
    wait_until(lambda: works(stack), "a call works")
    assert is_running(stack.pids()[name])


@pytest.mark.parametrize("name", ["web", "worker"])
def test_a_process_that_hangs_is_started_again_and_the_next_call_works(stack: RunningStack, name: str) -> None:
    hung = stack.pids()[name]
    os.kill(hung, signal.SIGSTOP)
    wait_until(lambda: stack.pids().get(name) not in {None, hung}, f"{name} is back", deadline_s=120)
    wait_until(lambda: works(stack), "a call works")
    assert f"supervisor: {name} has not answered for 12 s" in stack.log(name)


def test_a_killed_supervisor_leaves_no_process_and_the_next_start_works(stack: RunningStack) -> None:
    family = psutil.Process(stack.supervisor.pid).children(recursive=True)
    assert len(family) > len(NAMES)
    stack.stop(signal.SIGKILL)
    wait_until_gone(process.pid for process in family)
    with running_stack(stack.data, port=stack.port) as again:
        assert set(again.pids()) == NAMES
        assert works(again)
