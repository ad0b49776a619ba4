"""The Python interface, offered by `import benchmark`; docs/python.md explains it."""
