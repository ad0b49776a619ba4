"""Fixtures of an Inception network with drawn weights."""

from support.networks.inception_files import inception_case, inception_folder, pytorch_fid

__all__ = ["inception_case", "inception_folder", "pytorch_fid"]
