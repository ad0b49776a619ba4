"""Independent verification of streams, archives, adapters and the installation."""
