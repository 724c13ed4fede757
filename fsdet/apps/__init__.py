"""Programs around a detector: detection in files, an HTTP service, the studio."""
