"""How fast bundles run on this machine, beside how good they are and what the machine could do.

plan.py         what is measured: bundles x backends x batches, and what is left out and why
calls.py        what goes into one call
worker.py       one measurement in a process of its own
measure.py      rounds over all ways, medians and spread
machine.py      what the machine is, and its ceiling
jobs.py         turns the plan into jobs of worker.py
rows.py         what the rounds of one way come to
run.py           from what is asked for to a result
result.py        the result: plain JSON values, typed
groups.py       what is compared in one table and one chart
words.py        figures in words
report.py       the result as one HTML file
budget.py       the way to serve a model that gives most within a latency
trial.py        one such way, measured on a server
load.py         its clients, in a process of their own
"""
