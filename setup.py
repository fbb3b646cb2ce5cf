"""Packaging. Settings of tools are in pyproject.toml."""

import re
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
EXPORT = ["onnx>=1.16", "onnxruntime>=1.18", "onnxscript>=0.5", "safetensors>=0.4"]
VERSION = re.search(r'^__version__ = "(.+?)"', (HERE / "netgen/__init__.py").read_text(), re.M)[1]

setup(
    name="caffe-split",
    version=VERSION,
    description="Generate, grow and train Caffe nets; the engine is PyTorch.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="BSD-2-Clause",
    license_files=["LICENSE"],
    keywords=["caffe", "prototxt", "pycaffe", "convolutional networks", "deep learning", "pytorch"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Environment :: GPU :: NVIDIA CUDA",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    packages=[
        *find_packages(include=["caffe*", "data_prep*", "netgen*", "runner*", "study*"]),
        *find_packages("tools", include=["caffe_tools*"]),
    ],
    package_dir={"caffe_tools": "tools/caffe_tools"},
    package_data={
        "": ["README.md", "py.typed", "*.pyi"],
        "netgen.schema": ["caffe.proto", "caffe.desc"],
        "study": ["Snakefile"],
    },
    # What `python -m netgen generate` writes, to be looked at without writing it.
    data_files=[
        (f"share/caffe-split/{folder}", sorted(glob(f"{folder}/*.prototxt")))
        for folder in ("prototxt", "solvers")
    ],
    # The least that the tests pass with, which tests/oldest.txt installs.
    install_requires=[
        "numpy>=1.26.0",
        "protobuf>=4.21.6",
        "lmdb>=1.4.0",
        "matplotlib>=3.8.0",
        "pillow>=10.4.0",
        "torch>=2.4",
        "tqdm>=4.60.0",
    ],
    extras_require={
        "export": EXPORT,
        "hdf5": ["h5py>=3.10.0"],
        "leveldb": ["plyvel>=1.5.0"],
        "pycaffe": ["pydot>=2.0.0", "scikit-image>=0.22.0", "scipy>=1.11.1"],
        "tensorboard": ["tensorboard>=2.15"],
        "study": ["markdown>=3.4", "pygraphviz>=2.0", "snakemake>=8"],
        "dev": [
            *EXPORT,
            "pytest>=7.4",
            "hypothesis>=6.80",
            "ruff>=0.4",
            "mypy>=1.10",
            # Judges our resizing and reads our deploy nets; 5 has no Caffe importer.
            "opencv-python-headless>=4.6,<5",
            "plyvel>=1.5.0",
            "types-protobuf>=5.26",
            "grpcio-tools>=1.62.0",
            "h5py>=3.10.0",
            "markdown>=3.4",
            "pydot>=2.0.0",
            "scikit-image>=0.22.0",
            "scipy>=1.11.1",
            "tensorboard>=2.15",
            "setuptools>=70.1",  # builds wheels by itself: tests/install needs no network
        ],
    },
    entry_points={
        "console_scripts": [
            "caffe=runner.start:main",
            "build_pycaffe=caffe_tools.pycaffe.build:command",
            *(
                f"{name}=caffe_tools.start:{name}"
                for name in (
                    "best_accuracy",
                    "compute_image_mean",
                    "convert_imageset",
                    "draw_net",
                    "extract_features",
                    "parse_log",
                    "plot_loss",
                    "plot_tpm",
                    "tensorboard_log",
                    "upgrade_net_proto_binary",
                    "upgrade_net_proto_text",
                    "upgrade_solver_proto_text",
                    "verify_split",
                )
            ),
        ]
    },
)
