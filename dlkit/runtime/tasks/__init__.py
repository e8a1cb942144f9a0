"""One file a task. Each provides ``MODEL`` (a ``Model``), ``DEFAULT_BUNDLE`` and ``BATCH``."""
