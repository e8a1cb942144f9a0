"""How fast bundles run on this machine, beside how good they are and what the machine could do.

plan.py         what is measured: bundles x backends x batches, and what is left out and why
worker.py       one measurement in a process of its own
measure.py      rounds over all ways, medians and spread
machine.py      what the machine is, and its ceiling
graph.py        multiply-adds of a graph
run.py          from settings to a result, as plain JSON values
report.py       the result as one HTML file
"""
