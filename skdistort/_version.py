"""The version of the package, where modules and files can read it without an import circle."""

__version__ = "0.1.0"
