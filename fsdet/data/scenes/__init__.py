"""Generated scenes: drawings that vary as photographs do."""
