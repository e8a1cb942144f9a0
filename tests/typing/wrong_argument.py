import dlkit

bundle = dlkit.export("net.onnx", precision=16)
print(bundle.certificate.measured)  # it may have none
