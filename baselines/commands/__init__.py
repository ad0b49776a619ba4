"""Sub-commands of `bench` that the contenders bring."""
