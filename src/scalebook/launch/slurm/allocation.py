"""The Slurm job this process runs in: one submitted by hand resolves and notes itself."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalebook import contract, study
from scalebook.contract import ScalebookError, UsageError
from scalebook.launch import registry
from scalebook.launch.job import job_folder
from scalebook.launch.slurm.job import SlurmJob, system_of
from scalebook.launch.slurm.submit import Submission


@dataclass(frozen=True)
class Allocation:
    """The Slurm job this process runs in.

    Attributes
    ----------
    run_id, slurm_id : str
        Ids of the run and of Slurm.
    cluster : str or None
        Slurm's ``ClusterName``.
    task : int or None
        Number within an array.
    again : bool
        Whether Slurm has queued the job again.
    nodes, ranks_per_node : int
        How many nodes it has, and ranks it may start on each.
    """

    run_id: str
    slurm_id: str
    cluster: str | None
    task: int | None
    again: bool
    nodes: int
    ranks_per_node: int

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> Allocation:
        """Read Slurm's variables.

        Raises
        ------
        UsageError
            If this process runs in no job.
        """
        job, cluster = environment.get("SLURM_JOB_ID"), environment.get("SLURM_CLUSTER_NAME")
        if not job:
            raise UsageError("--job: this is no Slurm job; without it the JSON is printed")
        array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
        nodes = int(environment.get("SLURM_JOB_NUM_NODES") or 1)
        tasks = int(environment.get("SLURM_NTASKS") or nodes)
        return cls(
            run_id=contract.slurm_run_id(cluster, array or job, task),
            slurm_id=f"{array}_{task}" if array else job,
            cluster=cluster,
            task=int(task) if task else None,
            again=environment.get("SLURM_RESTART_COUNT", "0") not in ("", "0"),
            nodes=nodes,
            ranks_per_node=int(environment.get("RANKS_PER_NODE") or tasks // nodes or 1),
        )

    def resolve(
        self,
        root: Path,
        experiment: str,
        system: str,
        seed: int | None,
        overrides: dict[str, Any],
    ) -> Path:
        """Resolve an experiment for this job and note it; a job queued again keeps its own.

        Parameters
        ----------
        system : str
            ``auto`` is the one that stands for this cluster.
        seed : int, optional
            The number within the array where left out, else the study's first.
        overrides : dict
            As `scalebook.study.parse_overrides` reads them.

        Returns
        -------
        Path
            The job's ``resolved.json``.

        Raises
        ------
        ScalebookError
            If the ranks do not fit into the job, or it was noted before with other settings.
        """
        path = job_folder(root, self.run_id) / "resolved.json"
        if self.again and path.is_file():
            return path
        loaded = study.load(root)
        if system == "auto":
            system = system_of(loaded.systems, self.cluster) or "auto"
        if system == "auto":
            raise UsageError(
                f"--system auto: no Slurm system of study.yaml stands for the cluster "
                f"{self.cluster}; there are {', '.join(loaded.systems)}"
            )
        seed = self.task if seed is None else seed
        make = functools.partial(study.resolve, loaded, experiment, system, seed)
        resolved = self._fitting(loaded.experiment(experiment), make, overrides)
        if path.is_file():
            noted = contract.read_json(path)
            noted["dataset"].pop("generated", None)  # that came of it where it was submitted
            if noted == resolved:
                return path
            raise ScalebookError(
                f"{path.relative_to(root)}: holds another run of that id: move "
                f"{path.parent.relative_to(root)} away and submit again"
            )
        resolved = registry.with_images(resolved, root)
        output = os.environ.get("SCALEBOOK_OUTPUT") or None
        if output and Path(output).is_relative_to(root):
            output = str(Path(output).relative_to(root))
        submitted = os.environ.get("SCALEBOOK_SUBMITTED") or None
        submission = Submission(self.run_id, self.slurm_id, self.cluster, None, output)
        return SlurmJob.note(root, submission, resolved, submitted)

    def _fitting(
        self,
        experiment: study.Experiment,
        make: Callable[[dict[str, Any]], dict[str, Any]],
        overrides: dict[str, Any],
    ) -> dict[str, Any]:
        """Resolve with the nodes the study gives the ranks, or else with those of this job."""
        free = not (experiment.nodes or overrides.get("nodes"))
        world = overrides.get("world_size", experiment.world_size)
        if free and isinstance(world, int):
            with contextlib.suppress(UsageError):
                resolved = make(overrides)
                if self._holds(resolved["layout"]):
                    return resolved
            overrides = {**overrides, "nodes": max(1, math.ceil(world / self.ranks_per_node))}
        resolved = make(overrides)
        layout = resolved["layout"]
        if not self._holds(layout):
            raise UsageError(
                f"experiment {resolved['experiment']} takes {layout['nodes']} node(s) with "
                f"{layout['ranks_per_node']} rank(s) each, and this job has {self.nodes} with "
                f"{self.ranks_per_node}: sbatch --nodes={layout['nodes']} "
                f"--ntasks-per-node={layout['ranks_per_node']} …"
            )
        return resolved

    def _holds(self, layout: dict[str, Any]) -> bool:
        fits = layout["nodes"] <= self.nodes, layout["ranks_per_node"] <= self.ranks_per_node
        return all(fits)


def environment_overrides(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Settings that a person may give a job by hand as variables, as ``--set`` takes them."""
    epochs = environment.get("EPOCHS")
    return (f"epochs={epochs}",) if epochs else ()
