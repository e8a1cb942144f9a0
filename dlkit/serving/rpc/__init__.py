"""The Open Inference Protocol over gRPC.

inference.proto is the service; inference.binpb is the same, compiled: no generated code, and any
version of protobuf reads it. To make it anew: protoc --descriptor_set_out=inference.binpb
inference.proto (of grpcio-tools).
"""
