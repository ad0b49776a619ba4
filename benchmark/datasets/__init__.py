"""Named sets of photographs: one file per dataset."""
