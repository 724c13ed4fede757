"""Packaging of fsdet."""

from pathlib import Path

from setuptools import find_packages, setup

ONNX = ["onnx>=1.17", "onnxruntime>=1.20"]

setup(
    name="fsdet",
    version="0.1.0",
    description="Few-shot object detection: new categories from a few annotated boxes.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["fsdet", "fsdet.*"]),
    python_requires=">=3.10",
    install_requires=[
        # 2.13.0 exists as a CPU build that no torchvision matches.
        "torch>=2.11,!=2.13.*",
        "torchvision>=0.26",
        "albumentations>=2.0.8,<2.1",
        "hotcoco>=1.3",
        "lightning-fabric>=2.6",
        "matplotlib>=3.10",
        "numpy>=2.0",
        "omegaconf>=2.4",
        "opencv-python-headless>=4.9.0.80",
        "pillow>=11",
        "pydantic>=2.7",
        "pycocotools>=2.0.11",
        "pyyaml>=6.0",
        "safetensors>=0.5",
        "scipy>=1.13",
        "tensorboard>=2.19",
        # From 1.0.26 on it downloads tensors only, from 1.0.30 on it builds every network without memory.
        "timm>=1.0.30",
        "tqdm>=4.66",
    ],
    extras_require={
        "dev": [
            "higher>=0.2.1",
            "hypothesis>=6.100",
            "mypy>=1.15",
            *ONNX,
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
            "scikit-learn>=1.5",
        ],
        "onnx": ONNX,
    },
)
