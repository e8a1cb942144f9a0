"""What is deployed: a bundle, its certificate, its engines. Standard library alone."""

from dlkit.bundle.bundle import FORMAT, SHIPPED, Bundle, resolve, shipped
from dlkit.bundle.certificate import Certificate, Inputs, Measured, Reference
from dlkit.bundle.own import sha256

__all__ = [
    "FORMAT",
    "SHIPPED",
    "Bundle",
    "Certificate",
    "Inputs",
    "Measured",
    "Reference",
    "resolve",
    "sha256",
    "shipped",
]
