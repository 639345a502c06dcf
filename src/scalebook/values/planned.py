"""Numbers of a proposal: its plan, the computed request, the data and the energy of its runs.

===================================================  ==============================================
key                                                  value
===================================================  ==============================================
``plan.<field>``                                     as ``data/plan.yaml`` says it, or counted
``plan.<machine>.nodes``                             nodes of the largest rung on a target
``plan.<machine>.most_nodes``                        nodes of the largest job there
``modelled.volume.results_mb``                       results, step times, manifests and logs
``modelled.volume.traces_gb``                        traces of the runs that are profiled
``modelled.volume.checkpoint_mb``                    weights and momentum of the model
``modelled.energy.<machine>.kwh``                    of the GPUs in the hours asked for
``modelled.job.<machine>.minutes``                   of the longest run, high case
``modelled.request.<machine>.<phase>.<metric>``      ``runs``, ``jobs``, ``gpu_hours``,
                                                     ``node_hours``, ``billed`` and
                                                     ``overhead_node_hours`` of every phase,
                                                     ``contingency``, ``total`` and ``core``;
                                                     ``overhead_share`` of ``total``
``modelled.request.<machine>.asked.<metric>``        what is asked for
``modelled.ladder.<machine>.<kind>.<n>.<metric>``    modelled scaling on n GPUs
``modelled.request.<machine>.<phase>.<n>.<metric>``  ``step_ms`` on the most GPUs of its n-th
                                                     measurement, and its ``node_hours``
===================================================  ==============================================
"""

import math
from collections.abc import Iterator

from scalebook.analysis import study_queries
from scalebook.analysis.link_model import NOT_VALIDATED
from scalebook.proposal.request import Request, request_of
from scalebook.proposal.volumes import runs_of, volumes
from scalebook.study import Plan
from scalebook.study.plan import FILE
from scalebook.values.inputs import Inputs
from scalebook.values.references import publications
from scalebook.values.value import Value, dotted, origin


def planned(inputs: Inputs) -> Iterator[Value]:
    """Numbers of the plan; none where the study has no plan."""
    plan = study_queries.plan()
    if plan is None:
        return
    yield from _plan(plan)
    for volume in volumes(plan):
        make = origin("volume", volumes, one=volume)
        yield make(f"modelled.volume.{volume.metric}", volume.value, volume.unit)
    power = {number.id: number.value for _, number in publications()}
    for machine, request in inputs.requests.items():
        yield from _of_machine(machine, request)
        if f"power.{machine}.node_w" in power:
            yield _energy(machine, request, power[f"power.{machine}.node_w"])


def _plan(plan: Plan) -> Iterator[Value]:
    last = plan.ladder[-1]
    each = [measurement for phase in plan.phases for measurement in phase.measurements]
    runs = sum(runs_of(plan, measurement) for measurement in each)
    counted: list[tuple[str, float, str, str, str]] = [
        ("months", plan.months, "months", "length of the project", "months"),
        ("effort", plan.effort, "person-months", "effort of all milestones", "milestones"),
        ("gpus.first", plan.ladder[0], "GPUs", "smallest rung", "ladder"),
        ("gpus.last", last, "GPUs", "largest rung", "ladder"),
        ("gpus.most", max(map(max, map(plan.gpus, each))), "GPUs", "largest job", "phases"),
        ("rungs", len(plan.ladder), "", "rungs of the ladder", "ladder"),
        ("contingency", 100 * plan.contingency, "%", "share added for failed jobs", "contingency"),
        ("runs", runs, "runs", "runs of all phases", "phases"),
    ]
    for field, title in (
        ("strong_global_batch", "global batch of the strong ladder"),
        ("weak_batch_per_gpu", "batch of a GPU on the weak ladder"),
    ):
        batch = getattr(plan.workload, field)
        counted.append((field, batch, "images", title, f"workload.{field}"))
    for machine in plan.machines:
        per_node = study_queries.facts(machine).gpus_per_node
        if per_node:
            source = f"nodes of {last} GPUs on {machine}, {per_node} a node"
            nodes = math.ceil(last / per_node)
            counted.append((f"{machine}.nodes", nodes, "nodes", source, "ladder"))
            needed = [math.ceil(max(plan.gpus(measurement)) / per_node) for measurement in each]
            widest = max(
                max(measurement.nodes or 1, holds) for measurement, holds in zip(each, needed)
            )
            source = f"nodes of the largest job on {machine}"
            counted.append((f"{machine}.most_nodes", widest, "nodes", source, "phases"))
    for field, number, unit, source, where in counted:
        make = origin("plan", planned, source=source, where=where)
        yield make(f"plan.{field}", float(number), unit)
    latency = plan.step_time.hop_latency
    yield Value(
        "cited.hop_latency_us", latency.mid_us, "µs", "cited", f"{latency.source}, {latency.date}",
        low=latency.low_us, high=latency.high_us, files=(FILE,), where="step_time.hop_latency",
        code=dotted(planned),
    )  # fmt: skip


def _energy(machine: str, request: Request, watts: float) -> Value:
    hours, kilowatts = request.asked().node_hours, watts / 1e3
    make = origin("energy", planned, machine=machine, hours=hours, kilowatts=kilowatts)
    return make(f"modelled.energy.{machine}.kwh", hours * kilowatts)


def _of_machine(machine: str, request: Request) -> Iterator[Value]:
    minutes, which = request.longest()
    make = origin("longest job", Request.longest, machine=machine, which=which)
    yield make(f"modelled.job.{machine}.minutes", minutes)
    about = {"machine": machine, "not_validated": NOT_VALIDATED}
    prefix, billed = f"modelled.request.{machine}", request.model.accounting.unit
    for phase, cost in request.costs.items():
        make = origin("request", request_of, **about)
        if phase != "contingency":
            yield make(f"{prefix}.{phase}.runs", cost.runs, "", where="phases")
            yield make(f"{prefix}.{phase}.jobs", cost.jobs, "", where="phases")
        key, outside = f"{prefix}.{phase}.overhead_node_hours", cost.overhead_node_hours
        yield make(key, outside, "node-hours", where="job_minutes")
        for metric, hours, unit in (
            ("gpu_hours", cost.gpu_hours, "GPU-hours"),
            ("node_hours", cost.node_hours, "node-hours"),
            ("billed", cost.billed, billed),
        ):
            low, high = hours.low, hours.high
            yield make(f"{prefix}.{phase}.{metric}", hours.mid, unit, low=low, high=high)
    total = request.costs["total"]
    share = [100 * total.overhead_node_hours / hours for hours in total.node_hours]
    make = origin("request", request_of, **about)
    yield make(f"{prefix}.total.overhead_share", share[1], "%", low=share[2], high=share[0])
    asked, make = request.asked(), origin("request", Request.asked, **about)
    yield make(f"{prefix}.asked.node_hours", asked.node_hours, "node-hours")
    yield make(f"{prefix}.asked.billed", asked.billed, billed)
    make = origin("request", Request.measurements, **about)
    for row in request.measurements().to_dict("records"):
        for metric, unit in (("step_ms", "ms"), ("node_hours", "node-hours")):
            key = f"{prefix}.{row['phase']}.{row['number']}.{metric}"
            low, high = row[f"{metric}_low"], row[f"{metric}_high"]
            yield make(key, row[metric], unit, low=low, high=high, where="phases")
    make = origin("request", Request.ladder, **about)
    for kind in ("strong", "weak"):
        for row in request.ladder(kind).to_dict("records"):
            for metric, unit in (("step_ms", "ms"), ("speedup", ""), ("efficiency", "%")):
                key = f"modelled.ladder.{machine}.{kind}.{row['gpus']}.{metric}"
                low, high = row[f"{metric}_low"], row[f"{metric}_high"]
                yield make(key, row[metric], unit, low=low, high=high)
