"""Decoders that draw: diffusion models behind a base codec (`dirac`, `hfd`)."""
