"""Fixtures that several tests of metrics use."""

from support.inception_files import inception_folder, pytorch_fid

__all__ = ["inception_folder", "pytorch_fid"]
