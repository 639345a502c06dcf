"""Reported numbers, those that follow from them, and what the jobs' own files count."""

from collections.abc import Iterator

from scalebook import results
from scalebook.analysis import reported_files, reported_jobs
from scalebook.analysis.comparable import to_python
from scalebook.values import yaml_lines
from scalebook.values.inputs import Inputs
from scalebook.values.value import Value, origin


def reported(inputs: Inputs) -> Iterator[Value]:
    """``reported.<job>.<metric>``: what files of ``data/reported`` say."""
    for row in results.reported().to_dict("records"):
        job, file = str(row["job_id"]), str(row["source_file"])
        parts = [str(to_python(part)) for part in (row["source"], row["date"]) if to_python(part)]
        source = ", ".join(parts) or file
        of_job = to_python(row["experiment"]) is not None
        about, entries = (f"for job {job}", "jobs") if of_job else (f"in {job}", "entries")
        make = origin("report", results.reported, [job], about=about, source=source)
        key, unit = f"reported.{job}.{row['metric']}", str(to_python(row["unit"]) or "")
        place = yaml_lines.where(file, entries, job, "values", str(row["metric"]))
        yield make(key, float(row["value"]), unit, files=(file,), where=place)


def modelled(inputs: Inputs) -> Iterator[Value]:
    """``modelled.<job>.<metric>``: what follows from reported numbers by a formula."""
    for function in (reported_jobs.derived, reported_jobs.network_bounds):
        for number in function(inputs.jobs):
            make = origin("report and formula", function, [number.job_id], one=number)
            key, file = f"modelled.{number.job_id}.{number.metric}", inputs.jobs[number.job_id].file
            yield make(key, number.value, number.unit, files=(file,))


def job_files(inputs: Inputs) -> Iterator[Value]:
    """``recorded.<job>.<metric>``: what a reported job's own file counts."""
    for job in inputs.jobs.values():
        counts = reported_files.counts(job)
        if counts is None or counts.images is None or counts.train_time_s is None:
            continue
        for metric, number, unit, column in (
            ("images", counts.images, "images", "images"),
            ("train_time_s", counts.train_time_s, "s", "train_time_s"),
            ("rate", counts.rate, "images/s", "images / train_time_s"),
        ):
            stem = str(job.measured["stem"])
            make = origin("file of a job", reported_files.counts, [stem], job=job, column=column)
            yield make(f"recorded.{job.id}.{metric}", number, unit, files=(counts.file,))
