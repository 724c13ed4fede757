"""The image side of the detector: backbone, pyramid, proposals, pooled regions."""
