#!/usr/bin/env python3
"""Generates Python messages and stubs (package baton.v1) from proto/ into a folder.

generate.py FOLDER        then put FOLDER on PYTHONPATH, beside src
"""
import importlib.resources
import pathlib
import sys

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
FILES = ("baton/v1/sampling.proto", "baton/v1/inference.proto")


def generate(folder: pathlib.Path) -> None:
    from grpc_tools import protoc

    folder.mkdir(parents=True, exist_ok=True)
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    arguments = ["protoc", f"-I{PROTO}", f"-I{well_known}", f"--python_out={folder}",
                 f"--pyi_out={folder}", f"--grpc_python_out={folder}", *FILES]
    if protoc.main(arguments) != 0:
        raise SystemExit(f"protoc failed on {PROTO}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    generate(pathlib.Path(sys.argv[1]))
