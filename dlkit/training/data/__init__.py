"""Datasets: digits, folders of image pairs, simulated millimetre-wave scans."""
