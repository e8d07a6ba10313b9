"""Generates the messages of proto/ into the package while it is built; pyproject.toml says the rest."""
import pathlib
import sys

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


class BuildWithMessages(build_py):
    def run(self):
        super().run()
        import generate

        generate.generate(pathlib.Path(self.build_lib))


setup(cmdclass={"build_py": BuildWithMessages})
