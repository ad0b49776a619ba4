"""Named sets of photographs: a file per dataset."""
