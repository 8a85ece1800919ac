"""`scripts/up`: every process of the product, in order, until a signal says stop."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from marketplace.supervisor import graces, probes, testpayments
from marketplace.supervisor.banner import banner
from marketplace.supervisor.concurrency import settle, together, unless_fails
from marketplace.supervisor.datafolder import DataFolder, read_json, write_env_file, write_private
from marketplace.supervisor.errors import StartError
from marketplace.supervisor.group import ProcessGroup, Stage
from marketplace.supervisor.infrastructure import broker_answers, start_broker, start_database
from marketplace.supervisor.ports import LOOPBACK, listen, port_of
from marketplace.supervisor.process import Liveness, ManagedProcess, Probe, ProcessSpec
from marketplace.supervisor.terminal import complain, say, step

DEMO_SERVERS = ("payments", "text")
# The checks belong to development and to scripts/check; at every start they would cost a second.
_CELERY = ("-m", "celery", "-A", "celery_app", "--skip-checks")
_WORKER_PROCESSES = 2
_PROBES_BEFORE_HUNG = 3
# Beat sleeps until a job is due, which some are every minute.
_BEAT_SLEEPS_S = 60


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says."""

    root: Path
    data: Path
    port: int
    demo: bool

    @property
    def url(self) -> str:
        # A name, not an address: browsers make passkeys only for names.
        return f"http://localhost:{self.port}"


async def run_stack(options: Options) -> int:
    """Run until SIGTERM or SIGINT; the exit code. A second signal ends everything at once."""
    folder = DataFolder(options.data)
    folder.prepare()
    folder.claim()
    group = ProcessGroup(folder)
    run = asyncio.create_task(_run(options, group), name="run")
    _on_signals(run, group)
    failure: Exception | None = None
    try:
        await run
    except asyncio.CancelledError:
        say("")
    except (StartError, OSError) as error:
        # An OSError here comes from the data folder: the disk became full or read-only.
        failure = error
    finally:
        with step("Stopping"):
            await group.stop()
        folder.release()
    if failure is not None:
        complain(f"\n{failure}")
    return 1 if failure else 0


def _on_signals(run: asyncio.Task[NoReturn], group: ProcessGroup) -> None:
    def stop() -> None:
        if run.done() or run.cancelling():
            group.kill()
        else:
            run.cancel()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def _run(options: Options, group: ProcessGroup) -> NoReturn:
    group.reap()
    names = DEMO_SERVERS if options.demo else ()
    with contextlib.ExitStack() as sockets:
        web = sockets.enter_context(listen(options.port))
        demo = {name: sockets.enter_context(group.folder.listen(f"demo-{name}")) for name in names}
        kinds = testpayments.stand_ins(os.environ)
        payments = {kind: sockets.enter_context(group.folder.listen(f"test-{kind}")) for kind in kinds}
        stack = Stack(options, group, web, demo, payments)
        await stack.start()
        say(banner(url=stack.url, data=group.folder.path, pid=os.getpid(), test_payments=bool(payments)))
        while True:
            await asyncio.Event().wait()


class Stack:
    """The steps of one start.

    The listening sockets belong to the supervisor: nobody else can take a port between two runs of a
    process, and callers wait in the queue instead of being refused while it is started again.
    """

    def __init__(
        self,
        options: Options,
        group: ProcessGroup,
        web: socket.socket,
        demo: Mapping[str, socket.socket],
        payments: Mapping[str, socket.socket],
    ) -> None:
        self._options = options
        self._group = group
        self._web_socket = web
        self._demo_sockets = demo
        self._payment_sockets = payments
        self._environment = self._base_environment()
        self._graces = graces.read(self._environment)
        self.url = self._environment["MARKETPLACE_URL"]

    async def start(self) -> None:
        """Bring everything up; returns when a page and a job would be served."""
        demo = [(name, await self._start_demo_server(name)) for name in self._demo_sockets]
        await self._start_infrastructure()
        with step("Migrating"):
            await self._manage("setup", "--skip-checks")
        if self._environment["MARKETPLACE_ENV"] == "production":
            with step("Collecting static files"):
                await self._manage("collectstatic", "--noinput")
        web = await self._start_web()
        worker = await self._start_worker()
        for kind in self._payment_sockets:
            await self._start_test_payments(kind)
        processes = asyncio.create_task(
            together(web.wait_ready(self._web_ready), worker.wait_ready(partial(_worker_ready, worker)))
        )
        try:
            if demo:
                with step("Loading demo data"):
                    await unless_fails(self._load_demo(demo), processes)
            with step("Starting processes"):
                await processes
                # Last, because nobody waits for it: it only hands out jobs whose time has come.
                await self._start_beat()
        finally:
            await settle(processes)

    def _base_environment(self) -> dict[str, str]:
        """What every process of the product sees; what the caller set wins over our defaults."""
        folder, given = self._group.folder, os.environ
        allowed = [given.get("MARKETPLACE_EGRESS_ALLOW", "")]
        demo_urls = {}
        for name, listener in self._demo_sockets.items():
            address = f"{LOOPBACK}:{port_of(listener)}"
            allowed.append(address)
            demo_urls[f"MARKETPLACE_DEMO_{name.upper()}_URL"] = f"http://{address}/mcp"
        secret = given.get("MARKETPLACE_SECRET_KEY") or folder.secrets()["MARKETPLACE_SECRET_KEY"]
        payment_ports = {kind: port_of(listener) for kind, listener in self._payment_sockets.items()}
        return {
            "MARKETPLACE_SECRET_KEY": folder.secrets()["MARKETPLACE_SECRET_KEY"],
            "MARKETPLACE_ENV": "development",
            "MARKETPLACE_URL": self._options.url,
            "MARKETPLACE_ROLE": "all",
            **given,
            **demo_urls,
            **testpayments.environment(payment_ports, secret),
            "MARKETPLACE_DATA": str(folder.path),
            "MARKETPLACE_EGRESS_ALLOW": ",".join(part for part in allowed if part),
            "PYTHONUNBUFFERED": "1",
        }

    async def _start_infrastructure(self) -> None:
        # Both at once; each line shows what is still waited for.
        database = asyncio.create_task(start_database(self._group, os.environ))
        broker = asyncio.create_task(start_broker(self._group, os.environ))
        try:
            with step("Checking DATABASE_URL" if os.environ.get("DATABASE_URL") else "Starting PostgreSQL"):
                self._environment["DATABASE_URL"] = await database
            with step("Checking REDIS_URL" if os.environ.get("REDIS_URL") else "Starting Valkey"):
                self._environment["REDIS_URL"] = await broker
        finally:
            await settle(database, broker)
        added = {name: value for name, value in self._environment.items() if os.environ.get(name) != value}
        write_env_file(self._group.folder.run / "instance.env", added)

    async def _start_demo_server(self, name: str) -> ManagedProcess:
        descriptor = self._demo_sockets[name].fileno()
        argv = ("-m", f"marketplace.demo.servers.{name}", "--fd", str(descriptor))
        return await self._start(f"demo-{name}", *argv, pass_fds=(descriptor,))

    async def _start_test_payments(self, kind: str) -> ManagedProcess:
        listener = self._payment_sockets[kind]
        places = {"descriptor": listener.fileno(), "port": port_of(listener)}
        argv = testpayments.arguments(kind, **places, data=self._group.folder.path, product=self.url)
        return await self._start(f"test-{kind}", *argv, pass_fds=(listener.fileno(),))

    async def _start_web(self) -> ManagedProcess:
        descriptor = self._web_socket.fileno()
        options = ("--fd", str(descriptor), "--loop", "uvloop", "--http", "gateway.http:Protocol", "--no-server-header")
        limits = ("--timeout-graceful-shutdown", str(self._graces.stop), "--no-access-log")
        # Forwarded headers are read by the product, as far as MARKETPLACE_TRUSTED_PROXIES says.
        proxies = ("--no-proxy-headers",)
        argv = ("-m", "uvicorn", "marketplace.asgi:application", *options, *limits, *proxies)
        return await self._start(
            "web",
            *argv,
            pass_fds=(descriptor,),
            stop_grace_s=self._graces.kill,
            liveness=self._liveness(self._web_lives),
        )

    async def _start_beat(self) -> None:
        schedule = str(self._group.folder.run / "beat-schedule")
        options = ("--loglevel", "INFO", "--schedule", schedule, "--pidfile", "", "--scheduler", "celery_app:Scheduler")
        await self._start("beat", *_CELERY, "beat", *options, liveness=self._heartbeat("beat", rests_s=_BEAT_SLEEPS_S))

    async def _start_worker(self) -> ManagedProcess:
        # Gossip and mingle coordinate many workers and cost a second of start; here is one.
        quick = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")
        worker = ("worker", "--concurrency", str(_WORKER_PROCESSES), *quick)
        return await self._start("worker", *_CELERY, *worker, liveness=self._heartbeat("worker"))

    async def _start(
        self,
        name: str,
        *argv: str,
        pass_fds: tuple[int, ...] = (),
        stop_grace_s: float = 10.0,
        liveness: Liveness | None = None,
    ) -> ManagedProcess:
        env = {**self._environment, "MARKETPLACE_HEARTBEAT_FILE": str(self._heartbeat_path(name))}
        spec = replace(self._spec(name, *argv), pass_fds=pass_fds, stop_grace_s=stop_grace_s, env=env)
        return await self._group.start(spec, Stage.APPLICATION, liveness)

    def _liveness(self, probe: Probe, *, rests_s: int = 0) -> Liveness | None:
        if not self._graces.hung:
            return None
        every_s = (self._graces.hung + rests_s) / _PROBES_BEFORE_HUNG
        return Liveness(probe=probe, every_s=every_s, misses=_PROBES_BEFORE_HUNG)

    def _heartbeat(self, name: str, *, rests_s: int = 0) -> Liveness | None:
        """Life shown by a file. Without a broker there is nothing to work on and no beat; that is no fault of the process."""
        heartbeat = probes.Heartbeat(self._heartbeat_path(name))

        async def lives() -> bool:
            return heartbeat.has_beaten() or not await broker_answers(self._environment["REDIS_URL"])

        return self._liveness(lives, rests_s=rests_s)

    def _heartbeat_path(self, name: str) -> Path:
        return self._group.folder.run / f"heartbeat-{name}"

    async def _manage(self, *command: str) -> None:
        await self._group.run_to_end(self._spec(command[0], "manage.py", *command))

    def _spec(self, name: str, *argv: str) -> ProcessSpec:
        python = (sys.executable, *argv)
        return ProcessSpec(name=name, argv=python, env=self._environment, cwd=self._options.root)

    async def _load_demo(self, servers: Sequence[tuple[str, ManagedProcess]]) -> None:
        """Load the demo once; again when the addresses it recorded are no longer those of its servers."""
        await together(*(self._demo_ready(name, server) for name, server in servers))
        folder = self._group.folder
        stamp = folder.run / "demo.json"
        state = {name: value for name, value in self._environment.items() if name.startswith("MARKETPLACE_DEMO_")}
        state |= {"url": self.url, "database": urlsplit(self._environment["DATABASE_URL"]).path}
        if read_json(stamp) == state and (folder.path / "demo.env").exists():
            return
        await self._manage("load_demo", "--data", str(folder.path))
        write_private(stamp, json.dumps(state))

    async def _demo_ready(self, name: str, server: ManagedProcess) -> None:
        port = port_of(self._demo_sockets[name])
        await server.wait_ready(partial(_answers_200, port, "/healthz", f"http://{LOOPBACK}:{port}"))

    async def _web_lives(self) -> bool:
        """Any answer is one: a process that says what is wrong is not hung."""
        return await probes.http_status(self._options.port, "/healthz", public_url=self.url) is not None

    async def _web_ready(self) -> bool:
        return await _answers_200(self._options.port, "/readyz", self.url)


async def _answers_200(port: int, path: str, public_url: str) -> bool:
    return await probes.http_status(port, path, public_url=public_url) == HTTPStatus.OK


async def _worker_ready(worker: ManagedProcess) -> bool:
    # Celery's own word for "connected to the broker and consuming"; asking it by a ping takes seconds.
    return probes.said(worker, " ready.")
