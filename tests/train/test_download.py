"""The official archive: checked, unpacked whole or not at all, never unpickled unchecked."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import shutil
import socket
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import train_helpers as helpers
from image_folders import pictures

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.train.images import dataset, download, finding
from scalebook.train.settings import DatasetSettings, result_settings


def batch(count: int) -> bytes:
    rng = np.random.default_rng(count)
    return pickle.dumps(
        {
            "data": rng.integers(0, 256, (count, 3072), dtype=np.uint8),
            "labels": [number % 10 for number in range(count)],
        },
        protocol=2,
    )


def contents() -> dict[str, bytes]:
    files = {f"data_batch_{number}": batch(20 + number) for number in range(1, 6)}
    files["test_batch"] = batch(12)
    files["batches.meta"] = pickle.dumps(
        {"label_names": [f"kind{number}" for number in range(10)]}, protocol=2
    )
    return files


def archive(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


@pytest.fixture
def official(tmp_path, monkeypatch):
    """A small archive that passes for the official one, served by a web server on this host."""
    served = tmp_path / "served"
    served.mkdir()
    files = contents()
    tricks = {
        f"{download.FOLDER}/../escaped": b"x",
        "/absolute": b"x",
        f"{download.FOLDER}/extra": b"x",
    }
    path = served / "cifar.tar.gz"
    archive(path, {**tricks, **{f"{download.FOLDER}/{n}": c for n, c in files.items()}})

    class Handler(SimpleHTTPRequestHandler):
        asked = 0

        def do_GET(self):
            type(self).asked += 1
            super().do_GET()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(download, "URL", f"http://127.0.0.1:{server.server_port}/cifar.tar.gz")
    monkeypatch.setattr(download, "ARCHIVE_MD5", md5(path.read_bytes()))
    monkeypatch.setattr(download, "FILE_MD5", {name: md5(c) for name, c in files.items()})
    yield path, Handler
    server.shutdown()
    server.server_close()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".cifar10.lock")


def test_downloads_once_and_only_what_is_known(official, tmp_path):
    data = tmp_path / "data"
    told = []
    threads = [threading.Thread(target=download.get, args=(data,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    download.get(data, lambda done, total: told.append((done, total)))
    assert official[1].asked == 1 and not told
    assert left(data) == [download.FOLDER]
    assert sorted(path.name for path in (data / download.FOLDER).iterdir()) == sorted(
        download.FILE_MD5
    )
    assert not (tmp_path / "escaped").exists()


def test_progress_counts_bytes(official, tmp_path):
    told = []
    download.get(tmp_path / "data", lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] == official[0].stat().st_size


def test_the_dataset_is_what_the_files_hold(official, tmp_path):
    download.get(tmp_path / "data")
    settings = DatasetSettings("auto", "data", None, None, None)
    data = dataset.load(settings, tmp_path, lambda *_: None)
    assert data.name == "cifar10" and not data.subset and data.image_size == 32
    assert (len(data.train), len(data.val)) == (21 + 22 + 23 + 24 + 25, 12)
    assert data.classes[3] == "kind3"
    first = pickle.loads(contents()["data_batch_1"])
    assert (data.train.images[:21].reshape(21, -1).numpy() == first["data"]).all()
    assert data.train.labels[:21].tolist() == first["labels"]


def test_wrong_archive_leaves_nothing(official, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "ARCHIVE_MD5", "0" * 32)
    with pytest.raises(ScalebookError, match=r"not the official archive .*synthetic"):
        download.get(tmp_path / "data")
    assert left(tmp_path / "data") == []


def test_wrong_file_in_the_archive_leaves_nothing(official, tmp_path, monkeypatch):
    monkeypatch.setitem(download.FILE_MD5, "test_batch", "0" * 32)
    with pytest.raises(ScalebookError, match="test_batch: is not the official file"):
        download.get(tmp_path / "data")
    assert left(tmp_path / "data") == []


def test_no_network_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "URL", "http://127.0.0.1:9/cifar.tar.gz")
    with pytest.raises(ScalebookError, match="cannot download .* dataset=synthetic") as caught:
        download.get(tmp_path / "data")
    assert "\n" not in str(caught.value) and left(tmp_path / "data") == []


def test_a_download_that_breaks_off_is_one_line(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nab")

        monkeypatch.setattr(download, "URL", f"http://127.0.0.1:{server.getsockname()[1]}/c.tar.gz")
        broken = threading.Thread(target=answer)
        broken.start()
        with pytest.raises(ScalebookError, match="cannot download .*IncompleteRead"):
            download.get(tmp_path / "data")
        broken.join()


def test_archive_fetched_by_hand_is_used(official, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "cifar-10-python.tar.gz").write_bytes(official[0].read_bytes())
    download.get(data)
    assert official[1].asked == 0 and (data / download.FOLDER / "test_batch").is_file()


def test_changed_file_is_not_unpickled(official, tmp_path):
    download.get(tmp_path / "data")
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (Path.touch, (marker,))

    (tmp_path / "data" / download.FOLDER / "data_batch_2").write_bytes(pickle.dumps(Evil()))
    settings = DatasetSettings("auto", "data", None, None, None)
    with pytest.raises(ScalebookError, match="data_batch_2: is not the official file"):
        dataset.load(settings, tmp_path, lambda *_: None)
    # Nor where the digest is known from before.
    path = tmp_path / "data" / download.FOLDER / "data_batch_2"
    good = contents()["data_batch_2"]
    path.write_bytes(good)
    os.utime(path, (1, 1))
    dataset.load(settings, tmp_path, lambda *_: None)
    shutil.rmtree(next((tmp_path / "data" / "cache").glob("*/meta.json")).parent)
    path.write_bytes(pickle.dumps(Evil()).ljust(len(good), b"."))
    os.utime(path, (1, 1))
    with pytest.raises(ScalebookError, match="data_batch_2: is not the official file"):
        dataset.load(settings, tmp_path, lambda *_: None)
    assert not marker.exists()


# --------------------------------------------------------------------------- the one rule


@pytest.fixture
def unreachable(monkeypatch):
    """No network; what was asked for."""
    asked = []
    monkeypatch.setattr(download, "URL", "http://127.0.0.1:9/cifar.tar.gz")
    original = download._download
    monkeypatch.setattr(download, "_download", lambda *given: asked.append(1) or original(*given))
    finding._download.cache_clear()
    return asked


def settled(root, said, source="auto", **changes):
    document = helpers.resolved(source=source, train_images=None, val_images=None, **changes)
    return finding.settle(document, root, said.append, "a switch")


def test_auto_asks_once_and_takes_generated_images_that_say_why(unreachable, tmp_path):
    said: list[str] = []
    for _ in range(2):
        found = settled(tmp_path, said)
    assert len(unreachable) == 1 and said[0] == "no images in data: asking for CIFAR-10, 170 MB"
    assert found["dataset"]["source"] == "auto"
    why = found["dataset"]["generated"]
    assert re.fullmatch(r"no images in data, and cannot download http\S+ \(.*refused.*\)", why)
    asked = helpers.resolved(source="auto", train_images=None, val_images=None)
    assert result_settings(found) == result_settings(asked)
    few = DatasetSettings(**{**found["dataset"], "train_images": 8, "val_images": 8})
    assert dataset.load(few, tmp_path, lambda *_: None).name == "synthetic"


def test_auto_gets_the_official_images_where_they_can_be_had(official, tmp_path):
    said: list[str] = []
    found = settled(tmp_path, said)
    assert len(said) == 1 and "generated" not in found["dataset"]
    assert settled(tmp_path, said) == found and len(said) == 1 and official[1].asked == 1


@pytest.mark.parametrize("source", ["cifar10", "folder"])
def test_who_asks_by_name_gets_those_images_or_none(unreachable, tmp_path, source):
    with pytest.raises(finding.NoImages, match="take generated ones with a switch$"):
        settled(tmp_path, [], source)
    assert not unreachable


def test_a_training_alone_follows_the_rule_and_keeps_to_it(
    unreachable, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(tmp_path))
    root = helpers.study(tmp_path, source="auto", epochs=1)
    assert helpers.train(root) == 0
    said = capsys.readouterr()
    assert "asking for CIFAR-10" in said.out and "(generated: no images in data, and" in said.out
    document = contract.read_json(helpers.only(root, "results/local/manifests/*.json"))
    assert document["dataset"]["name"] == "synthetic"
    assert document["resolved"]["dataset"]["generated"].startswith("no images in data, and cannot")
    # The images that are there by now are not those that the run began with.
    document["attempts"][-1]["ended"] = "killed"
    contract.write_json(helpers.only(root, "results/local/manifests/*.json"), document)
    pictures(root / "data" / "insects")
    assert helpers.train(root, "--resume", document["stem"]) == 0, capsys.readouterr()
    document = contract.read_json(helpers.only(root, "results/local/manifests/*.json"))
    assert [one["ended"] for one in document["attempts"]] == ["killed", "completed"]


@pytest.mark.slow
def test_ranks_leave_the_asking_to_the_first(tmp_path):
    root = helpers.study(tmp_path, source="auto", world_size=2, epochs=1)
    outcomes = helpers.finish(helpers.start_ranks(root, 2, https_proxy="http://127.0.0.1:9"))
    assert [status for status, *_ in outcomes] == [0, 0], outcomes
    assert "".join(output for _, output, _ in outcomes).count("asking for CIFAR-10") == 1
