"""A tagger behind HTTP: `server` is the API, `demo` the page."""
