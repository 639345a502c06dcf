"""One after the other, and whoever waits says for whom."""

import os
import socket
import threading

import pytest
from waiting import PATIENCE_S

from scalebook.contract import ScalebookError
from scalebook.train import locking


def test_the_second_waits_for_the_first_and_says_for_whom(tmp_path, capsys):
    second_in = threading.Event()

    def second():
        with locking.alone(tmp_path / "here/book.lock", "looking at the book"):
            second_in.set()

    with locking.alone(tmp_path / "here/book.lock", "building the book"):
        thread = threading.Thread(target=second)
        thread.start()
        assert not second_in.wait(0.3)
    thread.join(PATIENCE_S)
    assert second_in.is_set()
    said = capsys.readouterr().err
    assert f"waiting for process {os.getpid()}, which has been building the book since" in said
    assert said.count("waiting") == 1 and socket.gethostname() not in said


def test_ranks_wait_for_their_own_without_a_word(tmp_path, capsys):
    path = tmp_path / "lock"

    def let_go():
        held.close()

    with open(path, "w") as held:
        assert locking.acquire(held)
        with locking.alone(path, "preparing", let_go, tell=False):
            pass
    assert capsys.readouterr().err == ""


def test_waiting_can_be_given_up(tmp_path):
    def give_up():
        raise ScalebookError("enough")

    path = tmp_path / "lock"
    with open(path, "w") as held:
        assert locking.acquire(held)
        waiting = locking.alone(path, "trying", give_up)
        with pytest.raises(ScalebookError, match="enough"), waiting:
            pass


@pytest.mark.parametrize(
    ("written", "named"),
    [
        (b"", "another process"),
        (b"\xff\x00 1", "another process"),
        (
            b"12 elsewhere 10:00:01 fetching",
            "process 12 on another machine, which has been fetching",
        ),
        (b"12 elsewhere 10:00:01 \x1b[31mfetching", "[31mfetching"),
    ],
)
def test_what_the_holder_left_is_not_trusted(tmp_path, written, named):
    (tmp_path / "lock").write_bytes(written)
    with open(tmp_path / "lock", "rb") as file:
        holder = locking._holder(file)
    assert named in holder and "\x1b" not in holder and "elsewhere" not in holder


@pytest.mark.parametrize("there", [True, False])
def test_a_lock_that_is_a_link_empties_no_file(tmp_path, there):
    path, target = tmp_path / "book.lock", tmp_path / "mine"
    if there:
        target.write_text("mine")
    path.symlink_to(target)
    held = locking.alone(path, "building the book")
    with pytest.raises(OSError, match="is a link, and a lock must be a file: remove it"), held:
        pass
    assert target.exists() == there and (not there or target.read_text() == "mine")
