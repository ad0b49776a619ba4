"""What tests train, in steps or runs of about a second."""
