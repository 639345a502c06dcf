"""The small cluster: comes up, is a Slurm, goes without a trace."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from by_hand import command_line, own_name

from minislurm import ClusterError, MiniCluster, Settings, leftovers, network

pytestmark = pytest.mark.slurm

#: Two ranks of a step: the second sends as many bytes as asked to the first.
TRANSFER = """
import os, socket, sys, time
size = int(sys.argv[1])
if os.environ["SLURM_PROCID"] == "0":
    connection, _ = socket.create_server(("0.0.0.0", 4711)).accept()
    start, got = time.monotonic(), 0
    while got < size:
        got += len(connection.recv(1 << 20))
    print(time.monotonic() - start)
else:
    for _ in range(12_000):
        try:
            connection = socket.create_connection(("node1", 4711))
            break
        except OSError:
            time.sleep(0.05)
    connection.sendall(bytes(size))
"""


#: How long a test waits for what takes seconds where nothing else runs.
PATIENCE_S = 300.0


@pytest.fixture(scope="module")
def cluster():
    with MiniCluster(name=own_name("two"), owned=True) as running:
        yield running


def slurm(cluster, *command):
    done = subprocess.run(
        command, env=cluster.env, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.05)


def processes_of(pid):
    """Processes in the pid namespace below a cluster's main process, itself included."""
    child = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
    namespace = os.readlink(f"/proc/{child}/ns/pid")
    found = {pid}
    for other in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{other}/ns/pid") == namespace:
                found.add(int(other))
    return found


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def interfaces_of_others(described):
    taken = []
    for path in Path("/run").glob("scalebook-*"):
        with contextlib.suppress(ClusterError, OSError):  # it is just coming up, or going
            other = Settings.load(path)
            taken += [other.interface] if other != described else []
    return taken


def traces_of(described):
    """What a cluster has in the machine besides its processes."""
    traces = [described.run_dir]
    # Another cluster, of a test beside this one, may have taken the interface's name by now.
    if described.interface not in interfaces_of_others(described):
        traces.append(Path("/sys/class/net") / described.interface)
    traces += Path("/sys/fs/cgroup").glob(f"*/scalebook-{described.cluster_name}")
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    lines = mounts + [f"{line}/" for line in network.HOSTS.read_text().splitlines()]
    return [str(path) for path in traces if os.path.lexists(path)] + [
        line for line in lines if f"{described.run_dir}/" in line
    ]


def test_root_that_may_make_no_namespaces_is_refused_in_one_line():
    limited = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    command = [*limited, sys.executable, "-m", "minislurm", "up"]
    name = own_name("limited")
    done = subprocess.run([*command, "--name", name], capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "--privileged" in done.stderr
    assert not Path(f"/run/scalebook-{name}").exists()


def test_who_is_not_root_is_refused_in_one_line():
    code = (
        "import os, sys, minislurm.__main__ as m; os.setuid(65534);"
        f"sys.argv = ['minislurm', 'up', '--name', '{own_name('nobody')}']; sys.exit(m.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "root" in done.stderr


def test_every_node_is_idle_and_has_its_own_name(cluster):
    assert slurm(cluster, "sinfo", "-hN", "-p", "main", "-o", "%N %T %c %G").splitlines() == [
        "node1 idle 2 gpu:2",
        "node2 idle 2 gpu:2",
    ]
    assert sorted(slurm(cluster, "srun", "-N2", "hostname").split()) == ["node1", "node2"]


def as_nobody(cluster, *command):
    return subprocess.run(
        ["runuser", "-u", "nobody", "--", *command],
        env=cluster.env,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def database_server(cluster):
    """Process of a cluster's MariaDB, and its command line."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_text().split("\0")
            if words[0] == "mariadbd" and f"--datadir={cluster.run_dir}/mysql" in words:
                return folder, words
    raise AssertionError("no mariadbd")


def test_an_ordinary_user_runs_jobs(cluster):
    done = as_nobody(cluster, "srun", "-N2", "sh", "-c", "echo $(hostname) $(id -un)")
    assert sorted(done.stdout.splitlines()) == ["node1 nobody", "node2 nobody"], done.stderr
    done = as_nobody(cluster, "sbatch", "-W", "-D/", "-o/dev/null", "-N2", "--wrap=srun true")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("where", [(), ("srun", "-w", "node1")], ids=["login", "node"])
def test_an_ordinary_user_writes_no_file_of_it_and_reads_no_key(cluster, where):
    # Slurm gives a step's own cgroups to its user, and takes messages at sockets.
    others = ("!", "-type", "s", "!", "-path", "*/uid_*")
    find = (*where, "find", str(cluster.run_dir), *others, "-writable")
    assert as_nobody(cluster, *find).stdout == ""
    for name in ("munge.key", "slurmdbd.conf"):
        assert as_nobody(cluster, *where, "cat", f"{cluster.run_dir}/etc/{name}").returncode != 0


def test_the_database_lets_in_root_alone_and_writes_no_file(cluster, tmp_path):
    process, words = database_server(cluster)
    assert process.stat().st_uid != 0
    socket = next(word for word in words if word.startswith("--socket="))
    inside = ["nsenter", f"--target={process.name}", "--mount", "--net", "--"]
    client = ["mariadb", "--no-defaults", "-uroot", socket, "-e"]
    asked = "select 4711"
    assert (
        "4711" in subprocess.run([*inside, *client, asked], capture_output=True, text=True).stdout
    )
    for command in ([*client, asked], ["srun", *client, asked]):
        done = as_nobody(cluster, *command)
        assert "4711" not in done.stdout
        assert "ERROR" in done.stderr
    tmp_path.chmod(0o777)
    outfile = f"{asked} into outfile '{tmp_path}/written'"
    assert subprocess.run([*inside, *client, outfile], capture_output=True).returncode != 0


def test_its_nodes_have_names_on_the_host_while_it_is_up():
    with MiniCluster(name=own_name("names"), accounting=False, gpus=0) as one:
        found = subprocess.run(
            ["getent", "hosts", f"node2.{one.settings.name}"], capture_output=True, text=True
        )
        assert found.stdout.split()[0] == one.settings.address(12)
        assert subprocess.run(["getent", "hosts", "node2"], capture_output=True).returncode == 0
    wait_until(lambda: traces_of(one.settings) == [])


def test_a_node_sees_its_own_interface_and_finds_the_others_by_name(cluster):
    assert slurm(cluster, "srun", "ls", "/sys/class/net").split() == ["eth0", "lo"]
    found = slurm(cluster, "srun", "-w", "node1", "getent", "hosts", "node2")
    assert found.split()[0] == cluster.settings.address(12)


def test_gpus_are_handed_out(cluster):
    script = "echo $CUDA_VISIBLE_DEVICES"
    assert slurm(cluster, "srun", "--gpus=2", "sh", "-c", script).strip() == "0,1"
    assert slurm(cluster, "srun", "--gpus=1", "sh", "-c", script).strip() == "0"
    assert slurm(cluster, "srun", "sh", "-c", script).strip() == ""
    assert "HWLOC" not in slurm(cluster, "srun", "env")


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core cannot be shared out")
def test_a_task_gets_the_cores_it_asked_for(cluster):
    show = "import os; print(sorted(os.sched_getaffinity(0)))"
    one_each = slurm(cluster, "srun", "-N2", "-n2", "-c1", sys.executable, "-c", show).split("\n")
    assert len(set(one_each[:2])) == 2, "both nodes use the same core"
    two = slurm(cluster, "srun", "-n1", "-c2", sys.executable, "-c", show)
    assert len(two.split(",")) == 2


def test_the_lack_of_memory_ends_a_step(cluster, tmp_path):
    step = f"srun --mem=60 {sys.executable} -c 'bytearray(500 << 20)'"
    number = slurm(cluster, "sbatch", "--parsable", "--mem=200", "-o", "/dev/null", "--wrap", step)
    states = []

    def ended():
        text = slurm(cluster, "sacct", "-nPD", "-j", number.strip(), "-o", "JobID,State")
        states[:] = text.split()
        return any(line.startswith(f"{number.strip()}.0|") for line in states) and not any(
            line.endswith(("RUNNING", "PENDING")) for line in states
        )

    wait_until(ended)
    assert f"{number.strip()}.0|OUT_OF_MEMORY" in states


def test_a_requeued_job_is_back_in_seconds(cluster):
    number = slurm(cluster, "sbatch", "--parsable", "-o", "/dev/null", "--wrap", "sleep 6000")
    number = number.strip()

    def state():
        return slurm(cluster, "squeue", "-h", "-j", number, "-o", "%T").strip()

    wait_until(lambda: state() == "RUNNING")
    slurm(cluster, "scontrol", "requeue", number)
    again = ("scontrol", "show", "job", number)
    wait_until(lambda: "Restarts=1" in slurm(cluster, *again) and state() == "RUNNING")
    slurm(cluster, "scancel", number)


def test_a_link_has_the_rate_it_was_given(cluster, tmp_path):
    script = tmp_path / "transfer.py"
    script.write_text(TRANSFER)

    def seconds(mebibytes):
        command = ("srun", "-N2", "-n2", sys.executable, str(script), str(mebibytes << 20))
        return float(slurm(cluster, *command))

    try:
        cluster.set_link("50mbit")
        slow = seconds(16)
        cluster.set_link("200mbit")
        fast = seconds(16)
    finally:
        cluster.set_link(None)
    ideal = 16 * 2**20 * 8 / 50e6
    assert ideal * 0.9 < slow < ideal * 2
    assert 2 < slow / fast < 8
    assert seconds(16) < fast


def test_a_node_and_the_controller_come_back(cluster):
    cluster.stop_node(2)
    with pytest.raises(ClusterError, match="node1 is already up"):
        cluster.start_node(1)
    cluster.start_node(2)
    cluster.stop_controller()
    assert (
        "DOWN"
        in subprocess.run(
            ["scontrol", "ping"], env=cluster.env, capture_output=True, text=True
        ).stdout
    )
    cluster.start_controller()
    assert sorted(slurm(cluster, "srun", "-N2", "hostname").split()) == ["node1", "node2"]


def test_a_second_one_by_hand_beside_the_first(cluster, tmp_path):
    name = own_name("hand")
    own = {**os.environ, "TMPDIR": str(tmp_path)}  # which root alone may enter
    size = ("--nodes", "3", "--cpus", "1")
    done = command_line("up", "--name", name, *size, "--link", "1gbit", env=own)
    try:
        assert (done.returncode, done.stdout) == (0, f". /run/scalebook-{name}/env\n"), done.stderr
        shell = f". /run/scalebook-{name}/env && srun -N3 hostname"
        done = subprocess.run(
            ["sh", "-c", shell], capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert sorted(done.stdout.split()) == ["node1", "node2", "node3"], done.stderr
        assert sorted(slurm(cluster, "srun", "-N2", "hostname").split()) == ["node1", "node2"]
        shown = command_line("status", "--name", name)
        assert shown.returncode == 0
        assert "link 1gbit" in shown.stdout
        assert shown.stdout.count("idle") == 3
        again = command_line("up", "--name", name)
        assert (again.returncode, len(again.stderr.splitlines())) == (1, 1)
    finally:
        described = Settings.load(Path(f"/run/scalebook-{name}"))
        assert command_line("down", "--name", name).stdout == f"{name}: down\n"
    # For a moment a cluster of a test beside this one may own the name and be in no file yet.
    wait_until(lambda: traces_of(described) == [])
    assert command_line("down", "--name", name).stdout == f"{name}: was not up\n"


def test_killed_it_leaves_nothing():
    with MiniCluster(name=own_name("kill"), accounting=False, gpus=0) as cluster:
        slurm(cluster, "sbatch", "-N2", "-o", "/dev/null", "--wrap", "srun sleep 600")
        wait_until(lambda: slurm(cluster, "squeue", "-h", "-o", "%T").strip() == "RUNNING")
        time.sleep(0.5)
        main = leftovers.main_process(cluster.run_dir)
        alive = processes_of(main)
        assert len(alive) > 5
        assert len(traces_of(cluster.settings)) > 1
        os.kill(main, signal.SIGKILL)
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in alive))
        wait_until(lambda: traces_of(cluster.settings) == [])
        assert cluster.down() is False


def test_the_next_command_removes_what_one_left_whose_janitor_was_killed_too():
    cluster = MiniCluster(name=own_name("both"), accounting=False)
    with cluster:
        main = leftovers.main_process(cluster.run_dir)
        for pid in (parent_of(main), main):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not leftovers.is_up(cluster.run_dir))
        assert cluster.run_dir.exists()
        assert command_line("status", "--name", own_name("other")).returncode == 1
        wait_until(lambda: traces_of(cluster.settings) == [])


def test_an_owned_one_ends_with_its_owner():
    name = own_name("owned")
    code = (
        "import sys, time; from minislurm import MiniCluster;"
        f"MiniCluster(name={name!r}, accounting=False, owned=True).up();"
        "print('up', flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout.readline() == "up\n"
        described = Settings.load(Path(f"/run/scalebook-{name}"))
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    wait_until(lambda: traces_of(described) == [])
