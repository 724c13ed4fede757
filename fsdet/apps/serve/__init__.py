"""A detector as an HTTP service, and as a machine learning backend of Label Studio."""
