"""What a small cluster may be, and the message where it cannot be. No root needed."""

import re

import pytest
from by_hand import command_line, own_name

from minislurm import (
    ClusterError,
    MiniCluster,
    Settings,
    UsageError,
    config,
    machine,
    network,
    placement,
)


def test_settings_that_cannot_be_are_refused_in_one_line():
    for field, values in {
        "name": ("a b", "../x", "x" * 25),
        "nodes": (0,),
        "cpus": (0,),
        "gpus": (-1,),
        "link": ("fast", "1gbit; reboot", "0mbit"),
    }.items():
        for value in values:
            with pytest.raises(UsageError) as refused:
                Settings(**{field: value})
            assert "\n" not in str(refused.value)


def test_the_cluster_name_tells_link_and_birth():
    described = Settings(link="1gbit").born(subnet=3)
    assert re.fullmatch(r"mini-1gbit-\d{6}-\d{6}-[0-9a-f]{2}", described.cluster_name)
    assert Settings().born(1).cluster_name.startswith("mini-open-")


def test_nodes_share_no_core_while_there_are_enough():
    own = placement.own_cores
    assert [own([0, 1, 2, 3], node, 2)[:2] for node in (1, 2)] == [[0, 1], [2, 3]]
    # Two nodes of two cores on two: one task on each still gets a core of its own.
    assert [own([0, 1], node, 2) for node in (1, 2)] == [[0, 1], [1, 0]]
    # Three nodes on two cores, and cores that do not start at 0.
    assert [own([4, 6], node, 3)[0] for node in (1, 2, 3)] == [4, 4, 6]


def test_without_cgroups_slurm_watches_memory_itself():
    text = config.slurm_conf(Settings(), cgroups=False, bind=False)
    assert "OverMemoryKill" in text
    assert "cgroup" not in text
    assert "TaskPlugin=task/none" in text


def test_a_missing_program_is_named_in_one_line_with_the_package(tmp_path):
    done = command_line("up", "--name", own_name("path"), env={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "apt-get install" in done.stderr


def test_another_system_is_named_in_one_line(monkeypatch):
    monkeypatch.setattr(machine.platform, "system", lambda: "Darwin")
    with pytest.raises(ClusterError, match="needs Linux, not Darwin"):
        machine.check_machine()


def test_names_on_the_host_come_and_go_and_leave_its_own_as_they_were(monkeypatch, tmp_path):
    own = b"127.0.0.1\tlocalhost\r\n10.1.1.1 node1 # ours, \xff\n"
    monkeypatch.setattr(network, "HOSTS", tmp_path / "hosts")
    network.HOSTS.write_bytes(own)
    inode = network.HOSTS.stat().st_ino
    first, second = (Settings(name=name).born(subnet) for name, subnet in (("a", 1), ("ab", 2)))
    network.name_nodes(first)
    network.name_nodes(second)
    assert network.HOSTS.read_text(errors="replace").splitlines()[2:] == [
        "10.77.1.11 node1.a # /run/scalebook-a",
        "10.77.1.12 node2.a node2 # /run/scalebook-a",
        "10.77.2.11 node1.ab # /run/scalebook-ab",
        "10.77.2.12 node2.ab # /run/scalebook-ab",
    ]
    network.forget_names(first.run_dir)
    assert network.HOSTS.read_bytes().count(b"\n") == 4
    network.forget_names(second.run_dir)
    network.forget_names(second.run_dir)
    assert network.HOSTS.read_bytes() == own
    assert network.HOSTS.stat().st_ino == inode


def test_down_and_status_of_a_cluster_that_is_not_there():
    name = own_name("none")
    for _ in range(2):
        assert command_line("down", "--name", name).returncode == 0
    done = command_line("status", "--name", name)
    assert (done.returncode, done.stdout) == (1, f"{name}: not up\n")
    done = command_line("env", "--name", name)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    with pytest.raises(ClusterError, match="is up"):
        MiniCluster(name=name).stop_node(1)
