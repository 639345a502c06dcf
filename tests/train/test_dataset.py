"""Sources, identity, cache, subsets."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import CLASSES, pictures
from PIL import Image
from waiting import PATIENCE_S

from scalebook.contract import ScalebookError, UsageError
from scalebook.train.images import cache, dataset, finding, imagefolder, synthetic
from scalebook.train.settings import DatasetSettings


def load(root: Path, source="auto", image_size=None, train=None, val=None, told=None):
    settings = DatasetSettings(source, "data", image_size, train, val)
    report = (lambda *said: told.append(said)) if told is not None else (lambda *_: None)
    return dataset.load(settings, root, report)


def fails(root: Path, **arguments) -> str:
    with pytest.raises(ScalebookError) as caught:
        load(root, **arguments)
    said = str(caught.value)
    assert "\n" not in said and str(root) not in said
    return said


def test_image_folder(tmp_path):
    folder = pictures(tmp_path / "data" / "insects")
    data = load(tmp_path)
    assert data.classes == list(CLASSES)
    assert (len(data.train), len(data.val), data.image_size) == (12, 6, 8)
    assert data.name == f"folder-{data.sha256[:12]}" and not data.subset
    paths = sorted(str(p.relative_to(folder)) for p in folder.rglob("*.*"))
    lines = (
        f"{path}\0{hashlib.sha256((folder / path).read_bytes()).hexdigest()}\n" for path in paths
    )
    assert data.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
    pixels = np.asarray(Image.open(folder / "train" / "bee" / "1.png"))
    position = [p for p in paths if p.startswith("train/")].index("train/bee/1.png")
    assert (data.train.images[position].numpy() == pixels.transpose(2, 0, 1)).all()
    assert data.train.labels.tolist() == [0] * 6 + [1] * 6
    images = data.train.images.double() / 255
    assert torch.allclose(images.mean(dim=(0, 2, 3)), torch.tensor(data.mean).double())
    assert torch.allclose(images.std(dim=(0, 2, 3), correction=0), torch.tensor(data.std).double())


def test_identity_is_content_not_place(tmp_path):
    pictures(tmp_path / "a" / "data" / "insects")
    shutil.copytree(tmp_path / "a" / "data" / "insects", tmp_path / "b" / "data" / "other")
    first, second = load(tmp_path / "a"), load(tmp_path / "b")
    assert first.sha256 == second.sha256
    (tmp_path / "b/data/other/train/ant/0.JPG").rename(tmp_path / "b/data/other/train/ant/9.JPG")
    assert load(tmp_path / "b").sha256 != first.sha256


def test_batches_are_normalised(tmp_path):
    pictures(tmp_path / "data" / "insects")
    data = load(tmp_path)
    batches = dataset.Batches(data, torch.device("cpu"), torch.channels_last)
    images, labels = batches.training(data.train, torch.arange(12), 0, 1, 0, False)
    expected = data.train.images.float() / 255
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (data.mean, data.std))
    assert torch.allclose(images, (expected - mean) / std, atol=1e-5)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(labels, data.train.labels)
    assert images.mean().abs() < 1e-5


def test_auto_says_what_it_lacks(tmp_path):
    (tmp_path / "data").mkdir()
    said = fails(tmp_path)  # loading alone asks for nothing
    assert "scalebook data get" in said and "--set dataset=synthetic" in said
    pictures(tmp_path / "data" / "one")
    pictures(tmp_path / "data" / "two")
    said = fails(tmp_path)
    assert "one, two" in said and "--set data_dir=data/one" in said
    shutil.move(tmp_path / "data" / "two", tmp_path / "data" / "cifar10-images")
    assert len(load(tmp_path).train) == 12


def test_folder_itself(tmp_path):
    pictures(tmp_path / "data")
    assert len(load(tmp_path, source="folder").train) == 12
    assert "no CIFAR-10 there" in fails(tmp_path, source="cifar10")


def test_sizes(tmp_path):
    folder = pictures(tmp_path / "data" / "insects")
    Image.new("L", (20, 10)).save(folder / "train" / "ant" / "odd.png")
    assert "train/ant/odd.png: is 20 x 10 pixels" in fails(tmp_path)
    data = load(tmp_path, image_size=5)
    assert data.train.images.shape == (13, 3, 5, 5)


def test_damaged_picture_is_named(tmp_path):
    folder = pictures(tmp_path / "data" / "insects")
    picture = folder / "test" / "bee" / "0.JPG"
    picture.write_bytes(picture.read_bytes()[:300])
    assert "data/insects/test/bee/0.JPG: is damaged" in fails(tmp_path)
    picture.write_text("no picture")
    assert "data/insects/test/bee/0.JPG: is no picture" in fails(tmp_path)


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    folder = pictures(tmp_path / "data" / "insects")
    levels = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    Image.fromarray(levels).save(folder / "train" / "ant" / "1.png")
    paths = sorted(str(p.relative_to(folder / "train")) for p in folder.glob("train/*/*.*"))
    read = load(tmp_path).train.images[paths.index("ant/1.png")]
    assert (read.numpy() == (levels // 256)[None]).all()
    Image.fromarray(levels // 16).save(folder / "train" / "ant" / "1.png")
    assert "no value above 3937 of 65535, and 8 bits would keep little" in fails(tmp_path)
    # As Pillow before 11 reads it.
    one = imagefolder.ImageFolder(folder, "data/insects")
    old = Image.fromarray(levels.astype(np.int32))
    old.format = "PNG"
    assert (np.asarray(one._in_8_bits(old, "")) == levels // 256).all()


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_numbers_without_a_scale_of_brightness_are_refused_by_name(tmp_path, kind):
    folder = pictures(tmp_path / "data" / "insects")
    picture = folder / "test" / "bee" / "1.png"
    Image.fromarray(np.full((8, 8), 0.5).astype(kind)).save(picture, format="TIFF")
    said = fails(tmp_path)
    assert said.startswith("data/insects/test/bee/1.png: holds ") and "8 or 16 bits" in said


def test_what_is_left_out_is_counted(tmp_path):
    folder = pictures(tmp_path / "data" / "insects")
    assert not load(tmp_path).left_out and "left_out" not in load(tmp_path).describe()
    for split, kind in (("train", "ant"), ("train", "bee"), ("test", "ant")):
        for number in range(2):
            Image.new("RGB", (8, 8)).save(folder / split / kind / f"x{number}.webp")
    (folder / "train" / "empty").mkdir()
    (folder / "train" / "empty" / ".keep").touch()
    (folder / "train" / "bee" / "more").mkdir()
    data = load(tmp_path)
    assert len(data.train) == 12 and data.classes == list(CLASSES)
    assert data.describe()["left_out"] == {
        "files": {".webp": 6},
        "classes": ["train/empty"],
        "folders": ["train/bee/more"],
    }
    assert data.left_out.text.startswith(
        "data/insects: left out 6 files (6 .webp; first test/ant/x0.webp), 1 class without a "
        "picture (train/empty), 1 folder inside classes (train/bee/more): "
    )
    document = {"dataset": vars(DatasetSettings("folder", "data", None, None, None))}
    told: list[str] = []
    finding.settle(document, tmp_path, told.append)
    assert told == [data.left_out.text]


def test_strange_class_is_named(tmp_path):
    folder = pictures(tmp_path / "data" / "insects")
    (folder / "test" / "ant").rename(folder / "test" / "wasp")
    assert "test/wasp: this class is not among" in fails(tmp_path)


def test_cache_is_used_and_mended(tmp_path):
    pictures(tmp_path / "data" / "insects")
    told: list = []
    first = load(tmp_path, told=told).train.images.clone()
    assert {what for what, *_ in told} == {"hash", "decode"}
    told.clear()
    assert torch.equal(load(tmp_path, told=told).train.images, first)
    assert not told  # neither hashed nor decoded again
    images = next((tmp_path / "data" / "cache").glob("*/train_images.npy"))
    good = images.read_bytes()
    # Of the whole file, as in the caches that are there: none is made anew for another sum.
    noted = json.loads((images.parent / "meta.json").read_text())["files"]["train_images"]
    assert noted == {"bytes": len(good), "crc32": zlib.crc32(good)}
    for bad in (good[:-100], good[:200] + b"\xff" + good[201:], b""):
        images.write_bytes(bad)
        told.clear()
        assert torch.equal(load(tmp_path, told=told).train.images, first)
        assert {what for what, *_ in told} == {"decode"}
    meta = images.parent / "meta.json"
    meta.write_text(json.dumps({"version": 1}))
    assert torch.equal(load(tmp_path).train.images, first)
    assert len(list((tmp_path / "data" / "cache").glob("*/meta.json"))) == 1


def test_changed_picture_is_noticed(tmp_path):
    folder = pictures(tmp_path / "data" / "insects")
    first = load(tmp_path)
    Image.new("RGB", (8, 8), "red").save(folder / "train" / "ant" / "1.png")
    os.utime(folder / "train" / "ant" / "1.png", (1, 1))
    second = load(tmp_path)
    assert second.sha256 != first.sha256 and (second.train.images[1][0] == 255).all()


def _count_builds(root: str, queue) -> None:
    told: list = []
    data = load(Path(root), source="synthetic", image_size=8, train=300, val=50, told=told)
    queue.put((sum(what == "decode" for what, *_ in told) > 0, int(data.train.images.sum())))


@pytest.mark.slow
def test_several_ranks_build_one_cache(tmp_path):
    # Not forked: the test's own process has threads of torch and of a browser.
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [
        context.Process(target=_count_builds, args=(str(tmp_path), queue)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    answers = [queue.get(timeout=PATIENCE_S) for _ in processes]
    for process in processes:
        process.join()
    assert sum(built for built, _ in answers) == 1
    assert len({total for _, total in answers}) == 1


def test_full_disk_leaves_no_half_cache(tmp_path, monkeypatch):
    pictures(tmp_path / "data" / "insects")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.np, "save", full)
    with pytest.raises(OSError):
        load(tmp_path)
    left = [path.name for path in (tmp_path / "data" / "cache").iterdir() if path.is_dir()]
    assert left == ["digests"]


def test_subset_is_balanced_nested_and_no_draw(tmp_path):
    pictures(tmp_path / "data" / "insects", train=20)
    whole = load(tmp_path)
    small, large = load(tmp_path, train=6), load(tmp_path, train=11, val=6)
    assert small.subset and large.subset and small.sha256 == whole.sha256
    assert torch.bincount(small.train.labels).tolist() == [3, 3]
    assert sorted(torch.bincount(large.train.labels).tolist()) == [5, 6]
    known = {image.numpy().tobytes() for image in large.train.images}
    assert all(image.numpy().tobytes() in known for image in small.train.images)
    assert len(large.val) == 6
    with pytest.raises(UsageError, match="train_images 99: dataset folder-.* has 40"):
        load(tmp_path, train=99)


@pytest.mark.slow
def test_synthetic_is_deterministic_and_learnable(tmp_path):
    data = load(tmp_path, source="synthetic", train=2000, val=400)
    assert data.name == "synthetic" and not data.subset and len(data.classes) == 10
    digest = hashlib.sha256(data.train.images.numpy().tobytes()).hexdigest()
    assert digest == "943559e45fc9366b8f3efd6a0b53b9c8f2151970b423933dbe677c6c439bfdf7"
    # The images differ from each other, and a linear model on their spectrum, which shifts do
    # not change, finds the class far above chance.
    assert len({image.numpy().tobytes() for image in data.train.images}) == 2000

    def spectrum(images):
        low = torch.fft.fft2(images.float()).abs()[:, :, :4, :4].flatten(1)
        return torch.nn.functional.normalize(low[:, [i for i in range(48) if i % 16]])

    centres = torch.stack(
        [spectrum(data.train.images)[data.train.labels == k].mean(0) for k in range(10)]
    )
    found = torch.cdist(spectrum(data.val.images), centres).argmin(1)
    assert (found == data.val.labels).float().mean() > 0.5


def test_synthetic_images_do_not_depend_on_chunks():
    numbers = torch.arange(7)
    parts = [synthetic._generate(numbers[i : i + 1], 8) for i in range(7)]
    assert (np.concatenate(parts) == synthetic._generate(numbers, 8)).all()


@pytest.mark.shared
@pytest.mark.slow
def test_known_digest_is_that_of_the_shared_images(shared):
    with tarfile.open(shared / "data" / "cifar10-images.tar.xz") as tar:
        files = {
            member.name: hashlib.sha256(tar.extractfile(member).read()).hexdigest()
            for member in tar
            if member.isfile()
        }
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path}\0{files[path]}\n".encode())
    assert imagefolder.KNOWN_FOLDERS[digest.hexdigest()] == "cifar10-jpeg"
