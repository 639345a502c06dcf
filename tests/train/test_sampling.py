"""Order, shares and augmentation do not depend on the number of ranks or on the device."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scalebook.train.images import sampling

sizes = {
    "images": st.integers(1, 400),
    "batch": st.integers(1, 64),
    "world": st.integers(1, 9),
}


@given(**sizes, seed=st.integers(0, 2**31), epoch=st.integers(1, 300))
def test_each_image_belongs_to_one_rank_once(images, batch, world, seed, epoch):
    order = sampling.epoch_order(images, seed, epoch)
    assert sorted(order.tolist()) == list(range(images))
    seen = []
    for step in range(sampling.steps_per_epoch(images, batch)):
        size = sampling.step_size(step, images, batch)
        shares = [
            order[sampling.rank_share(step, images, batch, rank, world)] for rank in range(world)
        ]
        counts = [len(share) for share in shares]
        assert sum(counts) == size and max(counts) - min(counts) <= 1
        # The step's images are the same whatever the number of ranks.
        dealt = torch.cat(shares)
        assert sorted(dealt.tolist()) == sorted(order[step * batch : step * batch + size].tolist())
        seen += dealt.tolist()
    assert sorted(seen) == list(range(images))


def test_order_depends_on_seed_and_epoch():
    orders = {tuple(sampling.epoch_order(50, s, e).tolist()) for s in (0, 1) for e in (1, 2)}
    assert len(orders) == 4
    assert torch.equal(sampling.epoch_order(50, 1, 2), sampling.epoch_order(50, 1, 2))


@settings(max_examples=50)
@given(
    index=st.lists(st.integers(0, 10_000), min_size=1, max_size=12, unique=True),
    world=st.integers(1, 4),
    padding=st.integers(0, 5),
    flip=st.booleans(),
)
def test_augmentation_depends_on_the_image_only(index, world, padding, flip):
    images = torch.randint(0, 256, (len(index), 3, 8, 6), dtype=torch.uint8)
    numbers = torch.tensor(index)
    whole = sampling.augment(images, numbers, 3, 7, padding, flip)
    for rank in range(world):
        own = slice(rank, None, world)
        if len(numbers[own]):
            part = sampling.augment(images[own], numbers[own], 3, 7, padding, flip)
            assert torch.equal(part, whole[own])


def test_augmentation_is_a_crop_and_a_flip():
    torch.manual_seed(0)
    image = torch.randint(1, 256, (1, 3, 5, 5), dtype=torch.uint8)
    padded = torch.nn.functional.pad(image, (2, 2, 2, 2))
    possible = {}
    for dy in range(5):
        for dx in range(5):
            crop = padded[:, :, dy : dy + 5, dx : dx + 5]
            possible[crop.numpy().tobytes()] = (dy, dx, False)
            possible[crop.flip(3).numpy().tobytes()] = (dy, dx, True)
    many = image.expand(4000, 3, 5, 5)
    out = sampling.augment(many, torch.arange(4000), 0, 1, 2, True)
    met = [possible[one.numpy().tobytes()] for one in out]
    assert len(set(met)) == 50  # every offset, flipped and not
    assert 0.45 < sum(flipped for *_, flipped in met) / len(met) < 0.55
    assert max(met.count(one) for one in set(met)) < 2.5 * len(met) / 50


def test_hash_is_splitmix():
    # Reference outputs of SplitMix64 seeded with 1234567, from Vigna's C code.
    state = 1234567
    mask = (1 << 64) - 1
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    for number, value in enumerate(expected, 1):
        x = torch.tensor([sampling._signed(state + number * sampling._GOLDEN)])
        x = (x ^ sampling._shift(x, 30)) * sampling._signed(sampling._FACTOR_1)
        x = (x ^ sampling._shift(x, 27)) * sampling._signed(sampling._FACTOR_2)
        assert int(x ^ sampling._shift(x, 31)) & mask == value
    assert sampling.hash_integers(torch.arange(1000), 5).unique().numel() == 1000


@pytest.mark.parametrize("padding,flip", [(0, False)])
def test_without_augmentation_images_stay(padding, flip):
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    assert sampling.augment(images, torch.arange(4), 0, 1, padding, flip) is images
