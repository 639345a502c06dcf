"""What launched each GPU activity: operator, module, phase and step.

A GPU activity and the runtime call that launched it share a correlation number;
the call lies, on its thread, within the operators that made it. Of those the
outermost whose name tells a family is taken: a copy that a convolution makes
for itself is convolution, a gradient copied for an all-reduce is not. What runs
backward carries the sequence number of the operator it undoes, and so belongs to
that operator's module.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from scalebook.traces import families
from scalebook.traces.nesting import Nesting, nest, values_at
from scalebook.traces.trace import DEVICE_KINDS, MODULE, WIDEST_NAME, Trace

_TO_DEVICE = re.compile(r"HtoD|HostToDevice", re.IGNORECASE)
_STEP = re.compile(r"ProfilerStep#(\d{1,9})")


@dataclass(frozen=True)
class Attribution:
    """GPU activities and CPU operators with what they belong to.

    Attributes
    ----------
    gpu : DataFrame
        Columns name, device, stream, start, dur, time (what counts in sums), kind, by_kernel and
        by_operator (families), by_name (bool: no operator says the family, the kernel's name
        does), operator (name of the one taken, else of the one around, untrusted; empty for none),
        module (path of the modules around, untrusted), phase (of `families.PHASES`), step (-1:
        none), launch_start and launch_dur (µs, of the runtime call; NaN: none), launcher (position
        in `host` of what launched it; -1: none), message (position in the trace's `messages`).
    cpu : DataFrame
        Operators: the same without kind, by_name and launch; device and stream are -1, by_kernel is
        empty, time is the operator's own, launcher its position in `host`; and outermost (bool).
    host : DataFrame
        Operators, annotations, runtime calls and modules as read, with family (of the operator
        taken), module and phase.
    steps : DataFrame
        Columns step, start, dur of what the profiler marked, in time.
    tree : Nesting
        What encloses what in `host`.
    """

    gpu: pd.DataFrame
    cpu: pd.DataFrame
    host: pd.DataFrame
    steps: pd.DataFrame
    tree: Nesting

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU did anything."""
        return not self.gpu.empty

    @property
    def work(self) -> pd.DataFrame:
        """What sums are of: activities of GPUs, else operators of a CPU."""
        return self.gpu if self.on_gpu else self.cpu


_known: WeakKeyDictionary[Trace, Attribution] = WeakKeyDictionary()


def attribute(trace: Trace) -> Attribution:
    """Attribute every GPU activity and operator of a trace; done once for each trace."""
    known = _known.get(trace)
    if known is None:
        known = _known[trace] = _attributed(trace)
    return known


def _attributed(trace: Trace) -> Attribution:
    host = trace.of("operator", "annotation", "runtime", "module").reset_index(drop=True)
    is_operator, is_annotation, is_call, is_module = (
        (host["kind"] == kind).to_numpy()
        for kind in ("operator", "annotation", "runtime", "module")
    )
    own_family = np.where(
        is_annotation,
        classified(host["name"], is_annotation, families.annotation, None),
        classified(host["name"], is_operator, families.operator, None),
    )
    # Collectives show as annotations: their time counts, that of other annotations does not.
    counted = is_operator | (is_annotation & (own_family == "communication"))
    start, duration = host["start"].to_numpy(), host["dur"].to_numpy()
    # Work that a collective's annotation spans goes on beside what its thread calls next.
    beside = counted & is_annotation
    tree = nest(host["lane"].to_numpy(), start, duration, is_call, trace.resolution_us, beside)
    everyone = np.arange(len(host))
    owner = tree.outermost(np.where(pd.notna(own_family), everyone, -1))
    around = tree.above(tree.innermost(np.where(counted, everyone, -1)))
    family = values_at(own_family, owner, "other")
    taken = np.where(owner < 0, np.where(counted, everyone, around), owner)
    names = host["name"].to_numpy()
    operator = values_at(names, taken, "")

    named = is_operator | is_annotation
    mark = classified(host["name"], named, families.opened_phase, -1).astype(np.int64)
    phase_code, module = _belonging(host, tree, mark, is_module, trace.hierarchies)
    phase = np.array(families.PHASES, dtype=object)[phase_code]
    phase[family == "communication"] = "communication"
    steps = _steps(host[is_annotation])
    step = _step_at(steps, start)

    own_time = duration.copy()
    inside = counted & (around >= 0)
    end = start + duration
    np.subtract.at(
        own_time, around[inside], np.minimum(end[inside], end[around[inside]]) - start[inside]
    )
    cpu = pd.DataFrame(
        {
            "name": names, "device": -1, "stream": -1, "start": start, "dur": duration,
            "time": np.maximum(own_time, 0.0), "by_kernel": "", "by_operator": family,
            "operator": operator, "module": module, "phase": phase, "step": step,
            "launcher": everyone, "message": host["message"], "outermost": around < 0,
        }
    )[counted].reset_index(drop=True)  # fmt: skip
    gpu = trace.of(*DEVICE_KINDS).reset_index(drop=True)
    launcher, called = _launcher(gpu, host, is_call, is_operator, trace.lanes)
    by_kernel = classified(gpu["name"], np.ones(len(gpu), dtype=bool), families.kernel, "other")
    by_kernel[gpu["kind"].isin(["copy", "set"]).to_numpy()] = "memory"
    by_operator = values_at(family, launcher, "other")
    # Where no operator says it, as in replayed graphs and compiled regions, the name has to; and a
    # collective is communication whoever asked for it.
    collective = by_kernel == "communication"
    unsaid = (by_operator == "other") & ~collective
    by_operator = np.where(unsaid | collective, by_kernel, by_operator)
    gpu_phase = values_at(phase, launcher, "other")
    to_device = classified(gpu["name"], gpu_phase != "data", _to_device, False).astype(bool)
    gpu_phase[to_device & np.isin(gpu_phase, ("other", "forward"))] = "data"
    gpu_phase[collective] = "communication"
    message = values_at(tree.innermost(host["message"].to_numpy()), launcher, -1)
    gpu = gpu[["kind", "name", "start", "dur", "device", "stream", "message"]].assign(
        time=gpu["dur"],
        by_kernel=by_kernel,
        by_operator=by_operator,
        by_name=unsaid & (gpu["kind"] == "kernel").to_numpy(),
        operator=values_at(operator, launcher, ""),
        module=values_at(module, launcher, ""),
        phase=gpu_phase,
        step=_step_launched(gpu, steps, values_at(step, launcher, -1), launcher >= 0),
        launch_start=values_at(start, called, np.nan),
        launch_dur=values_at(duration, called, np.nan),
        launcher=launcher,
        message=np.where(gpu["message"] >= 0, gpu["message"], message),
    )
    host = host.assign(family=family, module=module, phase=phase)
    return Attribution(gpu, cpu, host, steps, tree)


def _belonging(
    host: pd.DataFrame,
    tree: Nesting,
    mark: np.ndarray,
    is_module: np.ndarray,
    hierarchies: tuple[str, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Phase (number) and module path of each host event."""
    backward, forward = families.PHASES.index("backward"), families.PHASES.index("forward")
    marked = tree.innermost(mark)
    sequence = host["sequence"].to_numpy()
    frame = tree.innermost(np.where(is_module, np.arange(len(host)), -1))
    # Operators that autograd could undo run forward, where nothing says otherwise.
    recorded = tree.innermost(np.where(sequence >= 0, 1, -1)) >= 0
    phase = np.where(marked >= 0, marked, families.PHASES.index("other"))
    phase = np.where((marked < 0) & (recorded | (frame >= 0)), forward, phase)

    undone = tree.innermost(_undone(host, phase == backward))
    source = np.where((phase == backward) & (undone >= 0), undone, np.arange(len(host)))
    paths = _paths(host, tree, is_module, frame)
    module = answered(frame[source], lambda code: paths.get(code, ""), "")
    named = tree.innermost(host["hierarchy"].to_numpy())[source]
    return phase, np.where(named >= 0, answered(named, hierarchies.__getitem__, ""), module)


def answered(codes: np.ndarray, answer: Callable[[int], object], default: object) -> np.ndarray:
    """Answer for each code, `default` for negative ones; each distinct one is asked for once."""
    place, distinct = pd.factorize(codes)
    answers = [answer(code) if code >= 0 else default for code in distinct.tolist()]
    found: np.ndarray = pd.Series(answers, dtype=object).to_numpy()[place]
    return found


def classified(
    names: pd.Series, mask: np.ndarray, classify: Callable[[str], object], default: object
) -> np.ndarray:
    """Class of each name where `mask` holds; every distinct name is classified once."""
    codes = np.where(mask, names.cat.codes, -1)
    categories = names.cat.categories
    return answered(codes, lambda code: classify(categories[code]), default)


def _undone(host: pd.DataFrame, backward: np.ndarray) -> np.ndarray:
    """Position of the forward operator that each backward one belongs to; -1 for none.

    Of the operators with one number the last to begin made the node: the number is raised by it.
    """
    forward = host.loc[~backward & (host["sequence"] >= 0), ["start", "sequence"]]
    latest = forward.sort_values("start", kind="stable")[::-1]
    return np.where(backward, _matched(host["sequence"], latest["sequence"]), -1)


def _paths(
    host: pd.DataFrame, tree: Nesting, is_module: np.ndarray, frame: np.ndarray
) -> dict[int, str]:
    """Path of every module frame: the names of those around it, joined by slashes."""
    paths: dict[int, str] = {}
    above = tree.above(frame)
    names = host["name"].to_numpy()
    for level in tree.levels:
        for index in level[is_module[level]].tolist():
            outer = paths.get(int(above[index]), "")
            name = names[index].removeprefix(MODULE)
            paths[index] = f"{outer}/{name}"[-WIDEST_NAME:] if outer else name
    return paths


def _steps(annotations: pd.DataFrame) -> pd.DataFrame:
    """Steps the profiler marked, in time; each number once."""
    numbers = classified(annotations["name"], np.ones(len(annotations), bool), _step, -1)
    marks = annotations.assign(step=numbers)[numbers >= 0]
    marks = marks.sort_values("start", kind="stable").drop_duplicates("step")
    return marks.astype({"step": np.int64})[["step", "start", "dur"]].reset_index(drop=True)


def _step(name: str) -> int:
    match = _STEP.fullmatch(name)
    return int(match[1]) if match else -1


def _to_device(name: str) -> bool:
    return bool(_TO_DEVICE.search(name))


def _step_at(steps: pd.DataFrame, time: np.ndarray) -> np.ndarray:
    """Number of the step that each time lies in; -1 for none."""
    end = (steps["start"] + steps["dur"]).to_numpy()
    place = np.searchsorted(steps["start"].to_numpy(), time, side="right") - 1
    inside = time < values_at(end, place, -np.inf)
    return values_at(steps["step"].to_numpy(), np.where(inside, place, -1), -1)


def _step_launched(
    gpu: pd.DataFrame, steps: pd.DataFrame, step: np.ndarray, launched: np.ndarray
) -> np.ndarray:
    """Step of each activity: of its launch; else of the one before it in its stream, or none.

    Where no launch was recorded at all it is the step that the activity began in.
    """
    if not launched.any():
        return _step_at(steps, gpu["start"].to_numpy())
    if launched.all():
        return step
    ordered = gpu[["device", "stream", "start"]].assign(step=np.where(launched, step, np.nan))
    ordered = ordered.sort_values("start", kind="stable")
    carried = ordered.groupby(["device", "stream"], sort=False)["step"].ffill().fillna(-1)
    found: np.ndarray = carried.reindex(gpu.index).to_numpy(np.int64)
    return found


def _launcher(
    gpu: pd.DataFrame,
    host: pd.DataFrame,
    is_call: np.ndarray,
    is_operator: np.ndarray,
    lanes: tuple[tuple[str, str], ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Position in `host` of what launched each activity, and of the runtime call alone."""
    called = _matched(gpu["correlation"], host["correlation"].where(is_call, -1))
    calls = host.loc[is_call & (host["correlation"] >= 0).to_numpy(), ["correlation", "start"]]
    if calls["correlation"].duplicated().any():
        processes = pd.Series([process for process, _ in lanes], dtype=object)
        calls = calls.assign(process=processes.reindex(host["lane"][calls.index]).to_numpy())
        calls = calls.drop_duplicates(["correlation", "process"])
        called = _by_process(gpu, processes, calls, called)
    # Several writers put the correlation into the external id too: it comes second.
    second = _matched(gpu["external"], host["external"].where(is_operator, -1))
    return np.where(called >= 0, called, second), called


def _by_process(
    gpu: pd.DataFrame, processes: pd.Series, calls: pd.DataFrame, called: np.ndarray
) -> np.ndarray:
    """As `called`, where several processes use the same correlation numbers.

    Of calls with one correlation the first belongs to the device that worked first on it; each
    device's launches are those of the process for which most of these speak.
    """
    keys = ["correlation", "place"]
    group = processes.reindex(gpu["lane"]).to_numpy() + " " + gpu["device"].astype(str).to_numpy()
    works = gpu[["correlation", "start"]].assign(group=group).sort_values("start", kind="stable")
    first = works.drop_duplicates(["correlation", "group"])
    first = first.assign(place=first.groupby("correlation").cumcount())
    begun = calls.sort_values("start", kind="stable")
    begun = begun.assign(place=begun.groupby("correlation").cumcount())
    votes = first.merge(begun, on=keys).groupby(["group", "process"]).size()
    chosen = {device: process for device, process in votes.groupby(level=0).idxmax()}
    wanted = pd.MultiIndex.from_arrays([gpu["correlation"], pd.Series(group).map(chosen)])
    found = pd.Series(
        calls.index, index=pd.MultiIndex.from_frame(calls[["correlation", "process"]])
    )
    position = found.reindex(wanted).fillna(-1).to_numpy(np.int64)
    return np.where(position >= 0, position, called)


def _matched(wanted: pd.Series, keys: pd.Series) -> np.ndarray:
    """Label of the first equal key of each wanted one; -1 for none, and for negative ones."""
    first = pd.Series(keys.index, index=keys.to_numpy())
    first = first[(first.index >= 0) & ~first.index.duplicated()]
    positions = first.reindex(wanted.to_numpy())
    found: np.ndarray = positions.fillna(-1).to_numpy(np.int64)
    return found
