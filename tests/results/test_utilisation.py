"""Utilisation files: our own, and every form in which nvidia-smi prints them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from scalebook import contract, results
from scalebook.contract import ScalebookError
from scalebook.results.device_lines import parse

HEADER = ",".join(contract.UTILISATION_COLUMNS)
OURS = f"""\
{HEADER}
2026-11-23T09:00:01.000Z,0,gpu0,91,40,455.3,15360.0,39,61.2,1590,5000,120.5,30.1,,,,
2026-11-23T09:00:01.000Z,0,host,12.5,,900.0,7900.0,,,,,,,99.0,512.0,0.1,0.2
2026-11-23T09:00:02.010Z,0,gpu0,95,42,455.3,15360.0,39,63.0,1590,5000,121.0,30.0,,,,
"""

DMON = """\
# gpu    pwr  gtemp  mtemp     sm    mem    enc    dec    jpg    ofa   mclk   pclk
# Idx      W      C      C      %      %      %      %      %      %    MHz    MHz
    0     61     39      -     91     40      0      0      -      -   5000   1590
    1     27     35      -      0      0      0      0      -      -    405    300
    0     63     39      -     95     42      0      0      -      -   5000   1590
# gpu    pwr  gtemp  mtemp     sm    mem    enc    dec    jpg    ofa   mclk   pclk
# Idx      W      C      C      %      %      %      %      %      %    MHz    MHz
    1     27     35      -      0      0      0      0      -      -    405    300
"""

DMON_TIMES = """\
#Date       Time        gpu    pwr  gtemp     sm    mem     fb   bar1  rxpci  txpci
#YYYYMMDD   HH:MM:SS    Idx      W      C      %      %     MB     MB   MB/s   MB/s
 20251121   23:59:59      0     61     39     91     40    455      5    120     30
 20251122   00:00:00      0     63     39     95     42    455      5    121     31
"""

DMON_ALL = """\
# gpu    pwr  gtemp  mtemp     sm    mem    enc    dec    jpg    ofa   mclk   pclk  pviol  tviol     fb   bar1   ccpm  sbecc  dbecc    pci  rxpci  txpci
# Idx      W      C      C      %      %      %      %      %      %    MHz    MHz      %   bool     MB     MB     MB   errs   errs   errs   MB/s   MB/s
    0     68     39      -     95     42      0      0      0      0   5000   1590      0      0    455      5      0      0      0      0    120     30
    1     11     31      -      0      0      0      0      0      0    405    300      -      -      3      2      0      -      -      0      -      -
"""  # noqa: E501

#: Two GPUs in turn, as `nvidia-smi -l 1` prints them through a Windows editor.
QUERY_TWO = """\
timestamp, index, uuid, utilization.gpu [%], memory.used [MiB], power.draw.instant [W], temperature.gpu
2025/11/21 14:03:11.123, 0, GPU-8d6c4d2e-5b1a-0f5e-9a57-2f5f2a1c7c11, 91 %, 455 MiB, 61.20 W, 39
2025/11/21 14:03:11.131, 1, GPU-1f0b2c3d-4e5f-6071-8293-a4b5c6d7e8f9, [Unknown Error], 3 MiB, [N/A], N/A
2025/11/21 14:03:12.124, 0, GPU-8d6c4d2e-5b1a-0f5e-9a57-2f5f2a1c7c11, 95 %, 455 MiB, 63.00 W, 39
2025/11/21 14:03:12.131, 1, GPU-1f0b2c3d-4e5f-6071-8293-a4b5c6d7e8f9, [GPU requires reset], [Insufficient Permissions], 11,05 W, 31
""".replace("\n", "\r\n")  # noqa: E501

QUERY = """\
timestamp, name, index, temperature.gpu, utilization.gpu [%], utilization.memory [%], memory.total [MiB], memory.free [MiB], memory.used [MiB], power.draw [W], clocks.current.sm [MHz]
2025/11/21 14:03:11.123, Tesla T4, 0, 39, 91 %, 40 %, 15360 MiB, 14905 MiB, 455 MiB, 61.20 W, 1590 MHz
2025/11/21 14:03:12.124, Tesla T4, 0, 39, 95 %, [N/A], 15360 MiB, 14905 MiB, 455 MiB, [Not Supported], 1590 MHz
"""  # noqa: E501


def rows(text):
    return parse(text).rows


def test_ours():
    found = parse(OURS)
    assert not found.bad and not found.notes
    first, host, last = found.rows
    assert (first["node"], first["device"], host["device"]) == (0, "gpu0", "host")
    assert first["utilisation_percent"] == 91 and math.isnan(first["process_cpu_percent"])
    assert host["process_cpu_percent"] == 99 and math.isnan(host["power_w"])
    assert last["time_s"] - first["time_s"] == pytest.approx(1.01)


def test_dmon():
    found = parse(DMON)
    assert not found.bad and found.notes == ["lines have no times; taken for one a second"]
    got = [(row["device"], row["time_s"], row["utilisation_percent"]) for row in found.rows]
    assert got == [("gpu0", 0, 91), ("gpu1", 0, 0), ("gpu0", 1, 95), ("gpu1", 1, 0)]
    assert found.rows[0]["power_w"] == 61 and found.rows[0]["memory_clock_mhz"] == 5000
    assert rows(DMON.replace("     ", ",")) == found.rows  # --format csv


def test_dmon_with_times_over_midnight():
    found = parse(DMON_TIMES)
    assert not found.bad and not found.notes
    assert found.rows[1]["time_s"] - found.rows[0]["time_s"] == 1
    assert found.rows[0]["memory_used_mib"] == 455 and found.rows[0]["pcie_rx_mb_s"] == 120
    without_date = "\n".join(
        line[12:] if line[0] == " " else "#" + line[12:] for line in DMON_TIMES.splitlines()
    )
    one, other = rows(without_date)
    assert other["time_s"] - one["time_s"] == 1


def test_dmon_with_all_its_columns():
    found = parse(DMON_ALL)
    assert not found.bad
    one, other = found.rows
    assert (one["device"], one["memory_used_mib"], one["clock_mhz"]) == ("gpu0", 455, 1590)
    assert (one["pcie_rx_mb_s"], one["pcie_tx_mb_s"]) == (120, 30)
    assert (other["device"], other["power_w"], other["memory_clock_mhz"]) == ("gpu1", 11, 405)
    assert math.isnan(other["pcie_rx_mb_s"]) and other["utilisation_percent"] == 0


def test_query_of_two_gpus():
    found = parse(QUERY_TWO)
    # A number with a decimal comma has one column too many: left out, and said.
    assert found.bad == [5]
    assert [row["device"] for row in found.rows] == ["gpu0", "gpu1", "gpu0"]
    first, second, third = found.rows
    assert (first["utilisation_percent"], third["utilisation_percent"]) == (91, 95)
    assert (first["power_w"], first["temperature_c"]) == (61.2, 39)
    assert second["memory_used_mib"] == 3
    assert all(
        math.isnan(second[name]) for name in ("utilisation_percent", "power_w", "temperature_c")
    )


def test_query():
    found = parse(QUERY)
    assert not found.bad and not found.notes
    one, other = found.rows
    assert other["time_s"] - one["time_s"] == pytest.approx(1.001)
    assert one["device"] == "gpu0" and one["memory_utilisation_percent"] == 40
    assert (one["memory_used_mib"], one["memory_total_mib"]) == (455, 15360)
    assert (one["power_w"], one["clock_mhz"], one["temperature_c"]) == (61.2, 1590, 39)
    assert math.isnan(other["power_w"]) and math.isnan(other["memory_utilisation_percent"])
    plain = QUERY
    for unit in (" %", " MiB", " W", " MHz"):
        plain = plain.replace(f"{unit},", ",").replace(f"{unit}\n", "\n")
    assert "95," in plain and repr(rows(plain)) == repr(found.rows)  # nounits


def test_query_names_gpus_by_bus_or_uuid_too():
    text = "utilization.gpu [%], pci.bus_id\n5 %, 00000000:00:04.0\n6 %, 00000000:00:05.0\n"
    assert [row["device"] for row in rows(text)] == ["gpu0", "gpu1"]
    text = text.replace("pci.bus_id", "gpu_uuid")
    assert [row["time_s"] for row in rows(text)] == [0, 0]


NAMELESS = (Path(__file__).parent.parent / "recorded/files/query_noindex.log").read_text()


def test_lines_that_name_no_gpu_are_of_one_where_they_come_one_at_a_moment():
    header, *lines = NAMELESS.splitlines(keepends=True)
    found = parse("".join([header, *lines[::4]]))
    assert not found.notes
    assert [(row["device"], row["utilisation_percent"]) for row in found.rows] == [("gpu0", 95)] * 3


def test_lines_of_several_gpus_that_cannot_be_told_apart_are_called_so(study_root):
    found = parse(NAMELESS)
    assert not found.rows and "name no GPU" in found.why_empty
    both = parse(NAMELESS + QUERY)
    assert len(both.rows) == 2 and "12 lines were left out" in both.notes[0]
    put(study_root, "gpu_util_17.log", NAMELESS)
    with pytest.raises(ScalebookError, match="cannot be told apart: record them with"):
        results.utilisation("17")
    assert "told apart" in results.problems()["problem"].item()
    without = "utilization.gpu [%]\n95 %\n0 %\n"
    assert "lines name no GPU; taken for one: of several, ask for index too" in parse(without).notes


def test_utf_16_as_powershell_redirects_it(study_root):
    put(study_root, "gpu_util_17.log", "").write_bytes(QUERY.encode("utf-16"))
    assert results.utilisation("17")["utilisation_percent"].tolist() == [91, 95]


@pytest.mark.parametrize(
    "text",
    [
        "".join(line + "\n" for line in QUERY.splitlines()[1:]),
        "0, 15360 MiB, 455 MiB\n1, 15360 MiB, 3 MiB\n",
        "2025/11/21 14:03:11.123, 91, 40, 455\n",
    ],
    ids=["query", "units", "numbers"],
)
def test_without_a_header_nothing_is_guessed(text):
    found = parse(text)
    assert not found.rows and "names its columns" in found.why_empty


@pytest.mark.parametrize("text", [OURS, DMON, DMON_TIMES, QUERY])
def test_bad_lines_are_counted(text):
    good = parse(text)
    lines = text.splitlines()
    at = next(n for n, line in enumerate(lines) if line[0] not in "#t") + 1
    junk = ["Unable to determine the device handle for GPU 0000:00:04.0: Unknown Error", "1,2,3",
            lines[-1][:-4] + "9e999", lines[-1][:10], "x" * 100_000, "\0\1\2"]  # fmt: skip
    found = parse("\n".join(["No devices were found", *lines[:at], *junk, *lines[at:]]))
    assert repr(found.rows) == repr(good.rows)
    assert found.bad == [1, *range(at + 2, at + 2 + len(junk))]


def test_a_value_that_cannot_be_is_no_value():
    for cell in ("191", "-1", "1e5", "nan", "inf"):
        assert parse(DMON.replace("   91 ", cell.rjust(5) + " ")).bad == [3]


# --------------------------------------------------------------------------- in a study


def put(root, name, text, local=False):
    path = root / ("results/local" if local else "results") / "profiling" / name
    contract.write_whole(path, text)
    return path


def test_by_job_and_stem(study_root):
    put(study_root, "gpu_util_2915.log", QUERY)
    table = results.utilisation("2915")
    assert tuple(table.columns) == results.UTILISATION_COLUMNS
    assert table["time_s"].tolist() == [0, pytest.approx(1.001)]
    assert table["node"].tolist() == [0, 0]
    assert results.digest(results.utilisation("profile_2915_1gpu_2915")) == results.digest(table)
    put(study_root, "gpu_util_t1.log", OURS, local=True)
    assert results.utilisation_files() == {
        "2915": "results/profiling/gpu_util_2915.log",
        "t1": "results/local/profiling/gpu_util_t1.log",
    }
    assert results.utilisation("t1")["device"].tolist() == ["gpu0", "host", "gpu0"]
    assert results.problems().empty


def test_lines_of_other_nodes_are_one_table_with_them(study_root):
    put(study_root, "gpu_util_7.log", OURS)
    second = OURS.replace("Z,0,", "Z,1,").replace("09:00:02.010", "09:00:03")
    put(study_root, "gpu_util_7.node1.log", second)
    table = results.utilisation("7")
    assert table["node"].tolist() == [0, 0, 1, 1, 0, 1]
    assert table["time_s"].max() == 2
    # Put together, but the part was not removed: each line counts once.
    put(study_root, "gpu_util_7.log", OURS + second.partition("\n")[2])
    assert results.digest(results.utilisation("7")) == results.digest(table)
    assert list(results.utilisation_files()) == ["7"]


def test_problems_tell(study_root):
    put(study_root, "gpu_util_1.log", "Tue Nov 21\n+-----+\n| NVIDIA-SMI |\n")
    put(study_root, "gpu_util_2.log", OURS + "2026-11-23T09:00:04.000Z,0,gpu0,9")
    put(study_root, "gpu_util_3.log", f"{HEADER}\n")
    put(study_root, "gpu_util_4.log", "")
    told = {row.file[-5]: row for row in results.problems().itertuples()}
    assert "nvidia-smi" in told["1"].problem and told["1"].severity == "error"
    assert told["2"].row == 5 and told["2"].severity == "note" and "1 line" in told["2"].problem
    assert "no line of values" in told["3"].problem and len(told) == 4
    for job in "134":
        with pytest.raises(ScalebookError, match=f"gpu_util_{job}.log: "):
            results.utilisation(job)
    assert len(results.utilisation("2")) == 3
    assert parse(OURS.rstrip("\n")).bad == [4]  # its last number may have lost digits
    with pytest.raises(ScalebookError, match=r"gpu_util_5\.log: no such file"):
        results.utilisation("5")
