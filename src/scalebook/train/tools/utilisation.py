"""What a node's devices are doing: its GPUs, and its CPUs, memory and network.

Each is optional: a look at a device that cannot be had raises when it is set up, and a value
that a device does not tell is None. Names of values are those of `contract.UTILISATION_COLUMNS`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

MIB = 2**20
_PROC = Path("/proc")
_LOOPBACK = ("lo", "lo0")

#: Values of one device by name.
Values = dict[str, Any]


class Gpus:
    """The GPUs of this node, asked through NVIDIA's management library (nvidia-ml-py).

    Parameters
    ----------
    uuids : iterable of str
        Those that the run computes on; where none of them is known, all that are visible.

    Raises
    ------
    ImportError
        If nvidia-ml-py is not installed.
    Exception
        If there is no driver it could ask.
    """

    def __init__(self, uuids: Iterable[str]) -> None:
        import pynvml  # optional, and only where there is a GPU

        self._nvml = pynvml
        pynvml.nvmlInit()
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
        wanted = {_plain(uuid) for uuid in uuids} - {""}
        devices = list(enumerate(handles))
        used = [
            (index, handle)
            for index, handle in devices
            if _plain(self._ask("nvmlDeviceGetUUID", handle)) in wanted
        ]
        self._devices = used or devices

    def read(self) -> list[tuple[str, Values]]:
        """Name and values of each GPU now."""
        return [(f"gpu{index}", self._values(handle)) for index, handle in self._devices]

    def _values(self, handle: Any) -> Values:
        nvml, ask = self._nvml, self._ask
        busy = ask("nvmlDeviceGetUtilizationRates", handle)
        memory = ask("nvmlDeviceGetMemoryInfo", handle)
        power = ask("nvmlDeviceGetPowerUsage", handle)  # mW
        sent = ask("nvmlDeviceGetPcieThroughput", handle, nvml.NVML_PCIE_UTIL_TX_BYTES)  # kB/s
        received = ask("nvmlDeviceGetPcieThroughput", handle, nvml.NVML_PCIE_UTIL_RX_BYTES)
        return {
            "utilisation_percent": busy and busy.gpu,
            "memory_utilisation_percent": busy and busy.memory,
            "memory_used_mib": memory and memory.used / MIB,
            "memory_total_mib": memory and memory.total / MIB,
            "temperature_c": ask("nvmlDeviceGetTemperature", handle, nvml.NVML_TEMPERATURE_GPU),
            "power_w": None if power is None else power / 1e3,
            "clock_mhz": ask("nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_SM),
            "memory_clock_mhz": ask("nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_MEM),
            "pcie_rx_mb_s": None if received is None else received / 1e3,
            "pcie_tx_mb_s": None if sent is None else sent / 1e3,
        }

    def _ask(self, name: str, *arguments: Any) -> Any:
        """Answer of a function of the library; None where the GPU or the library has none."""
        try:
            return getattr(self._nvml, name)(*arguments)
        except (self._nvml.NVMLError, AttributeError):
            return None


def _plain(uuid: Any) -> str:
    """A GPU's UUID as PyTorch writes it, without the prefix of NVIDIA's tools."""
    text = uuid.decode() if isinstance(uuid, bytes) else str(uuid or "")
    return text[4:] if text.startswith("GPU-") else text


class _Counters(NamedTuple):
    """Counters of the machine, and of some processes with all below them."""

    busy_s: float
    all_s: float
    used: int
    total: int
    received: int
    sent: int
    own_s: dict[int, float]
    resident: int


class Host:
    """CPUs, memory and network of this node, and what the run itself takes of them.

    Parameters
    ----------
    processes : iterable of int
        Ids of the run's processes on this node; those they start count too.

    Raises
    ------
    ImportError
        If there is neither ``/proc`` nor psutil.
    """

    def __init__(self, processes: Iterable[int]) -> None:
        self._processes = list(processes)
        self._count: Callable[[list[int]], _Counters] = _from_proc
        if not (_PROC / "stat").is_file():
            import psutil  # noqa: F401  # optional, where there is no /proc

            self._count = _from_psutil
        self._before, self._at = self._count(self._processes), time.monotonic()

    def read(self) -> list[tuple[str, Values]]:
        """Name and values of the host since the last look."""
        before, now, at = self._before, self._count(self._processes), time.monotonic()
        seconds = max(at - self._at, 1e-9)
        self._before, self._at = now, at
        all_s = now.all_s - before.all_s
        # A process that began meanwhile counts whole, one that ended not at all.
        own_s = sum(max(0.0, used - before.own_s.get(pid, 0.0)) for pid, used in now.own_s.items())
        values = {
            "utilisation_percent": 100 * (now.busy_s - before.busy_s) / all_s if all_s else None,
            "memory_used_mib": now.used / MIB,
            "memory_total_mib": now.total / MIB,
            "process_cpu_percent": 100 * own_s / seconds,
            "process_memory_mib": now.resident / MIB,
            "network_rx_mb_s": (now.received - before.received) / 1e6 / seconds,
            "network_tx_mb_s": (now.sent - before.sent) / 1e6 / seconds,
        }
        return [("host", values)]


def _from_proc(processes: list[int]) -> _Counters:
    tick = os.sysconf("SC_CLK_TCK")
    first = (_PROC / "stat").read_text().partition("\n")[0]
    times = [int(word) / tick for word in first.split()[1:9]]
    memory = {}
    for line in (_PROC / "meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        memory[name] = int(value.split()[0]) * 1024
    received = sent = 0
    for line in (_PROC / "net/dev").read_text().splitlines()[2:]:
        name, _, counts = line.partition(":")
        if name.strip() not in _LOOPBACK:
            words = counts.split()
            received, sent = received + int(words[0]), sent + int(words[8])
    own, resident = _tree(processes, tick)
    total = memory["MemTotal"]
    used = total - memory.get("MemAvailable", memory["MemFree"])
    # Of user nice system idle iowait irq softirq steal the fourth and fifth are not busy.
    idle = times[3] + times[4]
    return _Counters(sum(times) - idle, sum(times), used, total, received, sent, own, resident)


def _tree(processes: list[int], tick: int) -> tuple[dict[int, float], int]:
    """CPU seconds by process, and memory in bytes, of some processes and all below them."""
    page = os.sysconf("SC_PAGE_SIZE")
    stats: dict[int, list[str]] = {}
    children: dict[int, list[int]] = {}
    for entry in os.listdir(_PROC):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError):  # it has just ended
            # The name in parentheses may hold anything.
            words = (_PROC / entry / "stat").read_text().rpartition(")")[2].split()
            stats[int(entry)] = words
            children.setdefault(int(words[1]), []).append(int(entry))
    own, resident, left = {}, 0, list(processes)
    while left:
        pid = left.pop()
        if pid in stats and pid not in own:
            words = stats[pid]
            own[pid] = (int(words[11]) + int(words[12])) / tick
            resident += int(words[21]) * page
            left += children.get(pid, [])
    return own, resident


def _from_psutil(processes: list[int]) -> _Counters:
    import psutil  # optional, where there is no /proc

    cpu, memory = psutil.cpu_times(), psutil.virtual_memory()
    idle = cpu.idle + getattr(cpu, "iowait", 0.0)
    # Time of guests is in the time of users already.
    total = sum(cpu) - getattr(cpu, "guest", 0.0) - getattr(cpu, "guest_nice", 0.0)
    links = psutil.net_io_counters(pernic=True)
    counted = [link for name, link in links.items() if name not in _LOOPBACK]
    own: dict[int, float] = {}
    resident = 0
    for number in processes:
        with contextlib.suppress(psutil.Error):
            first = psutil.Process(number)
            for process in (first, *first.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    times = process.cpu_times()
                    own[process.pid] = times.user + times.system
                    resident += process.memory_info().rss
    return _Counters(
        total - idle, total, memory.total - memory.available, memory.total,
        sum(link.bytes_recv for link in counted), sum(link.bytes_sent for link in counted),
        own, resident,
    )  # fmt: skip
