"""Train a detector of concealed objects on simulated scans."""
