"""How large models are: operations of a training step, parameters of published ones.

Floating-point operations are counted from the architecture. A multiply-add counts as two
operations, and the backward pass as twice the forward one: gradients with respect to the input and
to the weights. Only convolutions and matrix products are counted, as is usual (Kaplan et al. 2020,
arXiv:2001.08361, section 2.1, count 6 operations a parameter and token likewise);
batch norm and activations add bytes, not a share of the arithmetic peak. That the first layer needs
no gradient of its input is left out: ResNet-18 on 32×32 pixels really takes 2.2 % less with the
ImageNet stem, 0.1 % less with the CIFAR one (as torch.utils.flop_counter counts them).

Parameters stand in ``data/cited/model_sizes.csv``, a row a model.
"""

import pandas as pd

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.results import query

#: torchvision's ResNets: blocks of each stage, and whether they are bottlenecks
#: (He et al. 2016, table 1, DOI 10.1109/CVPR.2016.90).
_RESNETS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}

#: Parameters of published models, and the columns of the file.
FILE = "data/cited/model_sizes.csv"
COLUMNS = ("model", "year", "parameters", "source")

#: Training images, image size in pixels and classes of data sets with a known make-up.
DATASETS = {"cifar10": (50_000, 32, 10), "cifar10-jpeg": (50_000, 32, 10)}


def training_gflop(model: str, stem: str, image_size: int, classes: int) -> float | None:
    """Operations to train on one image, in GFLOP; None for a model that is not counted here.

    Parameters
    ----------
    model : str
        Name in torchvision.
    stem : {"imagenet", "cifar"}
        7×7 convolution of stride 2 with pooling, or 3×3 of stride 1 without.
    image_size : int
        Height and width in pixels.
    classes : int
        Outputs of the last layer.
    """
    if model not in _RESNETS:
        return None
    return 6e-9 * _resnet_multiply_adds(*_RESNETS[model], stem, image_size, classes)


def _resnet_multiply_adds(
    blocks: tuple[int, ...], bottleneck: bool, stem: str, size: int, classes: int
) -> int:
    """Multiply-adds of one forward pass of one image."""
    halved = (size + 1) // 2
    if stem == "imagenet":
        total, size = halved**2 * 64 * 3 * 49, (halved + 1) // 2
    else:
        total = size**2 * 64 * 3 * 9
    channels, expansion = 64, 4 if bottleneck else 1
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for block in range(count):
            stride = 2 if stage and block == 0 else 1
            out = (size + stride - 1) // stride
            if bottleneck:
                # 1×1 at the old size, 3×3 with the stride, 1×1.
                total += size**2 * channels * width + out**2 * width * (9 * width + 4 * width)
            else:
                total += out**2 * 9 * width * (channels + width)
            if stride != 1 or channels != width * expansion:
                total += out**2 * channels * width * expansion
            channels, size = width * expansion, out
    return total + channels * classes


@query
def model_sizes() -> pd.DataFrame:
    """Models by year, each with its parameters and the publication that gives them.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, oldest first; no row where a study has no such file.

    Raises
    ------
    ScalebookError
        One line, if the file is not such a table.
    """
    path = contract.find_root() / FILE
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    try:
        table = pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise ScalebookError(f"{FILE}: cannot be read ({error})") from None
    if tuple(table.columns) != COLUMNS:
        raise ScalebookError(f"{FILE}: the columns must be {', '.join(COLUMNS)}")
    for column in ("year", "parameters"):
        table[column] = pd.to_numeric(table[column], errors="coerce")
    wrong = table.index[table.isna().any(axis=1) | ~(table["parameters"] > 0)]
    if len(wrong):
        raise ScalebookError(
            f"{FILE}: row {wrong[0] + 1}: every column needs a value, and parameters must be "
            "positive"
        )
    return table.sort_values(["year", "parameters", "model"], ignore_index=True)
