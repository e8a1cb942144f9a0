"""One file a task: ``MODEL`` (a ``Model``), ``DEFAULT_BUNDLE``, and ``BATCH`` by device."""
