"""Reported numbers for the ledger, and those that follow from them by a formula."""

from __future__ import annotations

from collections.abc import Iterator

from scalebook import results
from scalebook.analysis.comparable import plain
from scalebook.analysis.reported import modelled
from scalebook.values.value import Value
from scalebook.values.yaml_lines import where


def reported() -> Iterator[Value]:
    """What files of ``data/reported`` say, and `modelled`."""
    places: dict[str, str] = {}
    for row in results.reported().to_dict("records"):
        value = plain(row["value"])
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        job, file = str(row["job_id"]), str(row["source_file"])
        places[job] = file
        said = ", ".join(str(plain(part)) for part in (row["source"], row["date"]) if plain(part))
        owner, about = ("jobs", f"for job {job}") if plain(row["experiment"]) else (
            "entries", f"in {job}"
        )  # fmt: skip
        yield Value(
            key=f"reported.{job}.{row['metric']}",
            value=float(value),
            unit=str(plain(row["unit"]) or ""),
            kind="reported",
            source=f"reported {about}: {said or file}",
            runs=(job,),
            files=(file,),
            where=where(file, owner, job, "values", str(row["metric"])),
            code="scalebook.results.reported",
        )
    for row in modelled().to_dict("records"):
        job = str(row["job_id"])
        yield Value(
            key=f"modelled.{job}.{row['metric']}",
            value=float(row["value"]),
            unit=row["unit"],
            kind="modelled",
            source=f"modelled for job {job}: {row['formula']}",
            runs=(job,),
            files=(places[job],) if job in places else (),
            where=f"{row['metric']} = {row['formula']}",
            code="scalebook.analysis.modelled",
        )
