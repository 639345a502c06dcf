"""What a small cluster may be, and the message where it cannot be. No root needed."""

import re

import pytest
from by_hand import command_line, own_name

from minislurm import ClusterError, MiniCluster, Settings, UsageError, config, machine, placement


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
    cores = [0, 1, 2, 3]
    first, second = (placement.moved({0, 1}, cores, node, 2) for node in (1, 2))
    assert (first, second) == ({0, 1}, {2, 3})
    # Two nodes of two cores on two: one task on each still gets a core of its own.
    assert [placement.moved({0}, [0, 1], node, 2) for node in (1, 2)] == [{0}, {1}]
    # Three nodes on two cores, and cores that do not start at 0.
    assert [placement.moved({4}, [4, 6], node, 3) for node in (1, 2, 3)] == [{4}, {4}, {6}]


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
