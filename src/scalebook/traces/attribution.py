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
from scalebook.traces.nesting import Nesting, nest
from scalebook.traces.trace import DEVICE_KINDS, KINDS, MODULE, WIDEST_NAME, Trace

_TO_DEVICE = re.compile(r"HtoD|HostToDevice", re.IGNORECASE)
_STEP = re.compile(r"ProfilerStep#(\d{1,9})")


@dataclass(frozen=True)
class Attribution:
    """GPU activities and CPU operators with what they belong to.

    Attributes
    ----------
    gpu : DataFrame
        Columns name, device, stream, start, dur, kind, bytes, by_kernel and by_operator
        (families), by_name (bool: no operator says the family, the kernel's name does), operator
        (name of the one taken, else of the one around, untrusted; empty
        for none), module (path of the modules around, untrusted), phase (of `families.PHASES`),
        step (-1: none), launch_start and launch_dur (µs, of the runtime call; NaN: none), owner
        (position in `host` of the operator taken; -1: none), launcher (position in `host` of what
        launched it; -1: none), message (position in the trace's
        `messages`).
    cpu : DataFrame
        Operators: columns name, lane, start, dur, self_us, outermost (bool), family, operator,
        module, phase, step, owner, shape, message, position (in `host`).
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


_known: WeakKeyDictionary[Trace, Attribution] = WeakKeyDictionary()


def attribute(trace: Trace) -> Attribution:
    """Attribute every GPU activity and operator of a trace; done once for each trace."""
    known = _known.get(trace)
    if known is None:
        known = _known[trace] = _attributed(trace)
    return known


def _attributed(trace: Trace) -> Attribution:
    host = trace.of("operator", "annotation", "runtime", "module").reset_index(drop=True)
    kind = host["kind"].cat.codes.to_numpy()
    is_operator, is_annotation, is_call, is_module = (
        kind == KINDS.index(name) for name in ("operator", "annotation", "runtime", "module")
    )
    named = is_operator | is_annotation
    own_family = _classified(host["name"], is_operator, families.operator, None)
    annotated = _classified(host["name"], is_annotation, families.annotation, None)
    own_family[is_annotation] = annotated[is_annotation]
    # Collectives show as annotations: their time counts, that of other annotations does not.
    counted = is_operator | (is_annotation & (own_family == "communication"))
    start, duration = host["start"].to_numpy(), host["dur"].to_numpy()
    # Work that a collective's annotation spans goes on beside what its thread calls next.
    beside = counted & is_annotation
    tree = nest(host["lane"].to_numpy(), start, duration, is_call, trace.resolution_us, beside)
    everyone = np.arange(len(host))
    recognised = np.array([family is not None for family in own_family], dtype=bool)
    owner = tree.outermost(np.where(recognised, everyone, -1))
    around = tree.above(tree.innermost(np.where(counted, everyone, -1)))
    family = _looked_up(own_family, owner, "other")
    taken = np.where(owner < 0, np.where(counted, everyone, around), owner)
    names = host["name"].to_numpy()
    operator = _looked_up(names, taken, "")

    mark = _classified(host["name"], named, families.opened_phase, -1).astype(np.int64)
    phase_code, module = _belonging(host, tree, mark, is_module, trace.hierarchies)
    phase = np.array(families.PHASES, dtype=object)[phase_code]
    phase[family == "communication"] = "communication"
    steps = _steps(host[is_annotation])
    step = _step_at(steps, start)

    self_us = duration.copy()
    inside = counted & (around >= 0)
    end = start + duration
    np.subtract.at(
        self_us, around[inside], np.minimum(end[inside], end[around[inside]]) - start[inside]
    )
    cpu = pd.DataFrame(
        {
            "name": names, "lane": host["lane"], "start": start, "dur": duration,
            "self_us": np.maximum(self_us, 0.0), "outermost": around < 0, "family": family,
            "operator": operator, "module": module, "phase": phase, "step": step,
            "owner": taken, "shape": host["shape"], "message": host["message"],
            "position": everyone,
        }
    )[counted].reset_index(drop=True)  # fmt: skip
    gpu = trace.of(*DEVICE_KINDS).reset_index(drop=True)
    launcher, called = _launcher(gpu, host, is_call, is_operator, trace.lanes)
    by_kernel = _classified(gpu["name"], np.ones(len(gpu), dtype=bool), families.kernel, "other")
    by_kernel[gpu["kind"].isin(["copy", "set"]).to_numpy()] = "memory"
    by_operator = _looked_up(family, launcher, "other")
    # Where no operator says it, as in replayed graphs and compiled regions, the name has to; and a
    # collective is communication whoever asked for it.
    collective = by_kernel == "communication"
    unsaid = (by_operator == "other") & ~collective
    by_operator = np.where(unsaid | collective, by_kernel, by_operator)
    gpu_phase = _looked_up(phase, launcher, "other")
    to_device = _classified(gpu["name"], gpu_phase != "data", _to_device, False).astype(bool)
    gpu_phase[to_device & np.isin(gpu_phase, ("other", "forward"))] = "data"
    gpu_phase[collective] = "communication"
    found = called >= 0
    gpu = gpu.drop(columns=["lane", "correlation", "external", "sequence", "forward_thread",
                            "shape", "hierarchy"]).assign(
        by_kernel=by_kernel, by_operator=by_operator,
        by_name=unsaid & (gpu["kind"] == "kernel").to_numpy(),
        operator=_looked_up(operator, launcher, ""),
        module=_looked_up(module, launcher, ""), phase=gpu_phase,
        step=_step_launched(gpu, steps, _numbers(step, launcher), launcher >= 0),
        launch_start=np.where(found, start[called], np.nan) if len(host) else np.nan,
        launch_dur=np.where(found, duration[called], np.nan) if len(host) else np.nan,
        owner=_numbers(taken, launcher),
        launcher=launcher,
        message=np.where(gpu["message"] >= 0, gpu["message"], _numbers(
            tree.innermost(host["message"].to_numpy()), launcher)),
    )  # fmt: skip
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

    undone = _undone(host, sequence, phase == backward)
    undone = tree.innermost(undone)
    source = np.where((phase == backward) & (undone >= 0), undone, np.arange(len(host)))
    paths = _paths(host, tree, is_module, frame)
    module = text_of(frame[source], lambda code: paths.get(code, ""))
    named = tree.innermost(host["hierarchy"].to_numpy())[source]
    return phase, np.where(named >= 0, text_of(named, lambda code: hierarchies[code]), module)


def text_of(codes: np.ndarray, text: Callable[[int], str]) -> np.ndarray:
    """Text of each code, empty for negative ones; every distinct code is looked up once."""
    distinct, place = np.unique(codes, return_inverse=True)
    texts = np.empty(len(distinct), dtype=object)
    texts[:] = [text(code) if code >= 0 else "" for code in distinct.tolist()]
    return texts[place]


def _undone(host: pd.DataFrame, sequence: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Position of the forward operator that each backward one belongs to; -1 for none.

    Of the operators with one number the last to begin made the node: the number is raised
    by it. Numbers count on each thread; a node tells that it has one by ``Fwd thread id``.
    """
    undone = np.full(len(host), -1, dtype=np.int64)
    forward = np.flatnonzero((sequence >= 0) & ~backward)
    begun = forward[np.argsort(host["start"].to_numpy()[forward], kind="stable")]
    last = pd.Series(begun, index=sequence[begun])
    last = last[~last.index.duplicated(keep="last")]
    wanted = np.flatnonzero((sequence >= 0) & backward)
    found = last.reindex(sequence[wanted]).fillna(-1).to_numpy(np.int64)
    undone[wanted] = found
    return undone


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
    numbers = _classified(annotations["name"], np.ones(len(annotations), bool), _step, -1)
    marks = annotations.assign(step=numbers)[numbers >= 0]
    marks = marks.sort_values("start", kind="stable").drop_duplicates("step")
    return pd.DataFrame(
        {
            "step": marks["step"].astype(np.int64),
            "start": marks["start"].astype(float),
            "dur": marks["dur"].astype(float),
        }
    ).reset_index(drop=True)


def _step(name: str) -> int:
    match = _STEP.fullmatch(name)
    return int(match[1]) if match else -1


def _to_device(name: str) -> bool:
    return bool(_TO_DEVICE.search(name))


def _step_at(steps: pd.DataFrame, time: np.ndarray) -> np.ndarray:
    """Number of the step that each time lies in; -1 for none."""
    if steps.empty:
        return np.full(len(time), -1, dtype=np.int64)
    start, end = steps["start"].to_numpy(), (steps["start"] + steps["dur"]).to_numpy()
    place = np.searchsorted(start, time, side="right") - 1
    inside = (place >= 0) & (time < end[place])
    return np.where(inside, steps["step"].to_numpy()[place], -1)


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


def _classified(
    names: pd.Series, mask: np.ndarray, classify: Callable[[str], object], default: object
) -> np.ndarray:
    """Class of each name where `mask` holds; every distinct name is classified once."""
    codes = names.cat.codes.to_numpy()
    categories = names.cat.categories
    known = np.full(len(categories) + 1, default, dtype=object)
    for code in np.unique(codes[mask]):
        known[code] = classify(categories[code])
    result: np.ndarray = known[codes]
    result[~mask] = default
    return result


def _looked_up(values: np.ndarray, position: np.ndarray, default: str) -> np.ndarray:
    """``values[position]``, with `default` where the position is -1."""
    result = np.full(len(position), default, dtype=object)
    found = position >= 0
    result[found] = values[position[found]]
    return result


def _numbers(values: np.ndarray, position: np.ndarray) -> np.ndarray:
    return np.where(position >= 0, values[position], -1) if len(values) else position


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
    chosen = {one: process for one, process in votes.groupby(level=0).idxmax()}
    wanted = pd.MultiIndex.from_arrays([gpu["correlation"], pd.Series(group).map(chosen)])
    found = pd.Series(
        calls.index, index=pd.MultiIndex.from_frame(calls[["correlation", "process"]])
    )
    position = found.reindex(wanted).fillna(-1).to_numpy(np.int64)
    return np.where(position >= 0, position, called)


def _matched(wanted: pd.Series, keys: pd.Series) -> np.ndarray:
    """Position of the first equal key of each wanted one; -1 for none, and for negative ones."""
    first = pd.Series(np.arange(len(keys)), index=keys.to_numpy())
    first = first[(first.index >= 0) & ~first.index.duplicated()]
    positions = first.reindex(wanted.to_numpy())
    found: np.ndarray = positions.fillna(-1).to_numpy(np.int64)
    return found
