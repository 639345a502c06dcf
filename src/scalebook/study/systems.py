"""Where a study runs: the systems it names, and the facts written down about their machines."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from scalebook.study.document import Frozen, Label, Positive

#: Where facts about machines lie, a file each.
FOLDER = "data/systems"

# These words become arguments of sbatch: none may be taken for an option, a list or a pattern.
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=64)]
Time = Annotated[str, Field(pattern=r"^[0-9][0-9:-]*$", max_length=32)]
Memory = Annotated[str, Field(pattern=r"^[0-9]+[KMGT]?$", max_length=32)]
Image = Annotated[str, Field(pattern=r"^[A-Za-z0-9_./][A-Za-z0-9_./:@+-]*$", max_length=1024)]
ClusterPattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.*?-]+$", max_length=64)]


class Slurm(Frozen):
    """What jobs on a Slurm system ask for; None leaves it to the sbatch script.

    Attributes
    ----------
    partition, account, qos : str or None
        As ``sbatch`` takes them.
    time : str or None
        Time limit in a form of Slurm, such as ``"30"`` (minutes) or ``"1:30:00"``.
    memory : str or None
        Memory of a node, such as ``"4G"``.
    gpus : bool or None
        Whether a rank asks for a GPU.
    cpus_per_rank : int or None
        Processors of a rank.
    container : str or None
        Image that the ranks run in.
    """

    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    time: Time | None = None
    memory: Memory | None = None
    gpus: bool | None = None
    cpus_per_rank: Positive | None = None
    container: Image | None = None

    @field_validator("time", mode="before")
    @classmethod
    def _quoted(cls, value: Any) -> Any:
        # YAML reads 1:30:00 as the number 5400, which Slurm would take for minutes.
        if isinstance(value, int) and not isinstance(value, bool):
            raise ValueError('write a time in quotes, such as "30" (minutes) or "1:30:00"')
        return value

    @field_validator("memory", mode="before")
    @classmethod
    def _megabytes(cls, value: Any) -> Any:
        return str(value) if type(value) is int else value


class System(Frozen):
    """Where to run, as the study names it; facts about the machine lie in ``data/systems``.

    Attributes
    ----------
    launcher : str
        ``local``, ``slurm``, or one that another package registers.
    label : str
        What a reader calls it, in a few words; its name where left out.
    cluster : str or None
        Pattern of Slurm's ``ClusterName`` (``*`` and ``?``) by which ``--system auto`` knows it.
    device : {"gpu", "cpu"} or None
        What its ranks compute on; where None, its facts or the machine say it.
    """

    launcher: Word
    label: Label = ""
    device: Literal["gpu", "cpu"] | None = None
    facts: str | None = None
    cluster: ClusterPattern | None = None
    slurm: Slurm = Slurm()

    @model_validator(mode="after")
    def _only_slurm(self) -> System:
        given = [name for name in ("cluster", "slurm") if name in self.model_fields_set]
        if self.launcher != "slurm" and given:
            raise ValueError(f"{given[0]} is for launcher slurm, this is {self.launcher}")
        return self


class Accelerator(Frozen):
    """One GPU, or the processor of a node; peaks in TFLOP/s, memory in GB, GB/s."""

    name: str
    memory_gb: float | None = None
    bandwidth_gb_s: float | None = None
    peak_tflops: dict[str, float] = Field({})


class Accounting(Frozen):
    """How a machine bills a job: its unit, and how many of them a node costs in an hour.

    Attributes
    ----------
    whole_nodes : bool
        Whether a job can have nothing less than a node.
    rule : str
        The machine's rule in words.
    """

    unit: str
    units_per_node_hour: float = Field(gt=0)
    whole_nodes: bool = True
    rule: str = ""


class Facts(BaseModel):
    """Facts about a machine, each with source and date; further keys are kept.

    Attributes
    ----------
    ranks_per_node : int or None
        Ranks put on a node without GPUs unless an experiment says how many nodes it takes.
    cpus_per_node : int or None
        Processors of a node; more threads than these are refused.
    link_gbit_s : float or None
        Rate of the link of a node in Gbit/s, in each direction; None where it is not limited
        or not known.
    link_gbit_s_per_gpu : float or None
        Share of it that one GPU has.
    accounting : Accounting or None
        How the machine bills a job.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    title: str = ""
    nodes: Positive | None = None
    cpus_per_node: Positive | None = None
    ranks_per_node: Positive | None = None
    gpus_per_node: int | None = Field(None, ge=0)
    gpu: Accelerator | None = None
    network: str = ""
    link_gbit_s: float | None = Field(None, gt=0)
    link_gbit_s_per_gpu: float | None = Field(None, gt=0)
    accounting: Accounting | None = None
    source: str = ""
    date: str = ""
