"""One file a backend. Each provides what ``dlkit.runtime.session.Backend`` describes."""
