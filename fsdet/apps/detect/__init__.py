"""Detection in image files, folders and videos."""
