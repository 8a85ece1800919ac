import os
from pathlib import Path

import pytest

from marketplace.supervisor.placement import RunUser, choose_home, runnable

STRANGER = RunUser(uid=54_321, gid=54_321)


@pytest.fixture
def private_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    return folder


def test_a_private_folder_is_out_of_reach_of_another_user(private_folder: Path) -> None:
    assert not STRANGER.can_reach(private_folder)


def test_the_owner_reaches_what_the_owner_may_enter(private_folder: Path) -> None:
    owner = RunUser(uid=os.getuid(), gid=os.getgid())
    assert owner.can_reach(private_folder)


def test_without_a_change_of_user_everything_stays_in_the_data_folder(private_folder: Path) -> None:
    assert choose_home(private_folder, None, "instance") == private_folder


def test_an_existing_cluster_decides_where_the_servers_live(private_folder: Path) -> None:
    (private_folder / "postgres").mkdir()
    assert choose_home(private_folder, STRANGER, "instance") == private_folder


def test_a_program_that_the_user_cannot_reach_is_copied_with_its_libraries(tmp_path: Path) -> None:
    package, libraries = tmp_path / "site" / "server", tmp_path / "site" / "server.libs"
    (package / "bin").mkdir(parents=True)
    libraries.mkdir()
    program = package / "bin" / "serverd"
    program.touch(mode=0o700)
    (libraries / "lib.so").touch()
    tmp_path.chmod(0o700)
    me = RunUser(uid=os.getuid(), gid=os.getgid())
    assert runnable(program, (package, libraries), tmp_path / "copy", me) == program
    if os.getuid() == 0:  # only root can give files away
        copy = runnable(program, (package, libraries), tmp_path / "copy", STRANGER)
        assert copy == tmp_path / "copy" / "server" / "bin" / "serverd"
        assert copy.stat().st_uid == STRANGER.uid
        assert (tmp_path / "copy" / "server.libs" / "lib.so").exists()
