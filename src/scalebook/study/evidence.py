"""Rules of ``study.yaml`` on which runs may stand behind the documents."""

from pydantic import Field

from scalebook import contract
from scalebook.study.document import Frozen, Name, Positive


class EvidenceRule(Frozen):
    """Takes a finished run if every list holds its value; an empty list takes any.

    Attributes
    ----------
    datasets : list of str
        Names of datasets; where there is none, any real one.
    subsets : bool
        Whether a run on a part of the data set is taken.
    min_train_images : int or None
        Fewest training images of such a part, so that a trial is not.
    """

    experiments: list[Name] = Field([])
    systems: list[Name] = Field([])
    datasets: list[str] = Field([])
    min_epochs: Positive = 1
    subsets: bool = False
    min_train_images: Positive | None = None

    def concerns(self, experiment: str, system: str) -> bool:
        """Whether some run of the experiment on the system may become evidence."""
        return (not self.experiments or experiment in self.experiments) and (
            not self.systems or system in self.systems
        )

    def admits(
        self, experiment: str, system: str, epochs: int, subset: bool, train_images: int | None
    ) -> bool:
        """Whether a run may become evidence, dataset aside; no `train_images` means all."""
        few = self.min_train_images and train_images and train_images < self.min_train_images
        return (
            self.concerns(experiment, system)
            and epochs >= self.min_epochs
            and (self.subsets or not subset)
            and not few
        )

    @property
    def dataset_names(self) -> list[str]:
        """Names of the datasets it takes, for `contract.takes_dataset`."""
        return self.datasets or [contract.ANY_REAL]
