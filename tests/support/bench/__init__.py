"""The command `bench`, whole, without some packages, or broken."""
