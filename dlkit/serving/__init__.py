"""A server of bundles: the Open Inference Protocol over HTTP and gRPC, and a page for people.

messages.py     a request and its answer, whatever brought them; refused.py: what is not answered
datatypes.py    the protocol's types of tensors
heads.py        JSON, read strictly; json_tensors.py, binary.py: tensors in it and behind it
batcher.py      rows of waiting requests, run together; calls.py: how, and what fails alone
loading.py      from a bundle's name to a session; independent.py: whether its rows may be joined
served.py       a bundle that answers requests; encoded.py: images as files; queued.py, graphs.py
repository.py   all bundles that are served: load, unload, swap
bounds.py       how much a request may take; safety.py: who may ask
described.py    what the protocol tells of models; web/: HTTP and the page; rpc/: gRPC
metrics.py  statistics.py  access.py  server.py    figures, a log, start and end
"""
