"""A study's runs as a table: python examples/runs_table.py, in a study's folder.

Throughput of each experiment over its seeds, of the runs that stand behind the documents.
"""

from scalebook import results

runs = results.runs()
runs = runs[(runs["kind"] == "measured") & runs["evidence"]]
by = ["system", "dataset", "experiment", "world_size"]
table = runs.groupby(by)["throughput"].agg(["median", "min", "max", "count"])
print("images/s over seeds")
print(table.round(1).to_string())
