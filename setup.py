"""Packaging. Settings of tools are in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    name="caffe-split",
    version="0.1.0",
    description="Generate, grow and train Caffe nets; the engine is PyTorch.",
    python_requires=">=3.10",
    packages=[
        *find_packages(include=["caffe*", "data_prep*", "netgen*", "runner*", "study*"]),
        *find_packages("tools", include=["caffe_tools*"]),
    ],
    package_dir={"caffe_tools": "tools/caffe_tools"},
    package_data={"netgen.schema": ["caffe.proto", "caffe.desc"], "study": ["Snakefile"]},
    install_requires=[
        "numpy>=1.24",
        "protobuf>=4.21",
        "lmdb>=1.3",
        "matplotlib>=3.6",
        "pillow>=9.0",
        "torch>=2.1",
        "tqdm>=4.60",
    ],
    extras_require={
        "hdf5": ["h5py>=3.8"],
        "pycaffe": ["pydot>=2.0", "scikit-image>=0.22", "scipy>=1.11"],
        "study": ["markdown>=3.4", "pygraphviz>=2.0", "snakemake>=8"],
        "dev": [
            "pytest>=7.4",
            "hypothesis>=6.80",
            "ruff>=0.4",
            "mypy>=1.10",
            "types-protobuf>=5.26",
            "grpcio-tools>=1.50",
            "h5py>=3.8",
            "markdown>=3.4",
            "pydot>=2.0",
            "scikit-image>=0.22",
            "scipy>=1.11",
        ],
    },
    entry_points={
        "console_scripts": [
            "caffe=runner.commands.cli:main",
            *(
                f"{name}=caffe_tools.{name}:command"
                for name in (
                    "best_accuracy",
                    "draw_net",
                    "parse_log",
                    "plot_loss",
                    "plot_tpm",
                    "verify_split",
                )
            ),
        ]
    },
)
