"""A detector as an ONNX file, compared with PyTorch at every export."""

from fsdet.export.onnx import export, task_inputs

__all__ = ["export", "task_inputs"]
