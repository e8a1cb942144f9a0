"""A server of bundles: the Open Inference Protocol over HTTP and gRPC, and a page for people.

messages.py     a request and its answer, whatever brought them; refused.py: what is not answered
datatypes.py    the protocol's types of tensors
heads.py        JSON, read strictly; json_tensors.py, binary.py: tensors in it and behind it
batcher.py      rows of waiting requests, run together
served.py       a bundle that answers requests; images.py: encoded images as inputs and outputs
repository.py   all bundles that are served: load, unload, swap
bounds.py       how much a request may take; safety.py: who may ask
http/           routes over all of this; grpc_service.py: the same over gRPC
metrics.py  access.py  server.py    figures, a log, start and end
"""
