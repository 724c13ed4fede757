"""Data set formats: readers, validation of what they read, and writers."""
