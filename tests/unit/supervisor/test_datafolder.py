import socket
import stat
import subprocess
from pathlib import Path

import pytest

from marketplace.supervisor.datafolder import DataFolder, read_env_file, write_env_file
from marketplace.supervisor.errors import StartError
from marketplace.supervisor.ports import LOOPBACK, listen, port_of


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    return folder


def test_secrets_are_made_once_and_readable_by_the_owner_only(folder: DataFolder) -> None:
    first = folder.secrets()
    assert folder.secrets() == first
    assert stat.S_IMODE((folder.path / "secrets.env").stat().st_mode) == 0o600
    assert len(first["MARKETPLACE_SECRET_KEY"]) >= 32


def test_other_users_of_the_machine_read_neither_logs_nor_mails(folder: DataFolder) -> None:
    modes = {name: stat.S_IMODE((folder.path / name).stat().st_mode) for name in ("logs", "mailbox", "run")}
    assert set(modes.values()) == {0o700}


def test_a_second_holder_is_told_who_holds_the_folder(folder: DataFolder) -> None:
    folder.claim()
    with pytest.raises(StartError, match=r"Another instance \(pid \d+\) runs on"):
        DataFolder(folder.path).claim()
    folder.release()


def test_a_released_folder_can_be_claimed_again(folder: DataFolder) -> None:
    folder.claim()
    folder.release()
    second = DataFolder(folder.path)
    second.claim()
    second.release()


def test_ports_are_remembered(folder: DataFolder) -> None:
    assert folder.port("postgres") == folder.port("postgres")


def test_a_remembered_port_that_is_taken_is_replaced(folder: DataFolder) -> None:
    with folder.listen("demo") as taken:
        assert folder.port("demo") != port_of(taken)
    with folder.listen("demo") as first:
        port = port_of(first)
        with folder.listen("demo") as second:
            assert port_of(second) != port


def test_a_folder_that_cannot_be_made_is_explained_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="ascii")
    with pytest.raises(StartError, match="cannot be used") as caught:
        DataFolder(tmp_path / "file" / "data").prepare()
    assert "\n" not in str(caught.value)


def test_a_port_in_use_is_explained_with_the_next_step() -> None:
    with socket.socket() as holder:
        holder.bind((LOOPBACK, 0))
        holder.listen()
        port = port_of(holder)
        with pytest.raises(StartError, match=f"Port {port} cannot be used .* scripts/up --port {port + 1}"):
            listen(port)


def test_env_files_are_read_without_comments_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "demo.env"
    path.write_text('# a comment\n\nURL="http://localhost"\nKEY=a=b\n', encoding="utf-8")
    assert read_env_file(path) == {"URL": "http://localhost", "KEY": "a=b"}


def test_written_values_come_back_here_and_in_a_shell(tmp_path: Path) -> None:
    path = tmp_path / "demo.env"
    values = {"LOGINS": "alice (owner of 'acme'), bob; $HOME \\ `id`", "EMPTY": ""}
    write_env_file(path, values)
    assert read_env_file(path) == values
    shell = ["sh", "-c", '. "$0"; printf "%s" "$LOGINS"', str(path)]
    assert subprocess.run(shell, capture_output=True, text=True, check=True).stdout == values["LOGINS"]
