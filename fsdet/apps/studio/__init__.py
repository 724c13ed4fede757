"""The studio: draw boxes in a browser, name a category, see it found; page and files, the learning is elsewhere."""
